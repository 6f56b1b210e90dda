"""The edge's end of a session: answers HELLO, receives prompts and drafts, sends verdicts.

Spec section 7.  Usage::

    session = EdgeSession(EdgeSettings(vocab_size=32000, tokenizer=fingerprint), coupling=secrets.token_bytes(8))
    session.send_verdict(verify(draft, target_probs, rng, coupling=session.coupling))       # after DraftReceived
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from tslt_wire.codec import DRAFT_KINDS, Kind, kind_of
from tslt_wire.errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from tslt_wire.events import DraftReceived, Event, PromptReceived, SessionOpened
from tslt_wire.messages import SPEC_VERSION, Draft, Hello, Message, Prompt, Verdict, Welcome
from tslt_wire.negotiation import (
    EdgeSettings,
    agreed_profile,
    check_entropy,
    check_key,
    check_vocabulary,
    common,
    context_of,
    prior_names,
)
from tslt_wire.sampling import Sampling
from tslt_wire.session import Session
from tslt_wire.session_states import Role, State


class EdgeSession(Session):
    """Sans-IO session of an edge with one device."""

    role = Role.EDGE

    def __init__(self, settings: EdgeSettings, *, coupling: bytes = b"") -> None:
        """``coupling``: the secret of evidence ``coupled``, 8 uniform random bytes that no other session has; without
        it this evidence is not accepted.

        The device is told these bytes.  They must not tell it anything of the numbers that ``verify`` draws, so take
        them from the operating system, not from a generator whose state its output gives away.
        """
        super().__init__(settings.limits)
        check_entropy(settings.entropy)
        self._offered_key = check_key(coupling)
        self.settings = settings
        self.sampling = Sampling()
        """The sampling settings the device asked for; set when SessionOpened is returned."""
        self.open_draft: Draft | None = None
        """The draft that waits for ``send_verdict``."""
        self.round = 0
        """Number of the next draft."""
        self._transcript = bytes(8)
        self._evidence: tuple[str, ...] = ()
        self._precisions: tuple[str, ...] = ()
        self._answered: tuple[bytes, bytes] = (b"", b"")

    # ------------------------------------------------------------------------------------------------------- sending

    def send_verdict(self, verdict: Verdict) -> Verdict:
        """Answer the open draft and return what was sent.

        If an accepted token ends the text, what was sent stops there (the same text, so still lossless) and has ``end``
        set.  Raises LocalProtocolError if no draft is open, ValueError if the verdict is not on it.
        """
        draft = self.open_draft
        if draft is None:
            raise LocalProtocolError("there is no open draft to answer")
        if verdict.round != draft.round:
            raise ValueError(f"the open draft is round {draft.round}, the verdict is on {verdict.round}")
        verdict = stop_at_end(verdict, draft, self.settings.eos_tokens)
        frame = self._send(verdict)
        self._grow_prefix(verdict.tokens(draft.tree))
        self._answered = (self._answered[0], frame)
        self.open_draft = None
        return verdict

    # ----------------------------------------------------------------------------------------------------- receiving

    def _refuse_unread(self, kind: Kind) -> None:
        if self.state is State.START and kind in (Kind.PROMPT, *DRAFT_KINDS.values()):
            text = "the edge does not know this session (it may have been restarted): connect again and send the prompt"
            raise RemoteProtocolError(ErrorCode.UNKNOWN_SESSION, text)
        super()._refuse_unread(kind)

    def _receive(self, message: Message, data: bytes) -> list[Event]:
        if isinstance(message, Draft) and message.round < self.round:
            # The last draft again: its answer was lost, so answer it again. Older ones, or one that is being
            # verified, need no answer.
            if data == self._answered[0] and self.open_draft is None:
                self._outbox.append(self._answered[1])
            return []
        return super()._receive(message, data)

    def _handle(self, message: Message, data: bytes) -> list[Event]:
        if isinstance(message, Hello):
            return self._handle_hello(message, data)
        if isinstance(message, Prompt):
            return self._handle_prompt(message)
        if isinstance(message, Draft):
            return self._handle_draft(message, data)
        raise RemoteProtocolError(ErrorCode.PROTOCOL_VIOLATION, f"unexpected {type(message).__name__}")

    def _handle_hello(self, hello: Hello, data: bytes) -> list[Event]:
        settings = self.settings
        if not hello.min_version <= SPEC_VERSION <= hello.max_version:
            raise RemoteProtocolError(
                ErrorCode.VERSION_MISMATCH,
                f"the device speaks versions {hello.min_version}..{hello.max_version}, the edge {SPEC_VERSION}",
            )
        check_vocabulary(hello, settings)
        ours = tuple(name for name in settings.evidence if name != "coupled" or self._offered_key)
        evidence = common("evidence", hello.evidence, ours)
        welcome = Welcome(
            version=SPEC_VERSION,
            vocab_size=settings.vocab_size,
            tokenizer=settings.tokenizer,
            transcript=hashlib.sha256(data).digest()[:16],
            model=settings.model,
            evidence=evidence,
            precisions=common("precision", hello.precisions, settings.precisions),
            entropy=common("entropy coder", hello.entropy, settings.entropy)[0],
            prior=common("prior", hello.priors, prior_names(settings.priors, settings.tables))[0],
            limits=settings.limits,
            context=settings.context,
            eos_tokens=settings.eos_tokens,
            coupling=self._offered_key if "coupled" in evidence else b"",
        )
        self.sampling = hello.sampling
        self._max_frame_bytes = hello.limits.max_frame_bytes
        try:
            frame = self._send(welcome)
        except ValueError as error:
            raise RemoteProtocolError(ErrorCode.UNSUPPORTED, f"WELCOME does not fit: {error}") from error
        self._evidence, self._precisions, self._key = welcome.evidence, welcome.precisions, welcome.coupling
        self._transcript = hashlib.sha256(data + frame).digest()[:8]
        self.profile = agreed_profile(welcome, settings.tables)
        return [SessionOpened(hello)]

    def _handle_prompt(self, prompt: Prompt) -> list[Event]:
        if prompt.transcript != self._transcript:
            raise RemoteProtocolError(ErrorCode.TRANSCRIPT_MISMATCH, "the device saw another handshake than the edge")
        if prompt.keep > len(self.prefix):
            raise RemoteProtocolError(
                ErrorCode.DESYNCHRONISED, f"the device keeps {prompt.keep} tokens where the edge has {len(self.prefix)}"
            )
        self._check_context(prompt.keep + len(prompt.tokens))
        if prompt.keep + len(prompt.tokens) == 0:
            raise RemoteProtocolError(ErrorCode.PROTOCOL_VIOLATION, "the prefix must have at least one token")
        self._set_prefix(prompt.keep, prompt.tokens)
        return [PromptReceived(prompt.keep, prompt.tokens)]

    def _handle_draft(self, draft: Draft, data: bytes) -> list[Event]:
        if draft.round != self.round:
            raise RemoteProtocolError(
                ErrorCode.DESYNCHRONISED, f"the device drafts round {draft.round}, the edge expects {self.round}"
            )
        if (draft.prefix_length, draft.prefix_hash) != (len(self.prefix), self.prefix_hash):
            raise RemoteProtocolError(
                ErrorCode.DESYNCHRONISED,
                f"the device continues {draft.prefix_length} tokens with hash {draft.prefix_hash:04x}, the edge has "
                f"{len(self.prefix)} with hash {self.prefix_hash:04x}; send the prompt again",
            )
        if kind_of(draft) not in [DRAFT_KINDS[name] for name in self._evidence]:
            raise RemoteProtocolError(
                ErrorCode.UNSUPPORTED, f"{kind_of(draft).name} was not agreed on, only {list(self._evidence)}"
            )
        if draft.precision and draft.precision not in self._precisions:
            raise RemoteProtocolError(
                ErrorCode.UNSUPPORTED, f"precision {draft.precision} was not agreed on, only {list(self._precisions)}"
            )
        self._check_context(len(self.prefix) + max(draft.tree.depths, default=0))
        self.round += 1
        self.open_draft = draft
        self._answered = (data, b"")
        return [DraftReceived(draft)]

    def _check_context(self, size: int) -> None:
        context = context_of(self.settings)
        if size > context:
            raise RemoteProtocolError(ErrorCode.CONTEXT_FULL, f"{size} tokens where the target holds {context}")


def stop_at_end(verdict: Verdict, draft: Draft, eos_tokens: tuple[int, ...]) -> Verdict:
    """``verdict`` cut after its first token in ``eos_tokens`` and marked as the end; unchanged if there is none."""
    at = -1
    for node in draft.tree.path(verdict.node):
        token = draft.tree.tokens[node]
        if token in eos_tokens:
            return replace(verdict, node=at, token=token, end=True)
        at = node
    return replace(verdict, end=True) if verdict.token in eos_tokens else verdict
