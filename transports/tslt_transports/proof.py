"""How a device proves its key on a link that is encrypted and has a proven edge, but no client certificates: QUIC.

    device -> edge   HELLO       its limits
    edge -> device   CHALLENGE   the edge's limits, and 32 random bytes that were never used before
    device -> edge   PROOF       its Ed25519 key, and a signature of what ``statement`` says
    edge -> device   WELCOME     the edge's limits again; the link is open

The signature is over the hash of the certificate that TLS has proven the edge to have, so that nobody can pass it on
to another edge; over the random bytes, so that it is of no use a second time; and over both greetings as they were
sent, so that nothing in them can be changed.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

from tslt_transports.allow_list import EdgeKeys
from tslt_transports.control import Control
from tslt_transports.keys import PublicKey

NONCE_BYTES: Final = 32
"""Bytes of a challenge."""

_LABEL: Final = b"tslt-key-1 device on quic\0"


def new_nonce() -> bytes:
    """The random bytes of a challenge."""
    return secrets.token_bytes(NONCE_BYTES)


def statement(*, certificate: bytes, hello: bytes, challenge: bytes) -> bytes:
    """What the device signs.

    ``certificate``: the edge's, in DER; ``hello``, ``challenge``: the two control messages as they were sent.
    """
    return _LABEL + b"".join(hashlib.sha256(part).digest() for part in (certificate, hello, challenge))


class Unproven(Exception):
    """A device may not talk.  Never leaves the package."""


def check_proof(keys: EdgeKeys, proof: Control, said: bytes) -> PublicKey:
    """The device that made ``proof`` of ``said``, which is a ``statement``.  Raises ``Unproven``."""
    device = keys.allowed.by_signing(proof.key)
    if device is None:
        raise Unproven("this device's key is not on the edge's allow-list")
    if not device.verify(proof.signature, said):
        raise Unproven("the proof of the device's key is not of this connection: a copy, or another key's")
    return device
