"""Section: what an edge keeps more of drafts with lists that it verifies from the leaves up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import numpy as np

import tslt_wire as tw
from tslt_benchmarks.acceptance.held_nodes import (
    AFTER,
    BEFORE,
    SIBLINGS,
    Drafted,
    Drafter,
    Kept,
    Lists,
    kept_of,
    lists_of,
    places,
)
from tslt_benchmarks.report.blocks import Column, Plot, Table, acceptance
from tslt_benchmarks.report.context import Context, LeftOut
from tslt_benchmarks.report.plots import Axis, Line, Panel, lines
from tslt_benchmarks.report.section import Needs, Seconds, Section

QUICK_PLACES, PLACES = 8, 48
LONGEST = 8
"""Tokens of the longest chain."""
TREE = (2, 2, 2)
TREE_NAME = "<2,2,2>"
TOWARDS = 0.75
"""How far the sharp draft's logits are moved towards the target's."""
PAIRS = {"this pair": 0.0, "a draft that agrees more": TOWARDS}
LISTS = {"default": "default lists", "64, log2/1": "long lists"}


def run(context: Context) -> dict[str, Any]:
    """Both rules on the same drafts: chains of all lengths, and a tree."""
    models, temperature = context.models, context.temperature
    drafters = {pair: Drafter(models, temperature, towards) for pair, towards in PAIRS.items()}
    first, *_ = drafters.values()
    most = QUICK_PLACES if context.quick else PLACES
    prefixes = places(first, models, context.prompts, most, context.seed)
    if not prefixes:
        raise LeftOut("the target ends each of these prompts at once")
    kinds = lists_of(models, temperature)
    found: list[Kept] = []
    for done, (pair, kind) in enumerate((pair, kind) for pair in drafters for kind in kinds):
        context.tell(done, len(drafters) * len(kinds))
        rng = np.random.default_rng([context.seed, 1])
        found += _kept(drafters[pair], prefixes, kinds[kind], rng, pair=pair, lists=kind)
    return {"temperature": temperature, "places": len(prefixes), "kept": [asdict(each) for each in found]}


def _kept(
    drafter: Drafter, prefixes: list[list[int]], make: Lists, rng: np.random.Generator, **names: str
) -> Iterator[Kept]:
    chains = [drafter.draft(prefix, (1,) * LONGEST, make, rng, replacement=True) for prefix in prefixes]
    for length in range(1, LONGEST + 1):
        yield kept_of([cut(each, length) for each in chains], shape=f"chain of {length}", **names)
    for replacement, siblings in SIBLINGS.items():
        trees = [drafter.draft(prefix, TREE, make, rng, replacement=replacement) for prefix in prefixes]
        yield kept_of(trees, shape=TREE_NAME, siblings=siblings, **names)


def cut(chain: Drafted, length: int) -> Drafted:
    """Its first ``length`` tokens: what a device would have drafted that drafts no more."""
    return replace(chain, tree=tw.TokenTree.chain(chain.tree.tokens[:length]))


def show(figures: dict[str, Any]) -> list[Table | Plot]:
    """The gain against the length of a chain, and everything."""
    rows = figures["kept"]
    top = max(row["gain"][AFTER] + row["error"][AFTER] for row in rows)
    over = Axis(
        label="more tokens a round", limits=(-0.01, max(0.05, 1.1 * top)), write=lambda gain: f"{100 * gain:.3g}%"
    )
    panels = []
    for pair in PAIRS:
        curves = []
        for kind, name in LISTS.items():
            mine = [row for row in rows if (row["pair"], row["lists"]) == (pair, kind) and not row["siblings"]]
            gains, errors = ([row[of][AFTER] for row in mine] for of in ("gain", "error"))
            curves.append(Line(name=name, xs=list(range(1, 1 + len(mine))), ys=gains, errors=errors))
        xs = list(range(1, LONGEST + 1))
        panels.append(Panel(lines=curves, x=Axis(label="tokens of the chain", ticks=xs), y=over, title=_of(rows, pair)))
    plot = lines(
        panels,
        name="held-nodes",
        alt="tokens a round more than token by token, in percent, against the length of a chain",
        caption="An edge that gets lists decides from the last token of a draft up: one that the target does not quite "
        "take is held until those behind it have been tried. The text stays the target's, no byte is added, and "
        "a chain of one token gains nothing. The draft that agrees more has its logits moved three quarters of the way "
        f"to the target's. Means of the same {figures['places']} drafts for both ways; thin bars: standard errors.",
    )
    table = Table(
        columns=[
            Column("draft", whole=True),
            Column("pair"),
            Column("lists"),
            Column("first token", acceptance, "acceptance of it"),
            Column("token by token", ".2f", "tokens of a round, the target's own included"),
            Column("from the leaves up", ".2f", "the same, as this edge verifies"),
            Column("more", "+.1%"),
            Column("\u00b1", ".1%", "standard error of that"),
            Column("rows, token by token", ".1f", "of the target that the edge looks at, a round"),
            Column("rows, from the leaves up", ".1f"),
        ],
        rows=[
            [
                f"{row['shape']}, {row['siblings']}" if row["siblings"] else row["shape"],
                row["pair"],
                LISTS[row["lists"]],
                row["alpha"],
                row["tokens"][BEFORE],
                row["tokens"][AFTER],
                row["gain"][AFTER],
                row["error"][AFTER],
                row["rows"][BEFORE],
                row["rows"][AFTER],
            ]
            for row in rows
        ],
        title="All figures",
        caption="Long lists: 64 tokens in half octaves. With replacement: siblings may be the same token.",
        folded=True,
        stacked=True,
    )
    return [plot, table]


def _of(rows: list[dict[str, Any]], pair: str) -> str:
    """A panel's title: the pair, and how often it accepts a first token."""
    alphas = [row["alpha"] for row in rows if row["pair"] == pair]
    return f"{pair}, {acceptance(min(alphas))} to {acceptance(max(alphas))} of first tokens kept"


def meaning(figures: dict[str, Any]) -> str:
    """Chains and the tree of this pair."""
    rows = [row for row in figures["kept"] if row["pair"] == next(iter(PAIRS))]

    def between(shape: str) -> str:
        gains = [row["gain"][AFTER] for row in rows if row["shape"] == shape]
        low, high = f"{100 * min(gains):.1f}", f"{100 * max(gains):.1f}"
        return f"{low} %" if low == high else f"{low} to {high} %"

    return (
        f"Verifying from the leaves up keeps {between('chain of 4')} more tokens a round of chains of 4, "
        f"{between(f'chain of {LONGEST}')} of chains of {LONGEST} and {between(TREE_NAME)} of {TREE_NAME}, at no byte."
    )


SECTION = Section(
    name="held-nodes",
    title="How an edge verifies lists",
    question="How many more tokens does an edge keep that decides from the leaves of a draft up?",
    needs=Needs.MODELS,
    seconds=Seconds(quick=20, full=100),
    run=run,
    show=show,
    meaning=meaning,
    command="held-nodes",
)
