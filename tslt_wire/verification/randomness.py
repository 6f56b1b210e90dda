"""The edge's random numbers: a function of a secret of the session, the round and the step.

Design: never of the order in which frames arrive, and never known to the device.  A frame that is sent again gets the
same answer, on whatever replica has the secret, so nothing is redrawn after a fault, which would prefer what was not
rejected.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

import numpy as np

from tslt_wire import checks

LEAST_SECRET = 16
"""Bytes of the shortest secret: 128 bits, too many to guess."""
_LABEL = b"tslt-wire edge randomness 1"
_U32 = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class EdgeRandomness:
    """Makes the generator of each answer.  Raises TypeError or ValueError for a secret below 16 bytes."""

    secret: bytes = field(repr=False)
    """Uniform random bytes that no other session has and no device is told."""

    def __post_init__(self) -> None:
        if not isinstance(self.secret, bytes):
            raise TypeError(f"secret must be bytes, got {type(self.secret).__name__}")
        if len(self.secret) < LEAST_SECRET:
            raise ValueError(f"secret must have at least {LEAST_SECRET} bytes, got {len(self.secret)}")

    def generator(self, round: int, step: int) -> np.random.Generator:
        """Generator of the answer to a frame: ``step`` 0 for the draft, the batch for MORE, 1 for LIST.

        No two of them share numbers: HMAC-SHA256 of round and step keys a counter generator (Philox4x64-10).
        """
        place = b"".join(
            checks.integer(name, value, 0, _U32).to_bytes(4, "little")
            for name, value in (("round", round), ("step", step))
        )
        key = hmac.new(self.secret, _LABEL + place, hashlib.sha256).digest()[:16]
        return np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little"), counter=0))
