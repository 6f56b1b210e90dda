"""Bits by part: readers that count what a frame spends on each of its fields, while the reference reads it.

For who looks into frames (``frames.codec.decode_metered``); nothing else makes these readers.  The code that reads a
body says what follows by ``part``, which does nothing in a plain reader.  A symbol of the range coder counts as what it
narrows the coder's interval by, a number of bits that is seldom whole.
"""

from __future__ import annotations

from math import log2
from typing import NamedTuple

import numpy as np

from tslt_wire.coding.bits import BitReader
from tslt_wire.coding.plain_bits import Plain
from tslt_wire.coding.range_coder import RangeDecoder, Reader
from tslt_wire.coding.wide_fields import WideReader

PADDING = "padding"
CODER_END = "coder_end"
"""What a range coder's bytes have beyond its symbols and plain bits.  It can be negative, by less than a byte: bytes
behind the end are read as 0."""
STEPS_A_BIT = 1024
"""Symbols' bits are rounded to so many parts of a bit, which floats add up without an error."""


class Part(NamedTuple):
    """One field of a frame, or what belongs to one, and its bits."""

    name: str
    bits: float


class Meter:
    """The parts of one frame in the order in which they are read; what was read before an error is there, too."""

    def __init__(self) -> None:
        self.name = ""
        """Part that is being read."""
        self.inside: Meter | None = None
        """Of a compressed body, the parts of what it was before it was compressed."""
        self._names: list[str] = []
        self._bits: list[float] = []

    @property
    def parts(self) -> tuple[Part, ...]:
        """All parts so far; those of a message that was read to its end have together the bits of its frame."""
        return tuple(map(Part, self._names, self._bits))

    @property
    def start(self) -> float:
        """Bits before the part that is being read."""
        last = bool(self._names) and self._names[-1] == self.name
        return sum(self._bits) - (self._bits[-1] if last else 0)

    def enter(self, name: str) -> None:
        """Begin a part, even if one of that name was before it."""
        self.name = name
        self._names.append(name)
        self._bits.append(0.0)

    def add(self, bits: float) -> None:
        """Count ``bits`` for the part that is being read."""
        if bits and (not self._names or self._names[-1] != self.name):
            self.enter(self.name)
        if bits:
            self._bits[-1] += bits

    def close(self, first: int, total: int) -> None:
        """End a range coder's output of ``total`` bits: the parts from number ``first`` on, and the rest as its end."""
        for i in range(first, len(self._bits)):
            self._bits[i] = round(self._bits[i] * STEPS_A_BIT) / STEPS_A_BIT
        self.name = CODER_END
        self.add(total - sum(self._bits[first:]))

    def __len__(self) -> int:
        """Number of parts so far."""
        return len(self._names)


class MeteredBits(BitReader):
    """A BitReader that counts."""

    def __init__(self, data: bytes | memoryview, meter: Meter) -> None:
        super().__init__(data)
        self.meter = meter

    def part(self, name: str) -> None:
        """See BitReader.part."""
        self.meter.enter(name)

    def _go_on(self, count: int) -> int:
        at = super()._go_on(count)
        self.meter.add(count)
        return at

    def align(self) -> None:
        """See BitReader.align; the part that was being read goes on behind the padding."""
        name, self.meter.name = self.meter.name, PADDING
        super().align()
        self.meter.name = name

    def finish(self) -> None:
        """See BitReader.finish."""
        self.meter.name = PADDING
        super().finish()

    def symbols(self) -> MeteredReader:
        """See BitReader.symbols."""
        count = self.left // 8
        at = super()._go_on(8 * count)  # not counted here: the reader counts them
        octets = np.packbits(self._bits[at : at + 8 * count], bitorder="little").tobytes()
        return MeteredReader(octets, self.meter)


class MeteredWide(MeteredBits, WideReader):
    """A WideReader that counts."""


class _MeteredDecoder(RangeDecoder):
    def __init__(self, data: bytes, meter: Meter) -> None:
        super().__init__(data)
        self._meter = meter

    def take(self, start: int, size: int) -> None:
        bits = log2(self._range) - log2(self._size * size)
        super().take(start, size)
        self._meter.add(bits)


class MeteredReader(Reader):
    """A Reader of a range coder's output that counts."""

    def __init__(self, data: bytes, meter: Meter) -> None:
        super().__init__(data)
        self.decoder = _MeteredDecoder(data, meter)
        self.meter = meter
        self._first = len(meter)
        self._counted: int | None = None
        """Plain bits up to here are counted; None between symbols."""

    def part(self, name: str) -> None:
        """See Coder.part."""
        self._count_plain()
        self.meter.enter(name)

    def leave(self) -> Plain:
        """See Coder.leave."""
        plain = super().leave()
        self._counted = self._plain.position
        return plain

    def resume(self) -> None:
        """See Coder.resume."""
        self._count_plain()
        self._counted = None
        super().resume()

    def finish(self) -> None:
        """See Reader.finish."""
        self.meter.name = CODER_END
        super().finish()
        self.meter.close(self._first, 8 * len(self.decoder))

    def _count_plain(self) -> None:
        if self._counted is not None:
            self.meter.add(self._plain.position - self._counted)
            self._counted = self._plain.position
