"""Plain bits between two parts of a range coder's output: ids and codes of long lists.

Spec sections 5.3 and 5.4.  A range coder costs some ten nanoseconds a symbol; a list of hundreds of entries has better
things to do.  Ids are gaps whose widths follow the gaps before, codes have prefix codes; both are whole bits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tslt_wire.errors import DecodeError, ErrorCode

GAP_STEPS = 6
"""A gap of fewer than so many times 2**k has its number of these in ones; each further bit doubles the step."""
GAP_BITS = 20
"""Bits of the largest gap."""
_ZEROS = tuple((value & -value).bit_length() - 1 if value else GAP_STEPS for value in range(1 << GAP_STEPS))
"""Bits of 0 below the first 1, of GAP_STEPS bits."""
_WINDOW_BYTES = 48
_LEAST_BITS = 64
"""More than any field has, and any gap."""


class Plain(ABC):
    """Fields in both directions: each method is given values and returns those that travel."""

    @abstractmethod
    def gaps(self, values: Sequence[int], count: int, free: int) -> list[int]:
        """Code ``count`` places below ``free``, ascending."""

    @abstractmethod
    def symbols(self, values: Sequence[int], count: int, lengths: Sequence[int]) -> list[int]:
        """Code ``count`` indices of ``lengths`` by the prefix code of these, at least two of which are not 0."""

    @abstractmethod
    def fields(self, values: Sequence[int], count: int, width: int) -> list[int]:
        """Code ``count`` numbers of ``width`` bits, at most 32."""


class PlainWriter(Plain):
    """Collects fields."""

    def __init__(self) -> None:
        self._values: list[npt.NDArray[np.uint64]] = []
        self._widths: list[npt.NDArray[np.int64]] = []

    @property
    def size(self) -> int:
        """Bits so far."""
        return sum(int(widths.sum()) for widths in self._widths)

    def put(self, values: npt.NDArray[np.uint64], widths: npt.NDArray[np.int64]) -> None:
        """Append fields of at most 64 bits."""
        self._values.append(values)
        self._widths.append(widths)

    def gaps(self, values: Sequence[int], count: int, free: int) -> list[int]:
        """See Plain.gaps."""
        places = np.array(values, dtype=np.int64)
        gaps = np.diff(places, prepend=-1) - 1
        k = np.array(_widths(gaps.tolist(), free), dtype=np.int64)
        steps = gaps >> k
        over = np.maximum(steps - (GAP_STEPS - 1), 1)
        more = np.frexp(over.astype(np.float64))[1].astype(np.int64) - 1  # bitlen(over) - 1
        zeros = np.where(steps < GAP_STEPS, steps, GAP_STEPS + more)
        rest = gaps - (np.where(steps < GAP_STEPS, steps, GAP_STEPS - 1 + (1 << more)) << k)
        self.put(((1 | rest << 1) << zeros).astype(np.uint64), zeros + 1 + k + more)
        return list(values)

    def symbols(self, values: Sequence[int], count: int, lengths: Sequence[int]) -> list[int]:
        """See Plain.symbols."""
        at = np.array(values, dtype=np.int64)
        self.put(np.array(prefix_codes(lengths), dtype=np.uint64)[at], np.array(lengths, dtype=np.int64)[at])
        return list(values)

    def fields(self, values: Sequence[int], count: int, width: int) -> list[int]:
        """See Plain.fields."""
        self.put(np.array(values, dtype=np.uint64), np.full(count, width, dtype=np.int64))
        return list(values)

    def finish(self) -> bytes:
        """All fields, filled with 0 bits to a whole byte."""
        if not self._values:
            return b""
        values, widths = np.concatenate(self._values), np.concatenate(self._widths)
        ends = np.cumsum(widths)
        starts = ends - widths
        words = np.zeros((int(ends[-1]) >> 6) + 2, dtype="<u8")
        shifts = (starts & 63).astype(np.uint64)
        one = np.uint64(1)
        for place, part in (
            (starts >> 6, values << shifts),
            ((starts >> 6) + 1, values >> one >> (np.uint64(63) - shifts)),
        ):
            firsts = np.flatnonzero(np.diff(place, prepend=-1))
            words[place[firsts]] |= np.bitwise_or.reduceat(part, firsts)
        return words.tobytes()[: -(-int(ends[-1]) // 8)]


def first_mean(count: int, free: int) -> int:
    """16 times the mean gap that is expected at first, of ``count`` ids of ``free``: small ids are near each other."""
    return free // (2 * count)


def _widths(gaps: Sequence[int], free: int) -> list[int]:
    """How many low bits each gap has in its field, k: by the mean of about 16 gaps before it.

    A gap far above the mean counts as one of 8 times the mean.
    """
    mean, found = first_mean(len(gaps), free), []
    for gap in gaps:
        found.append((9 * mean >> 8).bit_length())
        most = (mean >> 1) + 8
        mean += (gap if gap < most else most) - (mean >> 4)
    return found


class PlainReader(Plain):
    """Reads fields from bytes; every method raises DecodeError for bytes that no writer writes."""

    def __init__(self, data: bytes, first: int) -> None:
        """``first``: the byte that the fields start in."""
        self._data = data
        self._at = 8 * first
        self._end = 8 * len(data)

    @property
    def position(self) -> int:
        """Bits before the next field, from the first byte on."""
        return self._at

    def gaps(self, values: Sequence[int], count: int, free: int) -> list[int]:
        """See Plain.gaps."""
        place, mean, found, window, bits = -1, first_mean(count, free), [], 0, 0
        for _ in range(count):
            if bits < _LEAST_BITS:
                window, bits = self._window(bits)
            k = (9 * mean >> 8).bit_length()  # as in _widths
            zeros = _ZEROS[window & 63]
            if zeros < GAP_STEPS:
                gap = zeros << k | window >> zeros + 1 & (1 << k) - 1
                used = zeros + 1 + k
            else:
                gap, used = self._long_gap(window, bits, k)
            bits -= used
            window >>= used
            place += gap + 1
            if place >= free or self._at - bits > self._end:
                if self._at - bits > self._end:
                    raise _truncated()
                raise DecodeError(ErrorCode.BAD_LIST, "an id behind the last one")
            most = (mean >> 1) + 8
            mean += (gap if gap < most else most) - (mean >> 4)
            found.append(place)
        self._at -= bits
        return found

    def _long_gap(self, window: int, bits: int, k: int) -> tuple[int, int]:
        """A gap of GAP_STEPS steps or more, and how many bits it has."""
        zeros = (window & -window).bit_length() - 1
        most = GAP_STEPS + GAP_BITS - k
        if not 0 <= zeros <= most:
            left = self._end - self._at + bits
            raise _truncated() if left <= most else DecodeError(ErrorCode.BAD_LIST, "a gap above 2**20")
        more = zeros - GAP_STEPS
        gap = (GAP_STEPS - 1 + (1 << more) << k) + (window >> zeros + 1 & (1 << k + more) - 1)
        return gap, zeros + 1 + k + more

    def symbols(self, values: Sequence[int], count: int, lengths: Sequence[int]) -> list[int]:
        """See Plain.symbols."""
        longest = max(lengths)
        mask = (1 << longest) - 1
        table = [(0, 0)] * (mask + 1)
        for level, (code, length) in enumerate(zip(prefix_codes(lengths), lengths, strict=True)):
            if length:
                table[code :: 1 << length] = [(level, length)] * (1 << longest - length)
        found, window, bits = [], 0, 0
        for _ in range(count):
            if bits < longest:
                window, bits = self._window(bits)
            level, length = table[window & mask]
            window >>= length
            bits -= length
            found.append(level)
        self._at -= bits
        if self._at > self._end:
            raise _truncated()
        return found

    def fields(self, values: Sequence[int], count: int, width: int) -> list[int]:
        """See Plain.fields."""
        if count * width > self._end - self._at:
            raise _truncated()
        first, last = self._at >> 3, -(-(self._at + count * width) // 8)
        bits = np.unpackbits(np.frombuffer(self._data, np.uint8)[first:last], bitorder="little")[self._at & 7 :]
        self._at += count * width
        powers = np.left_shift(1, np.arange(width, dtype=np.int64))
        return list((bits[: count * width].reshape(count, width) @ powers).tolist())

    def _window(self, bits: int) -> tuple[int, int]:
        """What follows the bits that are read and used, ``bits`` fewer than are read."""
        start = self._at - bits
        first = start >> 3
        self._at = 8 * (first + _WINDOW_BYTES)
        return int.from_bytes(self._data[first : first + _WINDOW_BYTES], "little") >> (start & 7), self._at - start

    def finish(self) -> int:
        """Check that the rest of the last byte is 0; return the byte behind it."""
        after = -(-self._at // 8)
        if self._at & 7 and self._data[after - 1] >> (self._at & 7):
            raise DecodeError(ErrorCode.RESERVED_BITS, "the bits after the last field must be 0")
        return after


def prefix_codes(lengths: Sequence[int]) -> list[int]:
    """Codes of the lengths, as fields: the bit that comes first is the lowest.  0 for levels that have none.

    Codes of one length follow each other, from the lowest level up, behind those of the shorter ones.
    """
    number, before = 0, 0
    codes = [0] * len(lengths)
    for length, level in sorted((length, level) for level, length in enumerate(lengths) if length):
        number <<= length - before
        codes[level] = int(f"{number:0{length}b}"[::-1], 2)
        number, before = number + 1, length
    return codes


def _truncated() -> DecodeError:
    return DecodeError(ErrorCode.TRUNCATED, "the bytes end before the fields do")
