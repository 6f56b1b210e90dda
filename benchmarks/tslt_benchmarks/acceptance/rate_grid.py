"""Every setting of a list, measured: mean bytes of ``encode_list`` and mean acceptance, on positions of a real pair.

Two passes.  All settings are screened on few positions, and ``entropy="range"`` there on fewer still (its bytes are
estimated as those of ``"none"`` times the ratio of the two).  What is not clearly beaten is then measured on other
positions, every list coded.  A position is sorted once, and settings that keep the same number of tokens share their
list.

With a prior, lists have tails of the size that ``TailScale`` finds for their pair, temperatures and truncation: it is
computed from the positions of the first pass and used in both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt

import tslt_wire as tw
from tslt_benchmarks.bytes.format_base import Decoded, Floats, FormatError
from tslt_benchmarks.drafts import Logits
from tslt_wire.lists.distribution import LEAST_TAIL, TAIL_PARTS
from tslt_wire.lists.precision import masses_of, quantise, weights_of
from tslt_wire.lists.truncation import Both, MinProb, TopK, TopP, Truncation
from tslt_wire.verification.tail_scale import best_scale

ENTROPIES = ("none", "range")
PRECISIONS = tuple(tw.Precision(name) for name in ("log2/0", "log2/1", "log2/2", "log2/3", "log2/4", "f16", "bf16"))
DRAFT_TEMPERATURES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2)
_CODED_ENTRIES = 160
"""About so many entries of a setting are range coded in the first pass,"""
_CODED_LISTS = (1, 6)
"""but at least and at most so many lists."""
_READ_BACK = 2
"""At so many positions of the second pass every list is decoded and compared."""
_ALPHA_SLACK = 0.006
"""A setting is clearly beaten by one of at most its bytes that accepts so much more,"""
_BYTES_SLACK = 0.85
"""or by one that accepts as much in this fraction of its bytes."""

Step = Callable[[], None]
Indices = npt.NDArray[np.int64]


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


def prior_name(prior: tw.Prior | None) -> str:
    """``none``, the name of a plain prior, or ``table``."""
    return prior.name.split(":")[0] if prior else "none"


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


def standard_error(values: Floats) -> float:
    """Standard error of the mean of ``values``; 0 of a single one."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def overlap(q: tw.SparseDistribution | Decoded, target: Floats) -> float:
    """Acceptance 1 - TV of ``q`` against a whole distribution (V,)."""
    if isinstance(q, tw.SparseDistribution) and q.tail:
        return float(np.minimum(target, q.dense()).sum())
    return float(np.minimum(target[q.ids], q.probs).sum())


# ------------------------------------------------------------------------------------------------------------ positions


class Ordered:
    """A draft model's logits at one position, sorted once for all temperatures and truncations."""

    def __init__(self, logits: Logits) -> None:
        values = np.asarray(logits, np.float64)
        self.order = np.argsort(-values, kind="stable")
        self.gaps = values - values[self.order[0]]


