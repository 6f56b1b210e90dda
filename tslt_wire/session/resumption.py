"""How an edge finds the secret of a session, of a new one or of one that goes on over another link.

Spec section 7.8.  A session's secret is an HMAC of the edge's master secret and a nonce, and the token that the device
brings back has the nonce: so an edge that forgot a session, or another one with the same master secret, answers its
open round as the first one did.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from tslt_wire.messages.fields import check_bytes
from tslt_wire.verification.randomness import LEAST_SECRET_BYTES

NONCE_BYTES = 16
"""Bytes of the nonce of a session."""
_MAC_BYTES = 16
_SECRET_LABEL = b"tslt-wire session secret 1"
_TOKEN_LABEL = b"tslt-wire resume token 1"


@dataclass(frozen=True, slots=True)
class Opening:
    """What an edge answers a HELLO with, besides what the two agree on."""

    secret: bytes
    """The session's: what its random numbers are made of (``tw.EdgeRandomness``); empty: they are the caller's."""
    token: bytes = b""
    """What the device brings back to go on over another link, at most 64 bytes; empty: it cannot."""
    resumed: bool = False
    """Whether it is the secret of the session whose token HELLO brought."""
    held: tuple[int, ...] = ()
    """Tokens of that session's text that the edge has: ``EdgeSession.kept`` of its last link."""
    round: int = 0
    """The earliest round that it goes on with: ``EdgeSession.kept_round`` of its last link."""
    repeats: bool = False
    """Whether the same HELLO, which asked for it, has the same secret each time."""


class SessionKeys:
    """Makes the secrets and the resume tokens of an edge's sessions, from one master secret."""

    __slots__ = ("_master",)

    def __init__(self, master: bytes) -> None:
        """``master``: 16 random bytes or more that no device knows; edges that share them take over from each other.

        TypeError for what is not bytes, ValueError for fewer.
        """
        if not isinstance(master, bytes):
            raise TypeError(f"master must be bytes, got {type(master).__name__}")
        if len(master) < LEAST_SECRET_BYTES:
            raise ValueError(f"master must have at least {LEAST_SECRET_BYTES} bytes, got {len(master)}")
        self._master = master

    def new(self, nonce: bytes, identity: str = "") -> Opening:
        """A new session.  ``nonce``: 16 bytes that no other session of the master secret has.

        ``identity``: the device's, as the link knows it: nobody else can use the token.
        """
        check_bytes("nonce", nonce, NONCE_BYTES)
        return Opening(self._hmac(_SECRET_LABEL, nonce), self._token(nonce, identity))

    def resumed(self, token: bytes, identity: str = "", held: tuple[int, ...] = (), round: int = 0) -> Opening | None:
        """The session that ``token`` is of, for the device that it was given to; None if this edge cannot tell.

        ``held``, ``round``: see ``Opening``.
        """
        nonce = token[:NONCE_BYTES]
        if len(nonce) != NONCE_BYTES or not hmac.compare_digest(token, self._token(nonce, identity)):
            return None
        return Opening(self._hmac(_SECRET_LABEL, nonce), token, resumed=True, held=held, round=round)

    def _token(self, nonce: bytes, identity: str) -> bytes:
        return nonce + self._hmac(_TOKEN_LABEL, nonce + identity.encode())[:_MAC_BYTES]

    def _hmac(self, label: bytes, data: bytes) -> bytes:
        return hmac.digest(self._master, label + data, hashlib.sha256)
