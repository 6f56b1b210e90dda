"""Section: what drafts in flight gain where the edge is far away, and what they cost it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tslt_benchmarks.report.blocks import Column, Plot, Table
from tslt_benchmarks.report.context import Context
from tslt_benchmarks.report.plots import Axis, Line, Panel, lines
from tslt_benchmarks.report.section import Needs, Rates, Seconds, Section
from tslt_benchmarks.sections.which_link import BIG, DOWN_OVER_UP, of_pair
from tslt_wire.throughput import Agreed, Compute, Link, Mode, Plan, Planner, default_shapes, streamed_tokens_per_s
from tslt_wire.throughput.catalogue import EVIDENCE

RTTS = (0.02, 0.05, 0.1, 0.2)
"""Round trips, seconds."""
UPLINK = 1e6
"""Bit/s: bytes hardly count, distance does."""
WINDOW, AHEAD = 4, 128
"""What an edge takes by default, and what a device may be told."""
LONGEST = 16
WAYS = {"alone": (1, 0), "ahead": (1, AHEAD), "in_flight": (WINDOW, AHEAD)}
"""Most drafts in flight and most nodes ahead."""


def run(context: Context) -> dict[str, Any]:
    """Ask the planner for its best choice one at a time, with drafting ahead, and with drafts in flight."""
    modes, own, temperature = of_pair(context)
    return {
        "temperature": temperature,
        "uplink_bit_s": UPLINK,
        "times": {
            name: [_entry(modes, compute, rtt_s) for rtt_s in RTTS] for name, compute in (("own", own), ("big", BIG))
        },
    }


def _entry(modes: Sequence[Mode], compute: Compute, rtt_s: float) -> dict[str, Any]:
    link = Link(uplink_bit_s=UPLINK, downlink_bit_s=DOWN_OVER_UP * UPLINK, rtt_s=rtt_s)
    shapes = [shape for shape in default_shapes(LONGEST) if shape]

    def best(window: int, ahead: int, shapes: Sequence[tuple[int, ...]]) -> Plan:
        agreed = Agreed(evidence=EVIDENCE, window=window, ahead=ahead)
        return Planner(modes, agreed, shapes=shapes, link=link, compute=compute, budget=0).ranking()[0]

    found = {name: best(*way, shapes) for name, way in WAYS.items()}
    found["chain"] = best(1, 0, [shape for shape in shapes if max(shape) == 1])
    return {
        "rtt_s": rtt_s,
        "streams": streamed_tokens_per_s(compute.verify_s, link),
        **{
            name: {
                "choice": plan.name,
                "rate": plan.expected.tokens_per_s,
                "busy_s": plan.expected.edge_s / plan.expected.tokens,
            }
            for name, plan in found.items()
        },
    }


def show(figures: dict[str, Any]) -> list[Table | Plot]:
    """A plot of the gains, and a table for each pair of times."""
    names = {
        "own": "These two models",
        "big": f"{1e3 * BIG.draft_s:g} ms a drafted token, {1e3 * BIG.verify_s:g} ms a pass",
    }
    top = max(
        entry["in_flight"]["rate"] / entry["chain"]["rate"] for each in figures["times"].values() for entry in each
    )
    over = Axis(label="over the best chain", limits=(0.98, 1.02 * top), write=lambda value: f"{value:.2f}")
    panels = []
    for name, entries in figures["times"].items():
        xs = [1e3 * entry["rtt_s"] for entry in entries]
        curves = [
            Line(name=label, xs=xs, ys=[entry[way]["rate"] / entry["chain"]["rate"] for entry in entries])
            for label, way in (("best that waits", "alone"), ("and ahead", "ahead"), ("and in flight", "in_flight"))
        ]
        panels.append(Panel(lines=curves, x=Axis(label="round trip, ms"), y=over, title=names[name]))
    plot = lines(
        panels,
        name="in-flight",
        alt="tokens a second over those of the best chain that waits for its verdict, against the round trip",
        caption=f"At {UPLINK / 1e6:g} Mbit/s; up to {WINDOW} drafts in flight, up to {AHEAD} nodes drafted ahead, in "
        "passes that take as long with them as without. Nothing is drafted ahead for trees in flight.",
    )
    return [plot, *(_table(entries, names[name]) for name, entries in figures["times"].items())]


def _table(entries: Sequence[dict[str, Any]], title: str) -> Table:
    return Table(
        columns=[
            Column("RTT, ms", "g"),
            Column("best that waits", whole=True),
            Column("tokens/s", ".1f"),
            Column("best with all", whole=True, hint="drafts in flight and drafting ahead allowed"),
            Column("tokens/s", ".1f"),
            Column("gain", ".2f"),
            Column("edge alone, tokens/s", ".1f", "if the edge decodes alone and streams"),
            Column("edge's time a token", ".2f", "in times that of the best that waits"),
        ],
        rows=[
            [
                1e3 * entry["rtt_s"],
                entry["alone"]["choice"],
                entry["alone"]["rate"],
                entry["in_flight"]["choice"],
                entry["in_flight"]["rate"],
                entry["in_flight"]["rate"] / entry["alone"]["rate"],
                entry["streams"],
                entry["in_flight"]["busy_s"] / entry["alone"]["busy_s"],
            ]
            for entry in entries
        ],
        title=title,
        folded=True,
        stacked=True,
    )


def meaning(figures: dict[str, Any]) -> str:
    """What it gains, and over what."""
    entries = figures["times"]["own"]
    most = max(entries, key=lambda entry: entry["in_flight"]["rate"] / entry["alone"]["rate"])
    gain, busy = (most["in_flight"][each] / most["alone"][each] for each in ("rate", "busy_s"))
    faster = [f"{1e3 * entry['rtt_s']:g}" for entry in entries if entry["in_flight"]["rate"] > entry["streams"]]
    slower = [f"{1e3 * entry['rtt_s']:g}" for entry in entries if entry["in_flight"]["rate"] <= entry["streams"]]
    where = f"faster than the edge alone at {_listed(faster, 'and')} ms" if faster else ""
    if slower:
        where += (
            f"; not at {_listed(slower, 'or')} ms" if faster else "at no round trip here faster than the edge alone"
        )
    return (
        f"Drafts in flight and drafted ahead make up to {gain:.2f} times as many tokens a second as the best draft "
        f"that waits for each verdict, for {busy:.2f} times the edge's time a token; they are {where}."
    )


def _listed(words: Sequence[str], last: str) -> str:
    """``a, b or c``."""
    *others, end = words
    return f"{', '.join(others)} {last} {end}" if others else end


SECTION = Section(
    name="drafts-in-flight",
    title="Drafting while verdicts are on their way",
    question="The edge is far away: what do drafts in flight and drafting ahead gain?",
    needs=Needs.LOGITS,
    seconds=Seconds(quick=1, full=1),
    run=run,
    show=show,
    meaning=meaning,
    uses=("evidence-acceptance", "pass-times"),
    rates=Rates.EQUATIONS,
    command="in-flight",
    version=3,
)
