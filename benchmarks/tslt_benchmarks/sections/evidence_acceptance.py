"""Section: how often each kind of evidence accepts a drafted token, and the bytes of its lists."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tslt_benchmarks.acceptance.evidence_acceptance import RACES, WIDTHS, AcceptanceMeter
from tslt_benchmarks.report.blocks import Column, Plot, Table, acceptance, places
from tslt_benchmarks.report.context import Context
from tslt_benchmarks.report.plots import Axis, Line, Panel, lines
from tslt_benchmarks.report.section import Needs, Seconds, Section

OTHER_TEMPERATURES = (1.0, 0.7, 0.0)
QUICK_RACES = 8


def run(context: Context) -> dict[str, Any]:
    """Measure at the run's temperature, which is the first of the rows, and at others."""
    temperatures = list(dict.fromkeys((context.temperature, *OTHER_TEMPERATURES)))
    positions = context.drafts.positions
    meter = AcceptanceMeter(positions, races=QUICK_RACES if context.quick else RACES, seed=context.seed)
    rows = []
    for done, temperature in enumerate(temperatures):
        context.tell(done, len(temperatures))
        rows += [asdict(row) for row in meter.measure(temperature)]
    return {
        "positions": len(positions.draft),
        "vocab_size": context.drafts.vocab_size,
        "widths": list(WIDTHS),
        "temperatures": temperatures,
        "rows": rows,
    }


def name_of(row: dict[str, Any]) -> str:
    """For people: ``list, 16 tokens``."""
    if row["min_prob"]:
        return f"{row['evidence']}, tokens of at least {row['min_prob']:.1%}"
    return f"{row['evidence']}, {row['k']} tokens" if row["k"] else row["evidence"]


def show(figures: dict[str, Any]) -> list[Table | Plot]:
    """Acceptance against temperature, and everything."""
    rows, temperatures = figures["rows"], sorted(figures["temperatures"])
    curves = []
    for kind in ("full", "scalar", "coupled", "match"):
        mine = {row["temperature"]: row["alphas"][0] for row in rows if row["evidence"] == kind}
        curves.append(
            Line(
                name=kind,
                xs=temperatures,
                ys=[mine[t] for t in temperatures],
                wide=kind == "full",
                points=kind != "full",
            )
        )
    for k, least in dict.fromkeys((row["k"], row["min_prob"]) for row in rows if row["evidence"] == "list"):
        mine_rows = [r for r in rows if (r["evidence"], r["k"], r["min_prob"]) == ("list", k, least)]
        mine = {row["temperature"]: row["alphas"][0] for row in mine_rows}
        curves.append(
            Line(name=name_of(mine_rows[0]), xs=temperatures, ys=[mine[t] for t in temperatures], dashed=True)
        )
    plot = lines(
        Panel(
            lines=curves,
            x=Axis(label="temperature of the target", ticks=temperatures),
            y=Axis(label="acceptance of a token", write=acceptance),
        ),
        name="evidence-acceptance",
        alt="acceptance of a drafted token against the target's temperature, a line a kind of evidence",
        caption="The higher, the more of what the device drafts is kept. Scalar keeps what full does: its line lies on "
        "the broad one. Dashed: lists that are cut; what they leave out costs acceptance, never exactness. "
        + places(figures["positions"]),
    )
    columns = [
        Column("evidence"),
        Column("temperature", "g", "of the target; the draft's is the same, but at least 0.3"),
        Column("precision"),
        Column("list, bytes", ",.1f", "of one list, range-coded, without the frame"),
        *(Column(f"{width} sibling{'s' * (width > 1)}", acceptance) for width in figures["widths"]),
    ]
    cells = []
    for row in rows:
        alphas = [*row["alphas"], *[None] * (len(figures["widths"]) - len(row["alphas"]))]
        cells.append([name_of(row), row["temperature"], row["precision"], row["bytes"] or None, *alphas])
    table = Table(
        columns=columns,
        rows=cells,
        title="Acceptance by number of siblings",
        caption="Exact at each place of the texts (coupled: the mean of some races). With several siblings the target "
        "takes any of them; scalar and lazy are for chains.",
        folded=True,
    )
    return [plot, table]


def meaning(figures: dict[str, Any]) -> str:
    """The best kind for a chain."""
    t = figures["temperatures"][0]
    here = {name_of(row): row["alphas"][0] for row in figures["rows"] if row["temperature"] == t}
    most = acceptance(max(here.values()))
    best = " or ".join(name for name in here if acceptance(here[name]) == most)
    return (
        f"At temperature {t:g} the target keeps {most} of the tokens that this draft proposes with {best}, "
        f"{acceptance(here['coupled'])} with coupled, which sends nothing but ids."
    )


SECTION = Section(
    name="evidence-acceptance",
    title="How often a drafted token is kept",
    question="What part of the draft's tokens does the target keep, with which evidence?",
    needs=Needs.LOGITS,
    seconds=Seconds(quick=20, full=40),
    run=run,
    show=show,
    meaning=meaning,
    command="evidence-acceptance",
)
