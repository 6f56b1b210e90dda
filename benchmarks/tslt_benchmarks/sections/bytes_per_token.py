"""Section: bytes of one draft token in every format, beside what each of them accepts."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from tslt_benchmarks.bytes.measurement import measure_all
from tslt_benchmarks.report.blocks import Column, Plot, Table
from tslt_benchmarks.report.charts import Axis, Line, Panel, lines
from tslt_benchmarks.report.context import Context
from tslt_benchmarks.report.section import Needs, Seconds, Section

KS = (8, 32, 320)
_DRAWN = ("json_openai", "msgpack", "protobuf", "paper", "published_bound", "tslt_log2_1_range", "tree_log2_1_range")


def run(context: Context) -> dict[str, Any]:
    """Measure all formats."""
    ks = [k for k in KS if k < context.drafts.vocab_size]
    drafts = replace(context.drafts, positions=context.drafts.positions.first(32)) if context.quick else context.drafts
    figures = measure_all(drafts, ks=ks, temperatures=[context.temperature or 1.0])
    return {"ks": ks, "rows": [asdict(row) for row in figures]}


def show(figures: dict[str, Any]) -> list[Table | Plot]:
    """A plot of some formats and a table of all."""
    rows, ks = figures["rows"], figures["ks"]
    curves = []
    for name in dict.fromkeys(row["format"] for row in rows):
        mine = [row for row in rows if row["format"] == name and row["k"] is not None]
        if mine and name in _DRAWN:
            curves.append(Line(name=mine[0]["title"], xs=[r["bytes"] for r in mine], ys=[r["alpha"] for r in mine]))
    plot = lines(
        Panel(
            lines=curves,
            x=Axis(label="bytes per draft token", log=True),
            y=Axis(label="acceptance, mean of 1 \u2212 TV"),
        ),
        name="bytes-per-token",
        alt="acceptance against bytes per draft token, a line a format, a point for each K",
        caption=f"Each point is a list of K = {', '.join(map(str, ks))} tokens. Up and to the left is better: more of "
        "what is drafted is kept, for fewer bytes.",
    )
    table = Table(
        columns=[
            Column("format"),
            Column("kind"),
            Column("K", ",d"),
            Column("bytes", ",.1f", "per draft token, mean"),
            Column("acceptance", ".3f", "mean of 1 - TV between the target and what the receiver decodes"),
            Column("\u00b1", ".3f", "standard error of the acceptance"),
        ],
        rows=[[r["title"], r["group"], r["k"], r["bytes"], r["alpha"], r["alpha_se"]] for r in rows],
        title="Bytes per draft token",
        folded=True,
        caption="Every row but the formula is written, read back and compared. Frames are whole messages, divided by "
        "their drafted tokens; compare acceptance within a kind.",
    )
    return [plot, table]


def meaning(figures: dict[str, Any]) -> str:
    """Ours against JSON at one K."""
    rows, k = figures["rows"], figures["ks"][len(figures["ks"]) // 2]
    size = {row["format"]: row["bytes"] for row in rows if row["k"] == k}
    named = {row["format"]: row["title"] for row in rows}
    most = max((name for name in size), key=lambda name: size[name])
    ours = size["tslt_log2_1_range"]
    return (
        f"A list of {k} tokens takes {ours:.0f} bytes range-coded, {size[most] / ours:.0f} times less than as "
        f"{named[most]}."
    )


SECTION = Section(
    name="bytes-per-token",
    title="Bytes per draft token, by format",
    question="How many bytes does one drafted token with its list take, and what is kept of it?",
    needs=Needs.LOGITS,
    seconds=Seconds(quick=40, full=120),
    run=run,
    show=show,
    meaning=meaning,
    command="bytes-per-token",
)
