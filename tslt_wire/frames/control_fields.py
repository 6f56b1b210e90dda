"""Fields of a control map: which there are, of which type, and what they become.

Spec section 7.1.  HELLO, WELCOME and ERROR are made of these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from tslt_wire.coding.control_map import Control, unpack
from tslt_wire.errors import DecodeError, ErrorCode
from tslt_wire.limits import DecodeLimits

T = TypeVar("T")
Inner = Callable[[Control], Any]
"""Reads a field that is a map of its own; DecodeError."""


def read_fields(
    data: bytes,
    names: Mapping[str, type | Inner],
    limits: DecodeLimits,
    *,
    may: Mapping[str, type | Inner] | None = None,
) -> tuple[Control, Control]:
    """The named fields of the map in ``data``, and all others; DecodeError if one is missing or has another type.

    ``names``: the type of each field; of one that is a map what reads it.  ``may``: those that may be missing, and are
    then not in what is returned; a fingerprint among them that is empty is refused: it has one form, not to be there.
    """
    if len(data) > limits.max_control_bytes:
        raise DecodeError(
            ErrorCode.LIMIT_EXCEEDED, f"a control map of {len(data)} bytes where {limits.max_control_bytes} are allowed"
        )
    values = unpack(data)
    found: Control = {}
    for name, kind in names.items():
        if name not in values:
            raise DecodeError(ErrorCode.BAD_CONTROL, f"the field {name!r} is missing")
        found[name] = _read(name, kind, values.pop(name))
    said = {name: _read(name, kind, values.pop(name)) for name, kind in (may or {}).items() if name in values}
    if empty := [name for name, value in said.items() if value == b""]:
        raise DecodeError(ErrorCode.OUT_OF_RANGE, f"the field {empty[0]!r} must not be there if it is empty")
    return found | said, values


def _read(name: str, kind: type | Inner, value: Any) -> Any:
    """What a field of this kind holds; DecodeError for another type."""
    wanted = kind if isinstance(kind, type) else dict
    fits = isinstance(value, wanted) and isinstance(value, bool) == (wanted is bool)
    if not fits:
        raise DecodeError(ErrorCode.BAD_CONTROL, f"the field {name!r} must be of type {wanted.__name__}")
    if kind is list:
        return _array(name, value)
    return value if isinstance(kind, type) else kind(value)


def _array(name: str, items: list[Any]) -> tuple[Any, ...]:
    kind = int if name in ("eos_tokens", "begins") else str
    if any(type(item) is not kind for item in items):
        raise DecodeError(ErrorCode.BAD_CONTROL, f"the field {name!r} must hold {kind.__name__} alone")
    return tuple(items)


def read_limits(values: Control) -> DecodeLimits:
    """Read the field ``limits``."""
    return build(DecodeLimits, **_typed(values, {field.name: int for field in fields(DecodeLimits)}))


def _typed(values: Control, kinds: Mapping[str, type]) -> Control:
    if values.keys() != kinds.keys() or any(type(values[name]) is not kind for name, kind in kinds.items()):
        wanted = ", ".join(f"{name} ({kind.__name__})" for name, kind in kinds.items())
        raise DecodeError(ErrorCode.BAD_CONTROL, f"expected a map of {wanted}")
    return values


def build(cls: Callable[..., T], **values: Any) -> T:
    """Make a message of what was read; DecodeError for a value that it does not take."""
    try:
        return cls(**values)
    except (ValueError, TypeError) as error:
        raise DecodeError(ErrorCode.OUT_OF_RANGE, str(error)) from error
