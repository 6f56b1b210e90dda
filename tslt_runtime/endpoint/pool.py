"""Sessions with the edge, lent to requests: several clients have one each, or wait for each other.

A session's settings are fixed when it is opened, so each belongs to requests that ask for the same ones.  Of these a
request gets the one whose text it goes on with, so that the next turn of a conversation finds its caches.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count

import tslt_wire as tw
from tslt_runtime.connection import EdgeError
from tslt_runtime.endpoint.errors import ApiError
from tslt_runtime.engines.text_rules import common_length
from tslt_runtime.streaming import TextDevice

log = logging.getLogger("tslt.serve")

RETRY_S = 1.0
"""Seconds after which who was refused may come again."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a session must be opened with."""

    sampling: tw.SamplingRequest
    log_probs: bool = False
    seed: int | None = None
    """Of a session of its own, whose random numbers follow from it."""


Open = Callable[[Wanted], AbstractAsyncContextManager[TextDevice]]
"""Opens a session."""


@dataclass(slots=True, eq=False)
class _Place:
    """A session, or room for one that is being opened."""

    wanted: Wanted
    used: int
    device: TextDevice | None = None
    opened: AbstractAsyncContextManager[TextDevice] | None = None
    lent: bool = True


@dataclass(slots=True)
class Pool:
    """At most ``most`` sessions."""

    open: Open
    most: int
    waiting: int
    """Requests that may wait for one."""
    opened: int = 0
    """Sessions so far."""
    _places: list[_Place] = field(default_factory=list)
    _turn: count[int] = field(default_factory=count)
    _gate: asyncio.Semaphore = field(init=False)
    _queued: int = 0

    def __post_init__(self) -> None:
        self._gate = asyncio.Semaphore(self.most)

    @asynccontextmanager
    async def lend(self, wanted: Wanted, ids: Sequence[int]) -> AsyncIterator[TextDevice]:
        """A session for a text that begins with ``ids``; back when the block is left.

        Raises ApiError (429) where too many wait already; what ``open`` raises.
        """
        await self._enter()
        try:
            place = await self._take(wanted, ids)
            keep = False
            try:
                if place.device is None:
                    raise RuntimeError("a session that is lent is open")
                yield place.device
                keep = wanted.seed is None
            except EdgeError:
                raise
            except BaseException:
                keep = wanted.seed is None  # whoever it was: the round goes on, and the session with it
                raise
            finally:
                if keep:
                    place.lent, place.used = False, next(self._turn)
                else:
                    await self._drop(place)
        finally:
            self._gate.release()

    def traffic(self) -> tuple[int, int]:
        """Bytes that the open sessions have sent and received over their links."""
        devices = [place.device.device for place in self._places if place.device is not None]
        return sum(device.bytes_sent for device in devices), sum(device.bytes_received for device in devices)

    async def close(self) -> None:
        """Close all sessions."""
        while self._places:
            await self._drop(self._places[-1])

    async def _enter(self) -> None:
        if self._gate.locked() and self._queued >= self.waiting:
            raise ApiError(
                f"{self.most} requests are being answered and {self._queued} wait: come again",
                status=429,
                code="rate_limit_exceeded",
                retry_after_s=RETRY_S,
            )
        self._queued += 1
        try:
            await self._gate.acquire()
        finally:
            self._queued -= 1

    async def _take(self, wanted: Wanted, ids: Sequence[int]) -> _Place:
        """One that is lent now: of those that are free the one with the same text, else a new one."""
        free = [place for place in self._places if not place.lent]
        ours = [place for place in free if place.wanted == wanted and wanted.seed is None]
        best = max(ours, key=lambda place: (common_length(_prefix(place), ids), -place.used), default=None)
        full = len(self._places) >= self.most
        # A text that would be given up for most of it is another conversation's.
        if best is not None and (full or 2 * common_length(_prefix(best), ids) >= len(_prefix(best))):
            best.lent = True
            return best
        mine = _Place(wanted, next(self._turn))
        if full:
            oldest = min(free, key=lambda place: place.used)
            oldest.lent = True
            self._places.append(mine)
            await self._drop(oldest)
        else:
            self._places.append(mine)
        try:
            mine.opened = self.open(wanted)
            mine.device = await mine.opened.__aenter__()
        except BaseException:
            self._places.remove(mine)
            raise
        self.opened += 1
        return mine

    async def _drop(self, place: _Place) -> None:
        if place in self._places:
            self._places.remove(place)
        if place.opened is not None:
            with suppress(EdgeError, OSError):
                await place.opened.__aexit__(None, None, None)


def _prefix(place: _Place) -> Sequence[int]:
    """The tokens of a session's text."""
    return () if place.device is None else place.device.device.session.prefix
