"""Section: whole messages of a round, ours and those of other systems, up and down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tslt_benchmarks.drafting import Settings, make_drafts
from tslt_benchmarks.encodings.lossless import footnotes
from tslt_benchmarks.encodings.message_sizes import ours, peers
from tslt_benchmarks.links.recorded_rounds import PromptedModels
from tslt_benchmarks.report.blocks import Column, Look, Plot, Table
from tslt_benchmarks.report.context import Context
from tslt_benchmarks.report.plots import Axis, rows
from tslt_benchmarks.report.section import Needs, Seconds, Section

PER = ("up_per_drafted", "up_per_emitted", "down_per_emitted")


def run(context: Context) -> dict[str, Any]:
    """Texts of their own, as rounds must be able to start at each position."""
    texts, tokens, places = (4, 12, 4) if context.quick else (12, 48, 48)
    prompts = context.prompts[:texts]
    settings = Settings(
        lists=len(prompts) * (tokens + 1), rounds=4 if context.quick else 24, tokens=tokens, seed=context.seed
    )
    drafts = make_drafts(context.models, settings, prompts, context.tell)
    temperature = context.temperature or 1.0
    prompted = PromptedModels.of(context.models, prompts)
    found = ours(drafts, prompted, temperature=temperature, places=places, seed=context.seed, say=lambda _: None)
    found += peers(drafts, temperature=temperature, say=lambda _: None)
    return {"rows": [asdict(row) | {name: getattr(row, name) for name in PER} for row in found]}


def _chains(figures: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in figures["rows"] if row["shape"].startswith("chain")]


def show(figures: dict[str, Any]) -> Sequence[Table | Plot]:
    """Bytes a token of the text, and all figures."""
    here = sorted(_chains(figures), key=lambda row: float(row["up_per_emitted"] + row["down_per_emitted"]))

    def draw(axes: Any, look: Look) -> None:
        for place, row in enumerate(here):
            colour = look.colours[0] if row["system"].startswith("tslt") else look.ink
            up, down = row["up_per_emitted"], row["down_per_emitted"]
            axes.plot([down, up], [place, place], color=colour, linewidth=1)
            axes.plot(up, place, marker=">", color=colour)
            axes.plot(down, place, marker="<", color=colour, fillstyle="none")

    plot = rows(
        [row["title"] for row in here],
        Axis(label="bytes per token of the text", log=True),
        draw,
        name="messages",
        alt="bytes up and down per token of the text, a line a system",
        caption="Filled: up; hollow: down. Chains of 4; no transport yet.",
    )
    columns = [
        Column("system"),
        Column("shape"),
        Column("up", ",.1f", "bytes a round"),
        Column("down", ",.1f", "bytes a round"),
        Column("up / drafted", ",.1f", "bytes up a drafted token"),
        Column("tokens", ".2f", "expected of a round, the target's own included"),
        Column("\u00b1", ".2f", "standard error of the tokens, over texts"),
        Column("up / emitted", ",.1f", "bytes up a token of the text"),
        Column("down / emitted", ",.1f", "bytes down a token of the text"),
        Column("trips", ".2f", "round trips a round"),
        Column("lossless", hint="what shows it, or why not, by the numbers in brackets", whole=True),
        Column("source"),
    ]
    names = ("shape", "up", "down", "up_per_drafted", "tokens", "tokens_se", *PER[1:], "trips")
    marks, notes = footnotes([row["lossless"] for row in figures["rows"]])
    cells = [
        [
            row["title"] + ("" if row["measured"] else " (accounting)"),
            *(row[name] for name in names),
            mark,
            row["source"],
        ]
        for row, mark in zip(figures["rows"], marks, strict=True)
    ]
    table = Table(
        columns=columns,
        rows=cells,
        notes=notes,
        title="Messages of a round",
        folded=True,
        caption="Ours are those of real sessions; others are rebuilt from what is published, written, read back and "
        "compared. What a lossy system's rounds bring is reckoned as if it were not.",
    )
    return [plot, table]


def meaning(figures: dict[str, Any]) -> str:
    """The least and the most."""
    found = sorted(_chains(figures), key=lambda row: float(row["up_per_emitted"]))
    first, last = found[0], found[-1]
    return (
        f"A token of the text costs {first['up_per_emitted']:,.1f} bytes up with {first['title']}, and "
        f"{last['up_per_emitted']:,.0f} with {last['title']}."
    )


SECTION = Section(
    name="messages",
    title="Messages of whole systems",
    question="How many bytes does a token of the text cost, up and down, here and elsewhere?",
    needs=Needs.MODELS,
    seconds=Seconds(quick=8, full=40),
    run=run,
    show=show,
    meaning=meaning,
    command="encodings",
)
