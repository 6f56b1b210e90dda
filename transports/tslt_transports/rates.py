"""How often something may happen, and a log that cannot be flooded."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

LOG_LINES_A_SECOND: Final = 10
"""Lines that strangers can make us log; what is left out is counted in the next one."""


class RateLimit:
    """At most ``most`` times in a second, counted from the first time in it."""

    def __init__(self, most: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock``: seconds."""
        self._most = most
        self._clock = clock
        self._since = -1.0
        self._count = 0

    def take(self) -> bool:
        """Note that it happens; False where that is once too often."""
        now = self._clock()
        if now - self._since >= 1:
            self._since, self._count = now, 0
        self._count += 1
        return self._count <= self._most


class LimitedLog:
    """A logger for what strangers cause: ``LOG_LINES_A_SECOND`` lines at most."""

    def __init__(self, log: logging.Logger, *, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock``: seconds."""
        self._log = log
        self._limit = RateLimit(LOG_LINES_A_SECOND, clock=clock)
        self._left_out = 0

    def warning(self, message: str, *values: object) -> None:
        """As ``Logger.warning``, or count it."""
        if not self._limit.take():
            self._left_out += 1
            return
        if self._left_out:
            message, values = message + " (and %d lines like it that were left out)", (*values, self._left_out)
            self._left_out = 0
        self._log.warning(message, *values)
