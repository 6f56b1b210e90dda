"""The device's end of a session: says HELLO, sends prompts and drafts, receives verdicts.

Spec section 7.  Usage::

    session = DeviceSession(Hello(vocab_size=32000, tokenizer=fingerprint))
    session.send_prompt(tokens)              # once Welcomed has arrived
    session.send_draft(tree, evidence)       # then wait for VerdictReceived
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from tslt_wire.codec import DRAFT_KINDS, kind_of
from tslt_wire.errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from tslt_wire.events import Event, VerdictReceived, Welcomed
from tslt_wire.messages import Draft, Evidence, Hello, Message, Prompt, Verdict, Welcome
from tslt_wire.negotiation import agreed_profile, check_entropy, check_vocabulary, context_of, prior_names
from tslt_wire.prior import Prior
from tslt_wire.session import Session
from tslt_wire.session_states import Role, State
from tslt_wire.tree import TokenTree


class DeviceSession(Session):
    """Sans-IO session of a device.  HELLO is queued at once."""

    role = Role.DEVICE

    def __init__(self, hello: Hello, tables: Sequence[Prior] = ()) -> None:
        """``tables``: the trained tables that ``hello.priors`` names."""
        super().__init__(hello.limits)
        check_entropy(hello.entropy)
        prior_names(hello.priors, tables)
        self._tables = tuple(tables)
        self.hello = hello
        self.welcome: Welcome | None = None
        """What the edge agreed to; None until Welcomed."""
        self.open_draft: Draft | None = None
        """The draft whose verdict is awaited."""
        self.round = 0
        """Number of the next draft."""
        self._hello_frame = self._send(hello)
        self._transcript = bytes(8)

    # ------------------------------------------------------------------------------------------------------- sending

    def send_prompt(self, tokens: Sequence[int], *, keep: int = 0) -> None:
        """Set the prefix to ``prefix[:keep] + tokens``; also starts a new text in the same session.

        Raises LocalProtocolError before Welcomed or while a draft is open, ValueError for an empty prefix, a token
        outside the vocabulary, or more tokens than the edge takes.
        """
        if not 0 <= keep <= len(self.prefix):
            raise ValueError(f"keep must be in 0..{len(self.prefix)} (the tokens there are), got {keep}")
        prompt = Prompt(tokens=tuple(tokens), keep=keep, transcript=self._transcript)
        if self.welcome is not None:
            self._check_prompt(prompt, self.welcome)
        self._send(prompt)
        self._set_prefix(keep, prompt.tokens)

    def send_draft(self, tree: TokenTree, evidence: Evidence) -> Draft:
        """Queue the next round's draft and return it; the kind of ``evidence`` may change from round to round.

        ``tree`` may be empty: the edge then adds one token of the target's.  Raises LocalProtocolError without a prefix
        or while a draft is open, ValueError for a draft the edge would refuse.
        """
        draft = Draft(
            round=self.round,
            prefix_length=len(self.prefix),
            prefix_hash=self.prefix_hash,
            tree=tree,
            evidence=evidence,
        )
        if self.welcome is not None:
            self._check_draft(draft, self.welcome)
        self._send(draft)
        self.open_draft = draft
        self.round += 1
        return draft

    def _check_prompt(self, prompt: Prompt, welcome: Welcome) -> None:
        size, vocab_size = prompt.keep + len(prompt.tokens), welcome.vocab_size
        if size == 0:
            raise ValueError("the prefix must have at least one token")
        if any(token >= vocab_size for token in prompt.tokens):
            raise ValueError(f"prompt tokens must be below the vocabulary size {vocab_size}, got {max(prompt.tokens)}")
        if len(prompt.tokens) > welcome.limits.max_prompt_tokens:
            raise ValueError(
                f"the edge takes prompts of {welcome.limits.max_prompt_tokens} tokens, got {len(prompt.tokens)}"
            )
        if size > context_of(welcome):
            raise ValueError(f"the target holds {context_of(welcome)} tokens, the prompt makes {size}")

    def _check_draft(self, draft: Draft, welcome: Welcome) -> None:
        limits, depth = welcome.limits, max(draft.tree.depths, default=0)
        if kind_of(draft) not in [DRAFT_KINDS.get(name) for name in welcome.evidence]:
            raise ValueError(f"{kind_of(draft).name} was not agreed on, only {list(welcome.evidence)}")
        if draft.precision and draft.precision not in welcome.precisions:
            raise ValueError(f"precision {draft.precision} was not agreed on, only {list(welcome.precisions)}")
        if len(draft.tree) > limits.max_nodes or depth > limits.max_depth:
            raise ValueError(
                f"the edge takes trees of {limits.max_nodes} nodes and depth {limits.max_depth}, "
                f"got {len(draft.tree)} and {depth}"
            )
        if sum(map(len, draft.lists.values())) > limits.max_entries:
            raise ValueError(f"the edge takes {limits.max_entries} listed tokens a draft")
        if len(self.prefix) + depth > context_of(welcome):
            raise LocalProtocolError(
                f"the target holds {context_of(welcome)} tokens; the prefix has {len(self.prefix)}, the draft {depth}"
            )

    # ----------------------------------------------------------------------------------------------------- receiving

    def _receive(self, message: Message, data: bytes) -> list[Event]:
        # A verdict that was answered twice (the draft had been sent twice) is old news, not a violation.
        if isinstance(message, Verdict) and self.state in (State.IDLE, State.OPEN, State.ENDED):
            current = self.open_draft.round if self.open_draft else self.round
            if message.round < current:
                return []
        return super()._receive(message, data)

    def _handle(self, message: Message, data: bytes) -> list[Event]:
        if isinstance(message, Welcome):
            return self._handle_welcome(message, data)
        if isinstance(message, Verdict) and self.open_draft is not None:
            return self._handle_verdict(message, self.open_draft)
        raise RemoteProtocolError(ErrorCode.PROTOCOL_VIOLATION, f"unexpected {type(message).__name__}")

    def _handle_welcome(self, welcome: Welcome, data: bytes) -> list[Event]:
        hello = self.hello
        if welcome.transcript != hashlib.sha256(self._hello_frame).digest()[:16]:
            raise RemoteProtocolError(ErrorCode.TRANSCRIPT_MISMATCH, "the edge answered another HELLO than was sent")
        if not hello.min_version <= welcome.version <= hello.max_version:
            raise RemoteProtocolError(
                ErrorCode.VERSION_MISMATCH,
                f"the edge chose version {welcome.version}, the device speaks {hello.min_version}..{hello.max_version}",
            )
        check_vocabulary(hello, welcome)
        for name, chosen, offered in (
            ("evidence", welcome.evidence, hello.evidence),
            ("precision", welcome.precisions, hello.precisions),
            ("entropy coder", (welcome.entropy,), hello.entropy),
            ("prior", (welcome.prior,), hello.priors),
        ):
            if not chosen or not set(chosen) <= set(offered):
                raise RemoteProtocolError(
                    ErrorCode.UNSUPPORTED, f"the edge chose {name} {list(chosen)}, the device offered {list(offered)}"
                )
        if bool(welcome.coupling) != ("coupled" in welcome.evidence):
            raise RemoteProtocolError(
                ErrorCode.UNSUPPORTED,
                f"the edge chose evidence {list(welcome.evidence)} and a coupling of {len(welcome.coupling)} bytes",
            )
        self.welcome = welcome
        self._key = welcome.coupling
        self._max_frame_bytes = welcome.limits.max_frame_bytes
        self.profile = agreed_profile(welcome, self._tables)
        self._transcript = hashlib.sha256(self._hello_frame + data).digest()[:8]
        return [Welcomed(welcome)]

    def _handle_verdict(self, verdict: Verdict, draft: Draft) -> list[Event]:
        if verdict.round != draft.round:
            raise RemoteProtocolError(
                ErrorCode.DESYNCHRONISED, f"a verdict on round {verdict.round} while round {draft.round} is open"
            )
        if verdict.node >= len(draft.tree):
            raise RemoteProtocolError(
                ErrorCode.DESYNCHRONISED, f"a verdict on node {verdict.node} of a tree with {len(draft.tree)} nodes"
            )
        tokens = verdict.tokens(draft.tree)
        self._grow_prefix(tokens)
        self.open_draft = None
        return [VerdictReceived(draft, verdict, tokens)]
