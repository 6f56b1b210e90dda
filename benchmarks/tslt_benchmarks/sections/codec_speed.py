"""Section: how long the codec takes, beside what a user would write instead."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import tslt_wire as tw
from tslt_benchmarks.report.blocks import Column, Plot, Table
from tslt_benchmarks.report.context import Context, LeftOut
from tslt_benchmarks.report.section import Needs, Seconds, Section

KS = (32, 320)


def run(context: Context) -> dict[str, Any]:
    """Lists and trees of this draft's own logits."""
    try:
        from tslt_benchmarks.speed.codec_speed import cycled, measure_all
    except ImportError as error:
        raise LeftOut(f"it compares with {error.name}, which is not installed") from error
    rows = cycled(context.drafts.positions.draft)
    repetitions = 60 if context.quick else 400
    ks = [k for k in KS if k <= context.drafts.vocab_size]
    timings = measure_all([(rows, rows)], ks=ks, repetitions=repetitions, say=lambda _: None)
    return {
        "backend": tw.backend,
        "repetitions": repetitions,
        "timings": [{**asdict(timing), "write": timing.write, "codec": timing.codec} for timing in timings],
    }


def show(figures: dict[str, Any]) -> list[Table | Plot]:
    """A table."""
    works = {"list": "one list", "tree": "a <2,2,2> draft, 7 lists"}
    return [
        Table(
            columns=[
                Column("what"),
                Column("K", ",d"),
                Column("with"),
                Column("logits to bytes, \u00b5s", ",.0f"),
                Column("write + read, \u00b5s", ",.0f", "without the choice of tokens"),
                Column("bytes", ",.0f"),
            ],
            rows=[
                [works[t["work"]], t["k"], t["contender"], t["write"], t["codec"], t["bytes"] or None]
                for t in figures["timings"]
            ],
            caption=f"Medians of {figures['repetitions']} repetitions in turns, one thread. The others neither "
            "normalise nor check what they read; copy is what touching the logits costs at least.",
        )
    ]


def meaning(figures: dict[str, Any]) -> str:
    """Ours beside msgpack, where it wins and where it loses."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for timing in figures["timings"]:
        found.setdefault((timing["work"], timing["k"]), {})[timing["contender"]] = timing
    pairs = [(each.get("tslt native") or each["tslt reference"], each["topk + msgpack"]) for each in found.values()]

    def ends(name: str) -> str:
        ratios = sorted(ours[name] / other[name] for ours, other in pairs)
        return f"{ratios[0]:.2f} to {ratios[-1]:.2f} times"

    ks = sorted({k for _, k in found})
    return (
        f"From logits to bytes takes {ends('write')} as long as with torch.topk and msgpack, writing and reading "
        f"without the choice of tokens {ends('codec')} as long, for {ends('bytes')} their bytes: lists and trees, "
        f"K = {' and '.join(map(str, ks))}."
    )


SECTION = Section(
    name="codec-speed",
    title="How long the codec takes",
    question="Does writing and reading lists cost time that counts?",
    needs=Needs.LOGITS,
    seconds=Seconds(quick=2, full=12),
    run=run,
    show=show,
    meaning=meaning,
    timed=True,
    command="codec-speed",
)
