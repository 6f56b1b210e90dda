"""Section: what many devices at one edge that is busy all the time get, one draft at a time and several in flight."""

from __future__ import annotations

from typing import Any

from tslt_benchmarks.links.shared_edge import arguments, measure
from tslt_benchmarks.report.blocks import Column, Plot, Table
from tslt_benchmarks.report.context import Context
from tslt_benchmarks.report.section import Needs, Rates, Seconds, Section

DEVICES = 8
DRAFT_MS, TARGET_MS, ROW_MS = 8.0, 40.0, 2.0
"""As of a phone, and of an edge whose passes get longer with what is in them."""
RTT_S, RATE_BIT_S = 0.05, 1e6
FIRST = "one at a time"
WAYS = {
    FIRST: "one draft at a time",
    "and ahead": "and drafting ahead",
    "and in flight": "and drafts in flight, for the first four",
    "not told of others": "the same, not told of the others",
}
QUICK_WAYS = tuple(WAYS)[:3]


def run(context: Context) -> dict[str, Any]:
    """Sessions of devices whose drafts are accepted as often as this pair's."""
    acceptance = context.figures("evidence-acceptance")
    temperature = acceptance["temperatures"][0]
    rows = [row for row in acceptance["rows"] if row["temperature"] == temperature]
    alpha = next(row["alphas"][0] for row in rows if row["evidence"] == "full")
    short = ["--slow", "1.5", "--learn", "1.5", "--seconds", "3"]
    length = short if context.quick else ["--slow", "2", "--learn", "6", "--seconds", "12"]
    given = {
        "devices": DEVICES, "alpha": alpha, "rtt": RTT_S, "rate": RATE_BIT_S, "draft-ms": DRAFT_MS,
        "target-ms": TARGET_MS, "row-ms": ROW_MS, "temperature": temperature, "seed": context.seed, "runs": 1,
    }  # fmt: skip
    options = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    ways = QUICK_WAYS if context.quick else tuple(WAYS)
    args = arguments([*options, *length, "--ways", *ways])
    return {"alpha": alpha, "temperature": temperature, "seconds": args.seconds, "ways": measure(args, context.tell)}


def show(figures: dict[str, Any]) -> list[Table | Plot]:
    """All ways."""
    first = figures["ways"][FIRST]["tokens_per_s"]
    table = Table(
        columns=[
            Column("devices draft", whole=True),
            Column("tokens/s", ".0f", "of all together"),
            Column("over the first", ".2f"),
            Column("slowest over fastest", ".2f", "tokens of the device that gets fewest over those of who gets most"),
            Column("nodes a draft", ".1f"),
            Column("nodes a token", ".2f", "what the edge looks at for a token that is kept"),
        ],
        rows=[
            [
                WAYS[way],
                row["tokens_per_s"],
                row["tokens_per_s"] / first,
                row["least_over_most"],
                row["nodes"],
                row["nodes_per_token"],
            ]
            for way, row in figures["ways"].items()
        ],
        caption=f"{DEVICES} devices with --evidence auto write for {figures['seconds']:g} s at an edge that is never "
        f"idle: {TARGET_MS:g} ms a pass and {ROW_MS:g} ms a row in it, {DRAFT_MS:g} ms a drafted token, "
        f"{1e3 * RTT_S:g} ms and {RATE_BIT_S / 1e6:g} Mbit/s, a token accepted in {figures['alpha']:.0%} of cases as "
        "with this pair. Who meets whom in a pass is luck: a difference below a tenth is none. An edge that works for "
        "many tells devices, and these send shorter drafts.",
        stacked=True,
    )
    return [table]


def meaning(figures: dict[str, Any]) -> str:
    """Whether drafts in flight cost the others anything."""
    ways = figures["ways"]
    first = ways[FIRST]["tokens_per_s"]
    ratios = {way: row["tokens_per_s"] / first for way, row in ways.items()}
    return (
        f"{DEVICES} devices at one busy edge make {first:.0f} tokens a second together one draft at a time, "
        f"{ratios['and ahead']:.2f} times as many with drafting ahead, and {ratios['and in flight']:.2f} times with "
        "drafts in flight where the edge allows them."
    )


SECTION = Section(
    name="shared-edge",
    title="Many devices at one busy edge",
    question="Do drafts in flight and drafted ahead pay where many devices share an edge?",
    needs=Needs.LOGITS,
    seconds=Seconds(quick=22, full=150),
    run=run,
    show=show,
    meaning=meaning,
    uses=("evidence-acceptance",),
    timed=True,
    rates=Rates.SESSIONS,
    command="shared-edge",
)
