"""Where verification takes its randomness from.

Spec section 6.3.  A random generator at work, a script in a test: that one can take every branch instead.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Choices(Protocol):
    """Where verification takes its randomness from; a test can take every branch instead."""

    def accept(self, probability: float) -> bool:
        """True with ``probability`` (0..1)."""
        ...

    def draw(self, weights: Floats) -> int:
        """An index with probability proportional to ``weights`` (float64 (V,), >= 0, not all 0)."""
        ...


class RandomChoices:
    """Choices drawn from a numpy random generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def accept(self, probability: float) -> bool:
        """See Choices.accept."""
        return bool(self._rng.random() < probability)

    def draw(self, weights: Floats) -> int:
        """See Choices.draw: inverse of the cumulative sum, which never returns an index of weight 0."""
        cumulative = np.cumsum(weights)
        i = int(np.searchsorted(cumulative, self._rng.random() * cumulative[-1], side="right"))
        # u * total can round up to total itself: then the last index that has weight.
        return i if i < len(weights) else int(np.flatnonzero(weights)[-1])
