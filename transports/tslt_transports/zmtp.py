"""The wire of ZeroMQ from the server's side, without I/O: greeting, frames, and the mechanism NULL.

ZMTP 3.1 (rfc.zeromq.org/spec/37).  A frame is a byte of flags, a length of 1 or 8 bytes and a body; a message is one
frame after the other while ``MORE`` is set; commands belong to ZMTP itself.  What the peers of an edge are is libzmq.

Every step takes bytes and gives bytes, and holds no more than one frame of the size that is allowed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

GREETING_BYTES: Final = 64
"""Bytes of the greeting, which each side sends first."""

MORE: Final = 1
"""Flag of a frame that another one of the same message follows."""
LONG: Final = 2
"""Flag of a frame with 8 bytes of length."""
COMMAND: Final = 4
"""Flag of a frame that is a command."""

LONG_FROM: Final = 256
"""Bytes from which on a frame needs the long form."""

SHORT_HEADER_BYTES: Final = 2
LONG_HEADER_BYTES: Final = 9
"""Bytes in front of a frame's body."""

MAX_COMMAND_BYTES: Final = 512
"""Bytes of the longest command that is read: CURVE's INITIATE has some 300, metadata included."""

_SIGNATURE: Final = b"\xff" + bytes(8) + b"\x7f"
_MECHANISM: Final = slice(12, 32)
_AS_SERVER: Final = 32
_MAJOR: Final = 3
_MINOR: Final = 1

_READY: Final = b"\x05READY"
_ERROR: Final = b"\x05ERROR"
_PING: Final = b"\x04PING"
_PONG: Final = b"\x04PONG"

_PING_CONTEXT: Final = slice(7, 7 + 16)
"""What a PONG repeats: behind the name and two bytes of time to live, 16 bytes at most."""

CURVE_OVERHEAD_BYTES: Final = 33
"""Bytes that a frame's body is longer under CURVE: the name of the command, nonce, authenticator and flags."""

REFUSED: Final = b"400"
"""What an ERROR says to a peer that may not talk: the status that libzmq reports to its application."""


class ZmtpError(Exception):
    """The peer broke ZMTP, or may not talk.  Never leaves the package.

    ``reply`` is what it is still told, in bytes for the wire.
    """

    def __init__(self, reason: str, *, reply: bytes = b"") -> None:
        """``reason``: in words, for the log."""
        super().__init__(reason)
        self.reply = reply


@dataclass(frozen=True, slots=True)
class ZmtpFrame:
    """One frame: its flags, without ``LONG``, and its body."""

    flags: int
    body: bytes


class Mechanism(Protocol):
    """How a connection is secured; one object a connection."""

    name: bytes
    """As in the greeting."""
    ready: bool
    """Whether the handshake is through."""
    identity: str
    """The authenticated name of the peer, "" for none."""
    overhead: int
    """Bytes that a sealed frame's body is longer."""

    def take(self, command: bytes) -> bytes:
        """Take a command of the handshake; what to answer, for the wire.  Raises ``ZmtpError``."""

    def seal(self, flags: int, body: bytes) -> bytes:
        """A frame for the wire."""

    def unseal(self, frame: ZmtpFrame) -> ZmtpFrame:
        """What a frame from the wire says.  Raises ``ZmtpError``."""


class Null:
    """The mechanism NULL: no secrets, and nobody proves anything."""

    name = b"NULL"
    overhead = 0
    identity = ""

    def __init__(self) -> None:
        """A connection whose greeting is done."""
        self.ready = False

    def take(self, command: bytes) -> bytes:
        """See ``Mechanism``: READY, which is answered with another."""
        if not command.startswith(_READY):
            raise ZmtpError("the handshake of NULL begins with READY")
        check_metadata(command[len(_READY) :])
        self.ready = True
        return encode(COMMAND, _READY + OUR_METADATA)

    def seal(self, flags: int, body: bytes) -> bytes:
        """See ``Mechanism``: as it is."""
        return encode(flags, body)

    def unseal(self, frame: ZmtpFrame) -> ZmtpFrame:
        """See ``Mechanism``: as it is."""
        return frame


