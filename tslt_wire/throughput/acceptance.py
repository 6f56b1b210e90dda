"""How often each kind of evidence accepts, learnt from verdicts and shared between kinds that resemble each other.

The state is one offset in log-odds for each mode and for each of chain and tree: what is added to the log-odds of the
expected acceptance.  Offsets are correlated: a text that is easy for one kind is easy for all, K = 32 says more about
K = 64 than about K = 8.  Verdicts update them all (a Kalman filter on the Bernoulli likelihood), and old ones fade.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tslt_wire.throughput.catalogue import Mode
from tslt_wire.throughput.model import Floats, Ints

_ALL, _KIND, _TREE, _OWN = 0.6, 0.1, 0.08, 0.05
"""Standard deviations in log-odds of what all modes, one kind of evidence, its trees, and one mode have in common.

The last three are small next to the first: a gap of 5 % between two kinds takes some 400 rounds of each to see, so that
only strong evidence may undo the catalogue's differences."""
_OCTAVES = 4.0
"""Octaves of K after which two lists of one kind share 1/e of what they have in common."""
_FADE = 1 / 2000
"""Part of its memory that the filter loses with a round: half of it in 1,400 rounds, so that it follows a text which
changes."""
_MOST = 6.0
"""Log-odds are kept within this, so acceptances within 0.0025 to 0.9975: a text has too few rounds to learn more."""


def log_odds(alpha: float) -> float:
    """ln(a / (1 - a))."""
    return math.log(alpha / (1 - alpha))


class Acceptance:
    """Acceptance of every mode and number of siblings.  Not for two threads at once."""

    def __init__(self, modes: Sequence[Mode], widest: int) -> None:
        """``widest``: most siblings that will be asked for."""
        self._base: Floats = np.array(
            [[log_odds(m.alphas[min(w, len(m.alphas)) - 1]) for w in range(1, widest + 1)] for m in modes]
        )
        keys = [(m, tree) for m in modes for tree in (False, True)]
        self._prior: Floats = np.array([[_covariance(a, b) for b in keys] for a in keys])
        self._cov = self._prior.copy()
        self._offset: Floats = np.zeros(len(keys))

    def alphas(self, deviations: float = 0.0, beside: tuple[int, int] | None = None) -> Floats:
        """Acceptance (modes, 2, widest + 1): of chains and of trees, with 0, 1, ... siblings (0: 0).

        ``deviations``: this many standard deviations above what is expected; if (mode, tree) ``beside`` stays as it is.
        """
        offsets = self._offset
        if deviations:
            variance = self._cov.diagonal()
            if beside is not None:
                at = 2 * beside[0] + beside[1]
                variance = variance + self._cov[at, at] - 2 * self._cov[at]
            offsets = offsets + deviations * np.sqrt(np.maximum(variance, 0.0))
        odds = self._base[:, None, :] + offsets.reshape(-1, 2, 1)
        out = np.zeros((len(self._base), 2, self._base.shape[1] + 1))
        out[:, :, 1:] = 1 / (1 + np.exp(-np.clip(odds, -_MOST, _MOST)))
        return out

    def spread(self, mode: int, tree: bool) -> float:
        """Standard deviation of the offset in log-odds."""
        return float(np.sqrt(self._cov[2 * mode + tree, 2 * mode + tree]))

    def learn(self, mode: int, widths: Ints, accepted: int, tried: int) -> None:
        """A round: of the levels with ``widths`` siblings the first ``accepted`` of ``tried`` were accepted."""
        self._offset = self._offset * (1 - _FADE)
        keep = (1 - _FADE) ** 2
        self._cov = keep * self._cov + (1 - keep) * self._prior
        if not tried:
            return
        at = 2 * mode + bool((widths > 1).any())
        odds = self._base[mode, widths[:tried] - 1] + self._offset[at]
        alphas = 1 / (1 + np.exp(-np.clip(odds, -_MOST, _MOST)))
        slope = accepted - float(alphas.sum())
        information = float((alphas * (1 - alphas)).sum())
        gain = self._cov[:, at] / (1 + self._cov[at, at] * information)
        self._offset = np.clip(self._offset + gain * slope, -_MOST, _MOST)
        self._cov = self._cov - np.outer(gain, self._cov[at]) * information


def _covariance(a: tuple[Mode, bool], b: tuple[Mode, bool]) -> float:
    shared = _ALL**2
    if a[0].evidence == b[0].evidence:
        octaves = abs(math.log2(max(a[0].k, 1) / max(b[0].k, 1)))
        shared += _KIND**2 * math.exp(-octaves / _OCTAVES)
        if a[1] and b[1]:
            shared += _TREE**2
    if a[0] is b[0]:
        shared += _OWN**2
    return shared
