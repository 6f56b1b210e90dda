"""Ending an edge in good order: what is under way is finished and answered, nothing new begins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import tslt_wire as tw
from tslt_wire.frames.codec import KIND_MASK
from tslt_wire.frames.kinds import Kind

SETTLE_S = 1.0
"""Seconds that a round which is not over has for the device's next frame, once draining has begun; so has a new link
for its first one, so that the answer finds somebody who listens."""
UNSETTLED = frozenset({tw.State.START, tw.State.PROPOSED, tw.State.ASKED})
"""States in which the device is waited for so long: it is in the middle of something."""
FOLLOW_UPS = frozenset({Kind.MORE, Kind.LIST})
"""What a device sends within a round."""
GOING_AWAY = "the edge is shutting down; the text so far is good: come back, or go to another edge"
"""What devices are told."""


class Drain:
    """Whether an edge is about to end; links wait for frames in its ``patience``."""

    def __init__(self) -> None:
        """One that has not begun."""
        self.begun = False
        self._waiting: dict[asyncio.Timeout, Callable[[], tw.State]] = {}
        self._started, self._none_left = asyncio.Event(), asyncio.Event()
        self._links = 0

    def begin(self) -> None:
        """From now on nothing new begins; who waits for a frame is told soon.  Harmless when repeated."""
        if self.begun:
            return
        self.begun = True
        self._started.set()
        now = asyncio.get_running_loop().time()
        for scope, state in self._waiting.items():
            when = scope.when()
            if when is not None:
                scope.reschedule(min(when, now + _left(state())))

    @contextmanager
    def serving(self) -> Iterator[None]:
        """A link is served meanwhile."""
        self._links += 1
        try:
            yield
        finally:
            self._links -= 1
            if not self._links:
                self._none_left.set()

    async def over(self, seconds: float) -> bool:
        """Wait until no link is served, for ``seconds`` at most once it has begun; whether that came to be."""
        await self._started.wait()
        try:
            async with asyncio.timeout(seconds):
                while self._links:
                    self._none_left.clear()
                    await self._none_left.wait()
        except TimeoutError:
            return False
        return True

    def refuses(self, frame: bytes) -> bool:
        """Whether a frame that came is not answered any more: all but what brings a round to its end."""
        return self.begun and (not frame or frame[0] & KIND_MASK not in FOLLOW_UPS)

    @asynccontextmanager
    async def patience(self, seconds: float, state: Callable[[], tw.State]) -> AsyncIterator[None]:
        """Wait for a device's next frame: TimeoutError after ``seconds``, or soon once draining begins.

        ``state``: of its session.
        """
        seconds = min(seconds, _left(state())) if self.begun else seconds
        async with asyncio.timeout(seconds) as scope:
            self._waiting[scope] = state
            try:
                yield
            finally:
                del self._waiting[scope]


def _left(state: tw.State) -> float:
    return SETTLE_S if state in UNSETTLED else 0.0
