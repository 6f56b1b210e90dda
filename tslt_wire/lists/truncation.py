"""Which tokens a truncated distribution keeps.

Spec section 4; paper section 3.1, eq. (13) and (14) as corrected: the top-p set is the *smallest* prefix reaching p.
Every rule keeps a prefix of the tokens in descending order of probability, ties by ascending id, and never nothing.
There are three rules and their ``&``, no others: the kernel has these too.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

from tslt_wire import checks

Masses = npt.NDArray[np.float64] | npt.NDArray[np.int64]
"""Probabilities, or integer weights in proportion to them: whatever their sum, real (V,)."""


class Truncation(abc.ABC):
    """A rule that says how many of the most probable tokens are kept; ``a & b`` keeps what both keep.

    ``TopK``, ``TopP``, ``MinProb`` or ``Both`` of two rules.
    """

    __slots__ = ()

    @abc.abstractmethod
    def count(self, masses: Masses) -> int:
        """Number of tokens to keep, at least 1; ``masses`` in descending order."""

    def __and__(self, other: Truncation) -> Both:
        """Keep what both rules keep; each sees the whole distribution."""
        return Both(self, other)


@final
@dataclass(frozen=True, slots=True)
class TopK(Truncation):
    """Keep the ``k`` most probable tokens (paper eq. 13).  TypeError, or ValueError below 1."""

    k: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", checks.integer("k of TopK", self.k, 1, None))

    def count(self, masses: Masses) -> int:
        """See Truncation.count."""
        return min(self.k, len(masses))


@final
@dataclass(frozen=True, slots=True)
class TopP(Truncation):
    """Keep the smallest set of most probable tokens whose mass reaches ``p`` (paper eq. 14, corrected).

    TypeError for what is no real number, ValueError unless 0 < p <= 1.
    """

    p: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "p", checks.number("p of TopP", self.p, 0, 1, above_low=True))

    def count(self, masses: Masses) -> int:
        """See Truncation.count."""
        if self.p == 1:
            return len(masses)
        sums = np.cumsum(masses)
        return min(int(np.searchsorted(sums, self.p * sums[-1], side="left")) + 1, len(masses))


@final
@dataclass(frozen=True, slots=True)
class MinProb(Truncation):
    """Keep the tokens of probability at least ``tau``, and always the most probable one.

    TypeError for what is no real number, ValueError unless 0 < tau <= 1.
    """

    tau: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "tau", checks.number("tau of MinProb", self.tau, 0, 1, above_low=True))

    def count(self, masses: Masses) -> int:
        """See Truncation.count."""
        return max(1, int(np.count_nonzero(masses >= self.tau * masses.sum())))


@final
@dataclass(frozen=True, slots=True)
class Both(Truncation):
    """Keep what both rules keep; written ``TopK(32) & MinProb(0.01)``.  Each sees the whole distribution.

    TypeError for what is no rule.
    """

    first: Truncation
    second: Truncation

    def __post_init__(self) -> None:
        for rule in (self.first, self.second):
            if type(rule) not in _RULES:
                raise TypeError(f"{_EXPECTED}, got {rule!r}")

    def count(self, masses: Masses) -> int:
        """See Truncation.count."""
        return min(self.first.count(masses), self.second.count(masses))


_RULES = (TopK, TopP, MinProb, Both)
_EXPECTED = "a truncation is a TopK, a TopP, a MinProb or one & another"


def check_truncation(rule: Any) -> Truncation | None:
    """Return ``rule``, or None for no truncation; TypeError for what is no rule."""
    if rule is not None and type(rule) not in _RULES:
        raise TypeError(f"{_EXPECTED}, or None, got {rule!r}")
    checked: Truncation | None = rule
    return checked


def keep(masses: Masses, rule: Truncation | None, order: Any = None) -> npt.NDArray[np.int64]:
    """Ids that ``rule`` keeps, ascending; ``None`` keeps all.

    ``order``: real (V,), what "most probable" is decided by, if ``masses`` are too coarse for it.
    """
    order = masses if order is None else order
    if rule is None:
        return np.arange(len(masses))
    if isinstance(rule, TopK) and rule.k < len(masses):
        # The common case without a full sort; ties at the border go to the smallest ids, as in the sorted order.
        border = np.partition(order, len(order) - rule.k)[len(order) - rule.k]
        above = np.flatnonzero(order > border)
        return np.sort(np.concatenate([above, np.flatnonzero(order == border)[: rule.k - len(above)]]))
    ranked = np.argsort(-order, kind="stable")
    return np.sort(ranked[: rule.count(masses[ranked])])
