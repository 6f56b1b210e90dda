"""An edge's log: as text or as JSON lines, and no more of one kind than somebody can read.

Peers can cause lines, so each kind of line has a rate; what is left out is counted, and the count is logged.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Callable
from typing import TextIO

from tslt_runtime.operating.budgets import Bucket

LINES_PER_S = 1.0
"""Lines of a kind a second, in the long run."""
LINES_AT_ONCE = 20
"""Lines of a kind that may come at once after a rest."""
MOST_KINDS = 500
"""Kinds that are told apart; there are as many as places in the code that log.  Beyond it those of a logger are one."""
VARIES = re.compile(r"0x[0-9a-fA-F]+|[0-9a-fA-F]{8,}|\d+")
"""What differs in lines of a kind that a library fills in itself: numbers, addresses, names of connections."""
OTHERS = "other lines"
LEFT_OUT = "%d more like this were left out: %s"
FORMATS = ("text", "json")


class JsonLines(logging.Formatter):
    """One JSON object a line: ``time`` (ISO 8601, UTC), ``level``, ``logger``, ``message``; ``error``: a trace."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record; what peers said is escaped, so that it stays one line."""
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)


class LimitedHandler(logging.StreamHandler[TextIO]):
    """Writes to a stream, each kind of line at a bounded rate.

    A kind is a logger and a text before it was filled in, whatever numbers are in it.
    """

    def __init__(self, stream: TextIO | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        """``stream``: None is standard error; ``clock``: seconds."""
        super().__init__(sys.stderr if stream is None else stream)
        self._clock = clock
        self._kinds: dict[tuple[str, str], tuple[Bucket, list[int]]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or count it as left out."""
        now = self._clock()
        key = (record.name, VARIES.sub("#", str(record.msg)[:200]))
        if key not in self._kinds and len(self._kinds) >= MOST_KINDS:
            key = (record.name, OTHERS)
        if key not in self._kinds:
            self._kinds[key] = Bucket(LINES_PER_S, LINES_AT_ONCE - 1, now), [0]
        self._tell(now)
        bucket, left_out = self._kinds[key]
        if bucket.wait_s(now) > 0:
            left_out[0] += 1
            return
        bucket.take(1, now)
        super().emit(record)

    def close(self) -> None:
        """Say what was left out last."""
        self._tell(float("inf"))
        super().close()

    def _tell(self, now: float) -> None:
        """Write how many lines were left out, of each kind that may be written again."""
        for (name, text), (bucket, left_out) in self._kinds.items():
            if left_out[0] and (now == float("inf") or bucket.wait_s(now) <= 0):
                count, left_out[0] = left_out[0], 0
                super().emit(logging.LogRecord(name, logging.WARNING, "", 0, LEFT_OUT, (count, text), None))


def set_up_logs(format_: str, level: int) -> None:
    """Log to standard error as ``format_`` says ("text" or "json"), what is at least as important as ``level``."""
    handler = LimitedHandler()
    handler.setFormatter(JsonLines() if format_ == "json" else logging.Formatter("%(name)s: %(message)s"))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
