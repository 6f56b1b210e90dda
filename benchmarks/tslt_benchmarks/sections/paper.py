"""Section: the paper's figures 3 to 6, its bounds and its misprints, on these models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from tslt_benchmarks.links.recorded_rounds import PromptedModels
from tslt_benchmarks.paper import paper_figures as paper
from tslt_benchmarks.paper.claims import NEAR, Claim, of_laws, of_rounds
from tslt_benchmarks.paper.laws import Place
from tslt_benchmarks.report.blocks import Column, Plot, Sorted, Table, acceptance, places
from tslt_benchmarks.report.context import Context
from tslt_benchmarks.report.plots import Axis, Line, Panel, lines
from tslt_benchmarks.report.section import Needs, Rates, Seconds, Section

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
        "passes_ms": {"draft": args.draft_ms, "target": args.target_ms},
        "equations": paper.reckoned(found["pair"], times, args.uplink),
        "rounds": paper.measure_rounds(prompted, args, lambda _: None),
        "lengths": paper.lengths(),
    }


def _speedup(figures: dict[str, Any], shape: str, title: str) -> Panel:
    top = 1.05 * max(max(row["speedup"]) for row in figures["rounds"])
    uplinks = [uplink / 1e6 for uplink in figures["uplink"]]
    found = [
        Line(name=row["name"], xs=uplinks, ys=row["speedup"]) for row in figures["rounds"] if row["shape"] == shape
    ]
    return Panel(
        lines=found,
        x=Axis(label="uplink, Mbit/s", log=True),
        y=Axis(label="speedup over the target alone", limits=(0, top)),
        title=title,
    )


def show(figures: dict[str, Any]) -> Sequence[Table | Plot]:
    """What holds, four plots, three tables."""
    named = (("pair", "these models"), ("sharp", "made-up sharp rows"))
    mass = Panel(
        lines=[
            Line(name=name, xs=[r["k"] for r in figures[key]["mass"]], ys=[r["value"] for r in figures[key]["mass"]])
            for key, name in named
        ],
        x=Axis(label="K", log=True),
        y=Axis(label="probability of the K most probable", write=acceptance),
        title="Fig. 3",
    )
    found = []
    for key, name in named:
        rows = [row for row in figures[key]["acceptance"] if row["name"] == "paper"]
        for kind, words in (("single", "one candidate"), ("double", "two")):
            values, errors = ([row[kind][part] for row in rows] for part in ("value", "error"))
            found.append(Line(name=f"{name}, {words}", xs=[r["k"] for r in rows], ys=values, errors=errors))
    accepted = Panel(
        lines=found, x=Axis(label="K", log=True), y=Axis(label="acceptance", write=acceptance), title="Fig. 4"
    )
    passes = figures["passes_ms"]
    over = (
        "Over 1: faster than the target alone, which sits at the edge, makes a token a pass and waits for no link. "
        f"Real rounds; a pass of the target takes {passes['target']:g} ms, a level of the draft {passes['draft']:g} ms "
        "(given, for all lines), bytes take their time both ways, the round trip none."
    )
    plots = [
        lines(
            panel,
            name=f"paper-{name}",
            alt=f"{panel.title} of the paper: {panel.y.label} against {panel.x.label}",
            caption=caption,
        )
        for panel, name, caption in (
            (mass, "mass", "Of the draft's distribution. The paper has about .85 at K = 320."),
            (
                accepted,
                "acceptance",
                "Of the paper's lists of K tokens; the last K is the whole vocabulary. "
                + places(figures["pair"]["places"]),
            ),
            (_speedup(figures, "chain", "Fig. 5, chain of 3"), "chain", over),
            (_speedup(figures, "tree", "Fig. 6, tree <2,2,2>"), "tree", f"{over} Scalar is for chains alone."),
        )
    ]
    fine = partial(acceptance, digits=4)
    bounds = Table(
        columns=[
            Column("rows"),
            Column("K", ",d"),
            Column("gap, one", fine, "mean of |beta^ - beta|"),
            Column("Theorem 1", fine, "mean of sigma"),
            Column("gap, second", fine, "of the second candidate"),
            Column("Theorem 2", fine, "mean of its bound, at most 1"),
            Column("idle", ".0%", "places where that bound is 1 or more"),
            Column("broken", ",d"),
            Column("as printed", ",d", "places where the printed Z^(i) would break it"),
        ],
        rows=[[name, *(row[field] for field in _BOUNDS)] for key, name in named for row in figures[key]["bounds"]],
        title="Theorems 1 and 2 beside the measured gap",
        folded=True,
    )
    misprints = Table(
        columns=[Column("where"), Column("what"), Column("as printed"), Column("right"), Column("unit")],
        rows=[
            [
                row["place"],
                row["what"],
                *(_of_unit(row[which], row["unit"]) for which in ("printed", "right")),
                row["unit"],
            ]
            for row in figures["sharp"]["misprints"]
        ],
        title="Misprints of the paper, by what they would do",
        caption="On the made-up sharp rows.",
        folded=True,
    )
    length = Table(
        columns=[
            Column("acceptance", acceptance),
            Column("pass / drafted token", "g", "what a pass of the target takes over what a drafted token takes"),
            Column("formula", ".2f", "tokens of a draft that it says are best"),
            Column("best", ".0f", "by trying all lengths"),
            Column("lost", ".2%", "of the speed, where the formula is rounded"),
        ],
        rows=[[row[name] for name in ("alpha", "ratio", "formula", "best", "lost")] for row in figures["lengths"]],
        title="TK-SLT's optimal draft length",
        caption="Its abstract names a formula and gives none: this one is derived from eq. (5) and (8).",
        folded=True,
    )
    return [_verdicts(figures), *plots, bounds, misprints, length]


def _claims(figures: dict[str, Any], rows: str) -> list[Claim]:
    """``rows``: "pair", of which there are rounds, too, or "sharp"."""
    of_pair = of_rounds(figures["rounds"], figures["uplink"]) if rows == "pair" else []
    return [*of_laws(figures[rows], acceptance), *of_pair]


def _verdicts(figures: dict[str, Any]) -> Table:
    sharp = _claims(figures, "sharp")
    reckoned = of_rounds(figures["equations"], figures["uplink"])
    also = {(claim.place, claim.said): f"{_word(claim)}, {claim.here}" for claim in reckoned}
    return Table(
        columns=[
            Column("where"),
            Column("the paper says"),
            Column("these models"),
            Column("holds"),
            Column("made-up sharp rows"),
            Column("holds there"),
        ],
        rows=[
            [
                claim.place,
                claim.said,
                claim.here + (f" (equations: {also[claim.place, claim.said]})" if claim.place in _SPEEDS else ""),
                _word(claim) + (f": {why}" if not claim.holds and (why := _why(figures, claim)) else ""),
                *((sharp[at].here, _word(sharp[at])) if at < len(sharp) else (None, None)),
            ]
            for at, claim in enumerate(_claims(figures, "pair"))
        ],
        title="Do the figures hold?",
        stacked=True,
        caption=f"About, almost and hardly: within {acceptance(NEAR)}. K are parts of the vocabulary as the paper's "
        "are of 32,000. The made-up sharp rows are logits that fall with the logarithm of a token's rank, with noise, "
        "some tokens of each row raised, and other noise for each model: about as sharp as a large target's, and no "
        f"rounds are of them. The verdicts on Fig. 5 and 6 are by real rounds, {_rounds(figures)} of each way, without "
        "a standard error: numbers close to each other may be luck. In brackets: the same by "
        "the paper's equations, with acceptance as it was measured, which have no luck in them.",
    )


_SPEEDS = ("Fig. 5", "Fig. 6", "Fig. 5, 6")


def _rounds(figures: dict[str, Any]) -> str:
    counts = [row["rounds"] for row in figures["rounds"]]
    return f"{min(counts)} to {max(counts)}"


def _why(figures: dict[str, Any], claim: Claim) -> str:
    """What the figures say of the reason why a statement does not hold for these models."""
    pair, sharp = figures["pair"], figures["sharp"]
    if claim.place == "Fig. 5, 6":
        rows = [row for row in pair["acceptance"] if row["name"] == "paper"]
        gains = [row["double"]["value"] - row["single"]["value"] for row in rows]
        return (
            f"a second candidate adds {acceptance(min(gains))} to {acceptance(max(gains))} of acceptance, and 14 nodes "
            "go up in place of 3"
        )
    if claim.place in ("Fig. 3", "Fig. 4"):
        k = pair["mass"][-1]["k"] // 100
        here, there = (next((r["value"] for r in f["mass"] if r["k"] == k), None) for f in (pair, sharp))
        if here is not None and there is not None and here < there:
            return (
                f"these distributions are flatter: {k:,} tokens hold {acceptance(here)} of the probability, "
                f"{acceptance(there)} in the sharp rows"
            )
    return ""


def _of_unit(value: float, unit: str) -> Sorted:
    part = unit in ("acceptance", "mass", "TV", "of places")
    return Sorted(acceptance(value, 3) if part else f"{value:,.4g}", value)


def _word(claim: Claim) -> str:
    return "yes" if claim.holds else "no"


def meaning(figures: dict[str, Any]) -> str:
    """How many statements hold, and which do not."""
    claims = _claims(figures, "pair")
    wrong = [f"{claim.place}: \u201c{claim.said}\u201d (here {claim.here})" for claim in claims if not claim.holds]
    count = f"{len(claims) - len(wrong)} of {len(claims)} statements of the paper hold for these models"
    return f"{count}. Those that do not: {'; '.join(wrong)}." if wrong else f"{count}."


SECTION = Section(
    name="paper",
    title="The paper, reproduced",
    question="Do the TSLT paper's figures hold on these models?",
    needs=Needs.MODELS,
    seconds=Seconds(quick=6, full=100),
    run=run,
    show=show,
    meaning=meaning,
    version=2,
    rates=Rates.ROUNDS,
    command="paper-figures",
)
