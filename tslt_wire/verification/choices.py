"""Where verification takes its randomness from.

Spec section 6.3.  A random generator at work, a script in a test: that one can take every branch instead.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from tslt_wire.checks import generator

Floats = npt.NDArray[np.float64]


class Masses(Protocol):
    """Something to draw from that is not written out: a target row or a residual in the kernel."""

    def at(self, u: float) -> int:
        """Return the token at which the running sum passes the part ``u`` (0 <= u < 1) of the whole."""
        ...

    def dense(self) -> Floats:
        """What each token has, float64 (V,), >= 0, not all 0 and not normalised."""
        ...


class Choices(Protocol):
    """Where verification takes its randomness from; a test can take every branch instead (spec section 6.3)."""

    def accept(self, probability: float) -> bool:
        """True with ``probability`` (0..1)."""
        ...

    def draw(self, weights: Floats, cumulative: Floats | None = None) -> int:
        """An index with probability proportional to ``weights`` (float64 (V,), >= 0, not all 0).

        ``cumulative``: ``np.cumsum(weights)``, from who draws more than once.
        """
        ...

    def pick(self, masses: Masses) -> int:
        """A token with probability proportional to its mass: ``draw`` for what is not written out."""
        ...

    def uniform(self) -> float:
        """A number that is uniform in [0, 1): for rows that draw in their own way.

        It has no branches to take in turn, so that a script which takes them all refuses it.
        """
        ...


class RandomChoices:
    """Choices drawn from a numpy random generator, of which nothing but ``random()`` is used; TypeError for others."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = generator("rng", rng)

    def accept(self, probability: float) -> bool:
        """See Choices.accept."""
        return bool(self.rng.random() < probability)

    def draw(self, weights: Floats, cumulative: Floats | None = None) -> int:
        """See Choices.draw: inverse of the cumulative sum, which never returns an index of weight 0."""
        if cumulative is None:
            cumulative = np.cumsum(weights)
        # float(): a product of Python's numbers does not raise where numpy is told to raise on underflow.
        at = self.rng.random() * float(cumulative[-1])
        i = int(cumulative.searchsorted(at, side="right"))
        # u * total can round up to total itself: then the last index that has weight.
        return i if i < len(weights) else int(np.flatnonzero(weights)[-1])

    def pick(self, masses: Masses) -> int:
        """See Choices.pick."""
        return masses.at(float(self.rng.random()))

    def uniform(self) -> float:
        """See Choices.uniform."""
        return float(self.rng.random())
