"""Control messages of the transports: greeting, refusal, keepalive, consumption, loss; and the varint they use.

They are the transport's own and never reach an application.  Version 1, one type byte and a body:

    1 HELLO     device -> edge   varints: version, max_frame_bytes, queue_frames, queue_bytes, peer_timeout_ms
    2 WELCOME   edge -> device   the same, of the edge; the link is open
    3 REFUSE    edge -> device   UTF-8 reason; there is no link
    4 PING      both             empty; says only that the sender is alive
    5 CONSUMED  both             varint n >= 1: the application took n more frames, in order
    6 LOST      both             UTF-8 reason; the sender gave the link up
    7 CHALLENGE edge -> device   the fields of WELCOME, and 32 random bytes; the device is to prove its key (``proof``)
    8 PROOF     device -> edge   32 bytes of key, 64 of signature

A HELLO or WELCOME may carry more bytes behind these fields; version 1 ignores them (room for datagrams and resuming).
Every other trailing byte is an error.  Varints are little-endian base 128, at most five bytes, shortest form only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from tslt_transports.link import LinkOptions
from tslt_transports.untrusted import printable

TRANSPORT_VERSION: Final = 1
"""The version of this vocabulary, not of the frames that it carries."""

MAX_CONTROL_BYTES: Final = 255
"""Bytes of one control message.  A QUIC stream gives its length one byte, and no reason needs to be longer."""

MAX_VARINT_BYTES: Final = 5
"""Bytes of one varint: 35 bits, where no limit needs more than 32."""

_GREETING_FIELDS: Final = 5
"""Varints of a greeting: the version and the four of ``PeerLimits``."""

_NONCE_BYTES: Final = 32
_KEY_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 64
"""Bytes of a CHALLENGE and of a PROOF beside the fields."""

_GROUP_BITS: Final = 7
"""Bits of the value in a byte of a varint."""

_GROUP: Final = 0x7F
_MORE: Final = 0x80
"""The bit of a byte that says another follows."""

_MS_A_SECOND: Final = 1000


class ControlError(Exception):
    """A peer's control message is malformed.  Never leaves the package: the link is lost instead."""


