"""Random numbers of an edge, as a session with a seeded secret has them in its first step."""

from __future__ import annotations

import numpy as np

import tslt_wire as tw
from tslt_runtime.seeds import session_secret


def edge_rng(seed: int, number: int = 0) -> np.random.Generator:
    """A generator for a whole test: independent of the device's with the same seed."""
    return tw.EdgeRandomness(session_secret(seed, number)).generator(0, 0)
