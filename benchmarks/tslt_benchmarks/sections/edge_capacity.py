"""Section: how many users one edge serves with a split, and how many if it decodes alone."""

from __future__ import annotations

import asyncio
import math
from dataclasses import asdict
from typing import Any

from tslt_benchmarks.pairs import MappedDraft
from tslt_benchmarks.report.blocks import Column, Plot, Table
from tslt_benchmarks.report.context import Context, LeftOut
from tslt_benchmarks.report.plots import Axis, Line, Panel, lines
from tslt_benchmarks.report.section import Needs, Rates, Seconds, Section
from tslt_benchmarks.speed.capacity import ENOUGH, Engines, alone, arguments, recorded, split

QUICK_USERS, QUICK_SECONDS = (1, 4, 16), 1.5
USERS, SECONDS = (1, 2, 4, 8, 16, 32), 8.0
"""Users at once, and how long each number of them is measured."""
WAYS = {"split": "with devices that draft", "alone": "decoding alone", "own drafts": "both at the edge, serving"}


def run(context: Context) -> dict[str, Any]:
    """Recorded devices, and the same engine without any."""
    users, seconds = (QUICK_USERS, QUICK_SECONDS) if context.quick else (USERS, SECONDS)
    settings = ["--seconds", str(seconds), "--warm-up", str(seconds / 4), "--tokens", "32" if context.quick else "64"]
    args = arguments([*settings, "--temperature", str(context.temperature)])
    models = context.models
    engines = Engines("this pair", models.target.engine, MappedDraft(models))
    some = context.prompts[: max(users)] if context.quick else context.prompts[:16]
    prompts = [models.prompt_tokens(prompt, room=args.tokens + 16) for prompt in some]
    of = len(prompts) + 3 * len(users)
    recordings = recorded(engines, prompts, args, lambda done: context.tell(done, of))
    found = []
    for count in users:
        found.append(asyncio.run(split(engines, recordings, count, args)))
        found += [alone(engines, prompts, count, args, own=own) for own in (False, True)]
        context.tell(len(prompts) + len(found), of)
    rows = [{k: v for k, v in asdict(one).items() if k != "cache_mb"} for one in found]  # not counted for all
    if not all(math.isfinite(value) for row in rows for value in row.values() if isinstance(value, float)):
        raise LeftOut(f"no round was over in {seconds:g} s: a run without --quick gives it more time")
    return {"chain": args.chain, "rows": rows}


def show(figures: dict[str, Any]) -> list[Table | Plot]:
    """Tokens a second by users, and everything."""
    rows = figures["rows"]
    users = sorted({row["users"] for row in rows})
    curves = []
    for way, name in WAYS.items():
        mine = [row for row in rows if row["way"] == way]
        curves.append(Line(name=name, xs=[row["users"] for row in mine], ys=[row["tokens_s"] for row in mine]))
    enough = [ENOUGH * n for n in users]
    curves.append(Line(name=f"{ENOUGH:g} tokens/s each", xs=users, ys=enough, dashed=True, points=False, colour=-1))
    plot = lines(
        Panel(
            lines=curves,
            x=Axis(label="users at once", log=True, ticks=users),
            y=Axis(label="tokens a second, all together", log=True),
        ),
        name="edge-capacity",
        alt="tokens a second of one edge against its users, with devices, alone, and with its own drafts",
        caption="The edge serves as many users as its line stays above the dashed one. One thread for the model; "
        "devices ask again as soon as they are answered, so that the edge is all that is measured: running, with all "
        f"that it does around its passes. Devices send lists with chains of {figures['chain']}; another evidence or "
        "chain is accepted more or less often, and gives other numbers. Users at once share passes here, which What to "
        "use on your link leaves out. Both at the edge, serving: it drafts for all of its users, too.",
    )
    table = Table(
        columns=[
            Column("edge"),
            Column("users", "d"),
            Column("tokens/s", ".0f", "all together"),
            Column("median, ms", ".0f", "of a round, or a step"),
            Column("99 %, ms", ".0f"),
            Column("CPU ms a token", ".2f"),
            Column("texts a pass", ".1f"),
        ],
        rows=[
            [WAYS[r["way"]], r["users"], r["tokens_s"], r["p50_ms"], r["p99_ms"], r["cpu_ms"], r["texts"]] for r in rows
        ],
        title="All figures",
        folded=True,
    )
    return [plot, table]


def meaning(figures: dict[str, Any]) -> str:
    """With the fewest users and with the most."""
    counts = [end(row["users"] for row in figures["rows"]) for end in (min, max)]
    said = []
    for users in dict.fromkeys(counts):
        rate = {row["way"]: row["tokens_s"] for row in figures["rows"] if row["users"] == users}
        said.append(
            f"{rate['split']:.0f} tokens a second with devices that draft and {rate['alone']:.0f} alone with "
            f"{users} {'user' if users == 1 else 'users at once'} ({rate['split'] / rate['alone']:.2f} times as many)"
        )
    return f"One edge makes {', '.join(said)}."


SECTION = Section(
    name="edge-capacity",
    title="How many users an edge serves",
    question="What does a split bring to who pays for the edge?",
    needs=Needs.MODELS,
    seconds=Seconds(quick=25, full=250),
    run=run,
    show=show,
    meaning=meaning,
    timed=True,
    rates=Rates.CLOCK,
    command="capacity",
)