def encode(flags: int, body: bytes) -> bytes:
    """A frame for the wire."""
    if len(body) < LONG_FROM:
        return bytes([flags, len(body)]) + body
    return bytes([flags | LONG]) + len(body).to_bytes(8, "big") + body


def encode_error(reason: bytes) -> bytes:
    """The command ERROR, for the wire; ``reason``: 255 bytes at most."""
    return encode(COMMAND, _ERROR + bytes([len(reason)]) + reason)


def _property(name: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + len(value).to_bytes(4, "big") + value


OUR_METADATA: Final = _property(b"Socket-Type", b"ROUTER")
"""What a DEALER expects of the other side."""


def check_metadata(data: bytes) -> None:
    """Refuse a peer that is no DEALER; what it calls itself (``Identity``) is not heard.  Raises ``ZmtpError``."""
    position, kind = 0, b""
    while position < len(data):
        end = position + 1 + data[position]
        name, size = data[position + 1 : end], int.from_bytes(data[end : end + 4], "big")
        position = end + 4 + size
        if position > len(data):
            raise ZmtpError("the metadata are cut short")
        if name.lower() == b"socket-type":
            kind = data[end + 4 : position]
    if kind not in (b"DEALER", b"REQ"):
        raise ZmtpError(f"a socket of type {kind[:16]!r} where a DEALER was expected")


def greeting(mechanism: bytes) -> bytes:
    """What a server with this mechanism sends first, 64 bytes."""
    as_server = mechanism != Null.name
    head = _SIGNATURE + bytes([_MAJOR, _MINOR]) + mechanism.ljust(20, b"\0") + bytes([as_server])
    return head.ljust(GREETING_BYTES, b"\0")


def check_greeting(data: bytes | bytearray, mechanism: bytes) -> None:
    """Check the first 64 bytes of a peer, or the beginning of them.  Raises ``ZmtpError``."""
    if data[:1] != b"\xff"[: len(data)] or (len(data) > 9 and not data[9] & 1):
        raise ZmtpError("something that does not speak ZMTP")
    if len(data) > 10 and data[10] < _MAJOR:
        raise ZmtpError(f"ZMTP version {data[10]}, older than {_MAJOR}")
    if len(data) < GREETING_BYTES:
        return
    theirs = bytes(data[_MECHANISM]).rstrip(b"\0")
    if theirs != mechanism:
        raise ZmtpError(f"the mechanism {theirs!r} where {mechanism.decode()} is spoken")
    if data[_AS_SERVER]:
        raise ZmtpError("a server where a client was expected")


def pong(command: bytes) -> bytes | None:
    """The PONG to a PING, None for another command."""
    return _PONG + command[_PING_CONTEXT] if command.startswith(_PING) else None


class FrameDecoder:
    """Splits a stream into frames."""

    def __init__(self) -> None:
        """``max_body_bytes`` may change between frames; it is that of a command at first."""
        self.max_body_bytes = MAX_COMMAND_BYTES
        self._buffer = bytearray()
        self._wanted = SHORT_HEADER_BYTES

    def feed(self, data: bytes | memoryview) -> Iterator[ZmtpFrame]:
        """Add ``data`` and yield the frames that are complete.

        Raises ``ZmtpError``, before it waits for a byte of it, where a frame is longer than allowed or malformed.
        """
        self._buffer += data
        start = 0
        try:
            while len(self._buffer) - start >= self._wanted:
                flags = self._buffer[start]
                if flags > (MORE | LONG | COMMAND) or flags & (MORE | COMMAND) == MORE | COMMAND:
                    raise ZmtpError(f"a frame with the flags {flags:#04x}")
                body = start + (LONG_HEADER_BYTES if flags & LONG else SHORT_HEADER_BYTES)
                if body > len(self._buffer):
                    self._wanted = body - start
                    break
                end = body + int.from_bytes(self._buffer[start + 1 : body], "big")
                if end - body > self.max_body_bytes:
                    raise ZmtpError(f"a frame of {end - body} bytes, the limit is {self.max_body_bytes}")
                if end > len(self._buffer):
                    self._wanted = end - start
                    break
                yield ZmtpFrame(flags & ~LONG, bytes(memoryview(self._buffer)[body:end]))
                start, self._wanted = end, SHORT_HEADER_BYTES
        finally:
            del self._buffer[:start]
