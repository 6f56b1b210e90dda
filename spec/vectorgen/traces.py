"""What the reference decoder reads, step by step: fields of bits, symbols, and where symbols end.

Its classes ``Bits`` and ``RangeDecoder`` are replaced, while it decodes, by some that do the same and write it down.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from spec import reference_decoder as ref

RULES = {  # functions of the reference decoder: what their symbols say
    "size": "[RLIST-1] size",
    "set": "[RLIST-3] SET",
    "split": "[RLIST-3] SPLIT",
    "old_ids": "[RLIST-5] old id",
    "float_codes": "[RLIST-6] code",
    "walked": "[RLIST-7] entries of a level",
    "log_codes": "[RLIST-7] level of an id",
    "lengths": "[RLIST-15] length",
    "tail": "[RLIST-12] tail",
    "range_tokens": "[RLIST-9] token",
}


@dataclass(frozen=True)
class Field:
    """Bits that were read as one number, or as bytes."""

    first: int
    """Position of the first bit."""
    bits: str
    """In the order of the string."""
    value: int | bytes
    reader: str
    """The function of the reference decoder that asked for it."""


@dataclass(frozen=True)
class Symbol:
    """A symbol, with what the decoder held before it."""

    rule: str
    what: str
    start: int
    size: int
    total: int
    code: int
    range: int


@dataclass(frozen=True)
class Ending:
    """Where symbols end: for plain bits ([RANGE-6]) or for good ([RANGE-5])."""

    for_good: bool
    last: int
    """w"""
    code: int
    range: int
    count: int
    value: int
    """v"""
    after: int
    """The byte behind it."""


@dataclass
class Trace:
    """What was read, in order, by kind of thing."""

    fields: list[Field] = field(default_factory=list)
    symbols: list[Symbol] = field(default_factory=list)
    endings: list[Ending] = field(default_factory=list)
    value: Any = None
    """What it means."""


def traced(decode: Callable[..., Any], data: bytes, profile: ref.Profile) -> Trace:
    """Decode and write down."""
    found = Trace()

    class Bits(ref.Bits):
        inside = False

        def field(self, bits: int) -> int:
            return int(self.note(super().field, bits))

        def varint(self) -> int:
            return int(self.note(super().varint))

        def octets(self, count: int) -> bytes:
            return bytes(self.note(super().octets, count))

        def note(self, read: Callable[..., Any], *arguments: int) -> Any:
            if self.inside:
                return read(*arguments)
            self.inside, first = True, self.at
            value = read(*arguments)
            self.inside = False
            string = "".join(str(self.content[i // 8] >> i % 8 & 1) for i in range(first, self.at))
            found.fields.append(Field(first, string, value, reader()))
            return value

    class RangeDecoder(ref.RangeDecoder):
        what = ""

        def uniform(self, total: int) -> int:
            self.what = f"UNIFORM({{0}}, {total})"
            return super().uniform(total)

        def chance(self, part: int, total: int) -> bool:
            self.what = f"CHANCE({{1}}, {part}, {total})"
            return super().chance(part, total)

        def choose(self, weights: Sequence[int]) -> int:
            ends = [sum(weights[:i]) for i in range(len(weights))]
            place = {end: i for i, end in enumerate(ends) if weights[i]}
            self.what = f"CHOOSE of {len(weights)}"
            chosen = super().choose(weights)
            found.symbols[-1] = symbol_with(found.symbols[-1], f"CHOOSE({place[found.symbols[-1].start]}, w)")
            return chosen

        def take(self, start: int, size: int, total: int) -> None:
            what = self.what.format(start, int(start > 0))
            found.symbols.append(Symbol(RULES[reader()], what, start, size, total, self.code, self.range))
            super().take(start, size, total)

        def leave(self) -> ref.Bits:
            bits = super().leave()
            self.ended(bits.at // 8, for_good=False)
            return bits

        def end(self) -> None:
            super().end()
            self.ended(len(self.data), for_good=True)

        def ended(self, after: int, *, for_good: bool) -> None:
            last = int.from_bytes(self.window(self.read - 8), "big")
            count = after - (self.read - 8) if not for_good else self.count()
            unit = 2 ** (64 - 8 * count)
            value = -(-(last - self.code) // unit) * unit
            found.endings.append(Ending(for_good, last, self.code, self.range, count, value, after))

        def count(self) -> int:
            low = int.from_bytes(self.window(self.read - 8), "big") - self.code
            units = (2 ** (64 - 8 * count) for count in range(9))
            return next(i for i, unit in enumerate(units) if -(-low // unit) * unit < low + self.range)

    with mock.patch.object(ref, "Bits", Bits), mock.patch.object(ref, "RangeDecoder", RangeDecoder):
        found.value = decode(data, profile)
    return found


def symbol_with(symbol: Symbol, what: str) -> Symbol:
    """``symbol``, said in other words."""
    return Symbol(symbol.rule, what, symbol.start, symbol.size, symbol.total, symbol.code, symbol.range)


def reader() -> str:
    """The function of the reference decoder that asks: not a comprehension, nor of its two classes."""
    frame: Any = sys._getframe(1)
    while (
        frame.f_code.co_filename == __file__
        or frame.f_code.co_name.startswith("<")
        or isinstance(frame.f_locals.get("self"), (ref.Bits, ref.RangeDecoder))
    ):
        frame = frame.f_back
    return str(frame.f_code.co_name)
