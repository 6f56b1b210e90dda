"""How frames lie on a byte stream (the QUIC transport's one stream).

A unit is a canonical LEB128 varint n of at most four bytes, then

    n >= 1    n bytes of a frame
    n == 0    one byte m >= 1, then m bytes of a control message (see ``control``)

so a frame costs 1 byte up to 127 bytes, 2 up to 16,383, 3 up to 2,097,151 and 4 up to 2**28 - 1.  A stream that ends
between units ended cleanly; one that ends inside a unit did not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tslt_transports.control import ControlError, decode_varint, encode_varint

MAX_PREFIX_BYTES: Final = 4
"""Bytes of the longest prefix: 28 bits of length."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit of the stream: a frame, or a control message."""

    data: bytes
    is_control: bool


def prefix_bytes(size: int) -> int:
    """How many bytes the prefix of a frame of ``size`` bytes has."""
    return max(1, -(-size.bit_length() // 7))  # 7 bits a byte


def encode_frame(frame: bytes) -> bytes:
    """Put the prefix before ``frame`` (1 .. 2**28 - 1 bytes)."""
    return encode_varint(len(frame)) + frame


def encode_control(data: bytes) -> bytes:
    """Make a unit of a control message (1..255 bytes)."""
    return bytes([0, len(data)]) + data


class UnitDecoder:
    """Cuts a stream into units; holds one unfinished unit at most."""

    def __init__(self, *, max_frame_bytes: int) -> None:
        """``max_frame_bytes``: the longest frame to take, in bytes; 0 takes none.  It may change between units."""
        self.max_frame_bytes = max_frame_bytes
        self._buffer = bytearray()
        self._wanted = 1  # bytes of ``_buffer`` below which there is nothing to find out

    @property
    def pending_bytes(self) -> int:
        """Bytes of the unfinished unit: at most its prefix and ``max_frame_bytes``, once ``feed`` is used up."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[Unit]:
        """Add ``data`` and yield the units that are complete.

        Raises ``ControlError``, before it waits for a byte of it, where a unit is longer than allowed or malformed.
        """
        self._buffer += data
        start = 0
        while len(self._buffer) - start >= self._wanted:
            decoded = decode_varint(self._buffer, start, max_bytes=MAX_PREFIX_BYTES)
            if decoded is None:
                break
            size, body = decoded
            is_control = size == 0
            if is_control:
                if body == len(self._buffer):
                    break
                size, body = self._buffer[body], body + 1
                if size == 0:
                    raise ControlError("an empty control message")
            elif size > self.max_frame_bytes:
                if not self.max_frame_bytes:
                    raise ControlError("a frame came before the greeting")
                raise ControlError(f"a frame of {size} bytes, the limit is {self.max_frame_bytes}")
            end = body + size
            if end > len(self._buffer):
                self._wanted = end - start
                break
            yield Unit(bytes(memoryview(self._buffer)[body:end]), is_control)
            start, self._wanted = end, 1
        del self._buffer[:start]
