"""What the paper says of distributions, measured: mass, acceptance, the two theorems, and what misprints would do.

Exact at every position: nothing is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

import tslt_wire as tw
from tslt_benchmarks.acceptance import evidence_acceptance
from tslt_benchmarks.acceptance.lossy_schemes import Step, output_law, total_variation
from tslt_benchmarks.bytes.format_base import Floats, listed, top
from tslt_benchmarks.drafts import Logits
from tslt_benchmarks.encodings.equal_acceptance import text_error
from tslt_wire.lists.prior import plain_prior

NUCLEUS = 0.9
"""``rho`` for eq. (14)."""
_EMPTY = 1e-9
"""Residual mass below which there is none."""


@dataclass(frozen=True, slots=True)
class Place:
    """A position: both logits, and the text that it is in."""

    target: Logits
    draft: Logits
    text: int


@dataclass(frozen=True, slots=True)
class Mean:
    """Of all places."""

    value: float
    error: float
    """Standard error, over texts."""


@dataclass(frozen=True, slots=True)
class AcceptanceRow:
    """Fig. 4 and more: one way to send at one K."""

    name: str
    k: int | None
    single: Mean
    """Of one candidate."""
    double: Mean | None
    """Of two, eq. (39); None: for chains alone."""


@dataclass(frozen=True, slots=True)
class BoundRow:
    """Theorems 1 and 2 at one K, means over places."""

    k: int
    gap_1: float
    """|beta^ - beta|."""
    bound_1: float
    """sigma."""
    gap_2: float
    """|beta^(2) - beta(2)|, where a first candidate can be rejected."""
    bound_2: float
    """(1 + 2 / Z^(2)) sigma, at most 1 where it is more."""
    idle_2: float
    """Part of places where Theorem 2's bound is 1 or more."""
    broken: int
    """Places where a bound does not hold: 0, or a mistake here."""
    broken_printed: int
    """Places where it would not with Z^(i) = TV(P^(i), Q), as printed."""


@dataclass(frozen=True, slots=True)
class Misprint:
    """What a misprint would do, beside what is right."""

    place: str
    what: str
    printed: float
    right: float
    unit: str


def mean_of(values: Sequence[float], places: Sequence[Place]) -> Mean:
    """Mean and error."""
    found, text = np.array(values), np.array([place.text for place in places])
    return Mean(float(found.mean()), text_error(found, text))


def pairs_at(places: Sequence[Place], temperature: float) -> list[tuple[Floats, Floats]]:
    """(target, draft) distributions (V,)."""
    sampling = tw.Sampling(temperature=temperature)
    return [(tw.target_probs(place.target, sampling), tw.target_probs(place.draft, sampling)) for place in places]


def mass(places: Sequence[Place], pairs: Sequence[tuple[Floats, Floats]], ks: Sequence[int]) -> list[Mean]:
    """Fig. 3: the draft's probability of its K most probable tokens."""
    sums = [np.cumsum(np.sort(q)[::-1]) for _, q in pairs]
    return [mean_of([float(each[min(k, len(each)) - 1]) for each in sums], places) for k in ks]


def acceptance(
    places: Sequence[Place], pairs: Sequence[tuple[Floats, Floats]], ks: Sequence[int], *, temperature: float, seed: int
) -> list[AcceptanceRow]:
    """Fig. 4: the paper's lists; and ours: range-coded with a tail, the default profile, ``scalar``, ``coupled``."""

    def row(name: str, k: int | None, found: Sequence[Sequence[float]]) -> AcceptanceRow:
        double = mean_of([each[1] for each in found], places) if len(found[0]) > 1 else None
        return AcceptanceRow(name, k, mean_of([each[0] for each in found], places), double)

    rows = [row("paper", k, [evidence_acceptance.verified(p, listed(q, top(q, k))) for p, q in pairs]) for k in ks]
    size = len(pairs[0][0])
    prior = plain_prior(tw.DEFAULTS.prior, size)
    for k in ks:
        lists = [
            tw.sparsify(
                place.draft,
                temperature=temperature,
                truncation=tw.TopK(k),
                precision="log2/1",
                prior=prior,
                tail_scale=tw.TailScale().scale,
            )
            for place in places
        ]
        rows.append(row("tslt list, tail", k, _verified(pairs, lists)))
    profile = tw.DEFAULTS.profile(size)
    default = [tw.DEFAULTS.sparsify(place.draft, profile, temperature=temperature) for place in places]
    rows.append(row("tslt default", None, _verified(pairs, default)))
    rows.append(row("tslt scalar", None, [evidence_acceptance.scalar(p, q) for p, q in pairs]))
    rng = np.random.default_rng(seed)
    rows.append(row("tslt coupled", None, [evidence_acceptance.coupled(p, q, rng, 24) for p, q in pairs]))
    return rows


def _verified(pairs: Sequence[tuple[Floats, Floats]], lists: Sequence[tw.SparseDistribution]) -> list[list[float]]:
    return [evidence_acceptance.verified(p, q.dense()) for (p, _), q in zip(pairs, lists, strict=True)]


