"""Compressed bodies: their size, then one zstd frame (RFC 8878).

Spec section 3.5.  What the frame says of itself is checked here, byte by byte, before the library sees it: how much
memory it may ask for is known by then, and a library's habits do not decide what is a message.
``zstandard`` is imported when something really is compressed or decompressed, and not before.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

from tslt_wire.coding.bits import BitReader, BitWriter
from tslt_wire.coding.wide_fields import WideReader, WideWriter
from tslt_wire.errors import DecodeError, ErrorCode, MissingPackage

LEVEL = 5
"""Compression level: dense lists of 32,000 entries take a millisecond (``benchmarks/constructions.md``)."""
WORTH_TRYING = 64
"""Bodies of fewer bytes are left alone: a zstd frame alone has 9 bytes more than what is in it."""
MAX_WINDOW = 1 << 23
"""Bytes a zstd frame may look back: what RFC 8878 asks every decoder to support."""
MAX_BLOCK = 1 << 17
NEEDS = "entropy='zstd' needs the package zstandard: pip install 'tslt-wire[zstd]'"

_MAGIC = (0xFD2FB528).to_bytes(4, "little")
_SINGLE_SEGMENT = 0x20
_FORBIDDEN = 0x1F
"""Flags that must be 0: an unused bit, a reserved bit, a content checksum, a dictionary (2 bits)."""
_SIZE_BYTES = (1, 2, 4, 8)
_RLE, _RESERVED = 1, 3


def available() -> bool:
    """Whether this installation can compress and decompress."""
    return importlib.util.find_spec("zstandard") is not None


def shorter(write: Callable[[BitWriter], None], packed: bytes, max_bytes: int) -> bytes | None:
    """The compressed form of what ``write`` writes and ``packed`` holds, or None if it is not worth it.

    ``max_bytes`` is what the receiver decompresses at most.  MissingPackage without zstandard, unless ``packed`` is
    too short to be tried.
    """
    if len(packed) < WORTH_TRYING:
        return None
    zstandard = _library()
    out = WideWriter()
    write(out)
    content = out.finish()
    if len(content) > max_bytes:
        return None
    size = BitWriter()
    size.varint(len(content))
    compressor = zstandard.ZstdCompressor(
        level=LEVEL, write_content_size=True, write_checksum=False, write_dict_id=False
    )
    found = size.finish() + bytes(compressor.compress(content))
    return found if len(found) < len(packed) else None


def open_compressed(data: bytes, max_bytes: int, reader: Callable[[bytes], WideReader] = WideReader) -> WideReader:
    """A reader of the content of ``data``, a size and one zstd frame; DecodeError if it is none.

    Nothing is allocated for a content of more than ``max_bytes``.  ``reader`` makes the reader.
    """
    head = BitReader(data)
    size = head.varint()
    if size > max_bytes:
        raise DecodeError(ErrorCode.LIMIT_EXCEEDED, f"{size} bytes of content where {max_bytes} are allowed")
    frame = head.raw(head.left // 8)
    check_frame(frame, size)
    zstandard = _library()
    try:
        content: bytes = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).decompress(frame, max_output_size=size)
    except zstandard.ZstdError as error:
        raise DecodeError(ErrorCode.BAD_COMPRESSION, f"zstd: {error}") from error
    return reader(content)


def check_shorter(data: bytes, packed_bytes: int) -> None:
    """Refuse a compressed form ``data`` that is no shorter than the packed one."""
    if len(data) >= packed_bytes:
        raise DecodeError(
            ErrorCode.NON_CANONICAL, f"{len(data)} compressed bytes where {packed_bytes} would do without compression"
        )


def check_frame(frame: bytes, size: int) -> None:
    """Refuse what is not exactly one zstd frame, with no dictionary, for ``size`` bytes; blocks are not looked into."""
    _need(frame, 5)
    flags = frame[4]
    if frame[:4] != _MAGIC or flags & _FORBIDDEN:
        raise DecodeError(ErrorCode.BAD_COMPRESSION, f"no zstd frame of the plain kind: {frame[:5].hex(' ')}")
    single = bool(flags & _SINGLE_SEGMENT)
    size_bytes = _SIZE_BYTES[flags >> 6]
    if size == 0 or (flags >> 6 == 0 and not single):
        raise DecodeError(ErrorCode.BAD_COMPRESSION, "the size of the content is 0, or the zstd frame does not say it")
    at = 5 if single else 6
    _need(frame, at + size_bytes)
    window = size if single else _window(frame[5])
    if window > MAX_WINDOW:
        raise DecodeError(ErrorCode.LIMIT_EXCEEDED, f"a window of {window} bytes where {MAX_WINDOW} are allowed")
    said = int.from_bytes(frame[at : at + size_bytes], "little") + (256 if size_bytes == 2 else 0)
    if said != size:
        raise DecodeError(ErrorCode.BAD_COMPRESSION, f"the zstd frame is for {said} bytes, {size} are announced")
    end = _end_of_blocks(frame, at + size_bytes, min(window, MAX_BLOCK))
    if end < len(frame):
        raise DecodeError(ErrorCode.TRAILING_BYTES, f"{len(frame) - end} bytes follow the zstd frame")


def _end_of_blocks(frame: bytes, at: int, max_block: int) -> int:
    last = False
    while not last:
        _need(frame, at + 3)
        header = int.from_bytes(frame[at : at + 3], "little")
        last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
        if kind == _RESERVED or size > max_block:
            raise DecodeError(ErrorCode.BAD_COMPRESSION, f"a zstd block of type {kind} and {size} bytes")
        at += 3 + (1 if kind == _RLE else size)
        _need(frame, at)
    return at


def _window(descriptor: int) -> int:
    base = 1 << 10 + (descriptor >> 3)
    return base + base // 8 * (descriptor & 7)


def _need(frame: bytes, count: int) -> None:
    if len(frame) < count:
        raise DecodeError(ErrorCode.TRUNCATED, f"{count} bytes of a zstd frame are needed, {len(frame)} are there")


def _library() -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise MissingPackage(NEEDS) from error
    return zstandard
