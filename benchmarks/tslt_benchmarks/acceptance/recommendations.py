"""What is concluded from measured settings: references beside them, recommended defaults, and where a rule holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tslt_benchmarks.acceptance.list_passes import Ordered, Sample, Tempered
from tslt_benchmarks.acceptance.list_settings import Point, pareto_front
from tslt_benchmarks.bytes.format_base import Floats, overlap, standard_error
from tslt_benchmarks.bytes.other_formats import Paper, PublishedBound

WITHIN = 0.01
"""The first rule: the cheapest setting that accepts at most so much less than the best one."""
BUDGET = 16.0
"""The second rule: the setting of at most so many bytes, in the mean, that accepts most."""
ANY, NO_PRIOR, PACKED = "all", "no prior", "packed, no prior"
REFERENCE_KS = (8, 16, 32, 64, 320)
_ENTROPY_CUTS = (2.0, 4.0)
"""Bits; classes of the draft's entropy, which a device knows."""
_MIN_GROUP = 8
"""Nothing is said of fewer positions."""
VERDICTS = ("holds", "undecided", "does not", "too long", "too few")

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """Something that the settings are compared with."""

    name: str
    """``whole``, ``published_bound`` or ``paper``."""
    label: str
    temperature: float
    draft_temperature: float
    """As a multiple of the target's."""
    k: int | None
    bytes: float
    """Mean; of a whole distribution: float16 for each token."""
    alphas: Floats

    @property
    def alpha(self) -> float:
        """Mean acceptance."""
        return float(self.alphas.mean())


def references(sample: Sample, positions: npt.NDArray[np.floating], factors: Sequence[float]) -> list[Reference]:
    """Measure the whole distribution at each of ``factors`` and at 1, then K-SQS and the paper's list at 1.

    ``positions``: the draft's logits (N, V) of ``sample``.
    """
    vocab_size, t = sample.targets.shape[1], sample.temperature
    found = []
    for factor in sorted({1.0, *factors}):
        alphas = [float(np.minimum(d.dense, p).sum()) for _, d, p in sample.tempered(factor, lambda: None)]
        label = "whole distribution" + ("" if factor == 1 else f", draft at {factor:g} T")
        found.append(Reference("whole", label, t, factor, None, 2.0 * vocab_size, np.array(alphas)))
    for row, label in ((PublishedBound(vocab_size), "K-SQS formula"), (Paper(vocab_size), "the paper's list")):
        for k in sorted({min(k, vocab_size) for k in REFERENCE_KS}):
            items = [row.prepare(logits, k=k, temperature=t) for logits in positions]
            alphas = [overlap(row.lists(item)[0], p) for item, p in zip(items, sample.targets, strict=True)]  # type: ignore[arg-type]
            sizes = [row.size(item) for item in items]  # type: ignore[arg-type]
            found.append(Reference(row.name, f"{label}, K = {k}", t, 1.0, k, float(np.mean(sizes)), np.array(alphas)))
    return found


def whole(found: Sequence[Reference]) -> Reference:
    """Return the whole distribution at the target's temperature: vanilla speculative decoding."""
    return next(r for r in found if r.name == "whole" and r.draft_temperature == 1)


def best_whole(found: Sequence[Reference]) -> Reference:
    """Return the whole distribution at the draft temperature that accepts most."""
    return max((r for r in found if r.name == "whole"), key=lambda r: r.alpha)


# --------------------------------------------------------------------------------------------------------------- rules


@dataclass(frozen=True, slots=True)
class Recommended:
    """What a rule chose for one target temperature."""

    rule: str
    """``within`` or ``budget``."""
    among: str
    """What it chose from: ``ANY`` of the settings, ``NO_PRIOR`` or ``PACKED``."""
    point: Point
    gain: float
    """Its acceptance less that of the whole distribution."""
    gain_se: float
    """Standard error of ``gain``, by pairs."""


def within_of_best(front: Sequence[Point], margin: float = WITHIN) -> Point:
    """Return the cheapest of a Pareto front that is within ``margin`` of its best acceptance."""
    return next(p for p in front if p.alpha >= front[-1].alpha - margin)


def best_in_budget(front: Sequence[Point], budget: float = BUDGET) -> Point | None:
    """Return the most accepting of a Pareto front in at most ``budget`` bytes, None if none is that small."""
    return next((p for p in reversed(front) if p.bytes <= budget), None)


def recommend(points: Sequence[Point], full: Reference) -> list[Recommended]:
    """Apply both rules to all of ``points``, to those without a prior, and to those without entropy coding either."""
    found = []
    plain = [p for p in points if p.setting.prior is None]
    packed = [p for p in plain if p.setting.entropy == "none"]
    for kind, chosen in ((ANY, points), (NO_PRIOR, plain), (PACKED, packed)):
        front = pareto_front(chosen)
        if not front:
            continue
        for rule, point in (("within", within_of_best(front)), ("budget", best_in_budget(front))):
            if point is not None:
                found.append(Recommended(rule, kind, point, *gain(point.alphas, full.alphas)))
    return found


