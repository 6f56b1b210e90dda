"""Control maps: the deterministic msgpack subset that handshakes and errors are written in.

Spec section 7.1.  Maps with ascending string keys, integers in their shortest form, float64, booleans, nil, strings,
binary and arrays; nothing else of msgpack.  Hand-written because the core depends on numpy alone; any msgpack
library reads what it writes.
"""

from __future__ import annotations

import math
import struct
from typing import Any

from tslt_wire.errors import DecodeError, ErrorCode

MAX_CONTROL_DEPTH = 4
"""Nesting of arrays and maps: two more than any field needs."""

Control = dict[str, Any]


def pack(value: Any, depth: int = 0) -> bytes:
    """Encode nil, bool, int (64 bit), finite float, str, bytes, list, or dict with str keys; ValueError otherwise."""
    if depth > MAX_CONTROL_DEPTH:
        raise ValueError(f"control values nest at most {MAX_CONTROL_DEPTH} deep")
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return _pack_int(int(value))
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"control numbers are finite, got {value}")
        return struct.pack(">Bd", 0xCB, value + 0.0)
    if isinstance(value, str):
        data = value.encode()
        return _head(len(data), (0xA0, 32), (0xD9, 0xDA, 0xDB)) + data
    if isinstance(value, bytes):
        return _head(len(value), None, (0xC4, 0xC5, 0xC6)) + value
    if isinstance(value, (list, tuple)):
        head = _head(len(value), (0x90, 16), (None, 0xDC, 0xDD))
        return head + b"".join(pack(item, depth + 1) for item in value)
    if isinstance(value, dict):
        head = _head(len(value), (0x80, 16), (None, 0xDE, 0xDF))
        if not all(isinstance(key, str) for key in value):
            raise ValueError("control maps have string keys")
        return head + b"".join(pack(key) + pack(value[key], depth + 1) for key in sorted(value, key=str.encode))
    raise ValueError(f"control maps hold no {type(value).__name__}")


def _head(length: int, fix: tuple[int, int] | None, tags: tuple[int | None, int, int]) -> bytes:
    if fix and length < fix[1]:
        return bytes([fix[0] | length])
    if length < 1 << 8 and tags[0] is not None:
        return struct.pack(">BB", tags[0], length)
    if length < 1 << 16:
        return struct.pack(">BH", tags[1], length)
    return struct.pack(">BI", tags[2], length)


def _pack_int(value: int) -> bytes:
    if 0 <= value < 128:
        return bytes([value])
    if -32 <= value < 0:
        return struct.pack(">b", value)
    for tag, code, low, high in _INTS:
        if low <= value < high:
            return struct.pack(f">B{code}", tag, value)
    raise ValueError(f"control integers have at most 64 bits, got {value}")


_INTS = (
    (0xCC, "B", 0, 1 << 8),
    (0xCD, "H", 0, 1 << 16),
    (0xCE, "I", 0, 1 << 32),
    (0xCF, "Q", 0, 1 << 64),
    (0xD0, "b", -(1 << 7), 0),
    (0xD1, "h", -(1 << 15), 0),
    (0xD2, "i", -(1 << 31), 0),
    (0xD3, "q", -(1 << 63), 0),
)
_INT_BY_TAG = {tag: code for tag, code, _, _ in _INTS}
_LENGTH_BY_TAG = {
    **dict.fromkeys((0xD9, 0xC4), "B"),
    **dict.fromkeys((0xDA, 0xC5, 0xDC, 0xDE), "H"),
    **dict.fromkeys((0xDB, 0xC6, 0xDD, 0xDF), "I"),
}


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise DecodeError(ErrorCode.TRUNCATED, f"{count} bytes are needed and {len(self.data) - self.at} are left")
        part = self.data[self.at : self.at + count]
        self.at += count
        return part

    def number(self, code: str) -> Any:
        return struct.unpack(f">{code}", self.take(struct.calcsize(code)))[0]

    def value(self, depth: int) -> Any:
        if depth > MAX_CONTROL_DEPTH:
            raise DecodeError(ErrorCode.BAD_CONTROL, f"control values nest at most {MAX_CONTROL_DEPTH} deep")
        tag = self.take(1)[0]
        if tag < 0x80 or tag >= 0xE0:
            return tag if tag < 0x80 else tag - 256
        if tag in (0xC0, 0xC2, 0xC3):
            return {0xC0: None, 0xC2: False, 0xC3: True}[tag]
        if tag in _INT_BY_TAG:
            return self.number(_INT_BY_TAG[tag])
        if tag == 0xCB:
            return self.number("d")
        return self.sized(tag, depth)

    def sized(self, tag: int, depth: int) -> Any:
        if tag >= 0xC0 and tag not in _LENGTH_BY_TAG:
            raise DecodeError(ErrorCode.BAD_CONTROL, f"msgpack type 0x{tag:02x} is not used in control maps")
        length = self.number(_LENGTH_BY_TAG[tag]) if tag in _LENGTH_BY_TAG else tag & (0x1F if tag >= 0xA0 else 0x0F)
        if 0xA0 <= tag <= 0xBF or 0xD9 <= tag <= 0xDB:
            return self.text(length)
        if 0xC4 <= tag <= 0xC6:
            return self.take(length)
        if length > len(self.data) - self.at:
            raise DecodeError(ErrorCode.TRUNCATED, f"{length} items do not fit the bytes that are left")
        if 0x90 <= tag <= 0x9F or tag in (0xDC, 0xDD):
            return [self.value(depth + 1) for _ in range(length)]
        return self.map(length, depth)

    def text(self, length: int) -> str:
        try:
            return self.take(length).decode()
        except UnicodeDecodeError as error:
            raise DecodeError(ErrorCode.BAD_CONTROL, f"a control string is not UTF-8: {error.reason}") from error

    def map(self, length: int, depth: int) -> Control:
        found: Control = {}
        for _ in range(length):
            tag = self.take(1)[0]
            if not (0xA0 <= tag <= 0xBF or 0xD9 <= tag <= 0xDB):
                raise DecodeError(ErrorCode.BAD_CONTROL, "control maps have string keys")
            key = self.sized(tag, depth)
            found[key] = self.value(depth + 1)
        return found


def unpack(data: bytes) -> Control:
    """Decode a control map; DecodeError for anything ``pack`` would not have written, byte for byte."""
    reader = _Reader(data)
    value = reader.value(0)
    if reader.at != len(data):
        raise DecodeError(ErrorCode.TRAILING_BYTES, f"{len(data) - reader.at} bytes follow the control map")
    if not isinstance(value, dict):
        raise DecodeError(ErrorCode.BAD_CONTROL, "control content must be a map")
    try:
        again = pack(value)
    except ValueError as error:
        raise DecodeError(ErrorCode.BAD_CONTROL, str(error)) from error
    if again != data:
        raise DecodeError(ErrorCode.NON_CANONICAL, "control maps have sorted keys and shortest forms")
    return value
