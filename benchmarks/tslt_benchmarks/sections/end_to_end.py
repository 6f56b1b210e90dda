"""Section: every way to share these two models between a device and an edge, end to end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from tslt_benchmarks.endtoend import end_to_end
from tslt_benchmarks.paper.equations import Times
from tslt_benchmarks.report.blocks import Column, Look, Plot, Table
from tslt_benchmarks.report.context import Context, LeftOut
from tslt_benchmarks.report.plots import Axis, rows
from tslt_benchmarks.report.section import Needs, Rates, Seconds, Section
from tslt_benchmarks.sections.which_link import own_times
from tslt_wire.throughput.explain import rate_name

ALONE, BOTH, WITHOUT = "edge alone", "both at the edge, chain of 4", "tslt, no draft"
NAMES = {
    "edge only, streaming": ALONE,
    "edge-hosted speculation": BOTH,
    "transformers assisted": "transformers assisted, no link",
    "transformers assisted, threshold 0": "transformers assisted, threshold 0, no link",
}
"""What the page calls some of the ways."""


def run(context: Context) -> dict[str, Any]:
    """On the report's own pair and with its times, with ``tslt bench end-to-end``'s links and proxy of energy."""
    models = context.models
    if not (models.target_source.is_dir() and models.draft_source.is_dir()):
        raise LeftOut("it runs transformers' assisted generation beside, which reads folders alone")
    args = end_to_end.arguments(["--seed", str(context.seed)])
    args.temperature = context.temperature or 1.0
    args.tokens, texts = (16, 2) if context.quick else (96, 4)
    own = own_times(context)
    times = Times(draft_s=own.draft_s, target_s=own.verify_s, node_s=own.verify_node_s)
    found = end_to_end.measure(args, models, context.prompts[:texts], lambda _: None, times=times)
    return {"rows": named(map(asdict, found["rows"])), "times": asdict(found["measured"])}


def named(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the benchmark with the page's names."""
    return [row | {"way": NAMES.get(row["way"], row["way"])} for row in rows]


def _links(figures: dict[str, Any]) -> list[tuple[float, float]]:
    return list(dict.fromkeys((row["uplink_bit_s"], row["rtt_s"]) for row in figures["rows"]))


def travels(way: str) -> str:
    """What a way's link carries."""
    if way.startswith("transformers"):
        return "none: both in one process"
    return "the text, down" if way in (ALONE, BOTH) else "each round, both ways"


def lossless(way: str) -> str:
    """Whether a way's text has the target's distribution, and what shows it."""
    if way in (ALONE, WITHOUT):
        return "yes: the target's own passes"
    if way == "tslt auto":
        return "yes: each of its kinds is tested"
    return "yes: tested" if way.startswith("tslt") else "yes: by its proof"


def is_ours(way: str) -> bool:
    """Whether a way is one of this project that drafts."""
    return way.startswith("tslt") and way != WITHOUT


def show(figures: dict[str, Any]) -> Sequence[Table | Plot]:
    """Tokens a second on a link in the middle; all figures."""
    link = _links(figures)[1]
    here = [row for row in figures["rows"] if (row["uplink_bit_s"], row["rtt_s"]) == link]

    def draw(axes: Any, look: Look) -> None:
        colours = [look.colours[0] if row["way"].startswith("tslt") else look.ink for row in here]
        fills = [
            "none" if row["way"] == WITHOUT or "no link" in row["way"] else c
            for row, c in zip(here, colours, strict=True)
        ]
        rates, errors = ([row[name] for row in here] for name in ("tokens_s", "error"))
        axes.barh(range(len(here)), rates, height=0.5, color=fills, edgecolor=colours)
        axes.errorbar(rates, range(len(here)), xerr=errors, linestyle="none", elinewidth=1.2, ecolor=look.colours[1])

    where = f"{rate_name(link[0])} up, {1e3 * link[1]:g} ms"
    plot = rows(
        [row["way"] for row in here],
        Axis(label="tokens a second"),
        draw,
        name="end-to-end",
        alt=f"tokens a second of every way at {where}, as bars",
        caption=f"At {where}. Blue: ours; thin lines: standard errors. Hollow: without a draft, or without a link "
        "(transformers runs both models in one process). Passes take their times from "
        "What a pass of each model takes. "
        "Both models at the edge have no round trip to wait for; a device saves the edge's time.",
    )
    columns = [
        Column("way"),
        Column("uplink, Mbit/s", "g"),
        Column("RTT, ms", "g"),
        Column("tokens/s", ".2f"),
        Column("\u00b1", ".2f", "standard error, of the rounds' luck; empty: it was not measured"),
        Column("first token, ms", ",.0f", "until the first token, the prompt's way and prefill included"),
        Column("bytes up a token", ",.1f"),
        Column("bytes down a token", ",.1f"),
        Column("draft passes a token", ".2f"),
        Column("target passes a token", ".2f"),
        Column("mJ a token", ",.1f", "by a proxy: operations and bits"),
        Column("lossless", hint="whether the text is the target's own, and what shows it"),
        Column("link", hint="what travels on it"),
    ]
    names = ("tokens_s", "error", "first_ms", "up", "down", "draft_passes", "target_passes")
    cells = [
        [
            row["way"],
            row["uplink_bit_s"] / 1e6,
            1e3 * row["rtt_s"],
            *(_told(row, name) for name in names),
            1e3 * row["joules"],
            lossless(row["way"]),
            travels(row["way"]),
        ]
        for row in figures["rows"]
    ]
    return [plot, Table(columns=columns, rows=cells, title="Every way on every link", folded=True)]


def _told(row: dict[str, Any], name: str) -> float | None:
    """A number of a row; an error of 0 is one that was not measured."""
    value: float = row[name]
    return None if name == "error" and not value else value


def meaning(figures: dict[str, Any]) -> str:
    """The best split and the edge alone."""
    link = _links(figures)[1]
    here = {row["way"]: row for row in figures["rows"] if (row["uplink_bit_s"], row["rtt_s"]) == link}
    best = max((row for name, row in here.items() if is_ours(name)), key=lambda row: float(row["tokens_s"]))
    alone, hosted = here[ALONE], here[BOTH]
    error = f" \u00b1 {best['error']:.1f}" if best["error"] else ""
    where = f"{rate_name(link[0])} and {1e3 * link[1]:g} ms"
    return (
        f"At {where} {best['way']} makes {best['tokens_s']:.1f}{error} tokens a second with "
        f"{best['target_passes']:.2f} target passes a token; the edge alone {alone['tokens_s']:.1f} with 1, both "
        f"models at the edge (chains of 4) {hosted['tokens_s']:.1f} with {hosted['target_passes']:.2f}."
    )


SECTION = Section(
    name="end-to-end",
    title="End to end",
    question="Which way to share the two models is fastest, and what does it cost?",
    needs=Needs.MODELS,
    seconds=Seconds(quick=5, full=20),
    run=run,
    show=show,
    meaning=meaning,
    uses=("pass-times",),
    version=3,
    rates=Rates.ROUNDS,
    command="end-to-end",
)
