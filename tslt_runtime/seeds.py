"""Random numbers of device and edge, and the secret that they share: all independent, whatever seeds are given.

Verification is lossless only if the edge's numbers do not depend on those that the draft was sampled with.  numpy pads
short seeds with zeros, so ``default_rng(5)`` and ``default_rng([5, 0])`` are one stream; here the last word names the
end, and is not zero.
"""

from __future__ import annotations

import secrets

import numpy as np

from tslt_wire.coding.philox import KEY_BYTES

_DEVICE = 0x64657669
_EDGE = 0x65646765
_SHARED = 0x73686172


def device_rng(seed: int | None) -> np.random.Generator:
    """The device's generator; ``None`` takes fresh entropy from the operating system."""
    return np.random.default_rng(None if seed is None else [seed, _DEVICE])


def edge_rng(seed: int | None, number: int) -> np.random.Generator:
    """The edge's generator for its ``number``-th device; ``None`` takes fresh entropy from the operating system."""
    return np.random.default_rng(None if seed is None else [seed, number, _EDGE])


def coupling_key(seed: int | None, number: int) -> bytes:
    """The secret of evidence ``coupled`` that the edge tells its ``number``-th device.

    Not from the edge's generator: the device would know some of its output, and might guess the rest.
    """
    if seed is None:
        return secrets.token_bytes(KEY_BYTES)
    return np.random.default_rng([seed, number, _SHARED]).bytes(KEY_BYTES)
