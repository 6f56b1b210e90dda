"""Choose the library's default profile (``tslt_wire/lists/defaults.py``) on several pairs at once.

The rule: of all settings that need at most 16 bytes a list in the mean, on each pair at each target temperature, and
that accept more than the whole distribution (by a standard error or more) on pairs whose target is sharper than the
draft by half or more at most positions, take the one that keeps most of the whole distribution's acceptance, as a mean
over pairs and temperatures.  Settings are compared on half of each pair's positions; what is printed of the chosen one
is measured on the other half.

    python -m tslt_benchmarks.acceptance.default_profile --drafts drafts.npz b.npz c.npz d.npz --markdown defaults.md
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from rich.console import Console
from rich.progress import Progress

import tslt_wire as tw
from tslt_benchmarks.acceptance.list_passes import Ordered, Sample, Step, remeasure, tail_scales
from tslt_benchmarks.acceptance.list_settings import Point, Setting, describe
from tslt_benchmarks.acceptance.recommendations import (
    BUDGET,
    Comparison,
    Reference,
    by_sharpness,
    entropy_bits,
    gain,
    judge,
    references,
    sharper_by_half,
    whole,
)
from tslt_benchmarks.bytes.format_base import prior_name
from tslt_benchmarks.drafts import Drafts, load_drafts
from tslt_benchmarks.options import above_zero, command_parser, input_file, output_file, whole_number
from tslt_wire.lists.prior import plain_prior
from tslt_wire.lists.truncation import MinProb, TopK, TopP, Truncation

RULES: tuple[Truncation, ...] = (
    *(TopK(k) for k in (6, 8, 12)),
    *(MinProb(tau) for tau in (0.02, 0.0175, 0.015, 0.0125, 0.01)),
    *(TopK(k) & MinProb(tau) for k in (12, 16, 24) for tau in (0.0125, 0.01, 0.0075)),
    *(TopP(0.9) & MinProb(tau) for tau in (0.015, 0.0125, 0.01)),
)
PRECISIONS = (tw.Precision.LOG2_0, tw.Precision.LOG2_1)
DRAFT_TEMPERATURES = (0.7, 0.8, 0.9, 1.0, 1.1)
PRIORS = ("none", "density")


@dataclass(frozen=True, slots=True)
class SharedSetting:
    """A candidate: a setting of any pair and temperature, whose tails have the size that is learnt there."""

    draft_temperature: float
    truncation: Truncation
    precision: tw.Precision
    prior: str

    @classmethod
    def of(cls, setting: Setting) -> SharedSetting:
        """Return what ``setting`` is on every pair."""
        return cls(setting.draft_temperature, setting.truncation, setting.precision, prior_name(setting.prior))

    @property
    def text(self) -> str:
        """For tables."""
        parts = f"{self.draft_temperature:g} T", describe(self.truncation), self.precision.value, "range", self.prior
        return ", ".join(parts)


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One pair at one target temperature: half of its positions."""

    pair: str
    vocab_size: int
    sample: Sample
    wholes: list[Reference]
    """The whole distribution at several draft temperatures."""
    scales: dict[tuple[float, Truncation], float]
    """Tail scales of each draft temperature and truncation, learnt on the half that is compared on."""

    @property
    def whole(self) -> Reference:
        """The whole distribution at the target's temperature."""
        return whole(self.wholes)

    @property
    def bits(self) -> tuple[float, float]:
        """Mean entropy of target and draft."""
        drafts = [entropy_bits(draft.dense) for _, draft, _ in self.sample.tempered(1.0, lambda: None)]
        return float(entropy_bits(self.sample.targets).mean()), float(np.mean(drafts))

    @property
    def is_sharp(self) -> bool:
        """Whether the target is sharper by half or more at most positions."""
        return bool(sharper_by_half(self.sample).mean() > 0.5)

    def measure(self, keys: Iterable[SharedSetting], step: Step) -> dict[SharedSetting, Point]:
        """Measure candidates of one draft temperature."""
        settings = [self._setting(key) for key in keys]
        return {SharedSetting.of(p.setting): p for p in remeasure(self.sample, settings, step)}

    def _setting(self, key: SharedSetting) -> Setting:
        prior = plain_prior(key.prior, self.vocab_size)
        scale = self.scales[key.draft_temperature, key.truncation] if prior else 0.0
        return Setting(
            self.sample.temperature, key.draft_temperature, key.truncation, key.precision, "range", prior, scale
        )


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A candidate on all cases, in their order."""

    key: SharedSetting
    bytes: tuple[float, ...]
    gains: tuple[tuple[float, float], ...]
    """Acceptance less the whole distribution's, and its standard error by pairs."""
    kept: float
    """Mean over the cases of its acceptance over the whole distribution's."""


