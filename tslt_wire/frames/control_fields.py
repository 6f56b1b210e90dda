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
from tslt_wire.messages.sampling import Sampling

T = TypeVar("T")


def read_fields(data: bytes, names: Mapping[str, type], limits: DecodeLimits) -> tuple[Control, Control]:
    """The named fields of the map in ``data``, and all others; DecodeError if one is missing or has another type."""
    if len(data) > limits.max_control_bytes:
        raise DecodeError(
            ErrorCode.LIMIT_EXCEEDED, f"a control map of {len(data)} bytes where {limits.max_control_bytes} are allowed"
        )
    values = unpack(data)
    found: Control = {}
    for name, kind in names.items():
        if name not in values:
            raise DecodeError(ErrorCode.BAD_CONTROL, f"the field {name!r} is missing")
        value = values.pop(name)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise DecodeError(ErrorCode.BAD_CONTROL, f"the field {name!r} must be of type {kind.__name__}")
        found[name] = _field(name, value)
    return found, values


def _field(name: str, value: Any) -> Any:
    if name == "sampling":
        return build(Sampling, **_typed(value, {"temperature": float, "top_k": int, "top_p": float}))
    if name == "limits":
        return build(DecodeLimits, **_typed(value, {field.name: int for field in fields(DecodeLimits)}))
    if isinstance(value, list):
        kind = int if name == "eos_tokens" else str
        if not all(isinstance(item, kind) and not isinstance(item, bool) for item in value):
            raise DecodeError(ErrorCode.BAD_CONTROL, f"the field {name!r} must hold {kind.__name__} alone")
        return tuple(value)
    return value


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
