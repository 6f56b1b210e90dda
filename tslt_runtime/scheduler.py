"""One queue for all that an edge asks of its model: rounds and prompts of all sessions, several texts in a pass.

A pass takes as many texts as fit its rows and the memory for caches, in the order of virtual time: what each session
was given so far, in rows, so that a session that asks for much waits for those that ask for little, whoever came first.
Prompts are read in chunks between and beside rounds.  Caches of texts that nobody waits for are dropped when memory is
short, and read again from the tokens; texts that start alike are read once.

The queue belongs to the event loop and the caches to the thread that runs the model: they take turns, since passes are
made up while none is running.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import tslt_wire as tw
from tslt_runtime.engines.protocol import EngineError, EngineFacts, TargetEngine, Work
from tslt_runtime.limits import EdgeLimits
from tslt_runtime.pass_plan import ROUND_TOKENS, Job, Part, PassPlan, Place
from tslt_runtime.pass_times import PassTimes
from tslt_runtime.pass_waits import worth_waiting
from tslt_runtime.scored_text import ScoredText
from tslt_runtime.worker import Worker

ROUNDS_GO_ON_S = 1.0
"""For so long after a round prompts are read in smaller chunks: the next one may come at any time."""
WITH_PROMPTS = 1.5
"""A pass with chunks of prompts takes no more than so many times what its rounds alone would."""
WITH_FOLLOWING = 1.25
"""The same of a pass with drafts that follow the one that is answered."""
FEW_FOLLOWING = 16
"""Nodes of drafts that follow that no pass is spared before it is known what they take."""
LEAST_CHUNK = 16
"""Tokens of prompts that a pass takes while rounds go on, whatever the rounds take."""
FIRST_CHUNK = 64
"""The same before it is known what passes take."""


@dataclass(slots=True)
class Counts:
    """What a scheduler has done so far."""

    passes: int = 0
    """Passes of the model."""
    rows: int = 0
    """Rows of these passes: tokens and nodes."""
    texts: int = 0
    """Texts in these passes, so that texts / passes is how many shared one."""
    rounds: int = 0
    """Trees that were scored."""
    prefilled: int = 0
    """Tokens that were read without logits: prompts, and caches that had been dropped."""
    shared: int = 0
    """Tokens that were not read, since another text had them."""
    evictions: int = 0
    """Caches that were dropped for want of memory."""
    waits: int = 0
    """Passes that waited for a device that was expected."""
    failures: int = 0
    """Passes that failed and were made again, text by text."""
    pass_s: float = 0.0
    """Seconds that passes took."""
    cache_bytes: int = 0
    """Bytes of all caches now."""
    most_cache_bytes: int = 0
    """The most that they were."""


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass did, for meters."""

    texts: int
    rows: int
    """Tokens and nodes of all of them."""
    seconds: float
    waits: tuple[float, ...]
    """Seconds that each request had waited of which this pass did the first part."""


