"""Threads beside the event loop: one that runs a model, a call at a time, and those that compare drafts with its rows.

Two passes at once would fight over the same cores and finish no sooner; and while one runs, heartbeats and other
devices go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


class Worker:
    """One thread, or a few; first come, first served."""

    def __init__(self, name: str, *, threads: int = 1) -> None:
        """``name``: of the threads, for who looks at a running process."""
        self._thread = ThreadPoolExecutor(max_workers=threads, thread_name_prefix=name)

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call ``function`` in the thread and return what it returns; its exceptions are raised here.

        A cancelled caller leaves at once; the call, if it has begun, goes on to its end, and later ones wait for it.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    def submit(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """Call ``function`` in the thread; for threads that have no event loop."""
        return self._thread.submit(function, *arguments)

    def later(self, function: Callable[[], object]) -> None:
        """Call ``function`` in the thread, after what was asked for before, without waiting; nothing once closed."""
        with suppress(RuntimeError):  # closed: the process is ending, and its memory with it
            self._thread.submit(function)

    def close(self) -> None:
        """Take no more calls; those that have begun go on to their end."""
        self._thread.shutdown(wait=False, cancel_futures=True)
