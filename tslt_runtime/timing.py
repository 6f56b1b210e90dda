"""How long the edge took for a round, for how many others it worked meanwhile and what a row takes of its passes, told
to devices that ask for it.

Ignorable extensions of the edge's answers (spec/registry.md, types 2, 10 and 12): a device that wants its time split
into draft, link and verify puts ``"timing": true`` into its HELLO, and pays about 6 bytes an answer for it, and 7 more
where the edge has others to work for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import tslt_wire as tw
from tslt_wire.messages.extensions import (
    OTHERS,
    ROW_TIME,
    ROW_TIME_BYTES,
    VERIFY_TIME,
    data_of,
    shortest,
    with_extension,
)

WANTED = {"timing": True}
"""What a device adds to its HELLO (field ``extra``) to be told."""
MOST_OTHERS = 255
"""The most that is told: so many, or more."""


def wants_timing(hello: tw.Hello) -> bool:
    """Whether a device asked to be told."""
    return hello.extra.get("timing") is True


def with_verify_time(answer: tw.Answer, seconds: float) -> tw.Answer:
    """``answer`` with the time it took attached."""
    data = shortest(max(0, round(seconds * 1e6)))
    return replace(answer, extensions=with_extension(answer.extensions, tw.Extension(VERIFY_TIME, data)))


def with_others(answer: tw.Answer, others: int) -> tw.Answer:
    """``answer`` with the number of others attached, if there are any."""
    if others < 1:
        return answer
    data = bytes([min(others, MOST_OTHERS)])
    return replace(answer, extensions=with_extension(answer.extensions, tw.Extension(OTHERS, data)))


def with_row_time(answer: tw.Answer, seconds: float) -> tw.Answer:
    """``answer`` with what a row adds to a pass attached, if that is a microsecond or more."""
    micros = min(round(seconds * 1e6), (1 << 8 * ROW_TIME_BYTES) - 1)
    if micros < 1:
        return answer
    return replace(answer, extensions=with_extension(answer.extensions, tw.Extension(ROW_TIME, shortest(micros))))


def others_of(extensions: Sequence[tw.Extension]) -> int:
    """For how many others the edge worked; 0 if it did not say, or nothing that can be read."""
    data = data_of(extensions, OTHERS) or b""
    return data[0] if len(data) == 1 else 0


def row_seconds(extensions: Sequence[tw.Extension]) -> float:
    """Seconds that a row adds to a pass; 0.0 if the edge did not say, or nothing that can be read."""
    data = data_of(extensions, ROW_TIME) or b""
    return int.from_bytes(data, "little") / 1e6 if len(data) <= ROW_TIME_BYTES else 0.0


def verify_seconds(extensions: Sequence[tw.Extension]) -> float:
    """Seconds the edge took for an answer with these extensions; 0.0 if it did not say."""
    return int.from_bytes(data_of(extensions, VERIFY_TIME) or b"", "little") / 1e6