class Scheduler:
    """Runs an engine for all texts of an edge."""

    def __init__(
        self,
        engine: TargetEngine,
        limits: EdgeLimits,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_pass: Callable[[Pass], None] = lambda _: None,
    ) -> None:
        """``clock``: seconds; ``on_pass``: told of every pass, in the event loop."""
        facts = engine.facts
        if facts.token_bytes:
            # A text that did not fit in the memory for all of them could never be served.
            fits = limits.cache_bytes // (facts.token_bytes * facts.token_block) * facts.token_block
            if fits < 1:
                least = facts.token_bytes * facts.token_block
                raise ValueError(f"cache_bytes must be at least {least} for {facts.model}, got {limits.cache_bytes}")
            facts = replace(facts, context=min(facts.context, fits))
        self.facts: EngineFacts = facts
        """The engine's, with a context that fits the memory for caches."""
        self.counts = Counts()
        self._engine = engine
        self._limits = limits
        self._clock = clock
        self._on_pass = on_pass
        self._worker = Worker("target")
        self.beside = Worker("verify", threads=limits.verify_threads)
        """Threads beside the model's, for what is made of its rows."""
        self._places: weakref.WeakSet[Place] = weakref.WeakSet()
        self._queue: list[Place] = []
        self._now = 0.0  # virtual
        self._times = PassTimes()
        self._last_chunk = FIRST_CHUNK
        self._last_round: tuple[float, int] | None = None  # when, and rows of rounds in that pass
        self._changed = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None

    # --------------------------------------------------------------------------------------------------------- texts

    def open(self) -> Place:
        """A new text, without tokens."""
        place = Place(ScoredText(self._engine), start=self._now)
        self._places.add(place)
        return place

    def release(self, place: Place) -> None:
        """Free a text; who waits for it is told that it is over."""
        self._places.discard(place)
        if place.job is not None:
            place.job.future.cancel()
            self._leave(place)
        self._worker.later(place.text.close)

    @property
    def waiting(self) -> int:
        """Texts that wait for rows, those of the pass under way included."""
        return len(self._queue)

    @property
    def row_s(self) -> float:
        """Seconds that a row more adds to a pass; 0 where that is not known."""
        return self._times.row_s

    def most_nodes(self, nodes: int) -> int:
        """Nodes that a tree of ``nodes`` may have with those of drafts that follow it.

        As many as an edge takes of any tree, and as fit a pass; and no more than make a pass somewhat longer, as drafts
        that follow may have lost their ground, or where that is not known twice as many.
        """
        facts, limits = self.facts, self._limits
        more = self._times.rows_within(WITH_FOLLOWING, 1 + nodes)
        most = min(limits.nodes(facts.vocab_size), facts.most_nodes, limits.rows - 1)
        return min(most, nodes + (max(nodes, FEW_FOLLOWING) if more is None else more))

    async def turn(self) -> None:
        """Return when the thread that runs the model has done all that it was asked for before."""
        await self._worker.run(lambda: None)

    def close(self) -> None:
        """Take no more."""
        self._worker.close()
        self.beside.close()

    async def read(self, place: Place, prefix: tuple[int, ...]) -> None:
        """Read ``prefix`` into the text's cache, but for its last token; errors as ``score``."""
        if place.text.kept(prefix) < len(prefix) - 1:
            await self._ask(place, prefix, None)

    async def score(
        self, place: Place, prefix: tuple[int, ...], tree: tw.TokenTree, then: Callable[[Any], Any] | None = None
    ) -> Any:
        """Raw logits after ``prefix`` and after every node of ``tree``, as ``TargetEngine.score`` gives them.

        ``then``: what to make of them, without a turn of the event loop before; it is returned in their place.  A
        thread of ``beside`` does it or, where nobody else waits, the one that runs the model.  Raises ContextFull, and
        what else the engine raises for this text, or ``then``.
        """
        return await self._ask(place, prefix, tree, then)

    async def _ask(
        self,
        place: Place,
        prefix: tuple[int, ...],
        tree: tw.TokenTree | None,
        then: Callable[[Any], Any] | None = None,
    ) -> Any:
        if place.job is not None:
            raise RuntimeError("one request at a time for a text")
        now, future = self._clock(), asyncio.get_running_loop().create_future()
        place.habit.asks(now)
        place.job = job = Job(prefix, tree, future, then, now)
        # Who was away for a moment is not passed over; who was away for long has no more than a pass in hand.
        place.start = max(place.start, self._now - self._limits.rows)
        self._queue.append(place)
        if self._serving is None or self._serving.done():
            self._changed = asyncio.Event()  # of this event loop
            self._serving = asyncio.create_task(self._serve())
        self._changed.set()
        try:
            return await future
        finally:
            if place.job is job:
                self._leave(place)

    def _leave(self, place: Place) -> None:
        place.job = None
        self._queue.remove(place)
        self._changed.set()

    # -------------------------------------------------------------------------------------------------------- passes

    async def _serve(self) -> None:
        """Make passes for as long as somebody waits for one."""
        try:
            while self._queue:
                await self._wait_for_others()
                self._changed.clear()
                plan = self._plan()
                if not plan.parts:
                    await self._change_within(plan.again_s)
                    continue
                started = self._clock()
                await self._worker.run(self._run, plan.parts, plan.dropped)
                self._settle(plan, started)
        except BaseException as error:
            said = error if isinstance(error, Exception) else RuntimeError("the edge is closed")
            for place in list(self._queue):
                if place.job is not None and not place.job.future.done():
                    place.job.future.set_exception(said)
            raise

    async def _wait_for_others(self) -> None:
        """Wait for devices that are about to ask, if together they cost less than apart."""
        until = self._clock() + self._limits.wait * self._times.saved_s
        waited = False
        while self._queue and (now := self._clock()) < until:
            rows = sum(1 + len(job.tree) for place in self._queue if (job := place.job) and job.tree is not None)
            if rows >= self._limits.rows:
                break  # there is no room for more
            habits = [place.habit for place in self._places]
            seconds = worth_waiting(habits, now, pass_s=self._times.seconds(rows), left_s=until - now)
            if seconds is None:
                break
            waited = True
            self._changed.clear()
            await self._change_within(seconds)
        self.counts.waits += waited

    async def _change_within(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            pass

    def _plan(self) -> PassPlan:
        """What the next pass does: in the order of virtual time, whoever came first."""
        asked = [(place, job, place.text.kept(job.prefix)) for place in self._queue if (job := place.job) is not None]
        rounds = sum(
            len(job.prefix) - kept + len(job.tree)
            for _, job, kept in asked
            if job.tree is not None and len(job.prefix) - kept <= ROUND_TOKENS
        )
        plan = PassPlan(self.facts, self._limits, self._places, chunk=self._chunk(rounds), now=self._clock())
        for place, job, kept in sorted(asked, key=lambda each: each[0].start):
            plan.take(place, job, kept)
        return plan

    def _chunk(self, rounds: int) -> int:
        """Tokens of prompts for the next pass; ``rounds``: rows that rounds want of it."""
        most, last = self._limits.chunk, self._last_round
        if not rounds:
            if last is None or self._clock() > last[0] + ROUNDS_GO_ON_S:
                return most
            rounds = last[1]
        within = self._times.rows_within(WITH_PROMPTS, rounds)
        # What was never tried may take longer than the line says: twice the last chunk at most.
        chunk = FIRST_CHUNK if within is None else max(LEAST_CHUNK, min(within, 2 * self._last_chunk))
        self._last_chunk = chunk = min(most, chunk)
        return chunk

    def _run(self, parts: Sequence[Part], dropped: Sequence[Place]) -> None:
        """Make a pass, in the thread that runs the model."""
        for place in dropped:
            place.text.drop()
            place.given = place.reserved = 0
        # Who copies from another text comes first: the other may go on elsewhere.
        for part in sorted(parts, key=lambda part: part.source is None):
            part.error = _error_of(self._prepare, part)
        going = [part for part in parts if part.error is None]
        error = _error_of(self._score, going)
        if error is not None and len(going) > 1:
            # One of them may be to blame, and the engine may have done some: what is left is asked for anew.
            self.counts.failures += 1
            for part in going:
                part.error = _error_of(self._prepare, part) or _error_of(self._score, [part])
        elif error is not None:
            going[0].error = error
        # Now that nothing is done anew: ``then`` is called once.
        made = [part for part in parts if part.whole and part.error is None and part.job.then is not None]
        if len(made) == 1 and len(self._queue) <= 1:
            # Nobody waits for this thread, and to wake another one takes as long as half of the work.
            made[0].error = _error_of(_make, made[0])
            return
        for part in made:
            part.made = self.beside.submit(timed, part.place, part.job.then, part.found)

    def _prepare(self, part: Part) -> None:
        part.work = self._work_of(part)

    def _work_of(self, part: Part) -> Work:
        text, job = part.place.text, part.job
        text.set_prefix(job.prefix)
        if part.source is not None:
            part.shared = text.share(part.source.text)
        part.whole = (part.score or job.tree is None) and text.unread - 1 <= part.read
        if part.whole and job.tree is not None:
            return text.scoring(job.tree)
        return text.reading(part.read)

    def _score(self, parts: Sequence[Part]) -> None:
        if not parts:
            return
        found = self._engine.score([part.work for part in parts if part.work is not None])
        for part, rows in zip(parts, found, strict=True):
            work = part.work
            if work is None:
                continue
            if rows is None and work.tree is not None:
                raise EngineError("the engine gave no rows for a tree")
            part.place.text.done(work)
            part.found = rows

    def _settle(self, plan: PassPlan, started: float) -> None:
        """Hand out what a pass found, and count it."""
        parts = plan.parts
        now, counts, rows, rounds = self._clock(), self.counts, 0, 0
        waits = []
        # Virtual time is where the least served of the pass was.
        self._now = max(self._now, min(part.place.start for part in parts))
        for part in parts:
            place, job, work = part.place, part.job, part.work
            given = part.given = 0 if work is None else len(work.tokens) + (0 if work.tree is None else len(work.tree))
            rows += given
            place.start += given
            place.used = now
            if job.waits_since is not None:
                waits.append(started - job.waits_since)
                job.waits_since = None
            counts.shared += part.shared
            if work is not None and work.tree is None:
                counts.prefilled += len(work.tokens)
                place.read += len(work.tokens)
            elif work is not None and work.tree is not None:
                place.given += 1 + len(work.tree)
                counts.rounds += 1
                counts.prefilled += len(work.tokens) - 1
                place.read += len(work.tokens) - 1
                rounds += given if len(work.tokens) <= ROUND_TOKENS else 0
            if place.job is not job or job.future.done():
                continue  # it has left meanwhile
            if part.error is not None:
                job.future.set_exception(part.error)
            elif part.whole:
                place.habit.answered = now if job.tree is not None else None
                _hand_out(part)
            else:
                continue
            self._leave(place)
        if rounds:
            self._last_round = now, rounds
        counts.evictions += len(plan.dropped)
        counts.passes += 1
        counts.texts += len(parts)
        counts.rows += rows
        counts.pass_s += now - started
        counts.cache_bytes = sum(self.facts.cache_bytes(place.text.held) for place in self._places)
        counts.most_cache_bytes = max(counts.most_cache_bytes, counts.cache_bytes)
        for part in parts if rows else ():
            part.place.passes_s += (now - started) * part.given / rows
        self._times.add(rows, now - started)
        self._on_pass(Pass(len(parts), rows, now - started, tuple(waits)))


def timed(place: Place, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call ``function`` in a thread beside the model's; the text is charged the thread's own time, nobody else's."""
    started = time.thread_time()
    try:
        return function(*arguments)
    finally:
        place.made_s += time.thread_time() - started


def _make(part: Part) -> None:
    """Make what the job wants of its rows."""
    if part.job.then is not None:
        part.found = timed(part.place, part.job.then, part.found)


def _hand_out(part: Part) -> None:
    """Give the job what it waits for, once it is there."""
    future = part.job.future
    if part.made is None:
        future.set_result(part.found)
        return

    def hand(made: asyncio.Future[Any]) -> None:
        if made.cancelled():  # the edge is closing
            future.cancel()
        elif future.done():
            made.exception()  # nobody waits any longer: it counts as seen
        elif (error := made.exception()) is not None:
            future.set_exception(error)
        else:
            future.set_result(made.result())

    asyncio.wrap_future(part.made).add_done_callback(hand)


def _error_of(call: Callable[..., None], *arguments: Any) -> Exception | None:
    """What a call raises."""
    try:
        call(*arguments)
    except Exception as error:  # noqa: BLE001 - whoever waits for this text gets it
        return error
    return None
