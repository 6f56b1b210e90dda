"""The block of extensions at the start of a frame.

Spec section 3.4.
"""

from __future__ import annotations

from tslt_wire.coding.bits import BitReader, BitWriter
from tslt_wire.errors import DecodeError, ErrorCode
from tslt_wire.limits import DecodeLimits
from tslt_wire.messages.extensions import CHOICE, CHOICE_BYTES, Extension


def write_extensions(out: BitWriter, extensions: tuple[Extension, ...]) -> None:
    """Append the block of extensions; ValueError if their types do not ascend."""
    types = [extension.type for extension in extensions]
    if types != sorted(set(types)):
        raise ValueError(f"extensions must have ascending, distinct types, got {types}")
    out.varint(len(extensions))
    for extension in extensions:
        out.varint(extension.type)
        out.varint(len(extension.data))
        out.raw(extension.data)


def read_extensions(data: BitReader, limits: DecodeLimits, *, choice: bool) -> tuple[Extension, ...]:
    """Read the block; ``choice``: the frame is a draft, which may name a proposal."""
    count = data.varint()
    if count > limits.max_extensions:
        raise DecodeError(ErrorCode.LIMIT_EXCEEDED, f"{count} extensions where {limits.max_extensions} are allowed")
    if count == 0:
        raise DecodeError(ErrorCode.NON_CANONICAL, "the extension flag is set and there is none")
    found: list[Extension] = []
    for _ in range(count):
        type_, size = data.varint(), data.varint()
        is_choice = choice and type_ == CHOICE
        if type_ & 1 and not is_choice:
            raise DecodeError(ErrorCode.UNKNOWN_CRITICAL_EXTENSION, f"extension {type_} must be understood and is not")
        if found and type_ <= found[-1].type:
            raise DecodeError(ErrorCode.NON_CANONICAL, "extensions must have ascending, distinct types")
        if is_choice and size != CHOICE_BYTES:
            raise DecodeError(ErrorCode.OUT_OF_RANGE, f"extension {type_} has {CHOICE_BYTES} byte, not {size}")
        found.append(Extension(type_, data.raw(size)))
    return tuple(found)
