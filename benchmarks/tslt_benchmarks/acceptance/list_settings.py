"""The settings of a list that are compared, what each gave, and which of them no other beats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import tslt_wire as tw
from tslt_benchmarks.bytes.format_base import Floats, prior_name, standard_error
from tslt_wire.lists.truncation import Both, MinProb, TopK, TopP, Truncation

ENTROPIES = ("none", "range")
PRECISIONS = tuple(tw.Precision(name) for name in ("log2/0", "log2/1", "log2/2", "log2/3", "log2/4", "f16", "bf16"))
DRAFT_TEMPERATURES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2)
"""Multiples of the target's."""
_ALPHA_SLACK = 0.006
"""A setting is clearly beaten by one of at most its bytes that accepts so much more,"""
_BYTES_SLACK = 0.85
"""or by one that accepts as much in this fraction of its bytes."""


def truncations() -> list[Truncation]:
    """The rules that are compared."""
    return [
        *(TopK(k) for k in (4, 6, 8, 12, 16, 24, 32, 48, 64, 128, 320)),
        *(TopP(p) for p in (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)),
        *(MinProb(tau) for tau in (0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.015, 0.0125, 0.01, 0.005, 0.003, 0.001)),
        *(TopK(k) & MinProb(tau) for k, tau in ((8, 0.03), (16, 0.01), (32, 0.01), (64, 0.003))),
        *(TopK(k) & TopP(p) for k, p in ((8, 0.8), (16, 0.9), (32, 0.9), (64, 0.95), (320, 0.95))),
        TopP(0.9) & MinProb(0.01),
    ]


def describe(rule: Truncation) -> str:
    """How ``rule`` is written in Python, without names of arguments."""
    if isinstance(rule, Both):
        return f"{describe(rule.first)} & {describe(rule.second)}"
    (value,) = (getattr(rule, name) for name in rule.__dataclass_fields__)  # type: ignore[attr-defined]
    return f"{type(rule).__name__}({value:g})"


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to make and write a list."""

    temperature: float
    """The target's."""
    draft_temperature: float
    """The draft's, as a multiple of the target's."""
    truncation: Truncation
    precision: tw.Precision
    entropy: str
    prior: tw.Prior | None = None
    """The session's."""
    tail_scale: float = 0.0
    """As of ``sparsify``."""

    @property
    def prior_text(self) -> str:
        """For tables and labels: ``none``, or a prior's name and the part of what is left out that goes to tails."""
        return f"{prior_name(self.prior)} tails {self.tail_scale:.0%}" if self.prior else "none"

    @property
    def text(self) -> str:
        """For tables and labels."""
        parts = f"{self.draft_temperature:g} T", describe(self.truncation), self.precision.value, self.entropy
        return ", ".join((*parts, self.prior_text) if self.prior else parts)


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """A setting and what it gave."""

    setting: Setting
    entries: float
    """Mean entries of a list."""
    sizes: Floats
    """Bytes of each list; of the first pass and ``"range"``: estimates that are right in the mean only."""
    alphas: Floats
    """1 - TV(target, list) at each position."""

    @property
    def bytes(self) -> float:
        """Mean bytes of a list."""
        return float(self.sizes.mean())

    @property
    def alpha(self) -> float:
        """Mean acceptance."""
        return float(self.alphas.mean())

    @property
    def alpha_se(self) -> float:
        """Standard error of ``alpha``, positions taken as independent."""
        return standard_error(self.alphas)


def not_clearly_beaten(points: Sequence[Point]) -> list[Point]:
    """Those of ``points`` that are not clearly beaten: the rest is hardly on the Pareto front of other positions."""
    if not points:
        return []
    order = sorted(points, key=lambda point: (point.bytes, -point.alpha))
    sizes = np.array([point.bytes for point in order])
    best = np.maximum.accumulate([point.alpha for point in order])
    found = []
    for point, here in zip(order, best, strict=True):
        cheaper = int(np.searchsorted(sizes, point.bytes * _BYTES_SLACK, side="right"))
        if point.alpha >= here - _ALPHA_SLACK and (cheaper == 0 or point.alpha > best[cheaper - 1]):
            found.append(point)
    return found


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """Points that no other beats in bytes and alpha at once, by ascending bytes (and so by ascending alpha)."""
    found: list[Point] = []
    for point in sorted(points, key=lambda point: (point.bytes, -point.alpha)):
        if not found or point.alpha > found[-1].alpha:
            found.append(point)
    return found
