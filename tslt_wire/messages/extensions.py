"""Extension fields of a frame.

Spec section 3.4.  This version carries any ignorable one, and knows seven: the choice of a draft and how it stands
among those in flight, which are critical; the time that an answer took, the log probabilities of its tokens, the time
after which to come again, some tokens, padding.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tslt_wire import checks

CHOICE = 1
"""Type of the extension in which a draft names the proposal that the device took (spec section 6.7)."""
CHOICE_BYTES = 1
"""Bytes of its data: the index of the proposal."""
FLIGHT = 3
"""Type of the extension in which a draft says how it stands among those in flight (``messages.flight``)."""
FLIGHT_BYTES = 5
"""Most bytes of its data: how it stands, and of a tree the leaf it goes on from."""
VERIFY_TIME = 2
"""Type of the extension in which an answer says how long the edge took (spec section 6.2)."""
VERIFY_TIME_BYTES = 8
"""Most bytes of its data: microseconds, little-endian, as short as can be."""
LOG_PROBS = 4
"""Type of the extension in which an answer says how probable its tokens were (spec section 6.2)."""
LOG_PROB_BYTES = 2
"""Bytes of a token's."""
RETRY_AFTER = 6
"""Type of the extension in which an ERROR says when to come again (spec section 7.5)."""
RETRY_AFTER_BYTES = 4
"""Most bytes of its data: milliseconds, little-endian, as short as can be."""
PADDING = 32
"""Type of the extension, of any frame, that only makes it longer (spec section 3.4): its data is zeros."""
MOST_PADDING = 1 << 16
"""The largest number that lengths of frames can be asked to be a multiple of."""
TOKENS = 8
"""Type of the extension in which an ERROR tells some of the edge's tokens (spec section 7.9)."""
OTHERS = 10
"""Type of the extension in which an answer says how many others the edge worked for meanwhile (spec section 6.2)."""
ROW_TIME = 12
"""Type of the extension in which an answer says what a row adds to a pass of the target (spec section 6.2)."""
ROW_TIME_BYTES = 4
"""Most bytes of its data: microseconds, little-endian, as short as can be."""


@dataclass(frozen=True, slots=True)
class Extension:
    """One extension: a type of the registry and bytes.  ValueError for types that this version cannot carry."""

    type: int
    """Registry number, even: ignorable by who does not know it.  Odd numbers are critical and unknown ones refused."""
    data: bytes

    def __post_init__(self) -> None:
        if not isinstance(self.data, bytes):
            raise TypeError(f"data of an extension must be bytes, got {self.data!r}")
        object.__setattr__(self, "type", checks.integer("type of an extension", self.type, 0, None))
        most = {CHOICE: CHOICE_BYTES, FLIGHT: FLIGHT_BYTES}.get(self.type, 0)
        if 1 <= len(self.data) <= most:
            return
        if self.type >= 1 << 32 or self.type & 1:
            raise ValueError(
                f"extension types this version can carry are even and below 2**32, or {CHOICE} with {CHOICE_BYTES} "
                f"byte or {FLIGHT} with 1 to {FLIGHT_BYTES}; got {self.type} with {len(self.data)}"
            )


def shortest(number: int) -> bytes:
    """``number``, 0 or more, little-endian in as few bytes as can be, one at least."""
    return number.to_bytes(max(1, -(-number.bit_length() // 8)), "little")


def data_of(extensions: Iterable[Extension], type_: int) -> bytes | None:
    """The data of the extension of a type; None if there is none."""
    return next((extension.data for extension in extensions if extension.type == type_), None)


def with_extension(extensions: Iterable[Extension], one: Extension) -> tuple[Extension, ...]:
    """``extensions`` and ``one``, which takes the place of another of its type, in ascending order."""
    kept = [extension for extension in extensions if extension.type != one.type]
    return tuple(sorted((*kept, one), key=lambda extension: extension.type))


def choice_of(extensions: tuple[Extension, ...]) -> int | None:
    """The index that a draft with these extensions names; None if it names none."""
    data = data_of(extensions, CHOICE)
    return None if data is None else data[0]


def choice_extension(index: int) -> Extension:
    """The extension that names proposal ``index``; ValueError outside 0..255."""
    most = (1 << 8 * CHOICE_BYTES) - 1
    return Extension(CHOICE, bytes([checks.integer("the index of a proposal", index, 0, most)]))
