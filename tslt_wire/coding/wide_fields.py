"""Fields of compressed content: columns of numbers in whole bytes, so that a byte compressor finds what repeats.

Spec section 3.5.  Everything else in a compressed body is packed as ever; only what ``BitWriter`` calls tokens, ids and
codes looks different.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tslt_wire.coding.bits import BitReader, BitWriter

_TOO_LARGE = (1 << 31) - 1
"""What ids beyond any vocabulary are read as: still no id, and no overflow."""


def bytes_of(width: int) -> int:
    """Whole bytes of a number of ``width`` bits."""
    return -(-width // 8)


class WideWriter(BitWriter):
    """Writes the wide form of a body or a list."""

    def tokens(self, values: npt.NDArray[Any], width: int) -> None:
        """Whole bytes, one number after another."""
        self.align()
        self.array(values, 8 * bytes_of(width))

    def ids(self, values: npt.NDArray[Any], width: int) -> None:
        """Gaps, in planes."""
        self.codes(np.diff(values.astype(np.int64), prepend=-1) - 1, width)

    def codes(self, values: npt.NDArray[Any], width: int) -> None:
        """Planes: the lowest byte of every number, then the next byte of every number."""
        self.align()
        for plane in range(bytes_of(width)):
            self.array(values.astype(np.int64) >> 8 * plane & 0xFF, 8)


class WideReader(BitReader):
    """Reads the wide form, and keeps count of what the packed form would take."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._surplus = 0

    @property
    def packed_bytes(self) -> int:
        """Bytes in the packed form of what has been read."""
        return -(-(self._at - self._surplus) // 8)

    def align(self) -> None:
        """See BitReader.align; the packed form has no such bits."""
        self._surplus += -self._at % 8
        super().align()

    def finish(self) -> None:
        """See BitReader.finish; the packed form has its own padding."""
        self._surplus += self.left
        super().finish()

    def tokens(self, count: int, width: int) -> npt.NDArray[np.uint32]:
        """Inverse of ``WideWriter.tokens``."""
        self.align()
        self._surplus += count * (8 * bytes_of(width) - width)
        return self.array(count, 8 * bytes_of(width))

    def ids(self, count: int, width: int) -> npt.NDArray[np.uint32]:
        """Inverse of ``WideWriter.ids``: always ascending, but maybe outside the vocabulary."""
        gaps = self.codes(count, width).astype(np.int64)
        return np.minimum(np.cumsum(gaps + 1) - 1, _TOO_LARGE).astype(np.uint32)

    def codes(self, count: int, width: int) -> npt.NDArray[np.uint32]:
        """Inverse of ``WideWriter.codes``."""
        self.align()
        planes = bytes_of(width)
        self._surplus += count * (8 * planes - width)
        octets = np.frombuffer(self.raw(count * planes), np.uint8).reshape(planes, count).astype(np.uint32)
        found = np.zeros(count, np.uint32)
        for plane in range(planes):
            found |= octets[plane] << np.uint32(8 * plane)
        return found
