"""The edge's end of a session: answers HELLO, receives prompts and drafts, sends verdicts.

Spec section 7; 6.7 and 6.8 for what may come between a draft and the end of its round, 6.10 for drafts in
flight.  Usage::

    session = EdgeSession(EdgeSettings(vocab_size=32000, tokenizer=fingerprint), secret=secrets.token_bytes(32))
    answer = verify(                                                                            # after DraftReceived
        event.draft, rows, session.generator(event), coupling=session.coupling, rejection=event.rejection
    )
    session.send_answer(answer, row=rows[1 + answer.node])
    events = session.next_events()                              # of a draft that came meanwhile and follows this one
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from tslt_wire.coding.philox import KEY_BYTES
from tslt_wire.errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from tslt_wire.frames.kinds import Kind, Role
from tslt_wire.lists.precision import Precision
from tslt_wire.messages.answers import Answer, AskList, Proposals, Verdict, Whole
from tslt_wire.messages.chat_template import naming
from tslt_wire.messages.draft import Draft, check_whole, prefix_crc
from tslt_wire.messages.evidence import CodedEvidence, gives_code
from tslt_wire.messages.extensions import Extension
from tslt_wire.messages.fields import check_bytes
from tslt_wire.messages.flight import naming_window
from tslt_wire.messages.follow_ups import ListReply, More
from tslt_wire.messages.handshake import SPEC_VERSION, Hello, Welcome, padding_wanted
from tslt_wire.messages.message import Message
from tslt_wire.messages.prompt import Prompt
from tslt_wire.messages.repeat import WANTED as REPEAT
from tslt_wire.messages.resume import Rejection, Resume
from tslt_wire.messages.token_sample import sample_extension
from tslt_wire.session.answering import stop_at_end, without_token
from tslt_wire.session.events import (
    DraftReceived,
    Event,
    ListReceived,
    MoreAsked,
    PromptReceived,
    SessionOpened,
    TextResumed,
)
from tslt_wire.session.negotiation import (
    EdgeSettings,
    agreed_profile,
    agreed_sampling,
    common,
    context_of,
    not_agreed,
    prior_names,
)
from tslt_wire.session.resumption import Opening
from tslt_wire.session.session import Session
from tslt_wire.session.states import SENDERS, TALKING, State
from tslt_wire.session.taken import DraftsTaken
from tslt_wire.session.vocabularies import Fit, fit_of
from tslt_wire.verification.randomness import EdgeRandomness

_NEVER = 1 << 32
"""A step that no frame has."""
_COUPLING_LABEL = b"tslt-wire coupling key 1"


class EdgeSession(Session):
    """Sans-IO session of an edge with one device."""

    role = Role.EDGE

    def __init__(
        self,
        settings: EdgeSettings,
        *,
        secret: bytes = b"",
        coupling: bytes = b"",
        opening: Callable[[Hello, bytes], Opening] | None = None,
    ) -> None:
        """``secret``: what this session's random numbers are made of (see ``generator``), at least 16 uniform random
        bytes that no other session has.  The device is never told them.

        ``coupling``: the key of evidence ``coupled``, 8 uniform random bytes that no other session has.  Without it
        the key is derived from ``secret``, one way; without either this evidence is not accepted.  The device is told
        the key, so it must not tell it anything of the numbers that ``verify`` draws: take it from the operating
        system, not from a generator whose state its output gives away.

        ``opening``: in place of ``secret``, for sessions that outlive their link: called with a HELLO that fits, and
        its frame, it says which session this is (``SessionKeys``).

        Raises TypeError or ValueError for bytes of another type or size, TypeError for other settings.
        """
        if not isinstance(settings, EdgeSettings):
            raise TypeError(f"settings must be EdgeSettings, got {settings!r}")
        super().__init__(settings.limits, settings.padding)
        check_bytes("coupling", coupling, 0, KEY_BYTES)
        if secret and opening is not None:
            raise ValueError("a session has a secret, or an opening that says which one")
        self._randomness = EdgeRandomness(secret) if secret != b"" else None
        self._offered_key = coupling or (coupling_key(secret) if secret else b"")
        self._opening = opening
        self.settings = settings
        self.fit: Fit | None = None
        """How the device's vocabulary goes with the target's; None before HELLO."""
        self._row: Any = None  # the target's, where a token of the open draft was rejected; whatever it was given as
        self._step = 0  # of the next frame of the round that is under way or over: see _step_of
        self._asked: AskList | None = None
        self._rejection: Rejection | None = None  # known to the device of the round that is to be answered next
        self._resumed = False  # whether RESUME has to come
        self._kept: tuple[int, ...] | int = ()  # the tokens a session that takes over starts from, or how many
        self._kept_round = 0
        self._evidence: tuple[str, ...] = ()
        self._precisions: tuple[str, ...] = ()
        self._drafts = DraftsTaken(settings.window)

    # ------------------------------------------------------------------------------------------------------- sending

    def generator(self, event: DraftReceived | MoreAsked | ListReceived) -> np.random.Generator:
        """The random numbers to answer ``event`` with: a function of the secret, the round and the step alone.

        A frame that is sent again gets the same numbers, from any session with this secret, and no other frame gets
        them.  Raises LocalProtocolError if the session was made without a secret, TypeError for another event.
        """
        if not isinstance(event, DraftReceived | MoreAsked | ListReceived):
            raise TypeError(f"event must be a DraftReceived, MoreAsked or ListReceived, got {event!r}")
        if self._randomness is None:
            raise LocalProtocolError(
                "this session has no secret: EdgeSession(settings, secret=secrets.token_bytes(32))"
            )
        return self._randomness.generator(event.draft.round, event.step)

    def send_answer(self, verdict: Answer, row: Any = None) -> Answer | Whole:
        """Answer the open draft, MoreAsked or ListReceived with what ``verify`` and the like say; return what was sent.

        ``row``: the target's row at the node after which a token was rejected, in whatever form.  The session keeps it,
        without looking at it, for ``MoreAsked.row`` or ``ListReceived.row``; None: the one it has.

        If an accepted token ends the text, what was sent is a Verdict that stops there (the same text, so still
        lossless) and has ``end`` set.  If a draft that goes on is accepted whole it is a Whole, without the Verdict's
        token.  ``next_events`` then has what comes next.

        Raises LocalProtocolError if there is nothing to answer, or not with this, ValueError if it is not on the open
        draft, TypeError for what is no answer.
        """
        if not isinstance(verdict, Answer):
            raise TypeError(f"an answer is a Verdict, Proposals or an AskList, got {verdict!r}")
        draft = self.open_draft
        if draft is None or self._state is not State.OPEN:
            raise LocalProtocolError("there is no open draft to answer")
        if verdict.round != draft.round:
            raise ValueError(f"the open draft is round {draft.round}, the verdict is on {verdict.round}")
        last, known = self.proposals, self._rejection
        if known is not None and (isinstance(verdict, Verdict) or verdict.node != known.node):
            raise ValueError(f"the device knows of {known}: verify(..., rejection=event.rejection)")
        if isinstance(verdict, Proposals):
            first = known.batch if known is not None else 0
            wanted = (first, verdict.node) if last is None else (last.batch + 1, last.node)
            if (verdict.batch, verdict.node) != wanted:
                raise ValueError(f"proposals of batch {wanted[0]} after node {wanted[1]} are to be sent next")
        if not isinstance(verdict, Verdict) and not draft.tree.children(verdict.node):
            raise ValueError(f"no token follows node {verdict.node}: nothing can have been rejected there")
        if last is None:
            verdict = stop_at_end(verdict, draft, self.settings.eos_tokens)
        whole = without_token(verdict, draft) if last is None else None
        self._drafts.answered(self._send(whole or verdict))
        if row is not None:
            self._row = row
        if whole is not None:
            self._grow_prefix(draft.whole_tokens)
            self.open_draft = self._row = None
            return whole
        self._drafts.drop()
        if isinstance(verdict, Verdict):
            self._grow_prefix(verdict.tokens(draft.tree))
            self.open_draft = self._row = None
        elif isinstance(verdict, AskList):
            self._asked = verdict
        else:
            if last is None:
                self._grow_prefix(tuple(draft.tree.tokens[node] for node in draft.tree.path(verdict.node)))
            self.proposals = verdict
        self._rejection = None
        return verdict

    def next_events(self) -> list[Event]:
        """What a draft means that came early, and follows the one that was answered last; none if there is none.

        To be called after ``send_answer``.  RemoteProtocolError as from ``receive_data``.
        """
        if not self._drafts.held or self._state is not State.IDLE:
            return []
        with self._failing():
            return super()._receive(*self._drafts.next())

    @property
    def following(self) -> tuple[Draft, ...]:
        """Drafts that came early and wait for the answer to the open one, oldest first.

        They are not checked yet, and dropped if the open one is not accepted whole.
        """
        return self._drafts.held

    @property
    def kept(self) -> tuple[int, ...]:
        """Tokens at the start of the last round, which the device has whatever it heard: see ``Opening.held``."""
        return self._kept if isinstance(self._kept, tuple) else tuple(self._prefix[: self._kept])

    @property
    def kept_round(self) -> int:
        """The round that starts from ``kept``: no honest device goes on with an earlier one.  See ``Opening.round``."""
        return self._kept_round

    # ----------------------------------------------------------------------------------------------------- receiving

    def _told_with(self, code: ErrorCode) -> tuple[Extension, ...]:
        misfit = code in (ErrorCode.VOCABULARY_MISMATCH, ErrorCode.TOKENIZER_MISMATCH)
        return (sample_extension(self.settings.sample),) if misfit and self.settings.sample else ()

    def _refuse_unread(self, kind: Kind) -> None:
        if self._state is State.START and self.role not in SENDERS[kind]:
            text = "the edge does not know this session (it may have been restarted): connect again and send the prompt"
            raise RemoteProtocolError(ErrorCode.UNKNOWN_SESSION, text)
        super()._refuse_unread(kind)

    def _receive(self, message: Message, data: bytes) -> list[Event]:
        if isinstance(message, Prompt) and message.transcript == self._transcript and message.epoch <= self._epoch:
            return []  # it came twice: its text has gone on, or another one is being written
        if isinstance(message, (Draft, More, ListReply)) and (message.round, _step_of(message)) < (
            self.round - 1,
            self._step,
        ):
            # Again: its answer was lost, so answer it again.  Those whose answers the device has heard of, and those
            # whose answer is being made, need none.
            if answer := self._drafts.answer_to(data):
                self._outbox.append(answer)
            return []
        if isinstance(message, Draft) and message.follows and self._state in TALKING:
            if not self._drafts.follows(message):
                return []  # its ground is gone, or has not come
            if self._state is State.OPEN or self._drafts.held:
                self._drafts.hold(message, data)
                return []
        return super()._receive(message, data)

    def _handle(self, message: Message, data: bytes) -> list[Event]:
        if isinstance(message, Hello):
            return self._handle_hello(message, data)
        if isinstance(message, Prompt):
            return self._handle_prompt(message)
        if isinstance(message, Resume):
            return self._handle_resume(message)
        if isinstance(message, Draft):
            return self._handle_draft(message, data)
        # All else that the table lets a device say goes on with the open draft, after what was proposed or asked for.
        draft = cast("Draft", self.open_draft)
        if isinstance(message, More):
            return self._handle_more(message, draft, cast("Proposals", self.proposals), data)
        return self._handle_list(cast("ListReply", message), draft, cast("AskList", self._asked), data)

    def _handle_hello(self, hello: Hello, data: bytes) -> list[Event]:
        settings = self.settings
        if not hello.min_version <= SPEC_VERSION <= hello.max_version:
            raise RemoteProtocolError(
                ErrorCode.VERSION_MISMATCH,
                f"the device speaks versions {hello.min_version}..{hello.max_version}, the edge {SPEC_VERSION}",
            )
        fit = fit_of(hello, settings)
        sampling = agreed_sampling(hello, settings)
        served = settings.evidence if settings.evidence_for is None else settings.evidence_for(sampling)
        keyed = bool(self._offered_key or self._opening)
        ours = tuple(name for name in settings.evidence if name in served and (keyed or name != "coupled"))
        evidence = common("evidence", hello.evidence, ours)
        precisions = common("precision", hello.precisions, settings.precisions)
        entropy = common("entropy coder", hello.entropy, settings.entropy)[0]
        prior = common("prior", hello.priors, prior_names(settings.priors, settings.tables))[0]
        opening = Opening(b"") if self._opening is None else self._opening(hello, data)
        self._kept, self._kept_round, self._resumed = opening.held, opening.round, opening.resumed
        if opening.secret:
            self._randomness = EdgeRandomness(opening.secret)
            self._offered_key = self._offered_key or coupling_key(opening.secret)
        welcome = Welcome(
            version=SPEC_VERSION,
            vocab_size=settings.vocab_size,
            tokenizer=settings.tokenizer,
            ordinary=settings.ordinary,
            begins=settings.begins,
            transcript=hashlib.sha256(data).digest()[:16],
            model=settings.model,
            sampling=sampling,
            evidence=evidence,
            precisions=precisions,
            entropy=entropy,
            prior=prior,
            limits=settings.limits,
            context=settings.context,
            eos_tokens=settings.eos_tokens,
            coupling=self._offered_key if "coupled" in evidence else b"",
            resume=opening.token,
            resumed=opening.resumed,
            held=len(opening.held),
            held_hash=prefix_crc(opening.held),
            extra={
                **naming(settings.chat_template),
                **(REPEAT if opening.repeats else {}),
                **naming_window(settings.window),
            },
        )
        self.sampling, self.fit = sampling, fit
        self._max_frame_bytes, self._max_extensions = hello.limits.max_frame_bytes, hello.limits.max_extensions
        self._padding = self._padding or padding_wanted(hello)
        try:
            frame = self._send(welcome)
        except ValueError as error:
            raise RemoteProtocolError(ErrorCode.UNSUPPORTED, f"WELCOME does not fit: {error}") from error
        self._evidence, self._precisions, self._key = welcome.evidence, welcome.precisions, welcome.coupling
        self._transcript = hashlib.sha256(data + frame).digest()[:8]
        self.profile = agreed_profile(welcome, settings.tables)
        return [SessionOpened(hello)]

    def _handle_prompt(self, prompt: Prompt) -> list[Event]:
        if self._resumed:
            # Its rounds would begin anew, with the random numbers of earlier ones.
            raise RemoteProtocolError(ErrorCode.PROTOCOL_VIOLATION, "a session that goes on begins with RESUME")
        if prompt.transcript != self._transcript:
            raise RemoteProtocolError(ErrorCode.TRANSCRIPT_MISMATCH, "the device saw another handshake than the edge")
        if prompt.epoch != self._epoch + 1:
            raise RemoteProtocolError(
                ErrorCode.DESYNCHRONISED, f"prompt {prompt.epoch} where the edge expects {self._epoch + 1}: one is lost"
            )
        if prompt.keep > len(self._prefix):
            raise RemoteProtocolError(
                ErrorCode.DESYNCHRONISED,
                f"the device keeps {prompt.keep} tokens where the edge has {len(self._prefix)}",
            )
        self._check_context(prompt.keep + len(prompt.tokens))
        if prompt.keep + len(prompt.tokens) == 0:
            raise RemoteProtocolError(ErrorCode.PROTOCOL_VIOLATION, "the prefix must have at least one token")
        self._set_prefix(prompt.keep, prompt.tokens)
        self._drafts.drop()
        self.open_draft = self.proposals = self._row = self._rejection = None
        self._kept, self._kept_round = len(self._prefix), self.round
        return [PromptReceived(prompt.keep, prompt.tokens)]

    def _handle_resume(self, resume: Resume) -> list[Event]:
        if resume.transcript != self._transcript:
            raise RemoteProtocolError(ErrorCode.TRANSCRIPT_MISMATCH, "the device saw another handshake than the edge")
        held, size = self.kept, resume.keep + len(resume.tokens)
        if resume.keep > len(held):
            raise RemoteProtocolError(
                ErrorCode.DESYNCHRONISED, f"the device keeps {resume.keep} tokens where the edge has {len(held)}"
            )
        if resume.round < self._kept_round:
            raise RemoteProtocolError(
                ErrorCode.DESYNCHRONISED,
                f"the device goes back to round {resume.round} where the edge is at {self._kept_round}",
            )
        self._check_context(size)
        if not 1 <= resume.prompt_length <= size:
            raise RemoteProtocolError(
                ErrorCode.PROTOCOL_VIOLATION, f"a prompt of {resume.prompt_length} in a text of {size} tokens"
            )
        prefix = (*held[: resume.keep], *resume.tokens)
        if prefix_crc(prefix) != resume.prefix_crc:
            raise RemoteProtocolError(
                ErrorCode.DESYNCHRONISED, f"the device's {size} tokens have another hash than those of the edge"
            )
        self._set_prefix(0, prefix)
        self._resumed = False
        self.prompt_length, self._epoch, self.round = resume.prompt_length, resume.epoch, resume.round
        self._step = _NEVER  # whatever comes of rounds before this one is old
        self._rejection, self._kept, self._kept_round = resume.rejection, len(prefix), resume.round
        return [TextResumed(resume.keep, resume.tokens)]

    def _handle_draft(self, draft: Draft, data: bytes) -> list[Event]:
        if draft.round != self.round:
            raise RemoteProtocolError(
                ErrorCode.DESYNCHRONISED, f"the device drafts round {draft.round}, the edge expects {self.round}"
            )
        chosen = self._chosen_by(draft)
        if chosen is not None:
            self._grow_prefix((chosen,))
        if (draft.prefix_length, draft.prefix_hash) != (len(self._prefix), self.prefix_hash):
            raise RemoteProtocolError(
                ErrorCode.DESYNCHRONISED,
                f"the device continues {draft.prefix_length} tokens with hash {draft.prefix_hash:04x}, the edge has "
                f"{len(self._prefix)} with hash {self.prefix_hash:04x}; send the prompt again",
            )
        if draft.evidence.name not in self._evidence:
            raise RemoteProtocolError(
                ErrorCode.UNSUPPORTED, not_agreed("evidence", draft.evidence.name, self._evidence)
            )
        self._check_precision(draft.precision)
        self._check_flight(draft)
        self._check_context(len(self._prefix) + max(draft.tree.depths, default=0))
        if self._rejection is not None and not self._rejection.fits(draft):
            raise RemoteProtocolError(
                ErrorCode.DESYNCHRONISED,
                f"the device knows of {self._rejection}, which is none of this draft with {draft.evidence.name}",
            )
        self.round += 1
        self.open_draft, self.proposals, self._asked, self._row = draft, None, None, None
        self._step = 1
        self._drafts.take(draft, data)
        self._kept, self._kept_round = self._drafts.oldest
        return [DraftReceived(draft, chosen, self._rejection)]

    def _chosen_by(self, draft: Draft) -> int | None:
        """The token of the proposal that a draft names; None if there is nothing to choose."""
        last, choice = self.proposals, draft.choice
        if last is None and choice is None:
            return None
        if last is None or choice is None or choice >= len(last.proposals):
            there = f"{len(last.proposals)} proposals" if last else "no proposals"
            raise RemoteProtocolError(
                ErrorCode.DESYNCHRONISED, f"the device took proposal {choice}, the edge sent {there}"
            )
        token = last.proposals[choice].token
        if token in self.settings.eos_tokens:
            raise RemoteProtocolError(ErrorCode.PROTOCOL_VIOLATION, f"the text has ended with token {token}")
        return token

    def _handle_more(self, more: More, draft: Draft, last: Proposals, data: bytes) -> list[Event]:
        if (more.round, more.batch) != (last.round, last.batch + 1):
            raise RemoteProtocolError(
                ErrorCode.DESYNCHRONISED,
                f"the device wants batch {more.batch} of round {more.round}, the last was {last.batch} of {last.round}",
            )
        self._request_of(more, draft, data)
        return [MoreAsked(draft, last, self._row)]

    def _handle_list(self, reply: ListReply, draft: Draft, asked: AskList, data: bytes) -> list[Event]:
        if reply.round != draft.round:
            raise RemoteProtocolError(
                ErrorCode.DESYNCHRONISED, f"a list of round {reply.round} while round {draft.round} is open"
            )
        self._check_precision(reply.q.precision)
        token, evidence = draft.tree.tokens[asked.node + 1], draft.evidence
        if not isinstance(evidence, CodedEvidence) or not gives_code(reply.q, token, evidence.codes[asked.node + 1]):
            raise RemoteProtocolError(
                ErrorCode.PROTOCOL_VIOLATION, f"the list does not give token {token} the probability that was sent"
            )
        self._request_of(reply, draft, data)
        return [ListReceived(draft, asked.node, reply.q, self._row)]

    def _request_of(self, message: More | ListReply, draft: Draft, data: bytes) -> None:
        """Remember a frame that is to be answered: the device has heard of all before it."""
        self._step = _step_of(message) + 1
        self._drafts.go_on(draft, data)

    def _check_flight(self, draft: Draft) -> None:
        if draft.flight is not None and self.settings.window == 1:
            raise RemoteProtocolError(ErrorCode.PROTOCOL_VIOLATION, "one draft at a time: none follows or goes on")
        try:
            check_whole(draft)
        except ValueError as error:
            raise RemoteProtocolError(ErrorCode.PROTOCOL_VIOLATION, str(error)) from error

    def _check_precision(self, precision: Precision | None) -> None:
        if precision and precision not in self._precisions:
            raise RemoteProtocolError(ErrorCode.UNSUPPORTED, not_agreed("precision", precision, self._precisions))

    def _check_context(self, size: int) -> None:
        context = context_of(self.settings)
        if size > context:
            raise RemoteProtocolError(ErrorCode.CONTEXT_FULL, f"{size} tokens where the target holds {context}")


def coupling_key(secret: bytes) -> bytes:
    """The key of evidence ``coupled`` that goes with a session's secret, and tells nothing of it: 8 bytes."""
    return hmac.new(secret, _COUPLING_LABEL, hashlib.sha256).digest()[:KEY_BYTES]


def _step_of(message: Draft | More | ListReply) -> int:
    """Which frame of its round this is: the draft is 0, MORE its batch, LIST 1."""
    return message.batch if isinstance(message, More) else int(isinstance(message, ListReply))
