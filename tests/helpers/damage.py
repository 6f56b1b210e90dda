"""Bytes that were damaged on their way, or made to look as if they were not."""

from __future__ import annotations

import zlib


def every(count: int, most: int) -> range:
    """All of 0..count-1, or at most ``most`` of them at a stride that is odd, so that all bit positions are met."""
    return range(0, count, max(1, -(-count // most)) | 1)


def flipped(data: bytes, bit: int) -> bytes:
    """``data`` with one bit changed."""
    return data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]


def sealed(content: bytes) -> bytes:
    """A frame of ``content`` with the checksum that belongs to it."""
    return content + zlib.crc32(content).to_bytes(4, "little")
