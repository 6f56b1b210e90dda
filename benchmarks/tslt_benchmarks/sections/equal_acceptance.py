"""Section: what every encoding takes for a given acceptance, up to the test that shows it lossless."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from tslt_benchmarks.encodings.encodings import QUICK_KS, some
from tslt_benchmarks.encodings.equal_acceptance import KS, measure_equal
from tslt_benchmarks.encodings.lossless import short_proof
from tslt_benchmarks.report.blocks import Cell, Column, Plot, Table, acceptance
from tslt_benchmarks.report.context import Context
from tslt_benchmarks.report.plots import Axis, Line, Panel, lines
from tslt_benchmarks.report.section import Needs, Seconds, Section

QUICK, FULL = 24, 96
"""Positions."""
_DRAWN = ("json", "msgpack_zstd", "paper", "published_bound", "tslt_log2_1_range", "tslt_log2_1_range_tail")
_POINTS = ("scalar", "coupled")
PART = 0.85
"""Of the acceptance of whole distributions, for which the sentence compares."""


def run(context: Context) -> dict[str, Any]:
    """Measure all encodings at some of the positions."""
    drafts = context.drafts
    curves = measure_equal(
        replace(drafts, positions=some(drafts.positions, QUICK if context.quick else FULL)),
        temperatures=[context.temperature or 1.0],
        ks=[k for k in (QUICK_KS if context.quick else KS) if k < drafts.vocab_size],
        seed=context.seed,
        say=lambda _: None,
    )
    return {"curves": [asdict(curve) for curve in curves]}


def show(figures: dict[str, Any]) -> Sequence[Table | Plot]:
    """Acceptance against bytes, and the table at equal acceptance."""
    curves = figures["curves"]
    drawn = [c for c in curves if c["format"] in (*_DRAWN, *_POINTS)]
    plot = lines(
        Panel(
            lines=[Line(name=c["title"], xs=c["bytes"], ys=c["alpha"]) for c in drawn],
            x=Axis(label="bytes up per drafted token, its id included", log=True),
            y=Axis(label="acceptance, mean of 1 \u2212 TV", write=acceptance),
        ),
        name="equal-acceptance",
        alt="acceptance against bytes per drafted token, a line an encoding, a point for each K",
        caption="Compare along a horizontal line: what each takes for the same acceptance.",
        height=420,
    )
    columns = [Column("encoding"), Column("lossless")]
    for level in curves[0]["levels"]:
        columns += [
            Column(f"for {acceptance(level['alpha'])}", ",.1f", f"bytes for this acceptance: {_of_whole(level)}"),
            Column("\u00b1", ",.1f", "standard error, over texts"),
        ]
    rows: list[list[Cell]] = []
    for curve in curves:
        cells = [cell for level in curve["levels"] for cell in (level["bytes"], level["bytes_se"])]
        rows.append([curve["title"], short_proof(curve["lossless"]), *cells, curve["lossless"]])
    table = Table(
        columns=[*columns, Column("shown by")],
        folded=True,
        rows=rows,
        title="Bytes up per drafted token for an acceptance",
        caption="Empty where that acceptance is not reached with any K that was measured. Each is written, read back "
        "and compared, but for the formulas. Framing is in none of them.",
    )
    return [plot, table]


def _of_whole(level: dict[str, Any]) -> str:
    return f"{level['part']:.0%} of that of whole distributions, {acceptance(level['alpha'] / level['part'])}"


def meaning(figures: dict[str, Any]) -> str:
    """The cheapest list against the paper's and JSON."""
    levels = {c["format"]: next(v for v in c["levels"] if v["part"] == PART) for c in figures["curves"]}
    at = {name: level["bytes"] for name, level in levels.items()}
    level = levels["json"]
    wanted = f"{acceptance(level['alpha'])} ({_of_whole(level)})"
    sizes = {name: at.get(name) for name in ("json", "paper", "tslt_log2_1_range", "tslt_log2_1_range_tail", "scalar")}
    ours = min((size for name, size in sizes.items() if name.startswith("tslt") and size is not None), default=None)
    if ours is None or sizes["paper"] is None or sizes["json"] is None:
        return f"Lists of these lengths do not reach an acceptance of {wanted}."
    said = f"For an acceptance of {wanted} JSON takes {sizes['json']:,.0f} bytes a drafted token, the paper's list "
    said += f"{sizes['paper']:,.0f}, ours {ours:,.0f}"
    return said + (f"; one probability in place of a list takes {sizes['scalar']:.1f}." if sizes["scalar"] else ".")


SECTION = Section(
    name="equal-acceptance",
    title="Bytes at equal acceptance",
    question="What does each encoding take for the same acceptance, and is it lossless?",
    needs=Needs.LOGITS,
    seconds=Seconds(quick=60, full=240),
    run=run,
    show=show,
    meaning=meaning,
    command="encodings",
)
