"""The device's driver: draft, send, wait for the verdict, repeat.

Everything that can go wrong on the other side ends in an ``EdgeError`` whose message says what to do; the tokens that
were received before are good and stay.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
from tslt_transports.link import Link

import tslt_wire as tw
from tslt_runtime.ahead import DraftAhead, Setting
from tslt_runtime.connection import Connection, EdgeError, Recovery
from tslt_runtime.draft_vocabulary import DraftVocabulary
from tslt_runtime.draft_window import DraftWindow
from tslt_runtime.drafting import Drafted, DraftSettings, Drawing, Growth, commit, draw_tree
from tslt_runtime.engines.protocol import DraftText
from tslt_runtime.engines.text_rules import common_length
from tslt_runtime.evidence import kind_of_evidence
from tslt_runtime.mapped_text import MappedText
from tslt_runtime.rounds import Exchange, Round
from tslt_runtime.settling import rejected, settle
from tslt_runtime.token_map import same_ids
from tslt_runtime.worker import Worker
from tslt_wire import checks
from tslt_wire.session.negotiation import context_of

log = logging.getLogger("tslt.device")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _OpenRound:
    """A draft that was sent and is not settled yet."""

    draft: tw.Draft
    drafted: Drafted
    settings: DraftSettings
    ahead: int
    """Levels of it that were drawn before the verdict on the last one came."""
    draft_s: float
    queued: float
    """When it was sent, by the device's clock."""
    sent: int
    received: int
    """Bytes of the link before it."""
    reconnects: int
    """Links that broke before it."""


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
    ) -> None:
        """``reply_timeout_s``: seconds that an answer may take.  ``recovery``: how to go on where the link breaks or an
        answer does not come; None: that is an EdgeError at once.  ``tables``: the trained tables that ``hello.priors``
        names.  ``clock``: seconds, for the rounds' times.  ``vocabulary``: the draft's, of which HELLO is made; None:
        HELLO says nothing of ordinary tokens, and drafts of other special tokens than the target's do not fit.
        ``most_leaves``: of the nodes that the draft model is run on, its ``EngineFacts.most_leaves``; None: any number.
        ``ahead``: nodes that are drafted at most, in a round, for the verdicts that may come while one is awaited; what
        is sent does not depend on it.

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
        self._window = DraftWindow(text)
        self._rng = rng
        self._worker = Worker("draft")
        self._running: asyncio.Task[Any] | None = None
        self._waited_for = False
        self._open_round: _OpenRound | None = None
        self.ahead = DraftAhead(ahead)
        """What is drafted while a verdict is awaited, and how often that was of use."""
        self._begun: Growth | None = None  # of the next draft, what was drafted ahead
        self._seed = self._new_seed()  # of the next draft
        self._stale = False  # whether the engine's text may differ from the session's prefix
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
        found = await self._finish() if self._running is not None else None
        if isinstance(found, tw.Welcome):
            return found
        if self.session.welcome is not None:
            raise tw.LocalProtocolError("the device has shaken hands already")
        self._require_alive()
        return await self._run(self._shake_hands())

    async def prompt(self, tokens: Sequence[int], *, keep: int | None = 0) -> int:
        """Set the text to be continued: ``prefix[:keep] + tokens``.

        ``keep`` None: ``tokens`` are all of the text, and what it begins with that is there already stays where it is,
        in the caches of both ends, and is not sent.  Returns how many tokens stay.

        A round that was cancelled is brought to its end first; its tokens are kept as far as ``keep`` says.
        """
        if self._running is not None:
            await self._finish()
        self._require_alive()
        if self._edge.may_go_on:
            await self._run(self._edge.mend())
        if self._open_round is not None:
            await self._run(self._settle_again())
        if keep is None:
            keep = common_length(self.session.prefix, tokens)
            tokens = tokens[keep:]
        self.session.send_prompt(tokens, keep=keep)
        await self._run(self._read_prompt())
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

        A round that was cancelled before comes first, with all its tokens.  Errors: see ``generate``.
        """
        max_tokens = checks.integer("max_tokens", max_tokens, 0, None)
        self._check(settings)
        found = await self._finish() if self._running is not None else None
        if isinstance(found, Round):
            return found
        self._require_alive()
        if self._edge.may_go_on:
            await self._run(self._edge.mend())
        if self._open_round is not None:
            return await self._run(self._settle_again())
        if self.session.state is tw.State.READY:
            raise tw.LocalProtocolError("there is no text yet: prompt() comes first")
        if max_tokens < 1 or self.room < 0 or self.session.state is tw.State.ENDED:
            return None
        return await self._run(self._round(settings.within(max_tokens, self.room), settings))

    async def close(self) -> None:
        """Say goodbye and close the link; what is under way is given up.  Does nothing the second time."""
        if self._closed:
            return
        self._closed = True
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
            self._running = None
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
        return min(self._window.room, context_of(self.welcome) - len(self.session.prefix))

    # --------------------------------------------------------------------------------------------------- one round

    def _check(self, settings: DraftSettings) -> None:
        if not isinstance(settings, DraftSettings):
            raise TypeError(f"settings must be DraftSettings, got {settings!r}")
        welcome = self.welcome
        if settings.evidence not in welcome.evidence:
            raise EdgeError(f"the edge at {self._edge.peer} takes {list(welcome.evidence)}, not {settings.evidence!r}")
        if kind_of_evidence(settings.evidence).sends_lists and settings.precision not in welcome.precisions:
            raise EdgeError(f"the edge at {self._edge.peer} takes {list(welcome.precisions)}, not {settings.precision}")
        if settings.nodes > welcome.limits.max_nodes:
            raise ValueError(f"the edge takes trees of {welcome.limits.max_nodes} nodes, {settings.expansion} has more")
        if settings.leaves > welcome.limits.max_leaves:
            raise ValueError(
                f"the edge takes trees of {welcome.limits.max_leaves} leaves, {settings.expansion} has more"
            )
        if self.most_leaves is not None and settings.run_leaves > self.most_leaves:
            raise ValueError(
                f"the draft model runs trees of {self.most_leaves} leaves, {settings.expansion} has more above its "
                "last level"
            )

    def _new_seed(self) -> int:
        return int(self._rng.integers(1 << 62))

    def _require_alive(self) -> None:
        state = self.session.state
        over = state in (tw.State.CLOSED, tw.State.FAILED) and not self._edge.may_go_on
        if self._closed or over:
            raise EdgeError(
                f"the session with the edge at {self._edge.peer} is over ({state}): open a new link and device"
            )

    async def _run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do ``work`` in a task of its own, which goes on if the caller is cancelled: half of it cannot be undone."""
        self._running = asyncio.create_task(work)
        found: T = await self._finish()
        return found

    async def _finish(self) -> Any:
        """Wait for what is under way and return what it gave; whoever waits for it last gets it."""
        running = self._running
        if running is None or self._waited_for:
            raise tw.LocalProtocolError("the device is in use by another task: one call at a time")
        self._waited_for = True
        try:
            found = await asyncio.shield(running)
        except asyncio.CancelledError:
            if running.cancelled():
                raise tw.LocalProtocolError("the device was closed meanwhile") from None
            raise  # the caller's: the work goes on, and whoever calls next gets what it gives
        except BaseException:
            self._running = None
            raise
        finally:
            self._waited_for = False
        self._running = None
        return found

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
        if self._window.context < context_of(event.welcome):
            log.warning(
                "the draft model holds %d tokens, the target %d: in a longer text it drafts from the first token and "
                "the last ones; the output stays the target's, fewer drafted tokens may be accepted",
                self._window.context,
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
        if self.restricted:
            self._window = DraftWindow(self._text)

    async def _read_prompt(self) -> None:
        self._stale = True
        await self._edge.flush()
        # Both models read the prompt at the same time: the edge got it first.
        await self._read_prefix()

    async def _read_prefix(self) -> None:
        await self._worker.run(self._window.read, self.session.prefix)
        self._stale, self._begun = False, None

    def _drawing(self, settings: DraftSettings, prefix_length: int, grown: int = 0) -> Drawing:
        """What the next draft is drawn with, if it is behind ``prefix_length`` tokens and ``grown`` more."""
        return Drawing(
            rng=np.random.default_rng(self._seed),
            position=prefix_length + grown,
            prior=self.prior,
            tail_scale=self.tail_scale,
            pick=kind_of_evidence(settings.evidence).pick(self.session),
        )

    def _draw(self, prefix: Sequence[int], settings: DraftSettings, drawing: Drawing, begun: Growth | None) -> Drafted:
        """Draft, in the worker's thread."""
        self._window.make_room(prefix, len(settings.expansion))
        return draw_tree(self._text, settings, drawing, begun)

    async def _round(self, settings: DraftSettings, wanted: DraftSettings) -> Round:
        """``settings``: of this draft, ``wanted``: before it was cut to what fits."""
        if self._stale:
            await self._read_prefix()
        started = self._clock()
        begun, self._begun = self._begun, None
        if begun is not None and (len(settings.expansion) > self._text.room or not begun.goes_on(settings)):
            begun = None  # the window slides, or something else is drafted
        ahead = begun.depth if begun else 0
        drawing = self._drawing(settings, len(self.session.prefix))
        drafted = await self._worker.run(self._draw, self.session.prefix, settings, drawing, begun)
        sent, received, reconnects = self._edge.bytes_sent, self._edge.bytes_received, self._edge.reconnects
        evidence = kind_of_evidence(settings.evidence).make(drafted.tree, drafted.lists, settings.replacement)
        draft = self.session.send_draft(drafted.tree, evidence)
        # Drawn here and not for the next draft: `choose` draws from the same numbers before that, if it is asked to.
        self._seed = self._new_seed()
        queued = self._clock()
        took = queued - started
        self._open_round = _OpenRound(draft, drafted, settings, ahead, took, queued, sent, received, reconnects)
        return await self._end_round(self._open_round, wanted)

    async def _draft_ahead(self, open_: _OpenRound, wanted: DraftSettings, over: asyncio.Event) -> None:
        """Draft for the verdicts that may come, until one has; ``wanted``: of the draft after this one."""
        if over.is_set():
            return
        held = Setting(
            text=self._text,
            drafted=open_.drafted,
            settings=wanted,
            drawing=partial(self._drawing, wanted, open_.draft.prefix_length),
            most_leaves=self.most_leaves,
        )
        try:
            self.ahead.begin(held)
            while not over.is_set() and self.ahead.wants(self._clock() - open_.queued):
                started = self._clock()
                await self._worker.run(self.ahead.step)
                self.ahead.passed(self._clock() - started)
        except Exception:
            # It would have saved time and no more: the engine's text is set anew before the next draft.
            log.exception("the draft model failed while it drafted ahead")
            self._stale = True

    async def _settle_again(self) -> Round:
        """Go on with a round whose answer did not come in time: the same frame again, nothing is drafted anew."""
        if self._open_round is None:
            raise RuntimeError("no round is open")
        await self._edge.again()
        return await self._end_round(self._open_round)

    async def _end_round(self, open_: _OpenRound, wanted: DraftSettings | None = None) -> Round:
        """``wanted``: how the draft after this one may be drafted meanwhile; None: it is not."""
        tree, over = open_.drafted.tree, asyncio.Event()
        # It begins once the frame has left, when this task waits for the first time.
        ahead = asyncio.create_task(self._draft_ahead(open_, wanted, over)) if wanted and self.ahead.most else None
        try:
            done = await settle(self._edge, self.session, self._rng)
            answered = self._clock()
        finally:
            over.set()
            if ahead is not None:
                await ahead
        self._open_round = None
        drafted, growth = self.ahead.after(open_.drafted, done.node, done.tokens[-1], wait_s=answered - open_.queued)
        path = tree.path(done.node)
        try:
            await self._worker.run(commit, self._text, drafted, path, done.tokens[-1])
        except Exception:
            # The tokens are good, whatever became of the draft model's cache: it is set anew before the next draft.
            log.exception("the draft model failed after a round")
            self._stale = True
        else:
            self._begun = growth
        if kind_of_evidence(open_.draft.evidence.name).sends_lists and done.verdict is not None:
            self._tails.learn(open_.draft, done.verdict, drafted.lists)
        end = self.session.state is tw.State.ENDED
        verify_s = min(done.verify_s, answered - open_.queued)
        return Round(
            accepted=done.tokens[:-1],
            token=done.tokens[-1],
            end=end,
            drafted=len(open_.settings.expansion),
            ahead=open_.ahead,
            tried=len(path) + rejected(drafted, done, end=end),
            lists=len(open_.draft.lists),
            nodes=len(tree),
            uplink_bytes=self._edge.bytes_sent - open_.sent,
            downlink_bytes=self._edge.bytes_received - open_.received,
            draft_s=open_.draft_s,
            link_s=answered - open_.queued - verify_s,
            verify_s=verify_s,
            trips=done.trips,
            reconnects=self._edge.reconnects - open_.reconnects,
            log_probs=done.log_probs,
        )
