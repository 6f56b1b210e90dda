"""What the next pass of a model does: which texts, which of their tokens, and whose caches make room for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import tslt_wire as tw
from tslt_runtime.engines.protocol import EngineFacts, Work
from tslt_runtime.engines.text_rules import shared_length
from tslt_runtime.limits import EdgeLimits
from tslt_runtime.pass_waits import Habit
from tslt_runtime.scored_text import ScoredText

ROUND_TOKENS = 16
"""Unread tokens that a round may bring along and is still no prompt: what a device took from proposals, say."""
TURN_S = 0.25
"""A text keeps its cache for so long after a pass, until it was worth reading: until it had half as many rows with
logits as it has tokens (a token that is read costs less than half of a row with logits)."""


@dataclass(slots=True)
class Job:
    """What a text waits for: rows for ``tree`` after ``prefix``, or that ``prefix`` is read if there is no tree."""

    prefix: tuple[int, ...]
    tree: tw.TokenTree | None
    future: asyncio.Future[Any]
    then: Callable[[Any], Any] | None = None
    """What is made of the rows, in no thread of the event loop's."""
    waits_since: float | None = None
    """When it was queued, until a pass did some of it."""


@dataclass(eq=False, slots=True, weakref_slot=True)
class Place:
    """One text's place in the queue, opaque to all but the scheduler."""

    text: ScoredText
    job: Job | None = None
    start: float = 0.0
    """Virtual time from which its next rows count."""
    given: int = 0
    """Rows with logits since its cache was last empty, or most of it was replaced by another prompt."""
    reserved: int = 0
    """Rows of its cache that memory was found for since it was last empty."""
    used: float = 0.0
    """When it was last in a pass."""
    habit: Habit = field(default_factory=Habit)
    """When it is expected to ask again."""
    passes_s: float = 0.0
    """Its part of the seconds that passes took so far, by rows."""
    made_s: float = 0.0
    """Seconds of a thread for what was made of its rows."""
    read: int = 0
    """Tokens that were read for it without logits."""


@dataclass(eq=False, slots=True)
class Part:
    """What a pass does for one text."""

    place: Place
    job: Job
    read: int
    """Tokens that are read without logits, at most."""
    score: bool
    """Whether the job's tree is scored behind them."""
    rows: int
    """Rows of the pass."""
    tokens: int
    """Rows that the cache holds afterwards."""
    source: Place | None
    """Another text, whose cache is copied as far as the two start alike."""
    work: Work | None = None
    """What the engine was asked for."""
    whole: bool = False
    """Whether the job is done with it."""
    found: Any = None
    """The engine's rows."""
    made: Future[Any] | None = None
    """What the job makes of them, in a thread beside the model's; None: ``found`` is that."""
    given: int = 0
    """Rows of the pass that it took."""
    shared: int = 0
    """Tokens that were copied."""
    error: Exception | None = None