# ------------------------------------------------------------------------------------------------------------- theorems


def residual(p: Floats, q: Floats) -> tuple[Floats, float]:
    """Eq. (25): (P^(2), Z^(2)); of an empty residual ``p`` itself and 0."""
    left = np.maximum(p - q, 0)
    total = float(left.sum())
    return (left / total, total) if total > _EMPTY else (p, 0.0)


def bounds(pairs: Sequence[tuple[Floats, Floats]], ks: Sequence[int]) -> list[BoundRow]:
    """Theorems 1 and 2 (with Z^(i) = TV(P^(i-1), Q), as the proof needs it) beside what is measured."""
    return [_bound_row(pairs, k) for k in ks]


def _bound_row(pairs: Sequence[tuple[Floats, Floats]], k: int) -> BoundRow:
    slack = 1e-9
    gaps, sigmas, seconds, limits, broken, broken_printed = [], [], [], [], 0, 0
    for p, q in pairs:
        kept = top(q, k)
        of_list, sigma = listed(q, kept), max(0.0, 1 - float(q[kept].sum()))
        gap = abs(float(np.minimum(p, of_list).sum() - np.minimum(p, q).sum()))
        gaps.append(gap)
        sigmas.append(sigma)
        broken += gap > sigma + slack
        (rest, z), (rest_listed, z_listed) = residual(p, q), residual(p, of_list)
        if z and z_listed:
            second = abs(float(np.minimum(rest_listed, of_list).sum() - np.minimum(rest, q).sum()))
            limit = (1 + 2 / z) * sigma
            printed = (1 + 2 / max(_EMPTY, total_variation(rest, q))) * sigma
            seconds.append(second)
            limits.append(limit)
            broken += second > limit + slack
            broken_printed += second > printed + slack
    return BoundRow(
        k=k,
        gap_1=float(np.mean(gaps)),
        bound_1=float(np.mean(sigmas)),
        gap_2=float(np.mean(seconds)),
        bound_2=float(np.minimum(limits, 1).mean()),
        idle_2=float(np.mean(np.array(limits) >= 1)),
        broken=broken,
        broken_printed=broken_printed,
    )


# ------------------------------------------------------------------------------------------------------------ misprints


def nucleus(q: Floats, *, printed: bool) -> int:
    """Tokens that eq. (14) keeps: as printed the most whose mass is still below ``NUCLEUS``, rightly one more."""
    below = int((np.cumsum(np.sort(q)[::-1]) < NUCLEUS).sum())
    return below if printed else below + 1


def misprints(pairs: Sequence[tuple[Floats, Floats]], k: int) -> list[Misprint]:
    """What the printed laws would do to the text and to acceptance, means over places, lists of ``k``."""

    def over(value: Callable[[Floats, Floats], float]) -> float:
        return float(np.mean([value(p, q) for p, q in pairs]))

    def bias(p: Floats, q: Floats, *, printed: bool) -> float:
        sent = listed(q, top(q, k))
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(sent > 0, sent / p if printed else p / sent, 0.0)
        return total_variation(output_law(p, Step(sent, np.minimum(ratio, 1), sent, 0)), p)

    def swapped(p: Floats, q: Floats) -> float:
        outside = np.delete(np.arange(len(q), dtype=np.int32), top(q, k))
        return float(np.minimum(p, listed(q, outside)).sum()) if len(outside) else 0.0

    def kept_mass(q: Floats, *, printed: bool) -> float:
        return float(np.sort(q)[::-1][: nucleus(q, printed=printed)].sum())

    return [
        Misprint(
            "Algorithm 3, accept test",
            "q / p in place of p / q: total variation of the text from the target's, a drafted token",
            over(lambda p, q: bias(p, q, printed=True)),
            over(lambda p, q: bias(p, q, printed=False)),
            "TV",
        ),
        Misprint(
            "eq. (12) and (47)",
            f"cases swapped, so that what is outside the {k} most probable is drafted: acceptance",
            over(swapped),
            over(lambda p, q: float(np.minimum(p, listed(q, top(q, k))).sum())),
            "acceptance",
        ),
        Misprint(
            "eq. (14)",
            f"one token less than reaches rho = {NUCLEUS:g}: mass that is kept",
            over(lambda _, q: kept_mass(q, printed=True)),
            over(lambda _, q: kept_mass(q, printed=False)),
            "mass",
        ),
        Misprint(
            "eq. (14)",
            "and nothing at all, where the first token has that much: part of places",
            over(lambda _, q: float(nucleus(q, printed=True) == 0)),
            over(lambda _, q: float(nucleus(q, printed=False) == 0)),
            "of places",
        ),
        Misprint(
            "Algorithm 8, leaf layer",
            "the last token from Q, if one follows the letters: total variation from the target's",
            over(total_variation),
            0.0,
            "TV",
        ),
    ]
