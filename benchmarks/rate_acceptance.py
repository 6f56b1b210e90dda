"""Acceptance against bytes for every way to make and write a list, and the defaults that follow.

Acceptance is the mean of 1 - TV(target at its temperature, what the decoded list says).  Truncations, precisions,
entropy settings and draft temperatures are combined; the Pareto front is printed beside the whole distribution, the
K-SQS formula and the paper's list, then the recommended defaults and where 16 bytes are enough.

    python -m benchmarks.rate_acceptance --json rate.json --png rate.png
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import tslt_wire as tw
from benchmarks.bytes_per_token import DRAFT, TARGET
from benchmarks.drafts import Drafts, drafts_for
from benchmarks.drafts import Settings as DraftSettings
from benchmarks.rate_grid import (
    DRAFT_TEMPERATURES,
    ENTROPIES,
    PRECISIONS,
    Ordered,
    Point,
    Sample,
    contenders,
    describe,
    pareto_front,
    remeasure,
    screen,
    truncations,
)
from benchmarks.rate_rules import (
    BUDGET,
    VERDICTS,
    WITHIN,
    Holds,
    Recommended,
    Reference,
    best_whole,
    recommend,
    references,
    where_it_holds,
    whole,
)

SCHEMA_VERSION = 1
_PACKAGES = ("numpy", "torch", "transformers")
_SHOWN_GAIN = 0.008
"""A printed front skips points that accept less than this more than the one above."""
_RULES = {"within": f"cheapest within {WITHIN:g} of the best", "budget": f"best in {BUDGET:g} B"}


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
    holds: list[Holds]

    def front(self, entropy: str = "any") -> list[Point]:
        """Pareto front of what was measured, of one entropy setting or of both."""
        return pareto_front([p for p in self.measured if entropy in {"any", p.setting.entropy}])


def measure_all(drafts: Drafts, settings: Settings, progress: Progress) -> list[Result]:
    """Both passes at each target temperature."""
    total = len(drafts.positions.draft)
    if total < 2:
        raise ValueError(f"two positions are the least to measure on, got {total}")
    order = np.random.default_rng(settings.seed).permutation(total)
    first = max(1, min(settings.screened, total // 3))
    picked = np.split(order[: first + settings.positions], [first])
    ordered = [[Ordered(drafts.positions.draft[i]) for i in part] for part in picked]
    steps = len(settings.temperatures) * len(settings.draft_temperatures) * sum(map(len, picked))
    task = progress.add_task("measuring lists", total=steps)
    results = []
    for t in settings.temperatures:
        some, others = (Sample.of(t, o, drafts.positions.target[part]) for o, part in zip(ordered, picked, strict=True))
        results.append(_measure(some, others, drafts.positions.draft[picked[1]], settings, progress, task))
    return results


def _measure(some: Sample, others: Sample, logits: Any, settings: Settings, progress: Progress, task: Any) -> Result:
    def step() -> None:
        progress.advance(task)

    screened: list[Point] = []
    left_out = []
    for factor in settings.draft_temperatures:
        found = screen(
            some, factor, rules=truncations(), precisions=PRECISIONS, max_entries=settings.max_entries, step=step
        )
        screened += found.points
        left_out += [(factor, describe(rule), round(mean, 1)) for rule, mean in found.left_out]
    wanted = [p.setting for e in ENTROPIES for p in contenders([p for p in screened if p.setting.entropy == e])]
    measured = []
    for factor in settings.draft_temperatures:
        here = [setting for setting in wanted if setting.draft_temperature == factor]
        measured += remeasure(others, here, step)
        if not here:
            progress.advance(task, len(others))
    beside = references(others, logits, settings.draft_temperatures)
    return Result(
        temperature=some.temperature,
        screened=screened,
        left_out=left_out,
        measured=measured,
        references=beside,
        recommended=recommend(measured, whole(beside)),
        holds=where_it_holds(others, measured, whole(beside)),
    )


# -------------------------------------------------------------------------------------------------------------- output


def shown(front: Sequence[Point], gain: float = _SHOWN_GAIN) -> list[Point]:
    """Thin a front for the eye: each point accepts at least ``gain`` more than the one before; the last one stays."""
    found: list[Point] = []
    for point in front:
        if not found or point.alpha >= found[-1].alpha + gain or point is front[-1]:
            found.append(point)
    return found


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", caption_justify="left")
    for name in columns:
        numeric = name in {"bytes", "alpha", "+-", "entries", "gain", "whole", "positions", "draft T"}
        table.add_column(name, justify="right" if numeric else "left", no_wrap=True)
    return table


def _setting_cells(point: Point) -> tuple[str, str, str, str]:
    s = point.setting
    return f"{s.draft_temperature:g} T", describe(s.truncation), s.precision.value, s.entropy


def tables(result: Result) -> list[Table]:
    """Front beside references, recommended defaults, where 16 bytes are enough."""
    front, t = result.front(), f"target temperature {result.temperature:g}"
    names = ("draft T", "truncation", "precision", "entropy")
    left = _table(f"Pareto front, {t}", "bytes", "alpha", "+-", "entries", *names)
    left.caption = f"{len(shown(front))} of the front's {len(front)} points, {len(front[0].alphas)} positions"
    for p in shown(front):
        left.add_row(f"{p.bytes:.1f}", f"{p.alpha:.4f}", f"{p.alpha_se:.4f}", f"{p.entries:.1f}", *_setting_cells(p))
    right = _table("References", "reference", "bytes", "alpha")
    for r in result.references:
        right.add_row(r.label, f"{r.bytes:,.1f}" if r.k else "2 V", f"{r.alpha:.4f}")
    both = Table.grid(padding=(0, 3))
    both.add_row(left, right)

    defaults = _table(f"Recommended defaults, {t}", "rule", "from", "bytes", "alpha", "gain", *names)
    defaults.caption = "gain: acceptance less that of the whole distribution"
    for chosen in result.recommended:
        p, gain = chosen.point, f"{chosen.gain:+.3f} +- {chosen.gain_se:.3f}"
        defaults.add_row(
            _RULES[chosen.rule], chosen.entropy, f"{p.bytes:.1f}", f"{p.alpha:.4f}", gain, *_setting_cells(p)
        )

    title = f"At most {BUDGET:g} B accept as much as the whole distribution? {t}"
    where = _table(title, "where", "positions", "whole", "alpha", "bytes", "gain", "verdict", "setting")
    where.caption = "each row's setting is the best of all on these very positions: a gain near 0 is flattered"
    for h in result.holds:
        gain = f"{h.gain:+.3f} +- {h.gain_se:.3f}"
        cells = (f"{h.whole:.4f}", f"{h.alpha:.4f}", f"{h.bytes:.1f}", gain, h.verdict, h.setting or "none")
        where.add_row(h.group, str(h.positions), *cells)
    return [both, defaults, where]


def sentences(results: Sequence[Result]) -> list[str]:
    """Say where the rule of 16 bytes holds; one sentence a target temperature."""
    found = []
    for result in results:
        by = {v: [h.group for h in result.holds if h.verdict == v] for v in VERDICTS}
        text = "; ".join(f"{verdict}: {', '.join(names) or 'nowhere'}" for verdict, names in by.items())
        full, best = whole(result.references), best_whole(result.references)
        other = f" ({best.alpha:.3f} with the draft at {best.draft_temperature:g} T)" if best is not full else ""
        found.append(
            f"Target temperature {result.temperature:g}, whole distribution {full.alpha:.3f}{other}: "
            f"as much in {BUDGET:g} B: {text}."
        )
    return found


def summary(results: Sequence[Result]) -> str:
    """The last line printed, for machines: bytes/acceptance of both rules at each temperature."""
    cells = [
        f"T={r.temperature:g} {c.rule}={c.point.bytes:.2f}/{c.point.alpha:.4f}"
        for r in results
        for c in r.recommended
        if c.entropy == "any"
    ]
    return f"rate_acceptance: {' '.join(cells)}"


# ---------------------------------------------------------------------------------------------------------------- JSON


def _point(point: Point) -> dict[str, Any]:
    s = point.setting
    return {
        "bytes": round(point.bytes, 3),
        "alpha": round(point.alpha, 5),
        "alpha_se": round(point.alpha_se, 5),
        "entries": round(point.entries, 2),
        "draft_temperature": s.draft_temperature,
        "truncation": describe(s.truncation),
        "precision": s.precision.value,
        "entropy": s.entropy,
    }


def _rows(results: Sequence[Result], rules: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    """All points in columns: a row is too long a name for thousands of them."""
    rule, name = ({text: i for i, text in enumerate(texts)} for texts in (rules, names))
    screened, measured = [], []
    for result in results:
        for plain, coded in zip(result.screened[::2], result.screened[1::2], strict=True):
            s = plain.setting
            key = [result.temperature, s.draft_temperature, rule[describe(s.truncation)], name[s.precision.value]]
            screened.append([*key, round(plain.bytes, 1), round(coded.bytes, 1), round(plain.alpha, 4)])
        for p in result.measured:
            s = p.setting
            key = [result.temperature, s.draft_temperature, rule[describe(s.truncation)], name[s.precision.value]]
            row = [ENTROPIES.index(s.entropy), round(p.bytes, 2), round(p.alpha, 4), round(p.alpha_se, 4)]
            measured.append([*key, *row])
    columns = ["temperature", "draft_temperature", "truncation", "precision"]
    return {
        "screened": {"columns": [*columns, "bytes_none", "bytes_range", "alpha"], "rows": screened},
        "measured": {"columns": [*columns, "entropy", "bytes", "alpha", "alpha_se"], "rows": measured},
    }


def report(drafts: Drafts, results: Sequence[Result], settings: Settings) -> dict[str, Any]:
    """Everything ``--json`` writes.  In rows, truncations, precisions and entropies are indices into the settings'."""
    rules, names = [describe(rule) for rule in truncations()], [p.value for p in PRECISIONS]
    return {
        "benchmark": "rate_acceptance",
        "schema": SCHEMA_VERSION,
        "unit": "bytes per list",
        "settings": {
            **asdict(settings),
            "positions": len(results[0].measured[0].alphas),
            "screened": len(results[0].screened[0].alphas),
            "truncations": rules,
            "precisions": names,
            "entropies": list(ENTROPIES),
            "rules": {"within": WITHIN, "budget": BUDGET},
        },
        "drafts": drafts.meta,
        "versions": {
            "tslt_wire": tw.__version__,
            "spec": tw.SPEC_VERSION,
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _PACKAGES},
        },
        "fronts": [
            {"temperature": r.temperature, "entropy": entropy, "points": [_point(p) for p in r.front(entropy)]}
            for r in results
            for entropy in ENTROPIES[::-1]
        ],
        "references": [
            {key: getattr(r, key) for key in ("name", "label", "temperature", "draft_temperature", "k")}
            | {"bytes": round(r.bytes, 3), "alpha": round(r.alpha, 5)}
            for result in results
            for r in result.references
        ],
        "recommended": [
            {"temperature": r.temperature, "rule": c.rule, "from": c.entropy, **_point(c.point)}
            | {"gain": round(c.gain, 5), "gain_se": round(c.gain_se, 5)}
            for r in results
            for c in r.recommended
        ],
        "holds": [asdict(h) | {"verdict": h.verdict} for r in results for h in r.holds],
        "left_out": [[r.temperature, *row] for r in results for row in r.left_out],
        **_rows(results, rules, names),
    }


