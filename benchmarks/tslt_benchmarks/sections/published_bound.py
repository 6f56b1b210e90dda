"""Section: range-coded lists against the published formula, which nobody has shipped bits for."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

from tslt_benchmarks.bytes.published_bound import BoundComparison
from tslt_benchmarks.report.blocks import Column, Plot, Table, acceptance
from tslt_benchmarks.report.context import Context
from tslt_benchmarks.report.plots import Axis, Line, Panel, lines
from tslt_benchmarks.report.section import Needs, Seconds, Section


def run(context: Context) -> dict[str, Any]:
    """Single lists without a prior, at each K and precision."""
    comparison = BoundComparison(context.drafts, [context.temperature or 1.0], None)
    rows = comparison.run(lambda _: None, tables=("lists",) if context.quick else ("lists", "tail"))
    return {"rows": [asdict(row) for row in rows]}


def show(figures: dict[str, Any]) -> list[Table | Plot]:
    """The ratio to the formula by K, and everything."""
    rows = [row for row in figures["rows"] if row["table"] == "lists"]
    ks = sorted({row["k"] for row in rows})
    curves = []
    for precision in dict.fromkeys(row["precision"] for row in rows):
        mine = {row["k"]: row["bytes"] / row["formula"] for row in rows if row["precision"] == precision}
        curves.append(Line(name=precision, xs=list(mine), ys=list(mine.values())))
    curves.append(Line(name="the formula", xs=ks, ys=[1.0] * len(ks), dashed=True, points=False, colour=-1))
    plot = lines(
        Panel(
            lines=curves,
            x=Axis(label="tokens of a list, K", log=True, ticks=ks),
            y=Axis(label="bytes over the formula's"),
        ),
        name="published-bound",
        height=300,
        alt="bytes of range-coded lists over those of the published formula, a line a precision",
        caption="Below the dashed line real bytes are fewer than the formula's: likely tokens have small ids, and "
        "their weights are not alike, of which the formula knows nothing.",
    )
    table = Table(
        columns=[
            Column("K", ",d"),
            Column("precision"),
            Column("bytes", ",.1f"),
            Column("formula", ",.1f", "bytes of the K-SQS formula"),
            Column("ratio", ".2f"),
            Column("acceptance", acceptance),
            Column("gain", partial(acceptance, digits=4, sign="+"), "less that of the formula's own lattice"),
            Column("\u00b1", partial(acceptance, digits=4), "standard error of the gain"),
        ],
        rows=[
            [
                r["k"], r["precision"], r["bytes"], r["formula"], r["bytes"] / r["formula"], r["alpha"], r["gain"],
                r["gain_se"],
            ]
            for r in rows
        ],
        title="Lists against the formula",
        folded=True,
    )  # fmt: skip
    return [plot, table]


def meaning(figures: dict[str, Any]) -> str:
    """The range of the ratio at the middle precision."""
    ratios = [r["bytes"] / r["formula"] for r in figures["rows"] if (r["table"], r["precision"]) == ("lists", "log2/1")]
    return (
        f"At precision log2/1 real lists take {min(ratios):.2f} to {max(ratios):.2f} times the bytes of the published "
        "formula, and accept about as much."
    )


SECTION = Section(
    name="published-bound",
    title="Real bytes against the published formula",
    question="How near do real lists come to the size that papers count with?",
    needs=Needs.LOGITS,
    seconds=Seconds(quick=1, full=5),
    run=run,
    show=show,
    meaning=meaning,
    command="published-bound",
)
