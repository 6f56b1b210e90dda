"""The edge's randomness: a function of a secret of the session, the round and the step.

Spec section 11, [SEC-2].
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import numpy as np

from tslt_wire.checks import integer

LEAST_SECRET_BYTES = 16
"""Bytes of the shortest secret: 128 bits, as many as the key of the counter generator has."""
_PURPOSE = b"tslt-wire edge randomness 1"
"""What the hash is for, so that it says nothing about others made with the same secret."""
_KEY_BYTES = 16
"""Bytes of a key of Philox4x64 as numpy has it."""
_MOST = (1 << 32) - 1
_WORD = np.dtype("<u8")
_START = np.zeros(4, np.uint64)
"""Where the counter starts."""


class _Key:
    """A key for ``Philox``, which asks the operating system for a seed of its own where it is given ``key=``.

    An ``ISeedSequence`` of numpy's, which ``EdgeRandomness`` tells it: numpy.random is loaded when it is needed.
    """

    def __init__(self, key: bytes) -> None:
        self._key = np.frombuffer(key, _WORD)

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> Any:
        """The key's two words of 64 bits, whatever is asked for: nothing but ``Philox`` asks."""
        return self._key


class EdgeRandomness:
    """Makes the random generator of each answer of an edge, from a secret of the session (spec section 11, [SEC-2]).

    Where an edge draws from one generator as frames come in, an answer depends on what arrived before it: a frame
    that is sent again after a fault is decided anew, which prefers what was not rejected, and another replica decides
    otherwise.  Here an answer depends on round and step alone, so that the same frame gets the same answer, on
    whatever replica knows the secret.  The device must never know it: who foresees what will be rejected can draft
    accordingly.  Keys are HMAC-SHA256 of round and step, so that no two answers share their numbers.
    """

    __slots__ = ("_keyed", "_secret")

    def __init__(self, secret: bytes) -> None:
        """``secret``: 16 random bytes or more, of one session alone.

        TypeError for what is not bytes, ValueError for fewer.
        """
        if not isinstance(secret, bytes):
            raise TypeError(f"secret must be bytes, got {type(secret).__name__}")
        if len(secret) < LEAST_SECRET_BYTES:
            raise ValueError(f"secret must have at least {LEAST_SECRET_BYTES} bytes, got {len(secret)}")
        np.random.bit_generator.ISeedSequence.register(_Key)
        self._secret = secret
        # The two hashes that begin with the secret are made once.
        self._keyed = hmac.new(secret, _PURPOSE, hashlib.sha256)

    def __reduce__(self) -> tuple[type[EdgeRandomness], tuple[bytes]]:
        """For copies, also those of a session that has one: a hash under way has none."""
        return EdgeRandomness, (self._secret,)

    def generator(self, round: int, step: int) -> np.random.Generator:
        """Make the generator for one answer: always the same for the same ``round`` and ``step``.

        ``round``: the draft's, which a session never uses twice.  ``step``: 0 for the answer to the draft, then 1, 2,
        ... for those to MORE or LIST that follow it in the round.  Both below 2**32: TypeError and ValueError for
        others.
        """
        place = integer("round", round, 0, _MOST).to_bytes(4, "little") + integer("step", step, 0, _MOST).to_bytes(
            4, "little"
        )
        keyed = self._keyed.copy()
        keyed.update(place)
        key: Any = _Key(keyed.digest()[:_KEY_BYTES])  # numpy takes any ISeedSequence, which its types do not say
        return np.random.Generator(np.random.Philox(key, counter=_START))
