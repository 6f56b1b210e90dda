"""The bodies of HELLO and WELCOME: a fixed head, then a control map.

Spec sections 7.2 and 7.3.  The head (magic, versions) never changes, so that any two versions can tell each other why
they part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tslt_wire.coding.bits import BitReader, BitWriter
from tslt_wire.coding.control_map import Control, pack
from tslt_wire.errors import DecodeError, ErrorCode
from tslt_wire.frames.control_fields import Inner, build, read_fields, read_limits
from tslt_wire.frames.sampling_fields import read_request, read_sampling, write_request, write_sampling
from tslt_wire.limits import DecodeLimits
from tslt_wire.lists.profile import Profile
from tslt_wire.messages.extensions import Extension
from tslt_wire.messages.handshake import Hello, Welcome
from tslt_wire.messages.sampling import Sampling, SamplingRequest

MAGIC = b"TSLT"

_HELLO_FIELDS: Mapping[str, type | Inner] = {
    "vocab_size": int,
    "tokenizer": bytes,
    "model": str,
    "sampling": read_request,
    "evidence": list,
    "precisions": list,
    "entropy": list,
    "priors": list,
    "limits": read_limits,
    "resume": bytes,
    "nonce": bytes,
}
_HELLO_MAY: Mapping[str, type | Inner] = {"ordinary": bytes, "token_map": bytes}
"""Fields that may be missing."""
_WELCOME_FIELDS: Mapping[str, type | Inner] = {
    "vocab_size": int,
    "tokenizer": bytes,
    "transcript": bytes,
    "model": str,
    "sampling": read_sampling,
    "evidence": list,
    "precisions": list,
    "entropy": str,
    "prior": str,
    "limits": read_limits,
    "context": int,
    "eos_tokens": list,
    "coupling": bytes,
    "resume": bytes,
    "resumed": bool,
    "held": int,
    "held_hash": int,
}
_WELCOME_MAY: Mapping[str, type | Inner] = {"ordinary": bytes, "begins": list}


def write_hello(out: BitWriter, hello: Hello, profile: Profile) -> None:
    """Append the body of HELLO."""
    out.raw(MAGIC + bytes([hello.min_version, hello.max_version]) + pack(_to_map(hello, _HELLO_FIELDS, _HELLO_MAY)))


def read_hello(data: BitReader, profile: Profile, limits: DecodeLimits, extensions: tuple[Extension, ...]) -> Hello:
    """Read the body of HELLO; versions this package does not know are read as far as possible."""
    versions, rest = _head(data, 2)
    found, extra = read_fields(rest, _HELLO_FIELDS, limits, may=_HELLO_MAY)
    return build(Hello, **found, extra=extra, min_version=versions[0], max_version=versions[1], extensions=extensions)


def write_welcome(out: BitWriter, welcome: Welcome, profile: Profile) -> None:
    """Append the body of WELCOME."""
    out.raw(MAGIC + bytes([welcome.version]) + pack(_to_map(welcome, _WELCOME_FIELDS, _WELCOME_MAY)))


def read_welcome(data: BitReader, profile: Profile, limits: DecodeLimits, extensions: tuple[Extension, ...]) -> Welcome:
    """Read the body of WELCOME."""
    versions, rest = _head(data, 1)
    found, extra = read_fields(rest, _WELCOME_FIELDS, limits, may=_WELCOME_MAY)
    return build(Welcome, **found, extra=extra, version=versions[0], extensions=extensions)


def _head(reader: BitReader, versions: int) -> tuple[bytes, bytes]:
    reader.part("magic")
    if reader.left // 8 < len(MAGIC) + versions:
        raise DecodeError(ErrorCode.TRUNCATED, "a handshake frame starts with TSLT and its versions")
    if reader.raw(len(MAGIC)) != MAGIC:
        raise DecodeError(ErrorCode.NOT_TSLT, "a handshake frame starts with TSLT: the peer speaks something else")
    reader.part("versions")
    found = reader.raw(versions)
    reader.part("fields")
    return found, reader.raw(reader.left // 8)


def _to_map(message: Hello | Welcome, names: Mapping[str, type | Inner], may: Mapping[str, type | Inner]) -> Control:
    known = {name: _value(getattr(message, name)) for name in names}
    said = {name: getattr(message, name) for name in may}
    known |= {name: value for name, value in said.items() if value not in (b"", None)}
    clash = set(message.extra) & {*names, *may}
    if clash:
        raise ValueError(f"extra must not repeat the fields {sorted(clash)}")
    return {**message.extra, **known}


def _value(value: Any) -> Any:
    """What a field is in the control map."""
    if isinstance(value, SamplingRequest):
        return write_request(value)
    if isinstance(value, Sampling):
        return write_sampling(value)
    return asdict(value) if isinstance(value, DecodeLimits) else value
