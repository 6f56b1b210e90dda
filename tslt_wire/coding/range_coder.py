"""An integer range coder with 64 bits of range, carries, and one shortest ending.

Spec section 5.3.  The encoder narrows an interval, one symbol after another; the bytes are the shortest string of
digits (base 256) in the last interval.  A decoder can tell whether bytes are that string, so one sequence of symbols
has one encoding.  A symbol is a part ``[start, start + size)`` of ``total`` equal parts, total at most 2**52.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Sequence

from tslt_wire.coding.plain_bits import Plain, PlainReader, PlainWriter
from tslt_wire.errors import DecodeError, ErrorCode

_TOP = 64
_LOW = 1 << 56
_MASK = (1 << _TOP) - 1
WINDOW_BYTES = 8
"""Bytes of the interval that a decoder holds; the last of them may lie behind the end, and are 0."""


def ending(low: int, span: int) -> tuple[int, int]:
    """Return the shortest ending in ``[low, low + span)``: how many bytes of the window, and their value in 64 bits.

    A span has 2**56 or more, so one byte will do.
    """
    value = _up(low, 0)
    return (0, value) if value < low + span else (1, _up(low, 1))


def closed_ending(low: int, span: int) -> tuple[int, int]:
    """Return the same of endings that stay in the interval whatever bytes follow: one or two bytes."""
    value = _up(low, 1)
    return (1, value) if value + _LOW <= low + span else (2, _up(low, 2))


def _up(low: int, count: int) -> int:
    """The least value from ``low`` on that ``count`` bytes of the window can say."""
    shift = _TOP - 8 * count
    return -(-low >> shift) << shift


class RangeEncoder:
    """Collects symbols and returns them as bytes."""

    def __init__(self) -> None:
        self._low = 0
        self._range = _MASK
        self._out = bytearray()

    def put(self, start: int, size: int, total: int) -> None:
        """Append a symbol; 0 <= start, 1 <= size, start + size <= total <= 2**52."""
        part = self._range // total
        low, span = self._low + part * start, part * size
        if low > _MASK:
            self._carry()
            low &= _MASK
        while span < _LOW:
            self._out.append(low >> 56)
            low = low << 8 & _MASK
            span <<= 8
        self._low, self._range = low, span

    def _carry(self) -> None:
        at = len(self._out) - 1
        while self._out[at] == 0xFF:
            self._out[at] = 0
            at -= 1
        self._out[at] += 1

    def leave(self) -> None:
        """End the symbols so that any bytes may follow; ``resume`` says which."""
        count, value = closed_ending(self._low, self._range)
        if value > _MASK:
            self._carry()
        self._out += (value & _MASK).to_bytes(WINDOW_BYTES, "big")[:count]

    def resume(self, plain: bytes) -> None:
        """Go on with symbols behind ``plain``."""
        self._out += plain
        self._low, self._range = 0, _MASK

    def finish(self, least: int = 0) -> bytes:
        """Everything, in the fewest bytes that are at least ``least``; zero bytes at the end change nothing."""
        count, value = ending(self._low, self._range)
        if value > _MASK:
            self._carry()
        return (bytes(self._out) + (value & _MASK).to_bytes(WINDOW_BYTES, "big")[:count]).ljust(least, b"\0")


class RangeDecoder:
    """Reads symbols from bytes; every method raises DecodeError for bytes that no encoder writes."""

    def __init__(self, data: bytes | memoryview) -> None:
        self.data = bytes(data)
        self._size = 1
        self.resume(0)

    def resume(self, first: int) -> None:
        """Go on with symbols at the byte ``first``."""
        self._at = first + WINDOW_BYTES
        self._code = int.from_bytes(self.data[first : self._at].ljust(WINDOW_BYTES, b"\0"), "big")
        self._window = self._code
        self._range = _MASK

    def leave(self) -> int:
        """Return the byte behind the symbols; they must have ended as ``RangeEncoder.leave`` ends them."""
        low = self._window - self._code
        count, value = closed_ending(low, self._range)
        first = self._at - WINDOW_BYTES + count
        if first > len(self.data):
            raise DecodeError(ErrorCode.TRUNCATED, "the bytes end before the symbols do")
        if (value ^ self._window) >> _TOP - 8 * count:
            raise DecodeError(ErrorCode.NON_CANONICAL, "these symbols have another encoding")
        return first

    def peek(self, total: int) -> int:
        """Which of ``total`` parts the next symbol is in; ``take`` must follow."""
        self._size = self._range // total
        part = self._code // self._size
        if part >= total:
            raise DecodeError(ErrorCode.NON_CANONICAL, "no encoder writes these bytes: they are between two symbols")
        return part

    def take(self, start: int, size: int) -> None:
        """Go past the symbol ``[start, start + size)``, which ``peek`` was in."""
        code, span = self._code - self._size * start, self._size * size
        while span < _LOW:
            if self._at >= len(self.data) + WINDOW_BYTES:
                raise DecodeError(ErrorCode.TRUNCATED, "the bytes end before the symbols do")
            byte = self.data[self._at] if self._at < len(self.data) else 0
            self._at += 1
            code = code << 8 | byte
            self._window = (self._window << 8 | byte) & _MASK
            span <<= 8
        self._code, self._range = code, span

    def uniform(self, total: int) -> int:
        """Read one of ``total`` equally likely values."""
        if total <= 1:
            return 0
        value = self.peek(total)
        self.take(value, 1)
        return value

    def __len__(self) -> int:
        """Bytes there are."""
        return len(self.data)

    def finish(self, least: int = 0) -> None:
        """Check that the bytes are the one encoding, of at least ``least`` bytes, of the symbols that were read."""
        count, value = ending(self._window - self._code, self._range)
        size = max(self._at - WINDOW_BYTES + count, least)
        if len(self.data) > size:
            raise DecodeError(ErrorCode.TRAILING_BYTES, f"{len(self.data) - size} bytes follow the last symbol")
        if len(self.data) < size or value != self._window or any(self.data[self._at :]):
            raise DecodeError(ErrorCode.NON_CANONICAL, "these symbols have another encoding")


class Coder(ABC):
    """One description of a model for both directions: each method is given a value and returns the one that travels.

    A ``Writer`` is given the value and returns it; a ``Reader`` is given anything and returns what the bytes say.
    """

    reads: bool
    """Whether values come from bytes."""

    def part(self, name: str) -> None:  # noqa: B027 - who does not count need not listen
        """Say what the next symbols and plain bits belong to, for readers that count (``metering``)."""

    @abstractmethod
    def uniform(self, value: int, total: int) -> int:
        """Code one of ``total`` equally likely values."""

    @abstractmethod
    def chance(self, value: int, ones: int, total: int) -> int:
        """Code 0 or 1, where 1 has ``ones`` of ``total`` parts (the last ones) and 0 the others; each at least one."""

    @abstractmethod
    def choose(self, value: int, weights: Sequence[int], total: int) -> int:
        """Code an index of ``weights``, integers >= 0 with the sum ``total``; that of ``value`` is above 0."""

    @abstractmethod
    def locate(self, value: int, starts: Sequence[int]) -> int:
        """Code an index by running sums: i is the part from ``starts[i]`` to ``starts[i + 1]`` of ``starts[-1]``."""

    @abstractmethod
    def pick(self, value: int, total: int, part: Callable[[int], tuple[int, int]], find: Callable[[int], int]) -> int:
        """Code a value that is ``part(value)``, start and size, of ``total``; ``find`` says which one a part is in."""

    @abstractmethod
    def leave(self) -> Plain:
        """End the symbols for now: plain bits follow, until ``resume``."""

    @abstractmethod
    def resume(self) -> None:
        """End the plain bits: symbols follow, if anything does."""

    @abstractmethod
    def promise(self, least: int) -> None:
        """Say that there will be at least ``least`` bytes; a reader refuses at once if there are fewer."""


class Writer(Coder):
    """Codes into a ``RangeEncoder``."""

    reads = False

    def __init__(self) -> None:
        self.encoder = RangeEncoder()
        self._plain = PlainWriter()
        self._least = 0

    def leave(self) -> Plain:
        """See Coder.leave."""
        self.encoder.leave()
        self._plain = PlainWriter()
        return self._plain

    def resume(self) -> None:
        """See Coder.resume."""
        self.encoder.resume(self._plain.finish())

    def promise(self, least: int) -> None:
        """See Coder.promise."""
        self._least = max(self._least, least)

    def finish(self) -> bytes:
        """Everything, and as many bytes as were promised."""
        return self.encoder.finish(self._least)

    def uniform(self, value: int, total: int) -> int:
        """See Coder.uniform."""
        if total > 1:
            self.encoder.put(value, 1, total)
        return value

    def chance(self, value: int, ones: int, total: int) -> int:
        """See Coder.chance."""
        if value:
            self.encoder.put(total - ones, ones, total)
        else:
            self.encoder.put(0, total - ones, total)
        return value

    def choose(self, value: int, weights: Sequence[int], total: int) -> int:
        """See Coder.choose."""
        self.encoder.put(sum(weights[:value]), weights[value], total)
        return value

    def locate(self, value: int, starts: Sequence[int]) -> int:
        """See Coder.locate."""
        self.encoder.put(starts[value], starts[value + 1] - starts[value], starts[-1])
        return value

    def pick(self, value: int, total: int, part: Callable[[int], tuple[int, int]], find: Callable[[int], int]) -> int:
        """See Coder.pick."""
        self.encoder.put(*part(value), total)
        return value


class Reader(Coder):
    """Codes from a ``RangeDecoder``."""

    reads = True

    def __init__(self, data: bytes | memoryview) -> None:
        self.decoder = RangeDecoder(data)
        self._plain = PlainReader(self.decoder.data, 0)
        self._least = 0

    def leave(self) -> Plain:
        """See Coder.leave."""
        self._plain = PlainReader(self.decoder.data, self.decoder.leave())
        return self._plain

    def resume(self) -> None:
        """See Coder.resume."""
        self.decoder.resume(self._plain.finish())

    def promise(self, least: int) -> None:
        """See Coder.promise."""
        if least > len(self.decoder):
            raise DecodeError(ErrorCode.TRUNCATED, f"{least} bytes are needed and there are {len(self.decoder)}")
        self._least = max(self._least, least)

    def finish(self) -> None:
        """Check that the bytes are the one encoding of what was read."""
        self.decoder.finish(self._least)

    def uniform(self, value: int, total: int) -> int:
        """See Coder.uniform."""
        return self.decoder.uniform(total)

    def chance(self, value: int, ones: int, total: int) -> int:
        """See Coder.chance."""
        decoder = self.decoder
        if decoder.peek(total) >= total - ones:
            decoder.take(total - ones, ones)
            return 1
        decoder.take(0, total - ones)
        return 0

    def choose(self, value: int, weights: Sequence[int], total: int) -> int:
        """See Coder.choose."""
        part = self.decoder.peek(total)
        found, start = 0, 0
        while part >= start + weights[found]:
            start += weights[found]
            found += 1
        self.decoder.take(start, weights[found])
        return found

    def locate(self, value: int, starts: Sequence[int]) -> int:
        """See Coder.locate."""
        found = bisect_right(starts, self.decoder.peek(starts[-1])) - 1
        self.decoder.take(starts[found], starts[found + 1] - starts[found])
        return found

    def pick(self, value: int, total: int, part: Callable[[int], tuple[int, int]], find: Callable[[int], int]) -> int:
        """See Coder.pick."""
        found = find(self.decoder.peek(total))
        self.decoder.take(*part(found))
        return found
