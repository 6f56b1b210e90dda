"""The edge's randomness: a function of a secret of the session, the round and the step.

Design section 4; spec section 11.
"""

from __future__ import annotations

import hashlib
import hmac

import numpy as np

from tslt_wire.checks import integer

LEAST_SECRET_BYTES = 16
"""Bytes of the shortest secret: 128 bits, as many as the key of the counter generator has."""
_PURPOSE = b"tslt-wire edge randomness 1"
"""What the hash is for, so that it says nothing about others made with the same secret."""
_KEY_BYTES = 16
"""Bytes of a key of Philox4x64 as numpy has it."""
_MOST = (1 << 32) - 1


class EdgeRandomness:
    """Makes the random generator of each answer of an edge, from a secret of the session.

    Where an edge draws from one generator as frames come in, an answer depends on what arrived before it: a frame
    that is sent again after a fault is decided anew, which prefers what was not rejected, and another replica decides
    otherwise.  Here an answer depends on round and step alone, so that the same frame gets the same answer, on
    whatever replica knows the secret.  The device must never know it: who foresees what will be rejected can draft
    accordingly.  Keys are HMAC-SHA256 of round and step, so that no two answers share their numbers.
    """

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        """``secret``: 16 random bytes or more, of one session alone.

        TypeError for what is not bytes, ValueError for fewer.
        """
        if not isinstance(secret, bytes):
            raise TypeError(f"secret must be bytes, got {type(secret).__name__}")
        if len(secret) < LEAST_SECRET_BYTES:
            raise ValueError(f"secret must have at least {LEAST_SECRET_BYTES} bytes, got {len(secret)}")
        self._secret = secret

    def generator(self, round: int, step: int) -> np.random.Generator:
        """Make the generator for one answer: always the same for the same ``round`` and ``step``.

        ``round``: the draft's, which a session never uses twice.  ``step``: 0 for the answer to the draft, then 1, 2,
        ... for those to MORE or LIST that follow it in the round.  Both below 2**32: TypeError and ValueError for
        others.
        """
        place = integer("round", round, 0, _MOST).to_bytes(4, "little") + integer("step", step, 0, _MOST).to_bytes(
            4, "little"
        )
        digest = hmac.digest(self._secret, _PURPOSE + place, hashlib.sha256)
        key = int.from_bytes(digest[:_KEY_BYTES], "little")
        return np.random.Generator(np.random.Philox(key=key, counter=0))
