"""Messages to frames and back.

Spec section 3.  A frame is one kind byte, optional extensions, the body, and a CRC-32; it is read with nothing but its
own bytes and the profile.  The bodies of prompts and drafts may be compressed (section 3.5).  What a body looks like
stands in the table of kinds.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

from tslt_wire import checks
from tslt_wire._native import backend
from tslt_wire.coding.bits import BitReader, BitWriter
from tslt_wire.coding.compression import check_shorter, open_compressed, shorter
from tslt_wire.coding.metering import Meter, MeteredBits, MeteredWide
from tslt_wire.coding.wide_fields import WideReader
from tslt_wire.errors import DecodeError, ErrorCode
from tslt_wire.frames.extensions import read_extensions, write_extensions
from tslt_wire.frames.kernel_drafts import kernel_decode, kernel_encode
from tslt_wire.frames.kinds import BY_KIND, row_of
from tslt_wire.limits import DEFAULT_FRAME_BYTES, DecodeLimits
from tslt_wire.lists.profile import Profile, check_profile
from tslt_wire.messages.message import Message

CRC_BYTES = 4
_HAS_EXTENSIONS = 0x40
_COMPRESSED = 0x80
KIND_MASK = 0x3F
HANDSHAKE_PROFILE = Profile(vocab_size=1)
"""Enough to read HELLO, WELCOME, ERROR and BYE, whose layout depends on nothing negotiated."""


def encode(message: Message, profile: Profile, *, max_frame_bytes: int = DEFAULT_FRAME_BYTES) -> bytes:
    """The one frame that stands for ``message``; under ``entropy="zstd"``, the shorter of two.

    ``max_frame_bytes`` is the receiver's limit: nothing is compressed that it would not decompress.  Raises ValueError
    if the message does not fit the profile (a token outside the vocabulary, lists of another one), MissingPackage if a
    long prompt or draft is to be compressed and zstandard is not there, TypeError for arguments of other types.
    """
    max_frame_bytes = _check_writing(message, profile, max_frame_bytes)
    frame = kernel_encode(message, profile) if backend == "native" else None
    return _encode(message, profile, max_frame_bytes) if frame is None else frame


def encode_reference(message: Message, profile: Profile, *, max_frame_bytes: int = DEFAULT_FRAME_BYTES) -> bytes:
    """Do what ``encode`` does without the kernel: this defines the bytes."""
    return _encode(message, profile, _check_writing(message, profile, max_frame_bytes))


def _check_writing(message: Any, profile: Any, max_frame_bytes: Any) -> int:
    if not isinstance(message, Message):
        raise TypeError(f"expected a message, got {type(message).__name__}")
    check_profile(profile)
    return checks.integer("max_frame_bytes", max_frame_bytes, 1, None)


def _encode(message: Message, profile: Profile, max_frame_bytes: int) -> bytes:
    row, extensions = row_of(message), message.extensions
    flags = _HAS_EXTENSIONS if extensions else 0
    out = BitWriter()
    row.write(out, message, profile)
    body = out.finish()
    if profile.entropy == "zstd" and row.compressible:
        compressed = shorter(lambda wide: row.write(wide, message, profile), body, max_frame_bytes)
        if compressed is not None:
            body, flags = compressed, flags | _COMPRESSED
    head = BitWriter()
    head.bits(row.kind | flags, 8)
    if extensions:
        write_extensions(head, extensions, row.extensions)
    content = head.finish() + body
    return content + zlib.crc32(content).to_bytes(CRC_BYTES, "little")


def decode(data: bytes | bytearray | memoryview, profile: Profile, *, limits: DecodeLimits | None = None) -> Message:
    """The message that ``data``, one whole frame, stands for.

    Raises DecodeError, and nothing else, for bytes that ``encode`` with this profile would not have written; under
    ``entropy="zstd"`` other compressors' frames of the same content are read, too.  A compressed frame needs zstandard
    (MissingPackage).  TypeError for arguments of other types.
    """
    octets = _check_reading(data, profile, limits)
    message = kernel_decode(octets, profile, limits) if backend == "native" else None
    return _decode(octets, profile, limits) if message is None else message


def decode_reference(
    data: bytes | bytearray | memoryview, profile: Profile, *, limits: DecodeLimits | None = None
) -> Message:
    """Do what ``decode`` does without the kernel: this defines which bytes are messages."""
    return _decode(_check_reading(data, profile, limits), profile, limits)


def decode_metered(
    data: bytes | bytearray | memoryview, profile: Profile, meter: Meter, *, limits: DecodeLimits | None = None
) -> Message:
    """Do what ``decode_reference`` does, and count in ``meter``, a fresh one, the bits of each part of the frame.

    After a DecodeError ``meter`` holds what was read before it, and the name of the part that it was found in.
    """
    octets = _check_reading(data, profile, limits)
    meter.inside = Meter()

    def packed(body: memoryview) -> BitReader:
        meter.enter("kind")
        meter.add(8)
        return MeteredBits(body, meter)

    message = _decode(octets, profile, limits, packed, partial(MeteredWide, meter=meter.inside))
    meter.enter("checksum")
    meter.add(8 * CRC_BYTES)
    return message


def _check_reading(data: Any, profile: Any, limits: Any) -> bytes | memoryview:
    check_profile(profile)
    if limits is not None and not isinstance(limits, DecodeLimits):
        raise TypeError(f"limits must be DecodeLimits or None, got {limits!r}")
    return checks.octets("a frame", data)


def _decode(
    data: bytes | memoryview,
    profile: Profile,
    limits: DecodeLimits | None,
    packed: Callable[[memoryview], BitReader] = BitReader,
    wide: Callable[[bytes], WideReader] = WideReader,
) -> Message:
    limits = limits or DecodeLimits()
    view = memoryview(data)
    if len(view) > limits.max_frame_bytes:
        raise DecodeError(
            ErrorCode.LIMIT_EXCEEDED, f"a frame of {len(view)} bytes where {limits.max_frame_bytes} are allowed"
        )
    if len(view) < 1 + CRC_BYTES:
        raise DecodeError(ErrorCode.TRUNCATED, f"a frame has at least {1 + CRC_BYTES} bytes, got {len(view)}")
    content, checksum = view[:-CRC_BYTES], view[-CRC_BYTES:]
    if zlib.crc32(content) != int.from_bytes(checksum, "little"):
        raise DecodeError(ErrorCode.BAD_CHECKSUM, "the frame was damaged on its way, or is not exactly one frame")
    compressed = bool(content[0] & _COMPRESSED)
    row = BY_KIND.get(content[0] & KIND_MASK)
    if compressed and (profile.entropy != "zstd" or row is None or not row.compressible):
        raise DecodeError(ErrorCode.RESERVED_BITS, "bit 7 of the kind byte must be 0 in this frame or session")
    if row is None:
        raise DecodeError(ErrorCode.UNKNOWN_KIND, f"frame kind 0x{content[0] & KIND_MASK:02x}")
    reader = packed(content[1:])
    has_extensions = content[0] & _HAS_EXTENSIONS
    reader.part("extensions")
    extensions = read_extensions(reader, limits, row.extensions) if has_extensions else ()
    if not compressed:
        message = row.read(reader, profile, limits, extensions)
        reader.finish()
        return message
    reader.part("compressed")
    data = reader.raw(reader.left // 8)
    body = open_compressed(data, limits.max_frame_bytes, wide)
    message = row.read(body, profile, limits, extensions)
    body.finish()
    check_shorter(data, body.packed_bytes)
    return message