def halves(name: str, drafts: Drafts, temperature: float, positions: int, seed: int) -> tuple[Case, Case]:
    """Return two cases of at most ``positions`` positions each: one to compare settings on, one to report on."""
    logits, targets = drafts.positions.draft, drafts.positions.target
    order = np.random.default_rng(seed).permutation(len(logits))
    half = min(positions, len(order) // 2)
    found: list[Case] = []
    scales: dict[tuple[float, Truncation], float] = {}
    for part in (order[:half], order[half : 2 * half]):
        sample = Sample.of(temperature, [Ordered(logits[i]) for i in part], targets[part])
        for factor in DRAFT_TEMPERATURES if not found else ():
            scales |= zip([(factor, rule) for rule in RULES], tail_scales(sample, factor, RULES), strict=True)
        wholes = [r for r in references(sample, logits[part], DRAFT_TEMPERATURES) if r.name == "whole"]
        found.append(Case(name, drafts.vocab_size, sample, wholes, scales))
    return found[0], found[1]


def candidates(cases: Sequence[Case], step: Step) -> list[Candidate]:
    """Measure all candidates on all cases."""
    found: dict[SharedSetting, list[Point]] = {}
    for case in cases:
        for factor in DRAFT_TEMPERATURES:
            keys = [SharedSetting(factor, rule, p, prior) for rule in RULES for p in PRECISIONS for prior in PRIORS]
            for key, point in case.measure(keys, step).items():
                found.setdefault(key, []).append(point)
    return [of_points(key, points, cases) for key, points in found.items()]


def of_points(key: SharedSetting, points: Sequence[Point], cases: Sequence[Case]) -> Candidate:
    """One candidate from its points on each of ``cases``."""
    both = list(zip(points, cases, strict=True))
    kept = float(np.mean([point.alpha / case.whole.alpha for point, case in both]))
    gains = tuple(gain(point.alphas, case.whole.alphas) for point, case in both)
    return Candidate(key, tuple(p.bytes for p in points), gains, kept)


def choose(found: Sequence[Candidate], cases: Sequence[Case]) -> list[Candidate]:
    """Return the candidates that obey the rule, the best first; ValueError if none does."""
    sharp = [i for i, case in enumerate(cases) if case.is_sharp]
    obeying = [c for c in found if max(c.bytes) <= BUDGET and all(c.gains[i][0] >= c.gains[i][1] for i in sharp)]
    if not obeying:
        raise ValueError(f"no setting has {BUDGET:g} bytes everywhere and accepts enough where the target is sharp")
    return sorted(obeying, key=lambda c: -c.kept)


def verdicts(case: Case, key: SharedSetting) -> list[Comparison]:
    """The chosen setting at each draft temperature, on all positions of ``case`` and by which of the two is sharper."""
    found = []
    for factor in DRAFT_TEMPERATURES:
        point = next(iter(case.measure([replace(key, draft_temperature=factor)], lambda: None).values()))
        kinds = by_sharpness(case.sample)
        found += [judge("default", case.sample, name, mask, point, case.wholes) for name, mask in kinds if mask.any()]
    return found


def markdown(cases: Sequence[Case], key: SharedSetting, others: Sequence[Candidate]) -> str:
    """Return the tables of ``benchmarks/defaults.md``."""
    lines = [
        "| pair | V | T | entropy of target / draft, bits | where | positions | whole (best draft T) | bytes |"
        " alpha | gain | holds |",
        "|" + "---|" * 11,
    ]
    grid = [
        "| pair | T | where |" + "".join(f" draft at {f:g} T |" for f in DRAFT_TEMPERATURES),
        "|---|---|---|" + "---|" * len(DRAFT_TEMPERATURES),
    ]
    for case in cases:
        found = [h for h in verdicts(case, key) if h.verdict != "too few"]
        p, q = case.bits
        for h in found:
            if h.draft_temperature == key.draft_temperature:
                lines.append(
                    f"| {case.pair} | {case.vocab_size:,} | {h.temperature:g} | {p:.1f} / {q:.1f} | {h.group} |"
                    f" {h.positions} | {h.whole:.3f} ({h.best_whole:.3f}) | {h.bytes:.1f} | {h.alpha:.3f} |"
                    f" {h.gain:+.3f} ± {h.gain_se:.3f} | {h.verdict} |"
                )
                if h.group == "target not sharper":
                    continue
                row = [f"{o.gain:+.3f}, {o.bytes:.1f} B: {o.verdict}" for o in found if o.group == h.group]
                grid.append(f"| {case.pair} | {h.temperature:g} | {h.group} | " + " | ".join(row) + " |")
    best = ["| setting | of the whole distribution's acceptance | bytes, least to most |", "|---|---|---|"]
    best += [f"| {c.key.text} | {c.kept:.3f} | {min(c.bytes):.1f} to {max(c.bytes):.1f} |" for c in others]
    return "\n\n".join("\n".join(part) for part in (best, lines, grid)) + "\n"


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(__doc__)
    parser.add_argument("--drafts", type=input_file, nargs="+", required=True, help=".npz files, one a pair")
    parser.add_argument("--names", nargs="+", help="of the pairs (A, B, ...)")
    parser.add_argument("--temperature", type=above_zero, nargs="+", default=[1.0, 0.7], help="of the target")
    parser.add_argument(
        "--positions", type=whole_number(1), default=128, help="to compare on, as many more to report on"
    )
    parser.add_argument("--seed", type=whole_number(0), default=0)
    parser.add_argument("--markdown", type=output_file, help="write the tables")
    args = parser.parse_args(argv)
    args.names = args.names or [chr(ord("A") + i) for i in range(len(args.drafts))]
    if len(args.names) != len(args.drafts):
        parser.error(f"argument --names: expected {len(args.drafts)}, one for each file of --drafts")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Load drafts, compare, choose, report."""
    args = arguments(argv)
    compared, reported = [], []
    for name, path in zip(args.names, args.drafts, strict=True):
        drafts = load_drafts(path)
        for temperature in args.temperature:
            first, second = halves(name, drafts, temperature, args.positions, args.seed)
            compared.append(first)
            reported.append(second)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        total = sum(len(case.sample) for case in compared) * len(DRAFT_TEMPERATURES)
        task = progress.add_task("measuring candidates", total=total)
        found = candidates(compared, lambda: progress.advance(task))
    best = choose(found, compared)
    text = markdown(reported, best[0].key, best[:5])
    print(text)
    if args.markdown:
        args.markdown.write_text(text, encoding="utf-8")
    print(f"default_profile: {best[0].key.text}: kept={best[0].kept:.4f} bytes<={max(best[0].bytes):.2f}")


if __name__ == "__main__":
    main()
