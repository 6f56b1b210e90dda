"""Bit and byte fields: the writer and the reader every frame body goes through.

Spec section 3.  Bits fill a byte from its least significant bit up; a number's least significant bit comes first.  The
reader checks that the bytes are there before it allocates, and that padding is zero and nothing is left at the end.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from tslt_wire.coding.range_coder import Reader
from tslt_wire.errors import DecodeError, ErrorCode

Bits = npt.NDArray[np.uint8]

MAX_VARINT_BYTES = 5
"""Bytes of the longest varint: 35 bits, of which 32 are allowed."""
_MOST_PENDING_BITS = 1024
"""Bits that a writer keeps in one int: a longer one is copied by every number that is added."""


def id_bits(vocab_size: int) -> int:
    """Bits of one token id: ceil(log2(vocab_size)), 0 for a vocabulary of one."""
    return (vocab_size - 1).bit_length()


class BitWriter:
    """Collects fields and returns them as bytes."""

    def __init__(self) -> None:
        self._parts: list[Bits] = []
        self._length = 0  # bits, of all parts and of what is pending
        self._pending = self._pending_bits = 0  # single numbers behind the last part: an int is faster than an array

    def align(self) -> None:
        """Append zero bits up to the next whole byte."""
        self.bits(0, -self._length % 8)

    def bits(self, value: int, width: int) -> None:
        """Append ``value`` (0 <= value < 2**width) in ``width`` bits."""
        if value >> width:
            raise ValueError(f"value {value} does not fit {width} bits")
        self._pending |= int(value) << self._pending_bits
        self._pending_bits += width
        self._length += width
        if self._pending_bits > _MOST_PENDING_BITS:
            self._settle()

    def array(self, values: npt.NDArray[Any], width: int) -> None:
        """Append each of ``values`` (integers (N,), 0 <= v < 2**width) in ``width`` bits (at most 32)."""
        wide = np.asarray(values, dtype=np.uint64)
        if wide.size and int(wide.max()) >> width:
            raise ValueError(f"value {int(wide.max())} does not fit {width} bits")
        self._settle()
        shifts = np.arange(width, dtype=np.uint64)
        self._parts.append(((wide[:, None] >> shifts) & np.uint64(1)).astype(np.uint8).ravel())
        self._length += wide.size * width

    def _settle(self) -> None:
        """Make a part of what is pending."""
        octets = np.frombuffer(self._pending.to_bytes(-(-self._pending_bits // 8), "little"), np.uint8)
        self._parts.append(np.unpackbits(octets, count=self._pending_bits, bitorder="little"))
        self._pending = self._pending_bits = 0

    def varint(self, value: int) -> None:
        """Append ``value`` (0 <= value < 2**32): 7 bits a byte, lowest first, bit 7 says that more follow."""
        if not 0 <= value < 1 << 32:
            raise ValueError(f"a varint holds 0..2**32-1, got {value}")
        while value > 0x7F:
            self.bits(value & 0x7F | 0x80, 8)
            value >>= 7
        self.bits(value, 8)

    def raw(self, data: bytes) -> None:
        """Append ``data``, 8 bits a byte (at any bit position)."""
        self.bits(int.from_bytes(data, "little"), 8 * len(data))

    def tokens(self, values: npt.NDArray[Any], width: int) -> None:
        """Append the tokens of a prompt."""
        self.array(values, width)

    def ids(self, values: npt.NDArray[Any], width: int) -> None:
        """Append the ids of a list, strictly ascending."""
        self.array(values, width)

    def codes(self, values: npt.NDArray[Any], width: int) -> None:
        """Append the codes of a list."""
        self.array(values, width)

    def finish(self) -> bytes:
        """All fields, padded to whole bytes with zero bits."""
        if not self._parts:
            return self._pending.to_bytes(-(-self._pending_bits // 8), "little")
        self._settle()
        return np.packbits(np.concatenate(self._parts), bitorder="little").tobytes()


class BitReader:
    """Reads fields from bytes; every method raises DecodeError and never reads past the end."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = data
        self._at = 0

    @cached_property
    def _bits(self) -> Bits:
        """All bits, one in a byte; only where more than single numbers are read."""
        return np.unpackbits(np.frombuffer(self._data, np.uint8), bitorder="little")

    def part(self, name: str) -> None:
        """Say what the next fields belong to, for readers that count (``metering``); others do nothing."""

    @property
    def left(self) -> int:
        """Bits that have not been read."""
        return 8 * len(self._data) - self._at

    def _go_on(self, count: int) -> int:
        """Go ``count`` bits on; returns where they start."""
        if count > self.left:
            raise DecodeError(ErrorCode.TRUNCATED, f"{count} bits are needed and {self.left} are left")
        self._at += count
        return self._at - count

    def _take(self, count: int) -> Bits:
        at = self._go_on(count)
        return self._bits[at : at + count]

    def array(self, count: int, width: int) -> npt.NDArray[np.uint32]:
        """Read ``count`` numbers of ``width`` bits (at most 32); uint32 (count,)."""
        part = self._take(count * width).reshape(count, width)
        if width == 0:
            return np.zeros(count, np.uint32)
        padded = np.zeros((count, 32), np.uint8)
        padded[:, :width] = part
        return np.packbits(padded, axis=1, bitorder="little").view("<u4")[:, 0].astype(np.uint32)

    def tokens(self, count: int, width: int) -> npt.NDArray[np.uint32]:
        """Read the tokens of a prompt."""
        return self.array(count, width)

    def ids(self, count: int, width: int) -> npt.NDArray[np.uint32]:
        """Read the ids of a list."""
        return self.array(count, width)

    def codes(self, count: int, width: int) -> npt.NDArray[np.uint32]:
        """Read the codes of a list."""
        return self.array(count, width)

    def bits(self, width: int) -> int:
        """Read one number of ``width`` bits."""
        at = self._go_on(width)
        window = int.from_bytes(self._data[at // 8 : -(-(at + width) // 8)], "little")
        return window >> at % 8 & (1 << width) - 1

    def varint(self) -> int:
        """Read a varint; NON_CANONICAL if it has a needless last group, OUT_OF_RANGE if it does not fit 32 bits."""
        value = 0
        for i in range(MAX_VARINT_BYTES):
            group = self.bits(8)
            value |= (group & 0x7F) << (7 * i)
            if not group & 0x80:
                if i and not group:
                    raise DecodeError(ErrorCode.NON_CANONICAL, "a varint must not end in an empty group")
                if value >= 1 << 32:
                    break
                return value
        raise DecodeError(ErrorCode.OUT_OF_RANGE, "a varint must be below 2**32")

    def raw(self, count: int) -> bytes:
        """Read ``count`` bytes."""
        return self.bits(8 * count).to_bytes(count, "little")

    def symbols(self) -> Reader:
        """Read the whole bytes that are left as the output of a range coder."""
        return Reader(self.raw(self.left // 8))

    def ones(self, limit: int) -> int:
        """Read a unary number: 1 bits up to the first 0 bit, which is read too, or up to ``limit`` 1 bits."""
        window = self._bits[self._at : self._at + limit]
        zeros = np.flatnonzero(window == 0)
        if len(zeros):
            self._take(int(zeros[0]) + 1)
            return int(zeros[0])
        self._take(limit)
        return limit

    def align(self) -> None:
        """Go to the next whole byte; RESERVED_BITS if a bit on the way is 1."""
        if self.bits(-self._at % 8):
            raise DecodeError(ErrorCode.RESERVED_BITS, "padding bits must be 0")

    def finish(self) -> None:
        """Check that only zero padding, less than a byte of it, is left."""
        if self.left >= 8:
            raise DecodeError(ErrorCode.TRAILING_BYTES, f"{self.left // 8} bytes follow the content")
        if self.bits(self.left):
            raise DecodeError(ErrorCode.RESERVED_BITS, "padding bits must be 0")
