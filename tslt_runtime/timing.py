"""How long the edge took for a round, told to devices that ask for it.

An ignorable extension of the edge's answers (spec/registry.md, type 2): a device that wants its time split into draft,
link and verify puts ``"timing": true`` into its HELLO, and pays about 6 bytes an answer for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import tslt_wire as tw
from tslt_wire.messages.extensions import VERIFY_TIME, data_of, with_extension

WANTED = {"timing": True}
"""What a device adds to its HELLO (field ``extra``) to be told."""


def wants_timing(hello: tw.Hello) -> bool:
    """Whether a device asked to be told."""
    return hello.extra.get("timing") is True


def with_verify_time(answer: tw.Answer, seconds: float) -> tw.Answer:
    """``answer`` with the time it took attached."""
    micros = max(0, round(seconds * 1e6))
    data = micros.to_bytes(max(1, (micros.bit_length() + 7) // 8), "little")
    return replace(answer, extensions=with_extension(answer.extensions, tw.Extension(VERIFY_TIME, data)))


def verify_seconds(extensions: Sequence[tw.Extension]) -> float:
    """Seconds the edge took for an answer with these extensions; 0.0 if it did not say."""
    return int.from_bytes(data_of(extensions, VERIFY_TIME) or b"", "little") / 1e6
