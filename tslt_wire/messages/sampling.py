"""The target's sampling settings: they define the distribution the output must have.

Spec section 7.2.  The device asks for them in HELLO, the edge applies them to the target's logits.  The order is the
one users know from ``generate()``: temperature, then top-k, then top-p over what top-k left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the target's logits become the distribution that is to be sampled."""

    temperature: float = 1.0
    """Divides the logits; 0 is greedy decoding (all mass on the most probable token, the lowest id of equals)."""
    top_k: int = 0
    """Keep the ``top_k`` most probable tokens; 0 keeps all."""
    top_p: float = 1.0
    """Keep the smallest set of most probable tokens whose mass reaches ``top_p``; 1 keeps all."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise ValueError(f"temperature must be a finite number >= 0, got {self.temperature!r}")
        if not (isinstance(self.top_k, int) and not isinstance(self.top_k, bool) and self.top_k >= 0):
            raise ValueError(f"top_k must be an integer >= 0 (0: off), got {self.top_k!r}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be in (0, 1], got {self.top_p!r}")
        object.__setattr__(self, "temperature", float(self.temperature))
        object.__setattr__(self, "top_p", float(self.top_p))

    def probs(self, logits: Any) -> npt.NDArray[np.float64]:
        """Target distributions of raw ``logits`` (real (..., V)); float64, same shape, rows sum to 1."""
        values = np.asarray(logits, dtype=np.float64)
        rows = values.reshape(-1, values.shape[-1])
        top = rows.max(axis=1, keepdims=True)
        if not np.isfinite(top).all():
            raise ValueError("each row of logits needs a finite largest value and no NaN")
        out = np.zeros_like(rows)
        if self.temperature == 0:
            out[np.arange(len(rows)), rows.argmax(axis=1)] = 1.0
            return out.reshape(values.shape)
        with np.errstate(over="ignore"):
            weights = np.exp((rows - top) / self.temperature)
        for row, kept in zip(out, weights, strict=True):
            ids = self._kept(kept)
            row[ids] = kept[ids] / kept[ids].sum()
        return out.reshape(values.shape)

    def _kept(self, weights: npt.NDArray[np.float64]) -> Any:
        if not 0 < self.top_k < len(weights):
            if self.top_p == 1:
                return slice(None)
            order = np.argsort(-weights, kind="stable")
        else:
            # argpartition cannot order ties at the border; a stable sort of the candidates can.
            border = np.partition(weights, len(weights) - self.top_k)[len(weights) - self.top_k]
            candidates = np.flatnonzero(weights >= border)
            order = candidates[np.argsort(-weights[candidates], kind="stable")][: self.top_k]
        if self.top_p < 1:
            mass = np.cumsum(weights[order])
            order = order[: int(np.searchsorted(mass, self.top_p * mass[-1], side="left")) + 1]
        return order
