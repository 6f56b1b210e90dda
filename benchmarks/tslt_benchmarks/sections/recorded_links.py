"""Section: real rounds of the pair, replayed on links: every fixed choice, the planner, and the edge alone."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from tslt_benchmarks.link_grid import DOWNLINK_OVER_UPLINK, EVIDENCE
from tslt_benchmarks.links.recorded_rounds import CHAINS, QUICK_SHAPES, TREES, PromptedModels, RecordingSettings, record
from tslt_benchmarks.links.replay import Replay, Times, measure
from tslt_benchmarks.links.text_acceptance import measure as measure_acceptance
from tslt_benchmarks.report.blocks import Cell, Column, Plot, Sorted, Table
from tslt_benchmarks.report.context import Context
from tslt_benchmarks.report.plots import Axis, Line, Panel, lines
from tslt_benchmarks.report.section import Needs, Rates, Seconds, Section
from tslt_benchmarks.sections.which_link import own_times
from tslt_wire.throughput import Link
from tslt_wire.throughput.explain import rate_name

QUICK_LINKS = ((1e4, 1e5, 1e6, 1e8), (0.005, 0.05))
LINKS = ((1e4, 3e4, 1e5, 3e5, 1e6, 1e7, 1e8), (0.001, 0.01, 0.05, 0.2))
"""Uplinks in bit/s, round trips in seconds."""
WITHOUT = "no draft"
"""How names of choices without a draft end."""


def run(context: Context) -> dict[str, Any]:
    """Record rounds of all choices, then replay them."""
    quick = context.quick
    prompts = context.prompts[:4] if quick else context.prompts
    prompted = PromptedModels.of(context.models, prompts)
    settings = RecordingSettings(
        temperature=context.temperature,
        places=4 if quick else 48,
        tokens=16 if quick else 48,
        shapes=QUICK_SHAPES if quick else (*CHAINS, *TREES),
        seed=context.seed,
        warm_up=not quick,
    )
    acceptance = measure_acceptance(
        context.models,
        temperature=context.temperature,
        prompts=prompts,
        tokens=settings.tokens,
        seed=context.seed,
    )
    recorded = asyncio.run(record(prompted, settings, acceptance, lambda done: context.tell(done, settings.places + 1)))
    own = own_times(context)  # passes as on the rest of the page; what a session does around them is these rounds'
    replay = Replay(recorded, Times(draft_s=own.draft_s, target_s=own.verify_s, node_s=own.verify_node_s))
    results = []
    for uplink in (QUICK_LINKS if quick else LINKS)[0]:
        for rtt in (QUICK_LINKS if quick else LINKS)[1]:
            link = Link(uplink_bit_s=uplink, downlink_bit_s=DOWNLINK_OVER_UPLINK * uplink, rtt_s=rtt)
            tokens = 300 if quick else 1500
            results.append(asdict(measure(replay, link, EVIDENCE, tokens=tokens, seeds=1 if quick else 3)))
    return {"places": settings.places, "links": results}


def show(figures: dict[str, Any]) -> list[Table | Plot]:
    """Tokens a second of each kind of evidence by uplink, a panel a round trip; and everything."""
    results = figures["links"]
    rtts = sorted({result["rtt_s"] for result in results})
    panels, top = [], 1.05 * max(max(result["rate"], result["edge_streams"]) for result in results)
    for rtt in (rtts[0], rtts[-2] if len(rtts) > 2 else rtts[-1]):
        mine = [result for result in results if result["rtt_s"] == rtt]
        xs = [result["uplink_bit_s"] for result in mine]
        curves = []
        for kind in EVIDENCE:
            names, rates = zip(*(result["by_evidence"][kind] for result in mine), strict=True)
            curves.append(Line(name=kind, xs=xs, ys=rates, hollow=[name.endswith(WITHOUT) for name in names]))
        curves.append(Line(name="auto", xs=xs, ys=[result["auto"] for result in mine], colour=6, dashed=True))
        alone = [result["edge_streams"] for result in mine]
        curves.append(Line(name="edge alone", xs=xs, ys=alone, dashed=True, points=False, colour=-1))
        labels = [rate_name(x).replace("bit/s", "") for x in xs]
        panels.append(
            Panel(
                lines=curves,
                x=Axis(label="uplink, bit/s", log=True, ticks=xs, labels=labels),
                y=Axis(label="tokens a second", limits=(0, top)),
                title=f"round trip {1e3 * rtt:g} ms",
            )
        )
    plot = lines(
        panels,
        hollow="hollow: best without a draft",
        name="recorded-links",
        alt="tokens a second of each kind of evidence against the uplink's rate, at two round trips",
        caption="Each line is the best fixed choice of one kind of evidence; where that is no draft at all, its point "
        "is hollow and says nothing for the evidence. The planner (auto) starts without knowing "
        "the link, and its tries count. The models' passes take their times from What a pass of each model "
        "takes; what a session does around them was measured in these rounds.",
    )
    table = Table(
        columns=[
            Column("uplink", whole=True),
            Column("RTT, ms", "g"),
            Column("best fixed choice", whole=True),
            Column("tokens/s", ".1f"),
            Column("auto", ".1f"),
            Column("auto misses", "+.1%", "of the best fixed split; auto picks among splits and never the edge alone"),
            Column("edge alone", ".1f"),
            Column("both at the edge, best tree or chain", ".1f"),
            *(Column(kind, ".1f", right=True) for kind in EVIDENCE),
        ],
        rows=[
            [
                Sorted(rate_name(r["uplink_bit_s"]), r["uplink_bit_s"]), 1e3 * r["rtt_s"], r["best"], r["rate"],
                r["auto"], r["shortfall"], r["edge_streams"], r["edge_speculates"],
                *(_rate(*r["by_evidence"][kind]) for kind in EVIDENCE),
            ]
            for r in results
        ],
        title="All links",
        folded=True,
        caption="All rates are tokens a second; under the name of a kind of evidence those of its best choice, in "
        "brackets where that is no draft.",
    )  # fmt: skip
    return [plot, table]


def _rate(name: str, rate: float) -> Cell:
    return Sorted(f"({rate:.1f})", rate) if name.endswith(WITHOUT) else rate


def meaning(figures: dict[str, Any]) -> str:
    """Who wins, and what auto misses."""
    results = figures["links"]
    drafted = [result for result in results if not result["best"].endswith(WITHOUT)]
    wins = {kind: sum(result["evidence"] == kind for result in drafted) for kind in EVIDENCE}
    best = max(wins, key=lambda kind: wins[kind])
    missed = sum(result["shortfall"] for result in results) / len(results)
    none = f", no draft at all on {len(results) - len(drafted)}" if len(drafted) < len(results) else ""
    alone = sum(result["edge_streams"] > result["rate"] for result in results)
    return (
        f"Of {len(results)} links {best} is the fastest split on {wins[best]}{none}, and the edge alone is faster than "
        f"any split on {alone}; the planner, which is told nothing, misses {max(0.0, missed):.1%} of the best fixed "
        "split's tokens a second (it never chooses the edge alone)."
    )


SECTION = Section(
    name="recorded-links",
    title="Real rounds on every link",
    question="Which evidence wins where, and does auto find it?",
    needs=Needs.MODELS,
    seconds=Seconds(quick=8, full=350),
    run=run,
    show=show,
    meaning=meaning,
    timed=True,
    uses=("pass-times",),
    version=2,
    rates=Rates.RECORDED,
    command="best-evidence",
)
