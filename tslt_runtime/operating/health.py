"""Whether an edge is alive, and whether it takes more devices."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

ANSWERS_S = 1.0
"""Seconds that a look at the model's thread waits; a pass that is longer is asked about again at the next look."""
STUCK_S = 120.0
"""Seconds after which a model's thread that does not answer counts as stuck: far longer than any pass."""


class Health:
    """What ``/healthz`` and ``/readyz`` say."""

    def __init__(
        self,
        turn: Callable[[], Awaitable[None]],
        *,
        room: Callable[[], bool],
        draining: Callable[[], bool],
        answers_s: float = ANSWERS_S,
        stuck_s: float = STUCK_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``turn``: returns when the model's thread has done what it was asked for before.

        ``room``: whether another device would be served; ``draining``: whether the edge is about to end.
        ``answers_s``, ``stuck_s``: see ``ANSWERS_S``, ``STUCK_S``.
        """
        self._turn, self._room, self._draining = turn, room, draining
        self._answers_s, self._stuck_s, self._clock = answers_s, stuck_s, clock
        self._asked: tuple[asyncio.Future[None], float] | None = None

    async def alive(self) -> tuple[bool, str]:
        """Whether the process does its work, and why not.  That it is said at all shows that the event loop runs."""
        if self._asked is None:
            self._asked = asyncio.ensure_future(self._turn()), self._clock()
        asked, since = self._asked
        done, _ = await asyncio.wait([asked], timeout=self._answers_s)
        if not done:
            took = self._clock() - since
            return took < self._stuck_s, f"the model's thread has been busy for {took:.0f} s"
        if self._asked is not None and self._asked[0] is asked:
            self._asked = None
        if asked.cancelled() or asked.exception() is not None:
            return False, "the model's thread takes no more work"
        return True, "alive"

    def ready(self) -> tuple[bool, str]:
        """Whether another device would be served, and why not."""
        if self._draining():
            return False, "draining"
        if not self._room():
            return False, "all places for devices are taken"
        return True, "ready"

    def close(self) -> None:
        """Wait for the model's thread no longer."""
        if self._asked is not None:
            self._asked[0].cancel()
