"""Both passes of the benchmark of acceptance against bytes over one pair's drafts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

import tslt_wire as tw
from tslt_benchmarks.acceptance.list_passes import Grid, Ordered, Sample, remeasure, screen, tail_scales
from tslt_benchmarks.acceptance.list_settings import (
    DRAFT_TEMPERATURES,
    ENTROPIES,
    PRECISIONS,
    Point,
    Setting,
    describe,
    not_clearly_beaten,
    pareto_front,
    truncations,
)
from tslt_benchmarks.acceptance.recommendations import (
    Comparison,
    Recommended,
    Reference,
    recommend,
    references,
    where_default_holds,
    where_it_holds,
    whole,
)
from tslt_benchmarks.drafts import Drafts, Logits
from tslt_wire.lists.prior import plain_prior


@dataclass(frozen=True, slots=True)
class Settings:
    """What is measured, and on how much."""

    temperatures: tuple[float, ...] = (1.0, 0.7)
    draft_temperatures: tuple[float, ...] = DRAFT_TEMPERATURES
    positions: int = 112
    """For the second pass."""
    screened: int = 32
    """Other positions, for the first pass; at most a third of all."""
    max_entries: int = 1000
    """Truncations with longer lists in the mean are left out."""
    seed: int = 0
    table: str | None = None
    """Name of the trained table that is measured beside the density prior."""


@dataclass(frozen=True, slots=True)
class Result:
    """What was found at one target temperature."""

    temperature: float
    screened: list[Point]
    left_out: list[tuple[float, str, float]]
    """Draft temperature, truncation and mean entries of what was not measured."""
    measured: list[Point]
    references: list[Reference]
    recommended: list[Recommended]
    default: list[Point]
    """The default profile at each draft temperature."""
    holds: list[Comparison]

    def front(self, entropy: str = "any", *, priors: bool = True) -> list[Point]:
        """Pareto front of what was measured, of one entropy setting or of both, with priors or without."""
        points = [p for p in self.measured if priors or p.setting.prior is None]
        return pareto_front([p for p in points if entropy in {"any", p.setting.entropy}])

    @property
    def default_point(self) -> Point:
        """The default profile at its own draft temperature."""
        return next(p for p in self.default if p.setting.draft_temperature == tw.DEFAULTS.draft_temperature)


def measure_all(
    drafts: Drafts, settings: Settings, tell: Callable[[int, int], None], table: tw.Prior | None = None
) -> list[Result]:
    """Both passes at each target temperature; priors: none, the id density, and ``table`` if there is one.

    ``tell``: told how many steps of all are done.
    """
    total = len(drafts.positions.draft)
    if total < 2:
        raise ValueError(f"two positions are the least to measure on, got {total}")
    order = np.random.default_rng(settings.seed).permutation(total)
    first = max(1, min(settings.screened, total // 3))
    picked = np.split(order[: first + settings.positions], [first])
    ordered = [[Ordered(drafts.positions.draft[i]) for i in part] for part in picked]
    steps = len(settings.temperatures) * len(settings.draft_temperatures) * sum(map(len, picked))
    done = count(1)

    def advance(more: int) -> None:
        for _ in range(more):
            tell(next(done), steps)

    results = []
    priors = [None, plain_prior("density", drafts.vocab_size), *([table] if table else [])]
    for t in settings.temperatures:
        some, others = (Sample.of(t, o, drafts.positions.target[part]) for o, part in zip(ordered, picked, strict=True))
        parts = _Parts(some, others, drafts.positions.draft[picked[1]])
        results.append(_measure(parts, settings, priors, advance))
    return results


@dataclass(frozen=True, slots=True, eq=False)
class _Parts:
    """The positions of the two passes, and the draft's logits (N, V) of the second."""

    first: Sample
    second: Sample
    second_logits: Logits


def _measure(
    parts: _Parts, settings: Settings, priors: Sequence[tw.Prior | None], advance: Callable[[int], None]
) -> Result:
    some, others = parts.first, parts.second

    def step() -> None:
        advance(1)

    screened: list[Point] = []
    left_out = []
    for factor in settings.draft_temperatures:
        found = screen(
            some,
            factor,
            Grid(rules=truncations(), precisions=PRECISIONS, priors=priors, max_entries=settings.max_entries),
            step=step,
        )
        screened += found.points
        left_out += [(factor, describe(rule), round(mean, 1)) for rule, mean in found.left_out]
    kinds = [[p for p in screened if p.setting.entropy == e] for e in ENTROPIES]
    kinds += [[p for p in kind if p.setting.prior is None] for kind in kinds]
    wanted = list(dict.fromkeys(p.setting for kind in kinds for p in not_clearly_beaten(kind)))
    measured = []
    for factor in settings.draft_temperatures:
        here = [setting for setting in wanted if setting.draft_temperature == factor]
        measured += remeasure(others, here, step)
        if not here:
            advance(len(others))
    default = []
    for setting in default_settings(some, settings.draft_temperatures):
        default += remeasure(others, [setting], lambda: None)
    beside = references(others, parts.second_logits, settings.draft_temperatures)
    return Result(
        temperature=some.temperature,
        screened=screened,
        left_out=left_out,
        measured=measured,
        references=beside,
        recommended=recommend(measured, whole(beside)),
        default=default,
        holds=where_it_holds(others, [*measured, *default], beside) + where_default_holds(others, default, beside),
    )


def default_settings(sample: Sample, factors: Sequence[float]) -> list[Setting]:
    """Return the default profile for ``sample``'s target temperature, at its own draft temperature and ``factors``."""
    own = tw.DEFAULTS
    prior = own.profile(sample.targets.shape[1]).prior
    return [
        Setting(
            sample.temperature,
            factor,
            own.truncation,
            own.precision,
            own.entropy,
            prior,
            tail_scales(sample, factor, [own.truncation])[0],
        )
        for factor in sorted({own.draft_temperature, *factors})
    ]
