"""Section: what every encoding takes for a given acceptance, up to the test that shows it lossless."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from tslt_benchmarks.encodings.encodings import QUICK_KS, some
from tslt_benchmarks.encodings.equal_acceptance import KS, measure_equal
from tslt_benchmarks.encodings.lossless import footnotes
from tslt_benchmarks.report.blocks import Cell, Column, Plot, Sorted, Table, acceptance, places
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
        caption="Compare along a horizontal line: what each takes for the same acceptance. "
        + places(curves[0]["positions"]),
        height=420,
    )
    columns = [
        Column("encoding"),
        Column("lossless", hint="what shows it, or why not, by the numbers in brackets", whole=True),
        *(
            Column(f"for {acceptance(level['alpha'])}", hint=_of_whole(level), whole=True, right=True)
            for level in curves[0]["levels"]
        ),
    ]
    marks, notes = footnotes([curve["lossless"] for curve in curves])
    rows: list[list[Cell]] = [
        [curve["title"], mark, *(_cell(level) for level in curve["levels"])]
        for curve, mark in zip(curves, marks, strict=True)
    ]
    table = Table(
        columns=columns,
        folded=True,
        rows=rows,
        notes=notes,
        title="Bytes up per drafted token for an acceptance",
        caption="Behind \u00b1 the standard error over texts, if all samples of them reach that acceptance. "
        "\u201cNot reached\u201d: with no K that was measured. Each is written, read back and compared, but for the "
        "formulas. Framing is in none of them.",
    )
    return [plot, table]


def _cell(level: dict[str, Any]) -> Sorted:
    size = level["bytes"]
    return Sorted("not reached", None) if size is None else Sorted(_with_error(level), size)


def _with_error(level: dict[str, Any]) -> str:
    """``73 \u00b1 43``, with a digit behind the point where it says something."""
    size, error = level["bytes"], level["bytes_se"]
    digits = 1 if size < 100 and (error or 0) < 10 else 0
    spread = f"{error or 0:,.{digits}f}"
    return f"{size:,.{digits}f}" + (f" \u00b1 {spread}" if float(spread.replace(",", "")) else "")


def _of_whole(level: dict[str, Any]) -> str:
    return f"{level['part']:.0%} of that of whole distributions, {acceptance(level['alpha'] / level['part'])}"


def meaning(figures: dict[str, Any]) -> str:
    """The cheapest list against the paper's and JSON, compact and as OpenAI writes it."""
    levels = {c["format"]: next(v for v in c["levels"] if v["part"] == PART) for c in figures["curves"]}
    wanted = f"{acceptance(levels['json']['alpha'])} ({_of_whole(levels['json'])})"
    reached = {name: level for name, level in levels.items() if level["bytes"] is not None}
    ours = [reached[name] for name in ("tslt_log2_1_range", "tslt_log2_1_range_tail") if name in reached]
    if not ours or not {"paper", "json", "openai_json"} <= set(reached):
        return f"Lists of these lengths do not reach an acceptance of {wanted}."
    said = {name: _with_error(level) for name, level in reached.items()}
    least = _with_error(min(ours, key=lambda level: float(level["bytes"])))
    one = f"; one probability in place of a list takes {said['scalar']}" if "scalar" in said else ""
    return (
        f"For an acceptance of {wanted} a drafted token takes {said['openai_json']} bytes as JSON in OpenAI's form, "
        f"{said['json']} as compact JSON, {said['paper']} as the paper's list and {least} as ours (\u00b1: "
        f"standard error over texts){one}."
    )


SECTION = Section(
    name="equal-acceptance",
    title="Bytes at equal acceptance",
    question="What does each encoding take for the same acceptance, and is it lossless?",
    needs=Needs.LOGITS,
    seconds=Seconds(quick=3, full=15),
    run=run,
    show=show,
    meaning=meaning,
    command="encodings",
)
