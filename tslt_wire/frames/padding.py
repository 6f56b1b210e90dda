"""Frames of a few sizes only: an extension of zeros brings them to a multiple.

Spec section 3.4, ``[PAD-1]``.  Sizes tell how many tokens a draft has and how sure the draft model is of them; padded
ones tell less, and cost what they are longer.
"""

from __future__ import annotations

import zlib

from tslt_wire.coding.bits import BitReader, BitWriter
from tslt_wire.messages.extensions import PADDING

_CRC_BYTES = 4
_HAS_EXTENSIONS = 0x40


def padded(frame: bytes, multiple: int, *, max_frame_bytes: int, max_extensions: int) -> bytes:
    """``frame``, made by ``encode``, at the next multiple of ``multiple`` bytes that an extension can bring it to.

    As it is where it has such a size, where the receiver's limits leave no room, or where it ends with extensions that
    come after padding.
    """
    body, types, start = _parts(frame)
    if len(frame) % multiple == 0 or len(types) >= max_extensions or any(type_ >= PADDING for type_ in types):
        return frame
    block = frame[start:body]
    for size in range(len(frame) + multiple - len(frame) % multiple, max_frame_bytes + 1, multiple):
        head = BitWriter()
        head.bits(frame[0] | _HAS_EXTENSIONS, 8)
        head.varint(len(types) + 1)
        head.raw(block)
        head.varint(PADDING)
        front = head.finish()
        rest = size - len(front) - (len(frame) - body)
        for length_bytes in range(1, 5):
            zeros = BitWriter()
            zeros.varint(max(0, rest - length_bytes))
            if len(zeros.finish()) == length_bytes and rest >= length_bytes:
                content = front + zeros.finish() + bytes(rest - length_bytes) + frame[body:-_CRC_BYTES]
                return content + zlib.crc32(content).to_bytes(_CRC_BYTES, "little")
    return frame


def _parts(frame: bytes) -> tuple[int, list[int], int]:
    """Where the body begins, the types of the extensions before it, and where these begin, behind their count."""
    if not frame[0] & _HAS_EXTENSIONS:
        return 1, [], 1
    reader = BitReader(memoryview(frame)[1:])
    types, count = [], reader.varint()
    start = len(frame) - reader.left // 8
    for _ in range(count):
        types.append(reader.varint())
        reader.raw(reader.varint())
    return len(frame) - reader.left // 8, types, start
