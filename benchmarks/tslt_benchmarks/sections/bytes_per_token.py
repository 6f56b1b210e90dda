"""Section: bytes of one draft token in every format, beside what each of them accepts."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from tslt_benchmarks.bytes.measurement import measure_all
from tslt_benchmarks.report.blocks import Column, Plot, Table, acceptance, places
from tslt_benchmarks.report.context import Context
from tslt_benchmarks.report.plots import Axis, Line, Panel, lines
from tslt_benchmarks.report.section import Needs, Seconds, Section

KS = (8, 32, 320)
_OURS = ("tslt_log2_1_range", "tree_log2_1_range")
_DRAWN = ("openai_json", "msgpack", "protobuf", "paper", "published_bound", *_OURS)


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
            y=Axis(label="acceptance, mean of 1 \u2212 TV", write=acceptance),
        ),
        name="bytes-per-token",
        alt="acceptance against bytes per draft token, a line a format, a point for each K",
        caption=f"Each point is a list of K = {', '.join(map(str, ks))} tokens. Up and to the left is better: more of "
        "what is drafted is kept, for fewer bytes. " + places(max(row["samples"] for row in rows)),
    )
    table = Table(
        columns=[
            Column("format"),
            Column("kind"),
            Column("K", ",d"),
            Column("bytes", ",.1f", "per draft token, mean"),
            Column("acceptance", acceptance, "mean of 1 - TV between the target and what the receiver decodes"),
            Column("\u00b1", acceptance, "standard error of the acceptance"),
        ],
        rows=[[r["title"], r["group"], r["k"], r["bytes"], r["alpha"], r["alpha_se"]] for r in rows],
        title="Bytes per draft token",
        folded=True,
        caption="Every row but the formula is written, read back and compared. Frames are whole messages, divided by "
        "their drafted tokens; compare acceptance within a kind.",
    )
    return [plot, table]


def meaning(figures: dict[str, Any]) -> str:
    """Ours beside the largest and the smallest of the others that are drawn, at one K."""
    k = figures["ks"][len(figures["ks"]) // 2]
    here = {row["format"]: row for row in figures["rows"] if row["k"] == k and row["format"] in _DRAWN}
    ours = here[_OURS[0]]
    others = sorted((row for name, row in here.items() if name not in _OURS), key=lambda row: float(row["bytes"]))

    def beside(row: dict[str, Any]) -> str:
        return f"{row['bytes']:,.0f} as {row['title']} ({row['bytes'] / ours['bytes']:.1f} times as many)"

    return (
        f"A list of {k} tokens takes {ours['bytes']:.0f} bytes as {ours['title']}; of the formats of others "
        f"in the plot the smallest is {beside(others[0])}, the largest {beside(others[-1])}."
    )


SECTION = Section(
    name="bytes-per-token",
    title="Bytes per draft token, by format",
    question="How many bytes does one drafted token with its list take, and what is kept of it?",
    needs=Needs.LOGITS,
    seconds=Seconds(quick=4, full=40),
    run=run,
    show=show,
    meaning=meaning,
    command="bytes-per-token",
)