def dump(value: Any, indent: str = "") -> str:
    """JSON with one line for each row of a list and each key above it."""
    deeper = indent + " "
    if isinstance(value, dict) and any(isinstance(v, (dict, list)) for v in value.values()):
        parts = [f"{deeper}{json.dumps(k)}: {dump(v, deeper)}" for k, v in value.items()]
        return "{\n" + ",\n".join(parts) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(v, (dict, list)) for v in value):
        return "[\n" + ",\n".join(deeper + dump(v, deeper) for v in value) + f"\n{indent}]"
    return json.dumps(value, separators=(",", ":") if isinstance(value, list) else None)


# ------------------------------------------------------------------------------------------------------------- program


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Settings()
    parser.add_argument("--target", type=Path, default=TARGET, help="folder of the target model and its tokenizer")
    parser.add_argument("--draft", type=Path, default=DRAFT, help="folder of the draft model")
    parser.add_argument("--drafts", type=Path, help=".npz of drafts: read if it exists, else made and written")
    parser.add_argument("--temperature", type=float, nargs="+", default=default.temperatures, help="of the target")
    parser.add_argument(
        "--draft-temperature", type=float, nargs="+", default=default.draft_temperatures, help="times the target's"
    )
    parser.add_argument("--positions", type=int, default=default.positions, help="positions to measure on")
    parser.add_argument("--screened", type=int, default=default.screened, help="other positions, for the first pass")
    parser.add_argument("--max-entries", type=int, default=default.max_entries, help="longer lists are left out")
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument("--json", type=Path, help="write all points, settings and versions")
    parser.add_argument("--png", type=Path, help="draw acceptance against bytes")
    args = parser.parse_args(argv)
    for name in ("temperature", "draft_temperature"):
        if min(getattr(args, name)) <= 0:
            parser.error(f"--{name.replace('_', '-')} must be above 0")
    for name in ("positions", "screened", "max_entries"):
        if getattr(args, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Make or load drafts, measure, print, write."""
    args = arguments(argv)
    console = Console()
    settings = Settings(
        temperatures=tuple(dict.fromkeys(args.temperature)),
        draft_temperatures=tuple(sorted(set(args.draft_temperature))),
        positions=args.positions,
        screened=args.screened,
        max_entries=args.max_entries,
        seed=args.seed,
    )
    wanted = DraftSettings(lists=args.positions + args.screened, rounds=1, seed=args.seed)
    drafts = drafts_for(args.drafts, args.target, args.draft, wanted, console=console)
    bar = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*bar, console=Console(stderr=True), transient=True) as progress:
        results = measure_all(drafts, settings, progress)
    for result in results:
        for table in tables(result):
            # A table that is cut to a narrow terminal or a pipe says nothing.
            Console(width=max(console.width, 180)).print(table)
    for sentence in sentences(results):
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)
    if args.json:
        args.json.write_text(dump(report(drafts, results, settings)) + "\n", encoding="utf-8")
    if args.png:
        from benchmarks.rate_plot import plot_rate

        plot_rate(results, args.png)
    print(summary(results))


if __name__ == "__main__":
    main()
