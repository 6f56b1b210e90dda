"""Section: what padding of frames costs, and what their lengths tell without it."""

from __future__ import annotations

import asyncio
from typing import Any

from tslt_benchmarks.links.padding import figures as figures_of
from tslt_benchmarks.links.padding import write
from tslt_benchmarks.links.recorded_rounds import PromptedModels
from tslt_benchmarks.report.blocks import Column, Plot, Table
from tslt_benchmarks.report.context import Context
from tslt_benchmarks.report.section import Needs, Seconds, Section

EVIDENCE = ("list", "coupled", "scalar")


def run(context: Context) -> dict[str, Any]:
    """Whole sessions with some kinds of evidence."""
    texts, tokens = (3, 24) if context.quick else (8, 64)
    prompted = PromptedModels.of(context.models, context.prompts[:texts])
    rows = []
    for done, kind in enumerate(EVIDENCE):
        context.tell(done, len(EVIDENCE))
        options: dict[str, Any] = {"texts": texts, "tokens": tokens}
        options |= {"temperature": context.temperature, "seed": context.seed}
        rows += figures_of(asyncio.run(write(prompted, kind, **options)))
    return {"texts": texts, "tokens": tokens, "rows": rows}


def show(figures: dict[str, Any]) -> list[Table | Plot]:
    """A table."""
    return [
        Table(
            columns=[
                Column("evidence"),
                Column("multiples of", "d", "bytes"),
                Column("bytes up a token", ",.1f", "handshake and prompt included"),
                Column("bytes down a token", ",.1f"),
                Column("lengths", "d", "different ones of frames in rounds"),
                Column("bits", ".2f", "that a frame's length tells"),
            ],
            rows=[list(row.values()) for row in figures["rows"]],
            caption=f"{figures['texts']} texts of {figures['tokens']} tokens. Who sees only lengths learns so many "
            "bits from each frame.",
        )
    ]


def meaning(figures: dict[str, Any]) -> str:
    """From no padding to multiples of 64."""
    rows = {row["multiple"]: row for row in figures["rows"] if row["evidence"] == EVIDENCE[0]}
    plain, padded = rows[1], rows[64]
    return (
        f"With lists a frame's length tells {plain['bits']:.1f} bits; padded to multiples of 64 bytes "
        f"{padded['bits']:.1f}, for {padded['uplink_bytes_per_token'] / plain['uplink_bytes_per_token']:.2f} times the "
        "bytes up."
    )


SECTION = Section(
    name="padding",
    title="What padding costs",
    question="What do lengths of frames tell who listens, and what does it cost to hide it?",
    needs=Needs.MODELS,
    seconds=Seconds(quick=5, full=45),
    run=run,
    show=show,
    meaning=meaning,
    command="padding",
)
