"""Acceptance against bytes for every way to make and write a list, and the defaults that follow.

Acceptance is the mean of 1 - TV(target at its temperature, what the decoded list says).  Truncations, precisions,
entropy settings, priors (and so tails) and draft temperatures are combined; the Pareto front is printed beside the
whole distribution, the K-SQS formula and the paper's list, then the recommended settings, where 16 bytes are enough,
and where they are with the library's default profile.

    python -m tslt_benchmarks.acceptance.acceptance_against_bytes --json rate.json --png rate.png
    python -m tslt_benchmarks.acceptance.acceptance_against_bytes --drafts drafts.npz --table prior.table
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from itertools import groupby

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import tslt_wire as tw
from tslt_benchmarks.acceptance.acceptance_json import dump, report
from tslt_benchmarks.acceptance.acceptance_plot import plot_acceptance
from tslt_benchmarks.acceptance.list_settings import Point, describe
from tslt_benchmarks.acceptance.recommendations import ANY, BUDGET, VERDICTS, WITHIN, Comparison, best_whole, whole
from tslt_benchmarks.acceptance.two_passes import Result, Settings, measure_all
from tslt_benchmarks.draft_options import add_draft_options, drafts_for
from tslt_benchmarks.drafting import Settings as DraftSettings
from tslt_benchmarks.options import above_zero, command_parser, output_file, prior_table, whole_number

_SHOWN_GAIN = 0.008
"""A printed front skips points that accept less than this more than the one above."""
_RULES = {"within": f"cheapest within {WITHIN:g} of the best", "budget": f"best in {BUDGET:g} B"}
_WIDTH = 200
"""Columns that the tables need."""
_MARKS = {"holds": "yes", "undecided": "?", "does not": "no", "too long": "long", "too few": "few"}


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
        numeric = name in {"bytes", "alpha", "+-", "entries", "gain", "whole", "best whole", "positions", "draft T"}
        table.add_column(name, justify="right" if numeric else "left", no_wrap=True)
    return table


def _setting_cells(point: Point) -> tuple[str, str, str, str, str]:
    s = point.setting
    return f"{s.draft_temperature:g} T", describe(s.truncation), s.precision.value, s.entropy, s.prior_text


def tables(result: Result) -> list[Table]:
    """Front beside references, recommended settings, where 16 bytes are enough, and with the default profile."""
    front, t = result.front(), f"target temperature {result.temperature:g}"
    names = ("draft T", "truncation", "precision", "entropy", "prior, tails")
    left = _table(f"Pareto front, {t}", "bytes", "alpha", "+-", "entries", *names)
    left.caption = f"{len(shown(front))} of the front's {len(front)} points, {len(front[0].alphas)} positions"
    for p in shown(front):
        left.add_row(f"{p.bytes:.1f}", f"{p.alpha:.4f}", f"{p.alpha_se:.4f}", f"{p.entries:.1f}", *_setting_cells(p))
    right = _table("References", "reference", "bytes", "alpha")
    for r in result.references:
        right.add_row(r.label, f"{r.bytes:,.1f}" if r.k else "2 V", f"{r.alpha:.4f}")
    both = Table.grid(padding=(0, 3))
    both.add_row(left, right)

    defaults = _table(f"Recommended settings, {t}", "rule", "from", "bytes", "alpha", "gain", *names)
    defaults.caption = "gain: acceptance less that of the whole distribution; tails: of what a list leaves out"
    for chosen in result.recommended:
        p, gain = chosen.point, f"{chosen.gain:+.3f} +- {chosen.gain_se:.3f}"
        defaults.add_row(
            _RULES[chosen.rule], chosen.among, f"{p.bytes:.1f}", f"{p.alpha:.4f}", gain, *_setting_cells(p)
        )

    p, gains = result.default_point, _of(result, "default")
    at = next(h for h in gains if h.draft_temperature == p.setting.draft_temperature)
    gain = f"{at.gain:+.3f} +- {at.gain_se:.3f}"
    defaults.add_row("default profile", "", f"{p.bytes:.1f}", f"{p.alpha:.4f}", gain, *_setting_cells(p))

    title = f"At most {BUDGET:g} B accept as much as the whole distribution? {t}"
    where = _table(title, "where", "positions", "whole", "best whole", "alpha", "bytes", "gain", "verdict", "setting")
    where.caption = (
        "each row's setting is the best of all on these very positions: a gain near 0 is flattered; best whole: the "
        "whole distribution at the best draft temperature"
    )
    for h in _of(result, "best"):
        gain = f"{h.gain:+.3f} +- {h.gain_se:.3f}"
        wholes = f"{h.whole:.4f}", f"{h.best_whole:.4f}"
        cells = (*wholes, f"{h.alpha:.4f}", f"{h.bytes:.1f}", gain, h.verdict, h.setting or "none")
        where.add_row(h.group, str(h.positions), *cells)
    return [both, defaults, where, _default_table(result, t)]


def _of(result: Result, of: str) -> list[Comparison]:
    return [h for h in result.holds if h.of == of]


def _default_table(result: Result, t: str) -> Table:
    """The default profile in each kind of positions, at each draft temperature."""
    title = f"The same for the default profile at each draft temperature, {t}"
    factors = [f"{p.setting.draft_temperature:g} T" for p in result.default]
    found = _table(title, "where", "positions", "whole", *factors)
    own = f"its own draft temperature is {tw.DEFAULTS.draft_temperature:g} T"
    found.caption = (
        f"gain, bytes and whether it holds (yes, no, ?: undecided, long: over {BUDGET:g} B, few: too few); {own}"
    )
    for group, row in groupby(_of(result, "default"), key=lambda h: h.group):
        cells = list(row)
        texts = [f"{h.gain:+.3f} {h.bytes:4.1f} {_MARKS[h.verdict]}" for h in cells]
        found.add_row(group, str(cells[0].positions), f"{cells[0].whole:.3f}", *texts)
    return found


def sentences(results: Sequence[Result]) -> list[str]:
    """Say where the default profile accepts as much as the whole distribution; one sentence a target temperature."""
    found = []
    for result in results:
        own = [h for h in _of(result, "default") if h.draft_temperature == tw.DEFAULTS.draft_temperature]
        by = {v: [h.group for h in own if h.verdict == v] for v in VERDICTS}
        text = "; ".join(f"{verdict}: {', '.join(names)}" for verdict, names in by.items() if names)
        full, best = whole(result.references), best_whole(result.references)
        other = f" ({best.alpha:.3f} with the draft at {best.draft_temperature:g} T)" if best is not full else ""
        found.append(
            f"Target temperature {result.temperature:g}, whole distribution {full.alpha:.3f}{other}: "
            f"as much in {BUDGET:g} B with the default profile: {text}."
        )
    return found


def summary(results: Sequence[Result]) -> str:
    """The last line printed, for machines: bytes/acceptance of both rules and the default at each temperature."""
    cells = [
        f"T={r.temperature:g} {c.rule}={c.point.bytes:.2f}/{c.point.alpha:.4f}"
        for r in results
        for c in r.recommended
        if c.among == ANY
    ]
    cells += [f"T={r.temperature:g} default={r.default_point.bytes:.2f}/{r.default_point.alpha:.4f}" for r in results]
    return f"acceptance_against_bytes: {' '.join(cells)}"


# ------------------------------------------------------------------------------------------------------------- program


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(__doc__)
    default = Settings()
    add_draft_options(parser)
    parser.add_argument("--table", type=prior_table, help="file of a trained table, not of these drafts")
    parser.add_argument("--temperature", type=above_zero, nargs="+", default=default.temperatures, help="of the target")
    parser.add_argument(
        "--draft-temperature", type=above_zero, nargs="+", default=default.draft_temperatures, help="times the target's"
    )
    parser.add_argument("--positions", type=whole_number(1), default=default.positions, help="positions to measure on")
    parser.add_argument(
        "--screened", type=whole_number(1), default=default.screened, help="other positions, for the first pass"
    )
    parser.add_argument(
        "--max-entries", type=whole_number(1), default=default.max_entries, help="longer lists are left out"
    )
    parser.add_argument("--seed", type=whole_number(0), default=default.seed)
    parser.add_argument("--json", type=output_file, help="write all points, settings and versions")
    parser.add_argument("--png", type=output_file, help="draw acceptance against bytes")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Make or load drafts, measure, print, write."""
    args = arguments(argv)
    console = Console()
    table: tw.Prior | None = args.table
    settings = Settings(
        temperatures=tuple(dict.fromkeys(args.temperature)),
        draft_temperatures=tuple(sorted(set(args.draft_temperature))),
        positions=args.positions,
        screened=args.screened,
        max_entries=args.max_entries,
        seed=args.seed,
        table=table.name if table else None,
    )
    wanted = DraftSettings(lists=args.positions + args.screened, rounds=1, seed=args.seed)
    drafts = drafts_for(args, wanted, console=console)
    bar = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*bar, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("measuring lists", total=None)
        tell = partial(progress.update, task)
        results = measure_all(drafts, settings, lambda done, of: tell(completed=done, total=of), table)
    for result in results:
        for printed in tables(result):
            # A table that is cut to a narrow terminal or a pipe says nothing.
            Console(width=max(console.width, _WIDTH)).print(printed)
    for sentence in sentences(results):
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)
    if args.json:
        args.json.write_text(dump(report(drafts, results, settings)) + "\n", encoding="utf-8")
    if args.png:
        plot_acceptance(results, args.png)
    print(summary(results))


if __name__ == "__main__":
    main()
