"""One call at a time, which goes on in the background if its caller is cancelled: half of it cannot be undone."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import tslt_wire as tw

T = TypeVar("T")


class OneCall:
    """What a device has under way."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._running: asyncio.Task[Any] | None = None
        self._waited_for = False

    @property
    def busy(self) -> bool:
        """Whether something is under way, or over and not asked for."""
        return self._running is not None

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do ``work`` in a task of its own, which goes on if the caller is cancelled."""
        self._running = asyncio.create_task(work)
        found: T = await self.finish()
        return found

    async def finish(self) -> Any:
        """Wait for what is under way and return what it gave; whoever waits for it last gets it.

        LocalProtocolError where another task waits for it, or nothing is under way.
        """
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

    async def cancel(self) -> None:
        """Give up what is under way."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
            self._running = None
