"""Section: what lossy schemes of other papers do to the text, computed exactly."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

from tslt_benchmarks.acceptance.lossy_schemes import measure, schemes
from tslt_benchmarks.report.blocks import Column, Plot, Table, acceptance
from tslt_benchmarks.report.context import Context, LeftOut
from tslt_benchmarks.report.section import Needs, Seconds, Section

MOST_POSITIONS = (24, 96)
"""Quick and full."""


def run(context: Context) -> dict[str, Any]:
    """Every scheme at the run's temperature."""
    if context.temperature == 0:
        raise LeftOut("at temperature 0 all schemes send the same token")
    positions = context.drafts.positions.first(MOST_POSITIONS[not context.quick])
    rows = []
    found = schemes(context.drafts.vocab_size)
    for done, scheme in enumerate(found):
        context.tell(done, len(found))
        rows += [{**asdict(row), "source": scheme.source} for row in measure(positions, context.temperature, [scheme])]
    return {"positions": len(positions.draft), "rows": rows}


def show(figures: dict[str, Any]) -> list[Table | Plot]:
    """A table."""
    return [
        Table(
            columns=[
                Column("scheme"),
                Column("lossless"),
                Column(
                    "bias",
                    partial(acceptance, digits=4),
                    "total variation between the law of a token of the text and the target's, mean",
                ),
                Column("worst", partial(acceptance, digits=4), "the same at the worst place"),
                Column("kept", acceptance, "probability that a drafted token stays"),
                Column("bytes a token", ",.1f", "framing left out for all alike"),
                Column("source"),
            ],
            stacked=True,
            rows=[
                [
                    r["title"],
                    "yes" if r["scheme"].startswith("list_") else "no",
                    *(r[name] for name in ("bias", "worst", "kept", "bytes", "source")),
                ]
                for r in figures["rows"]
            ],
            caption=f"Bias .0500: five tokens in a hundred are not what the target would have written. Exact at each "
            f"of {figures['positions']} places, not estimated.",
        )
    ]


def meaning(figures: dict[str, Any]) -> str:
    """Ours against the least biased of the others."""
    ours = max(row["worst"] for row in figures["rows"] if row["scheme"].startswith("list_"))
    others = [row for row in figures["rows"] if not row["scheme"].startswith("list_")]
    least, most = (end(others, key=lambda row: row["bias"]) for end in (min, max))
    return (
        f"These lists leave the target's law alone (off by {ours:.0e} at worst, which is rounding); the least biased "
        f"of the lossy schemes changes {least['bias']:.1%} of the tokens and takes {least['bytes']:,.0f} bytes a "
        f"token, the most biased changes {most['bias']:.1%}."
    )


SECTION = Section(
    name="lossy-schemes",
    title="What lossy schemes do to the text",
    question="How far is the text of schemes that are not exact from the target's own?",
    needs=Needs.LOGITS,
    seconds=Seconds(quick=1, full=5),
    run=run,
    show=show,
    meaning=meaning,
    command="lossy-schemes",
)