def gain(alphas: Floats, full: Floats) -> tuple[float, float]:
    """Mean of ``alphas - full``, and its standard error."""
    differences = alphas - full
    return float(differences.mean()), standard_error(differences)


# --------------------------------------------------------------------------------------------------------------- where


@dataclass(frozen=True, slots=True)
class Comparison:
    """Whether at most 16 bytes accept as much as the whole distribution, for a kind of positions."""

    of: str
    """``best``: of the setting that accepts most there in 16 bytes; ``default``: of the default profile."""
    temperature: float
    draft_temperature: float | None
    """Of the setting, as a multiple of the target's."""
    group: str
    positions: int
    whole: float
    """Acceptance of the whole distribution there, at the target's temperature."""
    best_whole: float
    """The same at the draft temperature that is best there."""
    setting: str | None
    """None if no setting has at most 16 bytes there."""
    bytes: float
    alpha: float
    gain: float
    """``alpha`` less ``whole``."""
    gain_se: float

    @property
    def verdict(self) -> str:
        """``holds`` or ``does not``; ``undecided`` within two standard errors; ``too long``; ``too few`` positions."""
        if self.positions < _MIN_GROUP:
            return "too few"
        if self.setting is None:
            return "does not"
        if self.bytes > BUDGET:
            return "too long"
        if abs(self.gain) < 2 * self.gain_se:
            return "undecided"
        return "holds" if self.gain >= 0 else "does not"


def entropy_bits(probs: Floats) -> Floats:
    """Entropy of each row of ``probs`` (N, V), in bits."""
    logs = np.log2(probs, out=np.zeros_like(probs), where=probs > 0)
    return np.asarray(-(probs * logs).sum(axis=-1))


def sharper_by_half(sample: Sample) -> Mask:
    """Return where the target's entropy is at most half the draft's, (N,)."""
    p, q = _entropies(sample)
    return np.asarray(p <= q / 2)


def _entropies(sample: Sample) -> tuple[Floats, Floats]:
    """Bits of the target's and of the draft's distributions, (N,) each, at the target's temperature."""
    drafts: Sequence[Ordered] = sample.drafts
    q = np.array([entropy_bits(Tempered(d, sample.temperature).dense) for d in drafts])
    return entropy_bits(sample.targets), q


def by_sharpness(sample: Sample) -> list[tuple[str, Mask]]:
    """Return all positions, then three kinds of them by which of the two is sharper."""
    p, q = _entropies(sample)
    return [
        ("all positions", np.ones(len(sample), np.bool_)),
        ("target sharper by half or more", p <= q / 2),
        ("target sharper by less", (p > q / 2) & (p < q)),
        ("target not sharper", p >= q),
    ]


def groups(sample: Sample) -> list[tuple[str, Mask]]:
    """Kinds of positions: by which of the two is sharper, and by the draft's entropy at the target's temperature."""
    p, q = _entropies(sample)
    low, high = _ENTROPY_CUTS
    everywhere, *kinds = by_sharpness(sample)
    found = [
        everywhere,
        ("target sharper than draft", p < q),
        *kinds,
        (f"draft entropy below {low:g} bit", q < low),
        (f"draft entropy {low:g} to {high:g} bit", (q >= low) & (q < high)),
        (f"draft entropy {high:g} bit or more", q >= high),
    ]
    return [(name, mask) for name, mask in found if mask.any()]


def where_it_holds(sample: Sample, points: Sequence[Point], beside: Sequence[Reference]) -> list[Comparison]:
    """For each kind of positions, the best of ``points`` in 16 bytes there against the whole distribution there."""
    found = []
    for name, mask in groups(sample):
        fitting = [p for p in points if p.sizes[mask].mean() <= BUDGET]
        best = max(fitting, key=lambda p: float(p.alphas[mask].mean()), default=None)
        found.append(judge("best", sample, name, mask, best, beside))
    return found


def where_default_holds(sample: Sample, points: Sequence[Point], beside: Sequence[Reference]) -> list[Comparison]:
    """For each kind of positions, the default profile at each draft temperature (``points``), long or not."""
    return [judge("default", sample, name, mask, point, beside) for name, mask in groups(sample) for point in points]


def judge(
    of: str, sample: Sample, group: str, mask: Mask, point: Point | None, beside: Sequence[Reference]
) -> Comparison:
    """Compare ``point`` (None: no setting is short enough) with the whole distribution at the positions of ``mask``."""
    wholes = [r.alphas[mask] for r in beside if r.name == "whole"]
    full = whole(beside).alphas[mask]
    alphas = point.alphas[mask] if point else np.zeros(len(full))
    difference, error = gain(alphas, full)
    return Comparison(
        of=of,
        temperature=sample.temperature,
        draft_temperature=point.setting.draft_temperature if point else None,
        group=group,
        positions=int(mask.sum()),
        whole=float(full.mean()),
        best_whole=max(float(alphas.mean()) for alphas in wholes),
        setting=point.setting.text if point else None,
        bytes=float(point.sizes[mask].mean()) if point else 0.0,
        alpha=float(alphas.mean()),
        gain=difference,
        gain_se=error,
    )
