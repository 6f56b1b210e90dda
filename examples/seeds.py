"""Random numbers of device and edge: independent of each other, whatever seeds are given.

Verification is lossless only if the edge's numbers do not depend on those that the draft was sampled with.  numpy pads
short seeds with zeros, so ``default_rng(5)`` and ``default_rng([5, 0])`` are one stream; here the last word names the
end, and is not zero.
"""

from __future__ import annotations

import numpy as np

_DEVICE = 0x64657669
_EDGE = 0x65646765


def device_rng(seed: int | None) -> np.random.Generator:
    """The device's generator; ``None`` takes fresh entropy from the operating system."""
    return np.random.default_rng(None if seed is None else [seed, _DEVICE])


def edge_rng(seed: int | None, number: int) -> np.random.Generator:
    """The edge's generator for its ``number``-th device; ``None`` takes fresh entropy from the operating system."""
    return np.random.default_rng(None if seed is None else [seed, number, _EDGE])
