"""The device's driver: draft, send, wait for the verdict, repeat.

Everything that can go wrong on the other side ends in an ``EdgeError`` whose message says what to do; the tokens that
were received before are good and stay.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import TypeVar

import numpy as np
from tslt_transports.link import Link

import tslt_wire as tw
from tslt_runtime.ahead import DraftAhead
from tslt_runtime.connection import Connection, EdgeError, Recovery
from tslt_runtime.draft_check import check_settings
from tslt_runtime.draft_vocabulary import DraftVocabulary
from tslt_runtime.drafting import DraftSettings, Drawing
from tslt_runtime.drafts_in_flight import DraftsInFlight
from tslt_runtime.engines.protocol import DraftText
from tslt_runtime.engines.text_rules import common_length
from tslt_runtime.evidence import kind_of_evidence
from tslt_runtime.held_nodes import Branch
from tslt_runtime.mapped_text import MappedText
from tslt_runtime.one_call import OneCall
from tslt_runtime.open_rounds import OpenRound
from tslt_runtime.round_numbers import RoundNumbers
from tslt_runtime.rounds import Exchange, Round
from tslt_runtime.settling import Outcome, settle
from tslt_runtime.token_map import same_ids
from tslt_runtime.worker import Worker
from tslt_wire import checks
from tslt_wire.messages.flight import MOST_WINDOW
from tslt_wire.session.negotiation import context_of

log = logging.getLogger("tslt.device")

T = TypeVar("T")


class Device:
    """A device with one link to one edge, and another one where that breaks.

    One call at a time: a second task is refused with LocalProtocolError.  A round that is cancelled goes on in the
    background, since half a round would bias the text: the next ``round`` (or ``generate``) gives it first.  So does a
    prompt.
    """

    def __init__(
        self,
        link: Link,
        text: DraftText,
        hello: tw.Hello,
        *,
        rng: np.random.Generator,
        reply_timeout_s: float = 60.0,
        tables: Sequence[tw.Prior] = (),
        clock: Callable[[], float] = time.perf_counter,
        recovery: Recovery | None = None,
        vocabulary: DraftVocabulary | None = None,
        most_leaves: int | None = None,
        ahead: int = 0,
        window: int = 1,
    ) -> None:
        """``reply_timeout_s``: seconds that an answer may take.  ``recovery``: how to go on where the link breaks or an
        answer does not come; None: that is an EdgeError at once.  ``tables``: the trained tables that ``hello.priors``
        names.  ``clock``: seconds, for the rounds' times.  ``vocabulary``: the draft's, of which HELLO is made; None:
        HELLO says nothing of ordinary tokens, and drafts of other special tokens than the target's do not fit.
        ``most_leaves``: of the nodes that the draft model is run on, its ``EngineFacts.most_leaves``; None: any number.
        ``ahead``: nodes that are drafted at most, in a round, for the verdicts that may come while one is awaited; what
        is sent does not depend on it.  ``window``: drafts that may be unanswered at a time, where the edge takes as
        many: chains then follow each other before their verdicts come.

        Raises TypeError or ValueError for what fits no session, a text of another vocabulary than HELLO's included.
        """
        if not isinstance(hello, tw.Hello):
            raise TypeError(f"hello must be a Hello, got {hello!r}")
        if vocabulary is None and (hello.ordinary or hello.token_map):
            raise ValueError("HELLO tells of ordinary tokens: give the vocabulary that it is made of")
        if not hello.token_map and text.vocab_size != hello.vocab_size:
            raise ValueError(f"the draft model has {text.vocab_size} tokens, HELLO says {hello.vocab_size}")
        if not isinstance(rng, np.random.Generator):
            raise TypeError(f"rng must be a numpy.random.Generator, got {rng!r}")
        self.most_leaves = None if most_leaves is None else checks.integer("most_leaves", most_leaves, 1, None)
        """Most leaves of the nodes that the draft model is run on; None: any number."""
        self._clock = clock
        self._text = text
        self._worker = Worker("draft")
        self._calls = OneCall()
        self.window = checks.integer("window", window, 1, MOST_WINDOW)
        """Drafts that may be unanswered at a time; the edge may take fewer.  It may change between two rounds."""
        self._overdue = False  # whether the last call failed while an answer was awaited
        self.ahead = DraftAhead(ahead)
        """What is drafted while a verdict is awaited, and how often that was of use."""
        self._flight = DraftsInFlight(text, self.ahead)
        self._numbers = RoundNumbers(rng)
        self._closed = False
        self._tails = tw.TailScale()
        self._vocabulary = vocabulary
        self.session = tw.DeviceSession(hello, tables)
        self._edge = Connection(link, self.session, reply_timeout_s=reply_timeout_s, recovery=recovery)
        self.handshake = Exchange(0, 0, 0.0)
        """HELLO and WELCOME, once they are there: what the link is like before the first round."""

    # ------------------------------------------------------------------------------------------- from open to close

    async def open(self) -> tw.Welcome:
        """Shake hands; raises EdgeError if the edge does not fit, LocalProtocolError if it was done before."""
        found = await self._calls.finish() if self._calls.busy else None
        if isinstance(found, tw.Welcome):
            return found
        if self.session.welcome is not None:
            raise tw.LocalProtocolError("the device has shaken hands already")
        self._require_alive()
        return await self._calls.run(self._shake_hands())

    async def prompt(self, tokens: Sequence[int], *, keep: int | None = 0) -> int:
        """Set the text to be continued: ``prefix[:keep] + tokens``.

        ``keep`` None: ``tokens`` are all of the text, and what it begins with that is there already stays where it is,
        in the caches of both ends, and is not sent.  Returns how many tokens stay.

        A round that was cancelled is brought to its end first; its tokens are kept as far as ``keep`` says.
        """
        if self._calls.busy:
            await self._calls.finish()
        self._require_alive()
        if self._edge.may_go_on:
            await self._calls.run(self._edge.mend())
        while self._flight:
            await self._calls.run(self._round(0, None))
        if keep is None:
            keep = common_length(self.session.prefix, tokens)
            tokens = tokens[keep:]
        self.session.send_prompt(tokens, keep=keep)
        await self._calls.run(self._read_prompt())
        return keep

    async def generate(self, max_tokens: int, settings: DraftSettings) -> AsyncIterator[Round]:
        """Yield rounds until ``max_tokens`` tokens, the end of the text, or the end of the target's
        context window.

        Raises EdgeError if the edge has not agreed to the evidence, ValueError for a tree that it does not take.
        """
        self._check(settings)
        left = checks.integer("max_tokens", max_tokens, 0, None)
        while round_ := await self.round(max(0, left), settings):
            left -= len(round_.tokens)
            yield round_

    async def round(self, max_tokens: int, settings: DraftSettings) -> Round | None:
        """One round of at most ``max_tokens`` tokens; None if there is nothing left to do.

        A round that was cancelled before comes first, with all its tokens; so do drafts that are in flight, though no
        more follow than ``max_tokens`` allows.  Errors: see ``generate``.
        """
        max_tokens = checks.integer("max_tokens", max_tokens, 0, None)
        self._check(settings)
        found = await self._calls.finish() if self._calls.busy else None
        if isinstance(found, Round):
            return found
        self._require_alive()
        if self._edge.may_go_on:
            await self._calls.run(self._edge.mend())
        if self.session.state is tw.State.READY:
            raise tw.LocalProtocolError("there is no text yet: prompt() comes first")
        over = max_tokens < 1 or self.room < 0 or self.session.state is tw.State.ENDED
        if over and not self._flight:
            return None
        return await self._calls.run(self._round(max_tokens, settings))

    async def close(self) -> None:
        """Say goodbye and close the link; what is under way is given up.  Does nothing the second time."""
        if self._closed:
            return
        self._closed = True
        await self._calls.cancel()
        self.session.close()
        await self._edge.close()
        await self._worker.run(self._text.close)
        self._worker.close()

    # --------------------------------------------------------------------------------------------- what it knows

    @property
    def bytes_sent(self) -> int:
        """Bytes of all links so far, with what the transport adds to them."""
        return self._edge.bytes_sent

    @property
    def bytes_received(self) -> int:
        """Likewise."""
        return self._edge.bytes_received

    @property
    def context(self) -> int:
        """Most tokens that a text may have; LocalProtocolError before ``open``."""
        return context_of(self.welcome)

    @property
    def reconnects(self) -> int:
        """Links that took the place of a broken one."""
        return self._edge.reconnects

    @property
    def welcome(self) -> tw.Welcome:
        """What the edge agreed to; LocalProtocolError before ``open``."""
        if self.session.welcome is None:
            raise tw.LocalProtocolError("the device has not shaken hands yet: open() comes first")
        return self.session.welcome

    @property
    def prior(self) -> tw.Prior | None:
        """The prior that both ends agreed on; None if lists have no tails, or before ``open``."""
        return self.session.profile.prior

    @property
    def tail_scale(self) -> float:
        """Part of the probability a list leaves out that its tail has, as the verdicts so far suggest."""
        # A greedy target has one token to offer, and hardly ever one that a prior would guess.  A prior is over all of
        # the target's tokens: where not all may be drafted there is none to draw from (spec section 7.9).
        useful = self.session.sampling.temperature > 0 and not self.restricted
        return self._tails.scale if self.prior and useful else 0.0

    @property
    def restricted(self) -> bool:
        """Whether some of the target's tokens are never drafted, because the draft model has them not."""
        return isinstance(self._text, MappedText)

    @property
    def room(self) -> int:
        """Depth of the deepest draft that can follow, the target's own token not counted; below 0: the text is full.

        A draft model whose context is shorter than the target's is no end of a text: see ``draft_window``.
        """
        return min(self._flight.window.room, context_of(self.welcome) - len(self.session.prefix))

    # --------------------------------------------------------------------------------------------------- one round

    def _check(self, settings: DraftSettings) -> None:
        check_settings(settings, self.welcome, peer=self._edge.peer, most_leaves=self.most_leaves)

    def _require_alive(self) -> None:
        state = self.session.state
        over = state in (tw.State.CLOSED, tw.State.FAILED) and not self._edge.may_go_on
        if self._closed or over:
            raise EdgeError(
                f"the session with the edge at {self._edge.peer} is over ({state}): open a new link and device"
            )

    async def _shake_hands(self) -> tw.Welcome:
        started = self._clock()
        try:
            event = await self._edge.exchange()
        except EdgeError as error:
            if self._vocabulary is not None and error.tokens:
                raise self._vocabulary.explained(error) from error
            raise
        self.handshake = Exchange(self._edge.bytes_sent, self._edge.bytes_received, self._clock() - started)
        if not isinstance(event, tw.Welcomed):
            raise EdgeError(f"the edge at {self._edge.peer} answered HELLO with {type(event).__name__}")
        self._take_target(event.welcome)
        if self._flight.window.context < context_of(event.welcome):
            log.warning(
                "the draft model holds %d tokens, the target %d: in a longer text it drafts from the first token and "
                "the last ones; the output stays the target's, fewer drafted tokens may be accepted",
                self._flight.window.context,
                context_of(event.welcome),
            )
        return event.welcome

    def _take_target(self, welcome: tw.Welcome) -> None:
        """Draft in the target's tokens from now on."""
        fit = self.session.fit or tw.Fit.SAME
        if self._vocabulary is not None:
            self._vocabulary.compare_begins(welcome)
            self._text = self._vocabulary.text_for(self._text, fit, welcome)
        elif fit is tw.Fit.PADDED:
            self._text = MappedText(self._text, same_ids(self._text.vocab_size, welcome.vocab_size))
        self._flight.hold(self._text)

    async def _read_prompt(self) -> None:
        self._flight.stale = True
        await self._edge.flush()
        # Both models read the prompt at the same time: the edge got it first.
        await self._worker.run(self._flight.read, self.session.prefix)

    def _drawing(self, settings: DraftSettings, round_: int, prefix_length: int) -> Drawing:
        """What the draft of a round is drawn with, if it is behind ``prefix_length`` tokens."""
        kind = kind_of_evidence(settings.evidence)
        return Drawing(
            rng=self._numbers.to_draft(round_),
            position=prefix_length,
            prior=self.prior,
            tail_scale=self.tail_scale,
            pick=kind.pick(self.session),
            coupling=self.session.coupling if kind.races else None,
        )

    async def _round(self, max_tokens: int, wanted: DraftSettings | None) -> Round:
        """The oldest draft in flight to its end, or a new one.

        ``wanted``: how drafts of ``max_tokens`` tokens at most are drafted meanwhile; None: none is.
        """
        if self._overdue:
            self._overdue = False
            await self._again()
        elif not self._flight and wanted is not None:
            await self._draft(max_tokens, wanted)
        over, meanwhile = asyncio.Event(), None
        if wanted is not None and (self.window > 1 or self.ahead.most):
            # It begins once the frame has left, when this task waits for the first time.
            meanwhile = asyncio.create_task(self._meanwhile(max_tokens, wanted, over))
        try:
            done = await settle(self._edge, self.session, self._numbers.to_choose)
            answered = self._clock()
        except BaseException:
            self._overdue = True
            raise
        finally:
            over.set()
            if meanwhile is not None:
                await meanwhile
        return await self._settled(done, answered)

    async def _again(self) -> None:
        """Go on with rounds whose answers did not come in time: the same frames again, nothing is drafted anew."""
        try:
            await self._edge.again()
        except BaseException:
            self._overdue = True
            raise

    async def _draft(self, max_tokens: int, wanted: DraftSettings) -> None:
        """Draft from the prefix, with nothing in flight, and queue it."""
        prefix = self.session.prefix
        if self._flight.stale:
            await self._worker.run(self._flight.read, prefix)
        started = self._clock()
        settings, goes_on = self._cut(max_tokens, wanted)
        branch = self._flight.begin(settings, partial(self._drawing, settings), self.session.round, prefix)
        ahead = branch.depth
        await self._worker.run(self._flight.draw, branch, prefix, len(settings.expansion))
        self._queue(branch, settings, goes_on=goes_on, ahead=ahead, draft_s=self._clock() - started)

    def _queue(self, branch: Branch, settings: DraftSettings, *, goes_on: bool, ahead: int, draft_s: float) -> None:
        sent, received, reconnects = self._edge.bytes_sent, self._edge.bytes_received, self._edge.reconnects
        started, drafted = self._clock(), branch.drafted()
        evidence = kind_of_evidence(settings.evidence).make(drafted.tree, drafted.lists, settings.replacement)
        leaf = drafted.first_leaf if goes_on and drafted.tree.leaves > 1 else None
        draft = self.session.send_draft(drafted.tree, evidence, goes_on=goes_on, leaf=leaf)
        queued = self._clock()
        self._flight.open.append(
            OpenRound(
                draft, drafted, branch.nodes, branch.root, settings, ahead, draft_s + queued - started, queued,
                sent, received, reconnects, len(self.session.unanswered[-1]),
            )
        )  # fmt: skip

    def _cut(self, max_tokens: int, wanted: DraftSettings) -> tuple[DraftSettings, bool]:
        """How the next draft is drafted, and whether it goes on.  ``max_tokens``: in flight included."""
        before = self._flight.tokens
        left, room = max_tokens - before, self.room - before
        settings, depth = wanted.within(left, room), len(wanted.expansion)
        flies = depth > 0 and min(self.window, self.session.window) > 1
        return settings, flies and depth + 1 < left and depth < room

    async def _meanwhile(self, max_tokens: int, wanted: DraftSettings, over: asyncio.Event) -> None:
        """Draft on until the oldest draft is answered: what follows those in flight, and what may follow a verdict."""
        flight, prefix = self._flight, self.session.prefix
        try:
            flight.guess(wanted, partial(self._drawing, wanted), self.most_leaves)
            while not over.is_set():
                settings, goes_on = self._cut(max_tokens, wanted)
                following = self._following(max_tokens, settings)
                if following is not None and following.is_whole and self._may_send:
                    flight.sent()
                    self._queue(following, settings, goes_on=goes_on, ahead=following.depth, draft_s=0.0)
                    flight.guess(wanted, partial(self._drawing, wanted), self.most_leaves)
                    await self._edge.push()
                    continue
                if following is not None and (following.is_whole or not self._may_draw(following)):
                    following = None  # it waits for its turn
                if following is None and not self.ahead.wants(self._clock() - flight.open[0].queued):
                    return
                started = self._clock()
                await self._worker.run(flight.step, following, prefix, self.most_leaves)
                self.ahead.passed(self._clock() - started)
        except Exception:
            # It would have saved time and no more: the engine's text is set anew before the next draft.
            log.exception("the draft model failed while it drafted ahead")
            flight.fail()

    def _following(self, max_tokens: int, settings: DraftSettings) -> Branch | None:
        """The draft that follows those in flight, as far as it is drawn; None where none may."""
        flight = self._flight
        left = max_tokens > flight.tokens and self.room > flight.tokens
        if flight.stale or not flight.open[-1].goes_on or not left:
            return None
        return flight.follow(settings, partial(self._drawing, settings), self.session.round, self.session.prefix)

    @property
    def _may_send(self) -> bool:
        return self.session.may_follow and len(self._flight) < self.window

    def _may_draw(self, following: Branch) -> bool:
        """Whether the draft that follows may be drawn further: to be sent, or ahead of its time."""
        return self._may_send or following.depth < self.ahead.most

    async def _settled(self, done: Outcome, answered: float) -> Round:
        """What the oldest draft came to, and what becomes of those after it and of the draft model's text."""
        # None wait but after a draft that was accepted whole.
        open_, dropped = self._flight.settle(len(self.session.in_flight))
        self._numbers.forget(open_.draft.round)
        token = None if isinstance(done.verdict, tw.Whole) else done.tokens[-1]
        commit = partial(self._flight.commit, dropped=dropped, wait_s=answered - open_.queued)
        try:
            await self._worker.run(commit, open_, done.node, token)
        except Exception:
            # The tokens are good, whatever became of the draft model's cache: it is set anew before the next draft.
            log.exception("the draft model failed after a round")
            self._flight.fail()
        if isinstance(done.verdict, tw.Verdict) and kind_of_evidence(open_.draft.evidence.name).sends_lists:
            self._tails.learn(open_.draft, done.verdict, open_.drafted.distributions)
        totals = {"sent": self._edge.bytes_sent, "received": self._edge.bytes_received}
        totals["reconnects"] = self._edge.reconnects
        if self._flight:
            for name, total in totals.items():
                setattr(self._flight.open[0], name, total)
        end = self.session.state is tw.State.ENDED
        return open_.over(done, end=end, answered=answered, dropped=dropped, **totals)
