"""Section: the paper's figures 3 to 6, its bounds and its misprints, on these models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tslt_benchmarks.links.recorded_rounds import PromptedModels
from tslt_benchmarks.paper import paper_figures as paper
from tslt_benchmarks.paper.laws import Place
from tslt_benchmarks.report.blocks import Column, Plot, Table
from tslt_benchmarks.report.charts import Axis, Line, Panel, lines
from tslt_benchmarks.report.context import Context
from tslt_benchmarks.report.section import Needs, Seconds, Section

_BOUNDS = ("k", "gap_1", "bound_1", "gap_2", "bound_2", "idle_2", "broken", "broken_printed")


def run(context: Context) -> dict[str, Any]:
    """What ``tslt bench paper-figures`` measures, with its default times."""
    args = paper.arguments(["--seed", str(context.seed), *(["--quick"] if context.quick else [])])
    args.temperature = context.temperature or 1.0
    positions = context.drafts.positions
    places = [Place(*each) for each in zip(positions.target, positions.draft, positions.prompt.tolist(), strict=True)]
    times = paper.times_of(args)
    found: dict[str, Any] = {}
    for name, rows in (("pair", places[: args.positions]), ("sharp", paper.made_up_places(args.sharp))):
        found[name] = paper.measure_laws(rows, temperature=args.temperature, seed=args.seed, say=lambda _: None)
        found[name]["misprints"] += [asdict(row) for row in paper.formula_misprints(found[name], times)]
    prompted = PromptedModels.of(context.models, context.prompts)
    return {
        **found,
        "uplink": args.uplink,
        "equations": paper.reckoned(found["pair"], times, args.uplink),
        "rounds": paper.measure_rounds(prompted, args, lambda _: None),
        "lengths": paper.lengths(),
    }


def _speedup(figures: dict[str, Any], shape: str, title: str) -> Panel:
    uplinks = [uplink / 1e6 for uplink in figures["uplink"]]
    found = [
        Line(name=row["name"], xs=uplinks, ys=row["speedup"]) for row in figures["rounds"] if row["shape"] == shape
    ]
    return Panel(lines=found, x=Axis(label="uplink, Mbit/s", log=True), y=Axis(label="speedup"), title=title)


def show(figures: dict[str, Any]) -> Sequence[Table | Plot]:
    """Four plots, three tables."""
    named = (("pair", "these models"), ("sharp", "made-up sharp rows"))
    mass = Panel(
        lines=[
            Line(name=name, xs=[r["k"] for r in figures[key]["mass"]], ys=[r["value"] for r in figures[key]["mass"]])
            for key, name in named
        ],
        x=Axis(label="K", log=True),
        y=Axis(label="probability of the K most probable"),
        title="Fig. 3",
    )
    found = []
    for key, name in named:
        rows = [row for row in figures[key]["acceptance"] if row["name"] == "paper"]
        for kind, words in (("single", "one candidate"), ("double", "two")):
            values, errors = ([row[kind][part] for row in rows] for part in ("value", "error"))
            found.append(Line(name=f"{name}, {words}", xs=[r["k"] for r in rows], ys=values, errors=errors))
    accepted = Panel(lines=found, x=Axis(label="K", log=True), y=Axis(label="acceptance"), title="Fig. 4")
    plots = [
        lines(
            panel,
            name=f"paper-{name}",
            alt=f"{panel.title} of the paper: {panel.y.label} against {panel.x.label}",
            caption=caption,
        )
        for panel, name, caption in (
            (mass, "mass", "The paper has about .85 at K = 320."),
            (accepted, "acceptance", "K = 32 costs acceptance, K = 320 some, K = 3,200 hardly any."),
            (_speedup(figures, "chain", "Fig. 5, chain of 3"), "chain", "Real rounds; what bytes cost is all of it."),
            (_speedup(figures, "tree", "Fig. 6, tree <2,2,2>"), "tree", "Real rounds; scalar is for chains alone."),
        )
    ]
    bounds = Table(
        columns=[
            Column("rows"),
            Column("K", ",d"),
            Column("gap, one", ".4f", "mean of |beta^ - beta|"),
            Column("Theorem 1", ".4f", "mean of sigma"),
            Column("gap, second", ".4f", "of the second candidate"),
            Column("Theorem 2", ".4f", "mean of its bound, at most 1"),
            Column("idle", ".0%", "places where that bound is 1 or more"),
            Column("broken", ",d"),
            Column("as printed", ",d", "places where the printed Z^(i) would break it"),
        ],
        rows=[[name, *(row[field] for field in _BOUNDS)] for key, name in named for row in figures[key]["bounds"]],
        title="Theorems 1 and 2 beside the measured gap",
        folded=True,
    )
    misprints = Table(
        columns=[Column("where"), Column("what"), Column("as printed", ".4g"), Column("right", ".4g"), Column("unit")],
        rows=[
            [row["place"], row["what"], row["printed"], row["right"], row["unit"]]
            for row in figures["sharp"]["misprints"]
        ],
        title="Misprints of the paper, by what they would do",
        caption="On the made-up sharp rows.",
        folded=True,
    )
    length = Table(
        columns=[
            Column("acceptance", ".1f"),
            Column("T / c", "g", "a pass of the target over what a drafted token takes"),
            Column("formula", ".2f"),
            Column("best", ".0f", "by trying all"),
            Column("lost", ".2%", "of the speed, where the formula is rounded"),
        ],
        rows=[[row[name] for name in ("alpha", "ratio", "formula", "best", "lost")] for row in figures["lengths"]],
        title="TK-SLT's optimal draft length",
        caption="Its abstract names a formula and gives none: this one is derived from eq. (5) and (8).",
        folded=True,
    )
    return [*plots, bounds, misprints, length]


def meaning(figures: dict[str, Any]) -> str:
    """Fig. 3 and 4 in a sentence."""
    rows = [row for row in figures["pair"]["acceptance"] if row["name"] == "paper"]
    mass = {row["k"]: row["value"] for row in figures["pair"]["mass"]}
    k = rows[1]["k"]
    return (
        f"The {k} most probable tokens hold {mass.get(k, 0):.2f} of the draft's probability (the paper: about .85); "
        f"lists of {rows[0]['k']} accept {rows[0]['single']['value']:.2f}, whole distributions "
        f"{rows[-1]['single']['value']:.2f}."
    )


SECTION = Section(
    name="paper",
    title="The paper, reproduced",
    question="Do the TSLT paper's figures hold on these models?",
    needs=Needs.MODELS,
    seconds=Seconds(quick=40, full=240),
    run=run,
    show=show,
    meaning=meaning,
    command="paper-figures",
)
