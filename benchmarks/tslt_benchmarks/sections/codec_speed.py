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
    """Ours beside msgpack."""
    k = figures["timings"][0]["k"]
    found = {t["contender"]: t for t in figures["timings"] if (t["work"], t["k"]) == ("list", k)}
    ours = found.get("tslt native") or found["tslt reference"]
    other = found["topk + msgpack"]
    return (
        f"From logits to the bytes of a list of {k} takes {ours['write']:.0f} \u00b5s, "
        f"{ours['write'] / other['write']:.1f} times what torch.topk and msgpack take, for "
        f"{ours['bytes'] / other['bytes']:.2f} of their bytes."
    )


SECTION = Section(
    name="codec-speed",
    title="How long the codec takes",
    question="Does writing and reading lists cost time that counts?",
    needs=Needs.LOGITS,
    seconds=Seconds(quick=10, full=40),
    run=run,
    show=show,
    meaning=meaning,
    command="codec-speed",
)