class Tempered:
    """The same at one temperature: ``sparsify`` for many truncations and precisions."""

    def __init__(self, position: Ordered, temperature: float) -> None:
        self._order = position.order
        self._shifted = position.gaps / temperature
        probs = np.exp(self._shifted)
        self._dense = probs / probs.sum()
        self._masses = masses_of(self._shifted)[position.order]
        self._running = np.cumsum(self._masses)
        self._sorted: dict[int, tuple[Indices, Indices]] = {}

    @property
    def dense(self) -> Floats:
        """The whole distribution (V,)."""
        return np.asarray(self._dense)

    def count(self, rule: Truncation) -> int:
        """How many tokens ``rule`` keeps."""
        return rule.count(self._masses)

    def left_out(self, count: int) -> float:
        """Probability of all but the ``count`` most probable tokens."""
        return 1 - int(self._running[count - 1]) / int(self._running[-1])

    def target_left_out(self, count: int, target: Floats) -> float:
        """Probability that ``target`` (V,) gives to the same."""
        return float(target[self._order[count:]].sum())

    def list(
        self, count: int, precision: tw.Precision, prior: tw.Prior | None = None, tail_scale: float = 0.0
    ) -> tw.SparseDistribution:
        """What ``sparsify`` returns for a rule that keeps ``count`` tokens."""
        if count not in self._sorted:
            kept = self._order[:count]
            self._sorted[count] = kept, np.sort(kept)
        ids = self._sorted[count][1]
        codes = quantise(precision, self._shifted[ids])
        sampled = weights_of(precision, codes) > 0
        tail, outside = 0, self.left_out(count)
        if prior is not None and outside >= LEAST_TAIL and sampled.sum() < len(self._order):
            tail = min(int(outside * tail_scale * TAIL_PARTS + 0.5), TAIL_PARTS - 1)
        return tw.SparseDistribution(
            vocab_size=len(self._order),
            precision=precision,
            ids=ids[sampled].astype(np.int32),
            codes=codes[sampled],
            tail=tail,
            prior=prior if tail else None,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Positions: the draft's logits, and the target's distribution at its temperature."""

    temperature: float
    drafts: Sequence[Ordered]
    targets: Floats
    """(N, V)."""

    @classmethod
    def of(cls, temperature: float, drafts: Sequence[Ordered], target: Logits) -> Sample:
        """``drafts`` and the target's logits (N, V) beside them."""
        return cls(temperature, drafts, tw.target_probs(target, tw.Sampling(temperature=temperature)))

    def __len__(self) -> int:
        """Return the number of positions."""
        return len(self.drafts)

    def tempered(self, factor: float, step: Step) -> Iterable[tuple[int, Tempered, Floats]]:
        """Each position at ``factor`` times the target's temperature: (number, draft, target (V,))."""
        for i, (draft, target) in enumerate(zip(self.drafts, self.targets, strict=True)):
            yield i, Tempered(draft, factor * self.temperature), target
            step()


class _Writer:
    """Sizes and overlaps of the lists of one position, each computed once."""

    def __init__(self, draft: Tempered, target: Floats, *, read_back: bool = False) -> None:
        self._draft, self._target, self._read_back = draft, target, read_back
        self._lists: dict[tuple[int, Setting], tuple[tw.SparseDistribution, float]] = {}
        self._sizes: dict[tuple[int, Setting], int] = {}

    def made(self, count: int, setting: Setting) -> tuple[tw.SparseDistribution, float]:
        """Return the list and its overlap with the target."""
        key = (count, _same_lists(setting))
        if key not in self._lists:
            q = self._draft.list(count, setting.precision, setting.prior, setting.tail_scale)
            self._lists[key] = q, overlap(q, self._target)
        return self._lists[key]

    def size(self, count: int, setting: Setting) -> int:
        """Bytes of the list; FormatError if it is to be read back and does not."""
        key = (count, replace(_same_lists(setting), entropy=setting.entropy))
        if key not in self._sizes:
            q = self.made(count, setting)[0]
            profile = profile_of(setting, q.vocab_size)
            data = tw.encode_list(q, profile)
            if self._read_back and tw.decode_list(data, profile) != q:
                raise FormatError(f"a list of {len(q)} entries did not read back: {setting.text}")
            self._sizes[key] = len(data)
        return self._sizes[key]


def _same_lists(setting: Setting) -> Setting:
    """``setting`` without what does not matter for a list of known length."""
    return replace(setting, truncation=_ANY, entropy="none")


_ANY = TopK(1)


def profile_of(setting: Setting, vocab_size: int) -> tw.Profile:
    """What two ends agree on who use ``setting``."""
    return tw.Profile(vocab_size=vocab_size, precision=setting.precision, entropy=setting.entropy, prior=setting.prior)


# -------------------------------------------------------------------------------------------------------------- passes


@dataclass(frozen=True, slots=True)
class Screened:
    """The first pass over one target temperature and one draft temperature."""

    points: list[Point]
    """Each setting with ``"none"``, then with ``"range"``."""
    left_out: list[tuple[Truncation, float]]
    """Rules whose lists are too long, and the mean of their entries."""


def tail_scales(sample: Sample, factor: float, rules: Sequence[Truncation]) -> list[float]:
    """Return what ``TailScale`` converges to on ``sample`` for each of ``rules``; 0 where no list may have a tail."""
    ours, theirs = np.zeros(len(rules)), np.zeros(len(rules))
    for _, draft, target in sample.tempered(factor, lambda: None):
        for r, rule in enumerate(rules):
            count = draft.count(rule)
            if draft.left_out(count) >= LEAST_TAIL:
                ours[r] += draft.left_out(count)
                theirs[r] += draft.target_left_out(count, target)
    return [best_scale(b / a) if a else 0.0 for a, b in zip(ours.tolist(), theirs.tolist(), strict=True)]


def screen(
    sample: Sample,
    factor: float,
    *,
    rules: Sequence[Truncation],
    precisions: Sequence[tw.Precision],
    priors: Sequence[tw.Prior | None] = (None,),
    max_entries: int,
    step: Step,
) -> Screened:
    """Measure ``rules`` x ``precisions`` x entropy settings x ``priors`` at draft temperature ``factor`` * target's.

    Rules with a mean of more than ``max_entries`` entries are left out, and plain priors where no list has a tail.
    ``step`` is called once a position.
    """
    drafts = list(sample.tempered(factor, lambda: None))
    counts = np.array([[draft.count(rule) for rule in rules] for _, draft, _ in drafts])
    means = counts.mean(axis=0)
    used = [r for r in range(len(rules)) if means[r] <= max_entries]
    scales = tail_scales(sample, factor, rules)
    keys = [
        (r, Setting(sample.temperature, factor, rules[r], precision, "none", prior, scales[r] if prior else 0.0))
        for r, prior, precision in product(used, priors, precisions)
        if prior is None or prior.codes is not None or scales[r] > 0
    ]
    shape = (len(keys), len(sample))
    alphas, plain, coded = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    wanted = np.clip(_CODED_ENTRIES // np.maximum(means, 1), *_CODED_LISTS)
    for i, draft, target in drafts:
        writer = _Writer(draft, target)
        for n, (r, setting) in enumerate(keys):
            count = int(counts[i, r])
            alphas[n, i] = writer.made(count, setting)[1]
            plain[n, i] = writer.size(count, setting)
            if i < wanted[r]:
                coded[n, i] = writer.size(count, replace(setting, entropy="range"))
        step()
    points = []
    for n, (r, setting) in enumerate(keys):
        first = int(min(wanted[r], len(sample)))
        ratio = coded[n, :first].sum() / plain[n, :first].sum()
        for entropy, sizes in zip(ENTROPIES, (plain[n], plain[n] * ratio), strict=True):
            points.append(Point(replace(setting, entropy=entropy), float(means[r]), sizes, alphas[n]))
    return Screened(points, [(rules[r], float(means[r])) for r in range(len(rules)) if r not in used])


def remeasure(sample: Sample, settings: Sequence[Setting], step: Step) -> list[Point]:
    """Measure ``settings`` (of one draft temperature) with every list coded; ``step`` is called once a position."""
    if not settings:
        return []
    shape = (len(settings), len(sample))
    alphas, sizes, entries = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for i, draft, target in sample.tempered(settings[0].draft_temperature, step):
        writer = _Writer(draft, target, read_back=i < _READ_BACK)
        kept = {rule: draft.count(rule) for rule in {s.truncation for s in settings}}
        for n, setting in enumerate(settings):
            count = kept[setting.truncation]
            q, alphas[n, i] = writer.made(count, setting)
            sizes[n, i] = writer.size(count, setting)
            entries[n, i] = len(q)
    return [Point(s, float(entries[n].mean()), sizes[n], alphas[n]) for n, s in enumerate(settings)]


def contenders(points: Sequence[Point]) -> list[Point]:
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
