"""Random numbers of the device, and the edge's secrets: all independent, whatever seeds are given.

Verification is lossless only if the edge's numbers do not depend on those that the draft was sampled with.  numpy pads
short seeds with zeros, so ``default_rng(5)`` and ``default_rng([5, 0])`` are one stream; here the last word names the
end, and is not zero.
"""

from __future__ import annotations

import secrets

import numpy as np

SECRET_BYTES = 32
"""Bytes of a session's secret: what HMAC-SHA256 takes whole."""
_DEVICE = 0x64657669
_EDGE = 0x65646765


def device_rng(seed: int | None) -> np.random.Generator:
    """The device's generator; ``None`` takes fresh entropy from the operating system."""
    return np.random.default_rng(None if seed is None else [seed, _DEVICE])


def session_secret(seed: int | None, number: int) -> bytes:
    """The secret of an edge's session with its ``number``-th device; ``None`` takes it from the operating system.

    All random numbers of that session follow from it (``tslt_wire.EdgeRandomness``), and the key of evidence
    ``coupled``, which tells the device nothing of them.  A seed is for experiments: who knows it knows the secret.
    """
    if seed is None:
        return secrets.token_bytes(SECRET_BYTES)
    return np.random.default_rng([seed, number, _EDGE]).bytes(SECRET_BYTES)
