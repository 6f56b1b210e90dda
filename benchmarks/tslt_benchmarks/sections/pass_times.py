"""Section: what a pass of each model takes on this machine."""

from __future__ import annotations

from typing import Any

from tslt_benchmarks.report.blocks import Cell, Column, Plot, Table
from tslt_benchmarks.report.context import Context
from tslt_benchmarks.report.plots import Axis, Line, Panel, lines
from tslt_benchmarks.report.section import Needs, Seconds, Section
from tslt_benchmarks.speed.pass_times import PassTimes, measure

PREFIX = 128
"""Tokens that texts have before."""


def run(context: Context) -> dict[str, Any]:
    """Time both models behind a text of their own."""
    models = context.models
    text = " ".join(context.prompts)
    tokens = models.tokenizer.tokens_of(text)
    most = min(models.target.engine.facts.context, models.draft.engine.facts.context) - 32
    prompt = (tokens * (PREFIX // max(1, len(tokens)) + 1))[: max(1, min(PREFIX, most))]
    return measure(models, prompt, passes=40 if context.quick else 150, tell=context.tell).as_json()


def show(figures: dict[str, Any]) -> list[Table | Plot]:
    """Both lines, and the numbers."""
    times = PassTimes.of_json(figures)
    nodes = list(times.target_s)
    plot = lines(
        Panel(
            lines=[
                Line(name="target, one pass", xs=nodes, ys=[1e3 * times.target_s[n] for n in nodes]),
                Line(name="draft, so many passes", xs=nodes, ys=[1e3 * n * times.draft_level_s for n in nodes]),
            ],
            x=Axis(label="drafted tokens", ticks=nodes),
            y=Axis(label="milliseconds", limits=(0.0, _ceiling(times, nodes))),
        ),
        name="pass-times",
        alt="milliseconds of a pass of the target, and of drafting, against drafted tokens",
        caption="A split pays where drafting several tokens takes less than the passes of the target that they save. "
        f"Behind {times.prefix} tokens; of each the fastest tenth, so that other work on the machine counts little.",
    )
    compute = times.compute
    rows: list[list[Cell]] = [
        ["draft: a token", 1e3 * compute.draft_s],
        ["draft: each node more in a level", 1e3 * compute.draft_parent_s],
        ["draft: reading a verdict", 1e3 * compute.draft_start_s],
        ["target: a pass", 1e3 * compute.verify_s],
        ["target: each drafted token more", 1e3 * compute.verify_node_s],
    ]
    table = Table(columns=[Column("what"), Column("ms", ".3f")], rows=rows)
    return [plot, table]


def _ceiling(times: PassTimes, nodes: list[int]) -> float:
    return 1.15e3 * max(*times.target_s.values(), max(nodes) * times.draft_level_s)


def meaning(figures: dict[str, Any]) -> str:
    """The ratio that decides."""
    compute = PassTimes.of_json(figures).compute
    return (
        f"A pass of the target takes {1e3 * compute.verify_s:.1f} ms here, a drafted token "
        f"{1e3 * compute.draft_s:.1f} ms: {compute.verify_s / compute.draft_s:.1f} tokens are drafted in the time of "
        "one pass."
    )


SECTION = Section(
    name="pass-times",
    title="What a pass of each model takes",
    question="How fast are the two models on this machine?",
    needs=Needs.MODELS,
    seconds=Seconds(quick=6, full=20),
    run=run,
    show=show,
    meaning=meaning,
    timed=True,
    command="engines",
)
