"""The grid of probabilities that evidence ``scalar`` and ``lazy`` send: 12 bits for each, 128 steps an octave.

Spec section 6.6.  Code c stands for G(c) = A[2 * (c mod 128)] * 2^(-31 - floor(c / 128)), about 2^(-c / 128), with A of
Appendix A: dyadic numbers that binary64 holds exactly, so that both ends round to the same ones.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Any

import numpy as np
import numpy.typing as npt

from tslt_wire.lists.precision import octave_numbers

Floats = npt.NDArray[np.float64]

CODE_BITS = 12
LAST = 4094
"""Code of the least number of the grid, about 2**-32."""
BELOW = 4095
"""Code that stands for 0, in proposals alone: the probability is below the least number of the grid."""


def _grid() -> Floats:
    steps = np.arange(LAST + 1)
    return np.ldexp(octave_numbers()[2 * (steps % 128)].astype(np.float64), -31 - steps // 128)


GRID: Floats = _grid()
"""G(c) for c = 0..4094, float64 (4095,), strictly descending from 1."""
GRID.flags.writeable = False
_ASCENDING: Floats = GRID[::-1]
_NUMBERS: list[float] = _ASCENDING.tolist()
"""The same for one number at a time: numpy takes ten times as long to look one up."""


def codes_above(probs: Any) -> npt.NDArray[np.int64]:
    """Code of the least number of the grid that is not below each of ``probs`` (float64, any shape, 0..1)."""
    return np.asarray(LAST - np.searchsorted(_ASCENDING, np.minimum(probs, 1.0), side="left"))


def codes_below(probs: Any) -> npt.NDArray[np.int64]:
    """Code of the greatest number of the grid that is not above each of ``probs`` (float64, 0..1), or ``BELOW``."""
    return np.asarray(BELOW - np.searchsorted(_ASCENDING, probs, side="right"))


def code_above(prob: float) -> int:
    """``codes_above`` of one number."""
    return LAST - bisect_left(_NUMBERS, min(prob, 1.0))


def code_below(prob: float) -> int:
    """``codes_below`` of one number."""
    return BELOW - bisect_right(_NUMBERS, prob)
