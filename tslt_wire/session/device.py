"""The device's end of a session: says HELLO, sends prompts and drafts, receives verdicts.

Spec section 7; 6.7 and 6.8 for what may come between a draft and the end of its round, 6.10 for drafts in flight.
Usage::

    session = DeviceSession(Hello(vocab_size=32000, tokenizer=fingerprint))
    session.send_prompt(tokens)              # once Welcomed has arrived
    session.send_draft(tree, evidence)       # then wait for VerdictReceived;
    session.choose(rng)                      # after ProposalsReceived, until it returns a token
    session.send_list()                      # after ListAsked
    session.reconnect()                      # on another link; what was open goes on after Resumed
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np

from tslt_wire import checks
from tslt_wire.errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from tslt_wire.frames.kinds import Role, kind_of
from tslt_wire.lists.distribution import SparseDistribution
from tslt_wire.lists.prior import Prior
from tslt_wire.messages.answers import AskList, Proposals, Verdict, Whole
from tslt_wire.messages.draft import Draft, prefix_crc
from tslt_wire.messages.evidence import CodedEvidence, Evidence
from tslt_wire.messages.extensions import choice_extension
from tslt_wire.messages.fields import several
from tslt_wire.messages.flight import RUNS, Flight, window_of
from tslt_wire.messages.follow_ups import ListReply, More
from tslt_wire.messages.handshake import Hello, Welcome, padding_wanted
from tslt_wire.messages.log_probs import fits
from tslt_wire.messages.message import Message
from tslt_wire.messages.prompt import Prompt
from tslt_wire.messages.resume import Rejection, Resume
from tslt_wire.messages.token_tree import TokenTree
from tslt_wire.session.events import (
    Event,
    ListAsked,
    ProposalsReceived,
    Resumed,
    VerdictReceived,
    Welcomed,
    WholeReceived,
)
from tslt_wire.session.negotiation import (
    agreed_profile,
    check_names,
    check_sampling_kept,
    context_of,
    prior_names,
    tables_of,
)
from tslt_wire.session.outgoing import check_draft, check_prompt, resumed_flight
from tslt_wire.session.session import Session
from tslt_wire.session.states import OVER, TALKING, Act, State
from tslt_wire.session.vocabularies import Fit, check_same_target, fit_of
from tslt_wire.verification.proposals import choose


class DeviceSession(Session):
    """Sans-IO session of a device.  HELLO is queued at once."""

    role = Role.DEVICE

    def __init__(self, hello: Hello, tables: Sequence[Prior] = ()) -> None:
        """``tables``: the trained tables that ``hello.priors`` names.

        Raises ValueError for a HELLO with names that this version or this installation has not, or with none or one
        twice; TypeError for other types.
        """
        if not isinstance(hello, Hello):
            raise TypeError(f"hello must be a Hello, got {hello!r}")
        tables = tables_of(tables)
        super().__init__(hello.limits, padding_wanted(hello))
        check_names(hello)
        prior_names(hello.priors, tables)
        self._tables = tables
        self.hello = hello
        self._said = hello  # on this link
        self.welcome: Welcome | None = None
        """What the edge agreed to; None until Welcomed."""
        self.fit: Fit | None = None
        """How its vocabulary goes with the device's, and so what may be drafted; None until Welcomed."""
        self._choice: int | None = None  # what the next draft has to name: the edge has not its token yet
        self._following = deque[Draft]()  # drafts in flight after the open one
        self._run = RUNS - 1  # of the last draft that was in flight
        self._waiting = (0, 0)  # round and batch of the answer that is to come; those before are old
        self._asked: AskList | None = None
        self._rejection: Rejection | None = None  # of the open round, as far as this end has heard
        self._ended = False  # whether the text has
        self.unanswered = deque[bytes]()
        """The frames that wait for an answer, oldest first: what is to be sent again where none comes (not those of the
        handshake).  Read them, do not change them."""
        self._hello_frame = self._send(hello)

    @property
    def window(self) -> int:
        """How many drafts may be unanswered at a time; 1 before Welcomed."""
        return 1 if self.welcome is None else window_of(self.welcome)

    @property
    def in_flight(self) -> tuple[Draft, ...]:
        """The open draft and those that follow it, oldest first."""
        return () if self.open_draft is None else (self.open_draft, *self._following)

    @property
    def may_follow(self) -> bool:
        """Whether the next draft may be sent before the open one is answered: ``send_draft`` makes it follow."""
        flight = self.in_flight
        idle = self._state is State.OPEN and self._rejection is None
        return idle and bool(flight) and flight[-1].goes_on and len(flight) < self.window

    # ------------------------------------------------------------------------------------------------- another link

    def reconnect(self) -> None:
        """Begin anew on another link, to the same edge or to another one; HELLO is queued.

        Once the edge has answered (``Resumed``) the text goes on, and the round that is open: its draft is sent again
        by itself, and the next event is the one that was missing, or ``ListAsked`` once more.  What was queued and not
        sent yet is dropped.  Without a text there is nothing to go on with, and ``Welcomed`` comes again.

        Raises LocalProtocolError while proposals are open: ``choose``, or ``take`` or ``ask_more``, needs no link.
        """
        if self.proposals is not None:
            raise LocalProtocolError("proposals are open: take one, or ask for more; neither needs a link")
        self._outbox.clear()
        self.unanswered.clear()
        self._max_frame_bytes, self._max_extensions = self._limits.max_frame_bytes, self._limits.max_extensions
        self._move(Act.RECONNECT)
        agreed = self.welcome
        hello = self.hello
        if agreed is not None and self._prefix:
            # The text and the open round are of these; an edge that has them not cannot go on.
            hello = replace(
                hello,
                sampling=agreed.sampling,
                evidence=agreed.evidence,
                precisions=agreed.precisions,
                entropy=(agreed.entropy,),
                priors=(agreed.prior,),
                resume=agreed.resume,
            )
        self._said = hello
        self._hello_frame = self._send(hello)

    # ------------------------------------------------------------------------------------------------------- sending

    def send_prompt(self, tokens: Sequence[int], *, keep: int = 0, new_text: bool = False) -> None:
        """Set the prefix to ``prefix[:keep] + tokens``; also starts a new text in the same session.

        A proposal that was taken and not named yet is part of the prefix; it is sent again if it is kept.

        ``new_text``: drop proposals that nothing was taken of.  What is written next is then another text: going on
        from the same prefix would prefer the tokens that were not rejected, and the output would not be the target's.

        Raises LocalProtocolError before Welcomed, while a draft is open, or without ``new_text`` while proposals are;
        ValueError for an empty prefix, a token outside the vocabulary, or more tokens than the edge takes;
        TypeError for other types.
        """
        keep = checks.integer("keep, of the tokens there are,", keep, 0, len(self._prefix))
        new_text = checks.flag("new_text", new_text)
        if self.proposals is not None and not new_text:
            raise LocalProtocolError(
                "proposals are open: settle the round first (choose, or take and ask_more), or say new_text=True to "
                "give this text up; to go on from here without them would prefer what was not rejected"
            )
        tokens = several("tokens", "token ids", tokens)
        known = min(keep, len(self._prefix) - (self._choice is not None))
        prompt = Prompt(
            epoch=self._epoch + 1,
            tokens=(*self._prefix[known:keep], *tokens),
            keep=known,
            transcript=self._transcript,
        )
        if self.welcome is not None:
            check_prompt(prompt, self.welcome)
        self._send(prompt)
        self._set_prefix(known, prompt.tokens)
        self._choice, self._ended = None, False
        self._end_round()

    def send_draft(
        self, tree: TokenTree, evidence: Evidence, *, goes_on: bool = False, leaf: int | None = None
    ) -> Draft:
        """Queue the next round's draft and return it; the kind of ``evidence`` may change from round to round.

        ``tree`` may be empty: the edge then adds one token of the target's.  While a draft is open, and ``may_follow``,
        it continues the last one in flight as if all of them were accepted whole.

        ``goes_on``: where it is accepted down to its last token the edge adds no token of the target's, so that the
        next draft can continue it, in flight or not.  A tree says from which ``leaf``.

        Raises LocalProtocolError without a prefix or while a round is not over, ValueError for a draft the edge would
        refuse.
        """
        goes_on = checks.flag("goes_on", goes_on)
        if self.proposals is not None:
            raise LocalProtocolError("take one of the proposals first, or ask for more")
        follows, length, crc = self.may_follow, len(self._prefix), self._hash
        for before in self.in_flight if follows else ():
            tokens = before.whole_tokens
            length, crc = length + len(tokens), prefix_crc(tokens, crc)
        run = self._run if follows or not goes_on else (self._run + 1) % RUNS
        extensions = () if self._choice is None else (choice_extension(self._choice),)
        if follows or goes_on or leaf is not None:
            extensions = (*extensions, Flight(follows=follows, goes_on=goes_on, run=run, leaf=leaf).extension)
        draft = Draft(
            round=self.round,
            prefix_length=length,
            prefix_hash=crc & 0xFFFF,
            tree=tree,
            evidence=evidence,
            extensions=extensions,
        )
        if self.welcome is not None:
            check_draft(draft, self.welcome)
        frame = self._send(draft, Act.FOLLOW if follows else None)
        if follows:
            self._following.append(draft)
        else:
            self.unanswered.clear()
            self.open_draft, self._choice, self._asked, self._rejection = draft, None, None, None
            self._waiting = (self.round, 0)
        self.unanswered.append(frame)
        self._run = run
        self.round += 1
        return draft

    def choose(self, rng: np.random.Generator) -> int | None:
        """Take one of the open proposals, as the law of the text demands, and return its token; or ask for more.

        None: none of them fitted, and MORE is queued.  Raises LocalProtocolError if nothing is proposed, or if the
        draft's evidence has not kept the lists that its tokens were drawn from; TypeError for another generator than
        numpy's.
        """
        checks.generator("rng", rng)
        draft, proposed = self.open_draft, self.proposals
        if draft is None or proposed is None:
            raise LocalProtocolError("there are no proposals to choose from")
        self._kept_list(draft, proposed.node)
        index = choose(proposed, draft, rng)
        if index is None:
            self.ask_more()
            return None
        return self.take(index)

    def take(self, index: int) -> int:
        """Take proposal ``index``, one that ``tw.choose`` gave: the prefix grows by its token, which is returned.

        The next draft names it.  If it ends the text the session is ENDED, unless the edge has given up: then it stays
        over until ``reconnect``.  Raises LocalProtocolError if nothing is proposed, ValueError for an index that is not
        there.
        """
        if self.proposals is None:
            raise LocalProtocolError("there are no proposals to take from")
        index = checks.integer("index of a proposal", index, 0, len(self.proposals.proposals) - 1)
        token = self.proposals.proposals[index].token
        self._grow_prefix((token,))
        ends = self.welcome is not None and token in self.welcome.eos_tokens
        if self._state not in OVER:  # where the edge gave up meanwhile the text goes on over another link
            self._move(Act.TAKE_END if ends else Act.TAKE)
        self._choice, self._ended = index, ends
        self._end_round()
        return token

    def ask_more(self) -> More:
        """Ask for other proposals, because none of them was kept; LocalProtocolError if nothing is proposed."""
        if self.proposals is None:
            raise LocalProtocolError("there are no proposals to reject")
        last = self.proposals
        more = More(round=last.round, batch=last.batch + 1)
        self.unanswered = deque() if self._state in OVER else deque([self._send(more)])
        self._rejection = Rejection(last.node, more.batch)
        self.proposals = None
        return more

    def send_list(self) -> ListReply:
        """Send the list that the edge asked for, the one that the rejected token was drawn from; it is returned.

        Raises LocalProtocolError if none was asked for, or if the draft's evidence has not kept its lists.
        """
        asked, draft = self._asked, self.open_draft
        if asked is None or draft is None:
            raise LocalProtocolError("the edge asked for no list")
        reply = ListReply(round=draft.round, q=self._kept_list(draft, asked.node))
        self.unanswered = deque([self._send(reply)])
        return reply

    def _kept_list(self, draft: Draft, node: int) -> SparseDistribution:
        """What the token after ``node``, which was rejected, had been drawn from."""
        lists = draft.evidence.lists if isinstance(draft.evidence, CodedEvidence) else None
        if lists is None:
            raise LocalProtocolError(
                f"{type(draft.evidence).__name__} was made without the lists that its tokens were drawn from: make it "
                f"with {type(draft.evidence).__name__}.of(tree, lists), which keeps them"
            )
        return lists[node]

    # ----------------------------------------------------------------------------------------------------- receiving

    def _receive(self, message: Message, data: bytes) -> list[Event]:
        # An answer that came twice (the frame it answers had been sent twice) is old news, not a violation.
        if isinstance(message, (Verdict, Whole, Proposals, AskList)) and self._state in TALKING:
            batch = message.batch if isinstance(message, Proposals) else 0
            if (message.round, batch) < self._waiting or message == self._asked:
                return []
            if self._following and self._waiting[0] < message.round < self.round:
                return []  # the answer before it is lost: both come again when the drafts are sent again
        return super()._receive(message, data)

    def _handle(self, message: Message, data: bytes) -> list[Event]:
        if isinstance(message, Welcome):
            return self._handle_welcome(message, data)
        # All else that the table lets an edge say is an answer, and may come while a draft is open alone.
        draft = cast("Draft", self.open_draft)
        if isinstance(message, Verdict):
            return self._handle_verdict(message, draft)
        if isinstance(message, Whole):
            return self._handle_whole(message, draft)
        if isinstance(message, Proposals):
            return self._handle_proposals(message, draft)
        return self._handle_ask_list(cast("AskList", message), draft)

    def _handle_welcome(self, welcome: Welcome, data: bytes) -> list[Event]:
        hello = self._said
        if welcome.transcript != hashlib.sha256(self._hello_frame).digest()[:16]:
            raise RemoteProtocolError(ErrorCode.TRANSCRIPT_MISMATCH, "the edge answered another HELLO than was sent")
        if not hello.min_version <= welcome.version <= hello.max_version:
            raise RemoteProtocolError(
                ErrorCode.VERSION_MISMATCH,
                f"the edge chose version {welcome.version}, the device speaks {hello.min_version}..{hello.max_version}",
            )
        fit = fit_of(hello, welcome)
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
        check_sampling_kept(hello, welcome)
        if self.welcome is not None:
            check_same_target(self.welcome, welcome)
        if self._prefix and self.welcome is not None and welcome.eos_tokens != self.welcome.eos_tokens:
            raise RemoteProtocolError(ErrorCode.UNSUPPORTED, "other tokens end a text at this edge")
        self.welcome, self.sampling, self.fit = welcome, welcome.sampling, fit
        self._key = welcome.coupling
        self._max_frame_bytes, self._max_extensions = welcome.limits.max_frame_bytes, welcome.limits.max_extensions
        self.profile = agreed_profile(welcome, self._tables)
        self._transcript = hashlib.sha256(self._hello_frame + data).digest()[:8]
        return [self._resume(welcome) if self._prefix else Welcomed(welcome)]

    def _resume(self, welcome: Welcome) -> Resumed:
        """Say where the text stands, and send the draft of the open round again, and those that follow it."""
        drafts = resumed_flight(self.in_flight, window_of(welcome))
        draft = drafts[0] if drafts else None
        prefix = self._prefix if draft is None else self._prefix[: draft.prefix_length]
        known = welcome.held <= len(prefix) and prefix_crc(prefix[: welcome.held]) == welcome.held_hash
        keep = welcome.held if known else 0
        # What was taken is part of the prefix that is sent: there is nothing left to choose for the edge.
        self._choice = self._asked = None
        try:
            if len(prefix) > context_of(welcome):
                raise ValueError(f"the target holds {context_of(welcome)} tokens, the text has {len(prefix)}")
            for again in drafts:
                check_draft(again, welcome)
            self._send(
                Resume(
                    tokens=tuple(prefix[keep:]),
                    prefix_crc=prefix_crc(prefix),
                    round=self.round if draft is None else draft.round,
                    prompt_length=self.prompt_length,
                    epoch=self._epoch,
                    keep=keep,
                    rejection=None if draft is None else self._rejection,
                    ended=self._ended,
                    transcript=self._transcript,
                )
            )
            self.unanswered = deque(self._send(again, Act.FOLLOW if i else None) for i, again in enumerate(drafts))
        except (ValueError, LocalProtocolError) as error:
            raise RemoteProtocolError(ErrorCode.UNSUPPORTED, f"the text cannot go on at this edge: {error}") from error
        if drafts:
            self.open_draft, self._following = drafts[0], deque(drafts[1:])
            self.round = drafts[-1].round + 1
        return Resumed(welcome, keep)

    def _handle_verdict(self, verdict: Verdict, draft: Draft) -> list[Event]:
        if verdict.round != draft.round:
            raise RemoteProtocolError(
                ErrorCode.DESYNCHRONISED, f"a verdict on round {verdict.round} while round {draft.round} is open"
            )
        if verdict.node >= len(draft.tree):
            raise RemoteProtocolError(
                ErrorCode.DESYNCHRONISED, f"a verdict on node {verdict.node} of a tree with {len(draft.tree)} nodes"
            )
        if self._rejection is not None and self._asked is None:
            raise RemoteProtocolError(
                ErrorCode.DESYNCHRONISED, f"a verdict on a draft of which {self._rejection} is known"
            )
        self._check_log_probs(verdict, draft)
        tokens = verdict.tokens(draft.tree)
        self._grow_prefix(tokens)
        self._ended = verdict.end
        self._drop_following(draft)
        self._end_round()
        return [VerdictReceived(draft, verdict, tokens)]

    def _handle_whole(self, whole: Whole, draft: Draft) -> list[Event]:
        if not draft.goes_on:
            raise RemoteProtocolError(ErrorCode.PROTOCOL_VIOLATION, "the draft does not go on: a token has to come")
        if whole.round != draft.round or self._rejection is not None:
            raise RemoteProtocolError(
                ErrorCode.DESYNCHRONISED,
                f"round {whole.round} is accepted whole while round {draft.round} is open, of which {self._rejection} "
                "is known",
            )
        self._check_log_probs(whole, draft)
        tokens = draft.whole_tokens
        self._grow_prefix(tokens)
        self.unanswered.popleft()
        if self._following:
            self.open_draft = self._following.popleft()
            self._waiting = (self.open_draft.round, 0)
            self._move(Act.NEXT)
            self._request = kind_of(self.open_draft)
        else:
            self._end_round()
        return [WholeReceived(draft, whole, tokens)]

    def _handle_proposals(self, message: Proposals, draft: Draft) -> list[Event]:
        self._check_rejection(message, draft)
        tokens = tuple(draft.tree.tokens[node] for node in draft.tree.path(message.node))
        if message.batch and draft.prefix_length + len(tokens) != len(self._prefix):
            raise RemoteProtocolError(ErrorCode.DESYNCHRONISED, "more proposals, but after another node than before")
        self._check_log_probs(message, draft)
        if message.batch == 0:
            self._grow_prefix(tokens)
        self._drop_following(draft)
        self.proposals, self._waiting = message, (message.round, message.batch + 1)
        return [ProposalsReceived(draft, message, tokens)]

    def _handle_ask_list(self, message: AskList, draft: Draft) -> list[Event]:
        self._check_rejection(message, draft)
        if self._rejection not in (None, Rejection(message.node)):
            raise RemoteProtocolError(
                ErrorCode.DESYNCHRONISED, f"a list is asked for after node {message.node}, not {self._rejection}"
            )
        self._check_log_probs(message, draft)
        self._drop_following(draft)
        self._asked, self._rejection = message, Rejection(message.node)
        return [ListAsked(draft, message.node, message.extensions)]

    def _drop_following(self, draft: Draft) -> None:
        """Drop the drafts that follow ``draft``, which was not accepted whole: their numbers are used again."""
        self._following.clear()
        self.unanswered.clear()
        self.round = draft.round + 1

    def _end_round(self) -> None:
        self.open_draft = self.proposals = None
        self.unanswered.clear()
        self._waiting = (self.round, 0)

    def _check_log_probs(self, answer: Verdict | Whole | Proposals | AskList, draft: Draft) -> None:
        if not fits(answer, draft, after_list=self._asked is not None):
            raise RemoteProtocolError(
                ErrorCode.DESYNCHRONISED, "the answer has log probabilities of another number of tokens than it has"
            )

    def _check_rejection(self, message: Proposals | AskList, draft: Draft) -> None:
        """Refuse an answer that rejects a token the open draft has not."""
        batch = message.batch if isinstance(message, Proposals) else 0
        if (message.round, batch) != self._waiting:
            raise RemoteProtocolError(
                ErrorCode.DESYNCHRONISED,
                f"an answer to round {message.round}, batch {batch} while {self._waiting} is awaited",
            )
        if message.node >= len(draft.tree) - 1:
            raise RemoteProtocolError(
                ErrorCode.DESYNCHRONISED, f"no token follows node {message.node} of a chain of {len(draft.tree)}"
            )
