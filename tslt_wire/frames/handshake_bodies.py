"""HELLO, WELCOME and ERROR as bytes: a fixed head, then a control map.

Spec section 7.  The head (magic, versions) never changes, so that any two versions can tell each other why they part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from typing import Any, TypeVar

from tslt_wire.coding.control_map import Control, pack, unpack
from tslt_wire.errors import DecodeError, ErrorCode
from tslt_wire.limits import DecodeLimits
from tslt_wire.messages.endings import ErrorMessage
from tslt_wire.messages.extensions import Extension
from tslt_wire.messages.handshake import Hello, Welcome
from tslt_wire.messages.sampling import Sampling

MAGIC = b"TSLT"
T = TypeVar("T")

_HELLO_FIELDS = {
    "vocab_size": int,
    "tokenizer": bytes,
    "model": str,
    "sampling": dict,
    "evidence": list,
    "precisions": list,
    "entropy": list,
    "priors": list,
    "limits": dict,
    "resume": bytes,
}
_WELCOME_FIELDS = {
    "vocab_size": int,
    "tokenizer": bytes,
    "transcript": bytes,
    "model": str,
    "evidence": list,
    "precisions": list,
    "entropy": str,
    "prior": str,
    "limits": dict,
    "context": int,
    "eos_tokens": list,
    "coupling": bytes,
}


def write_hello(hello: Hello) -> bytes:
    """Body of a HELLO frame."""
    return MAGIC + bytes([hello.min_version, hello.max_version]) + pack(_to_map(hello, _HELLO_FIELDS))


def write_welcome(welcome: Welcome) -> bytes:
    """Body of a WELCOME frame."""
    return MAGIC + bytes([welcome.version]) + pack(_to_map(welcome, _WELCOME_FIELDS))


def write_error(error: ErrorMessage) -> bytes:
    """Body of an ERROR frame."""
    return pack({"code": error.code, "message": error.message})


def read_hello(data: bytes, limits: DecodeLimits, extensions: tuple[Extension, ...]) -> Hello:
    """Read the body of a HELLO frame; versions this package does not know are read as far as possible."""
    head, rest = _head(data, 2)
    found, extra = _from_map(rest, _HELLO_FIELDS, limits)
    return _build(Hello, **found, extra=extra, min_version=head[0], max_version=head[1], extensions=extensions)


def read_welcome(data: bytes, limits: DecodeLimits, extensions: tuple[Extension, ...]) -> Welcome:
    """Read the body of a WELCOME frame."""
    head, rest = _head(data, 1)
    found, extra = _from_map(rest, _WELCOME_FIELDS, limits)
    return _build(Welcome, **found, extra=extra, version=head[0], extensions=extensions)


def read_error(data: bytes, limits: DecodeLimits, extensions: tuple[Extension, ...]) -> ErrorMessage:
    """Read the body of an ERROR frame."""
    found, extra = _from_map(data, {"code": int, "message": str}, limits)
    if extra:
        raise DecodeError(ErrorCode.BAD_CONTROL, f"an error has no field {sorted(extra)[0]!r}")
    return _build(ErrorMessage, **found, extensions=extensions)


def _head(data: bytes, versions: int) -> tuple[bytes, bytes]:
    if len(data) < len(MAGIC) + versions:
        raise DecodeError(ErrorCode.TRUNCATED, "a handshake frame starts with TSLT and its versions")
    if data[: len(MAGIC)] != MAGIC:
        raise DecodeError(ErrorCode.NOT_TSLT, "a handshake frame starts with TSLT: the peer speaks something else")
    end = len(MAGIC) + versions
    return data[len(MAGIC) : end], data[end:]


def _to_map(message: Hello | Welcome, names: Mapping[str, type]) -> Control:
    known: Control = {}
    for name, kind in names.items():
        value = getattr(message, name)
        known[name] = list(value) if kind is list else asdict(value) if kind is dict else value
    clash = set(message.extra) & set(known)
    if clash:
        raise ValueError(f"extra must not repeat the fields {sorted(clash)}")
    return {**message.extra, **known}


def _from_map(data: bytes, names: Mapping[str, type], limits: DecodeLimits) -> tuple[Control, Control]:
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
        return _build(Sampling, **_typed(value, {"temperature": float, "top_k": int, "top_p": float}))
    if name == "limits":
        return _build(DecodeLimits, **_typed(value, {field.name: int for field in fields(DecodeLimits)}))
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


def _build(cls: Callable[..., T], **values: Any) -> T:
    try:
        return cls(**values)
    except (ValueError, TypeError) as error:
        raise DecodeError(ErrorCode.OUT_OF_RANGE, str(error)) from error
