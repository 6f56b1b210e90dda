"""Which lines of the project an input reaches."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

from tests.fuzz.targets import TARGETS

_OURS = ("tslt_wire", "tslt_transports")


def reached(name: str, data: bytes) -> set[tuple[str, int, int]]:
    """(file, line before, line) of every step between lines that target ``name`` makes for ``data``."""
    found: set[tuple[str, int, int]] = set()

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        file = frame.f_code.co_filename
        if not any(part in file for part in _OURS):
            return None
        last = frame.f_lineno

        def lines(frame: FrameType, event: str, arg: Any) -> Any:
            nonlocal last
            if event == "line":
                found.add((file, last, frame.f_lineno))
                last = frame.f_lineno
            return lines

        return lines

    sys.settrace(trace)
    try:
        TARGETS[name][0](data or b"\0")
    finally:
        sys.settrace(None)
    return found