class PassPlan:
    """One pass; ``take`` texts in the order in which they are to be served."""

    def __init__(
        self, facts: EngineFacts, limits: EdgeLimits, places: Collection[Place], *, chunk: int, now: float
    ) -> None:
        """``places``: all texts, those that wait for nothing included; ``chunk``: tokens of prompts in this pass."""
        self.parts: list[Part] = []
        self.dropped: list[Place] = []
        """Texts whose caches are dropped before."""
        self.again_s = TURN_S
        """Seconds after which a plan may come out otherwise, though nothing else has changed."""
        self._facts, self._limits, self._places = facts, limits, places
        self._rows, self._chunk, self._now = limits.rows, chunk, now
        self._held = sum(facts.cache_bytes(_reserved(place)) for place in places)
        self._texts = sum(place.text.held > 0 for place in places)
        self._needed: set[Place] = set()  # texts that are in the pass or copied from

    def take(self, place: Place, job: Job, kept: int) -> None:
        """Put a text in the pass, if it fits; ``kept``: tokens of its job that are cached."""
        if self._rows < 1 or place in self.dropped or self._read_by_another(job.prefix, kept):
            return
        source, shared = self._source(place, job.prefix, kept)
        part = self._part(place, job, kept + shared, source)
        if part is None:
            return
        if not self._make_room(part):
            if source is None:
                return
            part = self._part(place, job, kept, None)  # two caches may be too much
            if part is None or not self._make_room(part):
                return
        if job.tree is None and 2 * kept < len(job.prefix):
            place.given = 0  # a text that is worth something once it is read: what it was before does not count
        self.parts.append(part)
        self._rows -= part.rows
        if part.read > _free(job):
            self._chunk -= part.read

    def _part(self, place: Place, job: Job, kept: int, source: Place | None) -> Part | None:
        unread = len(job.prefix) - 1 - kept
        nodes = 0 if job.tree is None else 1 + len(job.tree)
        rows, chunk = unread + nodes, min(self._chunk, self._rows)
        # What is larger than any pass has one for itself.
        large = not self.parts and unread <= _free(job) and rows > self._limits.rows
        if unread <= max(_free(job), chunk) and (rows <= self._rows or large):
            return Part(place, job, unread, job.tree is not None, rows, kept + rows, source)
        if unread <= _free(job) or chunk < 1:
            return None
        read = min(unread, chunk)
        return Part(place, job, read, False, read, kept + read, source)

    def _read_by_another(self, prefix: tuple[int, ...], kept: int) -> bool:
        """Whether a text of this pass reads what comes next of ``prefix``: it is copied afterwards."""
        least = self._limits.share_least
        if not 0 < least < len(prefix) - kept:
            return False
        return any(
            part.read > 0
            and part.tokens - kept >= least
            and _alike(part.job.prefix[: part.tokens], prefix) - kept >= least
            for part in self.parts
        )

    def _source(self, place: Place, prefix: tuple[int, ...], kept: int) -> tuple[Place | None, int]:
        """A text that has most of what is unread of ``prefix``, and how many tokens of it."""
        least = self._limits.share_least
        if not 0 < least < len(prefix) - kept:
            return None, 0
        best, most, start = None, kept + least - 1, prefix[:least]
        for other in self._places:
            if other is place or other in self.dropped or other.text.length <= most:
                continue
            if other.text.prefix[:least] != start:  # nearly all of them: said without a look at the rest
                continue
            if (shared := other.text.shared(prefix)) > most:
                best, most = other, shared
        return (None, 0) if best is None else (best, most - kept)

    def _make_room(self, part: Part) -> bool:
        """Find the memory for a text; False if it has to wait for it.

        It is found for all of the job at once: texts that are read in part, each of them short of memory for the rest,
        would drop each other's caches for ever.
        """
        place, facts, held = part.place, self._facts, _reserved(part.place)
        more, texts = facts.cache_bytes(max(held, _needs(part.job))) - facts.cache_bytes(held), int(held == 0)
        needed = self._needed | {place} | ({part.source} if part.source is not None else set())
        if not more and not texts:
            self._needed = needed
            return True
        over, above = self._held + more - self._limits.cache_bytes, self._texts + texts - facts.most_texts
        dropped: list[Place] = []
        if over > 0 or above > 0:
            others = [other for other in self._places if other.text.held and other not in needed]
            idle = [other for other in others if other not in self.dropped and not _is_read(other)]
            for other in sorted(idle, key=lambda other: (other.job is not None, other.used)):
                if over <= 0 and above <= 0:
                    break
                if (left := self._turn_left(other)) > 0:
                    self.again_s = min(self.again_s, left)
                    continue
                dropped.append(other)
                over -= facts.cache_bytes(_reserved(other))
                above -= 1
            # Where nothing else can go, one that is alone is served all the same.
            others_go = bool(self.parts) or any(map(_is_read, others)) or len(dropped) < len(idle)
            if (over > 0 or above > 0) and (others_go or part.source is not None):
                return False
        self.dropped += dropped
        self._held += more - sum(facts.cache_bytes(_reserved(other)) for other in dropped)
        self._texts += texts - len(dropped)
        self._needed = needed
        place.reserved = max(held, _needs(part.job))
        return True

    def _turn_left(self, place: Place) -> float:
        """Seconds for which a text keeps its cache, whoever wants the memory."""
        if 2 * place.given >= place.text.length:
            return 0.0
        return max(0.0, place.used + TURN_S - self._now)


def _needs(job: Job) -> int:
    """Rows that a cache holds once the job is done."""
    return len(job.prefix) + (0 if job.tree is None else len(job.tree))


def _reserved(place: Place) -> int:
    """Rows that a text's cache counts for: what it holds, or will hold once it has what it asks for."""
    return max(place.text.held, place.reserved)


def _is_read(place: Place) -> bool:
    """Whether a text has memory for what it asks for and has given no rows yet: its cache is not dropped before."""
    job = place.job
    return job is not None and place.text.held > 0 and place.given == 0 and _needs(job) <= _reserved(place)


def _free(job: Job) -> int:
    """Tokens without logits that do not count as a prompt's."""
    return 0 if job.tree is None else ROUND_TOKENS


def _alike(some: tuple[int, ...], others: tuple[int, ...]) -> int:
    """With how many tokens two texts start alike."""
    return len(some) if others[: len(some)] == some else shared_length(some, (*others, -1))
