"""The mechanism CURVE of ZMTP from the server's side, without I/O (rfc.zeromq.org/spec/26), over libsodium.

A client proves its long-term key in INITIATE; only then is it looked up, and only then is anything made for it.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from typing import Final

from nacl.bindings import (
    crypto_box_afternm,
    crypto_box_beforenm,
    crypto_box_keypair,
    crypto_box_open_afternm,
)
from nacl.exceptions import CryptoError

from tslt_transports.zmtp import (
    COMMAND,
    CURVE_OVERHEAD_BYTES,
    MORE,
    OUR_METADATA,
    REFUSED,
    ZmtpError,
    ZmtpFrame,
    check_metadata,
    encode,
    encode_error,
)

_HELLO: Final = b"\x05HELLO"
_WELCOME: Final = b"\x07WELCOME"
_INITIATE: Final = b"\x08INITIATE"
_READY: Final = b"\x05READY"
_MESSAGE: Final = b"\x07MESSAGE"

_HELLO_BYTES: Final = 200
_VERSION: Final = slice(6, 8)
_HELLO_CLIENT: Final = slice(80, 112)
_HELLO_NONCE: Final = slice(112, 120)
_HELLO_BOX: Final = slice(120, 200)
_HELLO_SAYS: Final = bytes(64)

_COOKIE_BYTES: Final = 96
_COOKIE: Final = slice(9, 9 + _COOKIE_BYTES)
_INITIATE_NONCE: Final = slice(105, 113)
_INITIATE_BOX: Final = slice(113, None)
_KEY: Final = slice(0, 32)
_VOUCH_NONCE: Final = slice(32, 48)
_VOUCH_BOX: Final = slice(48, 128)
_METADATA: Final = slice(128, None)

_MESSAGE_NONCE: Final = slice(8, 16)
_MESSAGE_BOX: Final = slice(16, None)

_SEALED_MORE: Final = 1
_SEALED_COMMAND: Final = 2
"""Flags inside a MESSAGE."""


class CurveServer:
    """One connection of a server that speaks CURVE."""

    name = b"CURVE"
    overhead = CURVE_OVERHEAD_BYTES

    def __init__(self, *, secret: bytes, public: bytes, name_of: Callable[[bytes], str | None]) -> None:
        """``secret``, ``public``: the server's X25519 key, 32 bytes each.

        ``name_of``: the name of the client with this X25519 key, None for one that may not talk.
        """
        self._secret = secret
        self._public = public
        self._name_of = name_of
        self._client = b""  # the client's key of this connection, once it said HELLO
        self._cookie = b""
        self._short_secret = b""
        self._key = b""  # of the two short-term keys
        self._heard = 0  # nonces of the client grow, or it is somebody who repeats them
        self._said = 0
        self.ready = False
        self.identity = ""

    def take(self, command: bytes) -> bytes:
        """See ``Mechanism``: HELLO, then INITIATE."""
        try:
            if not self._client and command.startswith(_HELLO):
                return self._hello(command)
            if self._client and command.startswith(_INITIATE):
                return self._initiate(command)
        except CryptoError:
            raise ZmtpError("a handshake that was not made for this edge's key, or is a copy") from None
        raise ZmtpError("the handshake of CURVE is HELLO, then INITIATE")

    def _hello(self, command: bytes) -> bytes:
        if len(command) != _HELLO_BYTES or command[_VERSION] != b"\x01\x00":
            raise ZmtpError("a malformed HELLO")
        self._client = command[_HELLO_CLIENT]
        with_long_term = crypto_box_beforenm(self._client, self._secret)
        nonce = self._next(command[_HELLO_NONCE])
        if crypto_box_open_afternm(command[_HELLO_BOX], b"CurveZMQHELLO---" + nonce, with_long_term) != _HELLO_SAYS:
            raise ZmtpError("a malformed HELLO")
        short_public, self._short_secret = crypto_box_keypair()
        self._key = crypto_box_beforenm(self._client, self._short_secret)
        # The RFC's cookie lets a server forget a client between two datagrams.  Over TCP there is nothing to forget.
        self._cookie = secrets.token_bytes(_COOKIE_BYTES)
        nonce = secrets.token_bytes(16)
        box = crypto_box_afternm(short_public + self._cookie, b"WELCOME-" + nonce, with_long_term)
        return encode(COMMAND, _WELCOME + nonce + box)

    def _initiate(self, command: bytes) -> bytes:
        if not hmac.compare_digest(command[_COOKIE], self._cookie):
            raise ZmtpError("an INITIATE with another connection's cookie: a copy")
        nonce = self._next(command[_INITIATE_NONCE])
        plain = crypto_box_open_afternm(command[_INITIATE_BOX], b"CurveZMQINITIATE" + nonce, self._key)
        if len(plain) < _METADATA.start:
            raise ZmtpError("a malformed INITIATE")
        client = plain[_KEY]
        vouch_key = crypto_box_beforenm(client, self._short_secret)
        vouch = crypto_box_open_afternm(plain[_VOUCH_BOX], b"VOUCH---" + plain[_VOUCH_NONCE], vouch_key)
        if not hmac.compare_digest(vouch, self._client + self._public):
            raise ZmtpError("an INITIATE that vouches for another connection")
        name = self._name_of(client)
        if name is None:
            raise ZmtpError("a key that is not on the allow-list", reply=encode_error(REFUSED))
        check_metadata(plain[_METADATA])
        self.identity = name
        self.ready = True
        ours = self._our_nonce()
        return encode(COMMAND, _READY + ours + crypto_box_afternm(OUR_METADATA, b"CurveZMQREADY---" + ours, self._key))

    def seal(self, flags: int, body: bytes) -> bytes:
        """See ``Mechanism``: a MESSAGE."""
        nonce = self._our_nonce()
        inside = bytes([(flags & MORE and _SEALED_MORE) | (flags & COMMAND and _SEALED_COMMAND)])
        box = crypto_box_afternm(inside + body, b"CurveZMQMESSAGES" + nonce, self._key)
        return encode(0, _MESSAGE + nonce + box)

    def unseal(self, frame: ZmtpFrame) -> ZmtpFrame:
        """See ``Mechanism``: what a MESSAGE says."""
        if frame.flags & MORE or not frame.body.startswith(_MESSAGE):
            raise ZmtpError("something else than a MESSAGE of CURVE")
        nonce = self._next(frame.body[_MESSAGE_NONCE])
        try:
            plain = crypto_box_open_afternm(frame.body[_MESSAGE_BOX], b"CurveZMQMESSAGEC" + nonce, self._key)
        except CryptoError:
            raise ZmtpError("a message that was changed on the way") from None
        if not plain or plain[0] > _SEALED_MORE | _SEALED_COMMAND or plain[0] == _SEALED_MORE | _SEALED_COMMAND:
            raise ZmtpError("a malformed MESSAGE")
        flags = (plain[0] & _SEALED_MORE and MORE) | (plain[0] & _SEALED_COMMAND and COMMAND)
        return ZmtpFrame(flags, plain[1:])

    def _next(self, nonce: bytes) -> bytes:
        value = int.from_bytes(nonce, "big")
        if len(nonce) != 8 or value <= self._heard:
            raise ZmtpError("a nonce that was used before")
        self._heard = value
        return nonce

    def _our_nonce(self) -> bytes:
        self._said += 1
        return self._said.to_bytes(8, "big")