class ControlType(IntEnum):
    """The type byte; the table above says who sends which, and what follows it."""

    HELLO = 1
    WELCOME = 2
    REFUSE = 3
    PING = 4
    CONSUMED = 5
    LOST = 6
    CHALLENGE = 7
    PROOF = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerLimits:
    """The limits that one end announces in its greeting: bytes, frames, bytes, milliseconds."""

    max_frame_bytes: int
    queue_frames: int
    queue_bytes: int
    peer_timeout_ms: int

    @property
    def peer_timeout_s(self) -> float:
        """``peer_timeout_ms`` in seconds."""
        return self.peer_timeout_ms / _MS_A_SECOND

    @classmethod
    def of(cls, options: LinkOptions) -> PeerLimits:
        """What an end with ``options`` announces."""
        return cls(
            max_frame_bytes=options.max_frame_bytes,
            queue_frames=options.queue_frames,
            queue_bytes=options.queue_bytes,
            peer_timeout_ms=math.ceil(options.peer_timeout_s * _MS_A_SECOND),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """One decoded control message; fields that its type does not have are at their defaults."""

    type: ControlType
    limits: PeerLimits | None = None
    count: int = 0
    reason: str = ""
    key: bytes = b""
    signature: bytes = b""


def encode_varint(value: int) -> bytes:
    """Encode ``value`` (0 .. 2**35 - 1) in its shortest form.  Raises ``ValueError``."""
    if not 0 <= value < 1 << (_GROUP_BITS * MAX_VARINT_BYTES):
        raise ValueError(f"{value} does not fit a varint")
    out = bytearray()
    while value > _GROUP:
        out.append(value & _GROUP | _MORE)
        value >>= _GROUP_BITS
    out.append(value)
    return bytes(out)


def decode_varint(data: bytes | bytearray, position: int, *, max_bytes: int) -> tuple[int, int] | None:
    """Decode one varint at ``position``; return the value and the position behind it, None if the bytes end before it.

    Raises ``ControlError`` where it is longer than ``max_bytes`` bytes or not in its shortest form.
    """
    value = 0
    for index in range(max_bytes):
        if position + index >= len(data):
            return None
        byte = data[position + index]
        value |= (byte & _GROUP) << (_GROUP_BITS * index)
        if byte < _MORE:
            if byte == 0 and index > 0:
                raise ControlError("a varint is not in its shortest form")
            return value, position + index + 1
    raise ControlError(f"a varint has more than {max_bytes} bytes")


def encode_greeting(kind: ControlType, limits: PeerLimits) -> bytes:
    """Encode a HELLO or a WELCOME with ``limits``."""
    fields = (
        TRANSPORT_VERSION,
        limits.max_frame_bytes,
        limits.queue_frames,
        limits.queue_bytes,
        limits.peer_timeout_ms,
    )
    return bytes([kind]) + b"".join(map(encode_varint, fields))


def encode_challenge(limits: PeerLimits, nonce: bytes) -> bytes:
    """Encode a CHALLENGE with the edge's ``limits`` and ``nonce``, 32 bytes."""
    return encode_greeting(ControlType.CHALLENGE, limits) + nonce


def encode_proof(key: bytes, signature: bytes) -> bytes:
    """Encode a PROOF: an Ed25519 key, 32 bytes, and a signature of it, 64 bytes."""
    return bytes([ControlType.PROOF]) + key + signature


def encode_reason(kind: ControlType, reason: str) -> bytes:
    """Encode a REFUSE or a LOST; a reason that is too long is cut, not refused."""
    text = reason.encode()[: MAX_CONTROL_BYTES - 1].decode(errors="ignore")
    return bytes([kind]) + text.encode()


def encode_ping() -> bytes:
    """Encode a PING."""
    return bytes([ControlType.PING])


def encode_consumed(count: int) -> bytes:
    """Encode a CONSUMED for ``count`` frames."""
    return bytes([ControlType.CONSUMED]) + encode_varint(count)


def decode_control(data: bytes) -> Control:
    """Decode one control message.  Raises ``ControlError`` on anything that the encoders above cannot have made."""
    if not 1 <= len(data) <= MAX_CONTROL_BYTES:
        raise ControlError(f"a control message has {len(data)} bytes")
    try:
        kind = ControlType(data[0])
    except ValueError:
        raise ControlError(f"unknown control message {data[0]}") from None
    match kind:
        case ControlType.HELLO | ControlType.WELCOME:
            return Control(type=kind, limits=_decode_limits(data)[0])
        case ControlType.CHALLENGE:
            limits, end = _decode_limits(data)
            if len(data) - end != _NONCE_BYTES:
                raise ControlError("a CHALLENGE is malformed")
            return Control(type=kind, limits=limits)
        case ControlType.PROOF:
            if len(data) != 1 + _KEY_BYTES + _SIGNATURE_BYTES:
                raise ControlError("a PROOF is malformed")
            return Control(type=kind, key=data[1 : 1 + _KEY_BYTES], signature=data[1 + _KEY_BYTES :])
        case ControlType.REFUSE | ControlType.LOST:
            try:
                reason = data[1:].decode()
            except UnicodeDecodeError:
                raise ControlError("a reason is not UTF-8") from None
            return Control(type=kind, reason=printable(reason))
        case ControlType.PING:
            if len(data) != 1:
                raise ControlError("a PING has a body")
            return Control(type=kind)
        case _:  # CONSUMED
            decoded = decode_varint(data, 1, max_bytes=MAX_VARINT_BYTES)
            if decoded is None or decoded[1] != len(data) or decoded[0] == 0:
                raise ControlError("a CONSUMED is malformed")
            return Control(type=kind, count=decoded[0])


def _decode_limits(data: bytes) -> tuple[PeerLimits, int]:
    """The fields of a greeting, and where they end."""
    values: list[int] = []
    position = 1
    for _ in range(_GREETING_FIELDS):
        decoded = decode_varint(data, position, max_bytes=MAX_VARINT_BYTES)
        if decoded is None:
            raise ControlError("a greeting is cut short")
        value, position = decoded
        values.append(value)
        if values[0] != TRANSPORT_VERSION:
            # Only the version has a fixed place in every version to come.
            raise ControlError(f"the peer speaks transport version {values[0]}, this side {TRANSPORT_VERSION}")
    if 0 in values:
        raise ControlError("a greeting announces a limit of 0")
    _, max_frame_bytes, queue_frames, queue_bytes, peer_timeout_ms = values
    limits = PeerLimits(
        max_frame_bytes=max_frame_bytes,
        queue_frames=queue_frames,
        queue_bytes=queue_bytes,
        peer_timeout_ms=peer_timeout_ms,
    )
    return limits, position
