"""The block of extensions at the start of a frame.

Spec section 3.4.
"""

from __future__ import annotations

from tslt_wire.coding.bits import BitReader, BitWriter
from tslt_wire.errors import DecodeError, ErrorCode
from tslt_wire.limits import DecodeLimits
from tslt_wire.messages.extensions import (
    CHOICE,
    CHOICE_BYTES,
    FLIGHT,
    FLIGHT_BYTES,
    LOG_PROB_BYTES,
    LOG_PROBS,
    PADDING,
    RETRY_AFTER,
    RETRY_AFTER_BYTES,
    VERIFY_TIME,
    VERIFY_TIME_BYTES,
    Extension,
)

Known = dict[int, range]
"""The types that a kind of frame knows, and how many bytes of data each may have."""
OF_ALL: Known = {PADDING: range(1 << 32)}
OF_DRAFTS: Known = OF_ALL | {
    CHOICE: range(CHOICE_BYTES, CHOICE_BYTES + 1),
    FLIGHT: range(1, FLIGHT_BYTES + 1),
}
OF_ANSWERS: Known = OF_ALL | {
    VERIFY_TIME: range(1, VERIFY_TIME_BYTES + 1),
    LOG_PROBS: range(LOG_PROB_BYTES, 1 << 17, LOG_PROB_BYTES),
}
OF_ERRORS: Known = OF_ALL | {RETRY_AFTER: range(1, RETRY_AFTER_BYTES + 1)}
_NUMBERS = (VERIFY_TIME, RETRY_AFTER)


def write_extensions(out: BitWriter, extensions: tuple[Extension, ...], known: Known) -> None:
    """Append the block of extensions; ValueError if their types do not ascend, or one is not for this kind of frame."""
    types = [extension.type for extension in extensions]
    if types != sorted(set(types)):
        raise ValueError(f"extensions must have ascending, distinct types, got {types}")
    for extension in extensions:
        if extension.type & 1 and extension.type not in known:
            raise ValueError(f"extension {extension.type} is not for this kind of frame")
        if extension.type in known and len(extension.data) not in known[extension.type]:
            raise ValueError(f"extension {extension.type} cannot have {len(extension.data)} bytes")
        if extension.type in known and _is_longer(extension):
            raise ValueError(f"extension {extension.type} must be as short as can be, got {extension.data.hex()}")
        if _is_no_flight(extension):
            raise ValueError(f"extension {FLIGHT} cannot say {extension.data.hex()}: see tw.Flight")
        if extension.type == PADDING and any(extension.data):
            raise ValueError(f"extension {PADDING} is padding and must be zeros, got {extension.data[:16].hex()}")
    out.varint(len(extensions))
    for extension in extensions:
        out.varint(extension.type)
        out.varint(len(extension.data))
        out.raw(extension.data)


def read_extensions(data: BitReader, limits: DecodeLimits, known: Known) -> tuple[Extension, ...]:
    """Read the block of a kind of frame that knows the types ``known``."""
    count = data.varint()
    if count > limits.max_extensions:
        raise DecodeError(ErrorCode.LIMIT_EXCEEDED, f"{count} extensions where {limits.max_extensions} are allowed")
    if count == 0:
        raise DecodeError(ErrorCode.NON_CANONICAL, "the extension flag is set and there is none")
    found: list[Extension] = []
    for _ in range(count):
        type_, size = data.varint(), data.varint()
        if type_ & 1 and type_ not in known:
            raise DecodeError(ErrorCode.UNKNOWN_CRITICAL_EXTENSION, f"extension {type_} must be understood and is not")
        if found and type_ <= found[-1].type:
            raise DecodeError(ErrorCode.NON_CANONICAL, "extensions must have ascending, distinct types")
        if type_ in known and size not in known[type_]:
            raise DecodeError(ErrorCode.OUT_OF_RANGE, f"extension {type_} cannot have {size} bytes")
        found.append(Extension(type_, data.raw(size)))
        if type_ in known and _is_longer(found[-1]):
            raise DecodeError(ErrorCode.NON_CANONICAL, f"extension {type_} is not as short as can be")
        if _is_no_flight(found[-1]):
            raise DecodeError(
                ErrorCode.OUT_OF_RANGE, "a draft neither follows nor goes on, or names a leaf and does not go on"
            )
        if type_ == PADDING and any(found[-1].data):
            raise DecodeError(ErrorCode.RESERVED_BITS, "padding is not zeros")
    return tuple(found)


def _is_longer(extension: Extension) -> bool:
    """Whether a number in it has bytes of 0 at its end, which fewer bytes can say."""
    number = extension.data[1:] if extension.type == FLIGHT else extension.data
    return extension.type in (*_NUMBERS, FLIGHT) and len(number) > 1 and number[-1] == 0


def _is_no_flight(extension: Extension) -> bool:
    """Whether it says that a draft neither follows nor goes on, or names a leaf of one that does not go on."""
    if extension.type != FLIGHT:
        return False
    return not extension.data[0] & 3 or (len(extension.data) > 1 and not extension.data[0] & 2)
