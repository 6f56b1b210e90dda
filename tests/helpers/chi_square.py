"""Pearson's test: whether frequencies fit a distribution."""

from __future__ import annotations

import math

import numpy as np


def chi_square_p(counts: np.ndarray, probs: np.ndarray) -> float:
    """Upper tail probability of Pearson's statistic, bins of fewer than 5 expected draws pooled."""
    expected = probs * counts.sum()
    assert counts[probs == 0].sum() == 0
    small = expected < 5
    observed = np.append(counts[~small], counts[small].sum())
    wanted = np.append(expected[~small], expected[small].sum())
    keep = wanted > 0
    statistic = float(((observed - wanted)[keep] ** 2 / wanted[keep]).sum())
    freedom = int(keep.sum()) - 1
    if not freedom:
        return 1.0  # one outcome, and nothing else came
    # Wilson-Hilferty: the cube root of a chi-square is nearly normal.
    z = ((statistic / freedom) ** (1 / 3) - (1 - 2 / (9 * freedom))) / math.sqrt(2 / (9 * freedom))
    return 0.5 * math.erfc(z / math.sqrt(2))
