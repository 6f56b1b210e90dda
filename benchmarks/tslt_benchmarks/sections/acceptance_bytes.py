"""Section: what acceptance costs in bytes: every way to cut and write a list, and the best of them."""

from __future__ import annotations

from typing import Any

import tslt_wire as tw
from tslt_benchmarks.acceptance.list_settings import Point, describe
from tslt_benchmarks.acceptance.recommendations import whole
from tslt_benchmarks.acceptance.two_passes import Settings, measure_all
from tslt_benchmarks.bytes.format_base import prior_name
from tslt_benchmarks.report.blocks import Column, Plot, Table, acceptance, places
from tslt_benchmarks.report.context import Context, LeftOut
from tslt_benchmarks.report.plots import Axis, Line, Panel, lines
from tslt_benchmarks.report.section import Needs, Seconds, Section

LEAST_POSITIONS = 6
TICKS = (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


def run(context: Context) -> dict[str, Any]:
    """Both passes of the benchmark at the run's temperature."""
    total = len(context.drafts.positions.draft)
    if total < LEAST_POSITIONS:
        raise LeftOut(f"{LEAST_POSITIONS} positions are the least to measure on, got {total}")
    if context.temperature == 0:
        raise LeftOut("at temperature 0 a list of one token is all there is to send")
    own = tw.DEFAULTS.draft_temperature
    screened, positions = (12, 32) if context.quick else (32, 112)
    settings = Settings(
        temperatures=(context.temperature,),
        draft_temperatures=tuple(sorted({own, 1.0})) if context.quick else Settings().draft_temperatures,
        positions=positions,
        screened=screened,
        seed=context.seed,
    )
    (result,) = measure_all(context.drafts, settings, context.tell)
    full = whole(result.references)
    return {
        "temperature": context.temperature,
        "positions": len(result.measured[0].alphas),
        "fronts": {entropy: [_point(p) for p in result.front(entropy)] for entropy in ("range", "none")},
        "default": _point(result.default_point),
        "whole": {"bytes": full.bytes, "alpha": full.alpha},
        "references": [
            {"name": r.name, "label": r.label, "k": r.k, "bytes": r.bytes, "alpha": r.alpha} for r in result.references
        ],
    }


def _point(point: Point) -> dict[str, Any]:
    setting = point.setting
    return {
        "bytes": point.bytes,
        "alpha": point.alpha,
        "alpha_se": point.alpha_se,
        "entries": point.entries,
        "draft_temperature": setting.draft_temperature,
        "truncation": describe(setting.truncation),
        "precision": setting.precision.value,
        "entropy": setting.entropy,
        "prior": prior_name(setting.prior),
    }


def show(figures: dict[str, Any]) -> list[Table | Plot]:
    """Fronts beside the published formula and the paper's list."""
    fronts, default = figures["fronts"], figures["default"]
    curves = [
        Line(name=name, xs=[p["bytes"] for p in fronts[key]], ys=[p["alpha"] for p in fronts[key]])
        for key, name in (("range", "best, range-coded"), ("none", "best, bit-packed"))
    ]
    for key, name in (("published_bound", "K-SQS formula"), ("paper", "the paper's list")):
        mine = [r for r in figures["references"] if r["name"] == key]
        curves.append(Line(name=name, xs=[r["bytes"] for r in mine], ys=[r["alpha"] for r in mine], joined=False))
    curves.append(Line(name="default profile", xs=[default["bytes"]], ys=[default["alpha"]], joined=False, colour=-1))
    full = figures["whole"]
    ends = [min(min(line.xs) for line in curves), max(max(line.xs) for line in curves)]
    curves.append(
        Line(name="whole distribution", xs=ends, ys=[full["alpha"]] * 2, dashed=True, points=False, colour=-1)
    )
    plot = lines(
        Panel(
            lines=curves,
            x=Axis(label="bytes of a list", log=True, ticks=[t for t in TICKS if ends[0] <= t <= ends[1]]),
            y=Axis(label="acceptance, mean of 1 \u2212 TV", write=acceptance),
        ),
        name="acceptance-against-bytes",
        height=380,
        alt="acceptance against bytes of a list: the best settings, the published formula, the paper's list",
        caption=f"Up and to the left is better. The dashed line takes {full['bytes']:,.0f} bytes a token. "
        + places(figures["positions"]),
    )
    table = Table(
        columns=[
            Column("bytes", ",.1f", "of a list, mean"),
            Column("acceptance", acceptance),
            Column("\u00b1", acceptance, "standard error"),
            Column("tokens listed", ",.1f"),
            Column("draft's temperature", "g", "in times the target's"),
            Column("kept tokens", whole=True),
            Column("precision"),
            Column("coder"),
            Column("tails by"),
        ],
        rows=[
            [
                p["bytes"], p["alpha"], p["alpha_se"], p["entries"], p["draft_temperature"], p["truncation"],
                p["precision"], p["entropy"], p["prior"],
            ]
            for p in [*fronts["range"], *fronts["none"]]
        ],
        title="The best settings",
        folded=True,
        caption="None of these is beaten by another one of its coder in bytes and acceptance both; without a coder "
        "lists are bit-packed.",
    )  # fmt: skip
    return [plot, table]


def meaning(figures: dict[str, Any]) -> str:
    """The cheapest setting that is near the whole distribution, and the default."""
    full, default = figures["whole"], figures["default"]
    near = next((p for p in figures["fronts"]["range"] if p["alpha"] >= full["alpha"] - 0.02), None)
    least = f"{near['bytes']:.0f} bytes a token are within .02 of that" if near else "no short list comes so near"
    return (
        f"Whole distributions would accept {acceptance(full['alpha'])}; {least}, and the default profile accepts "
        f"{acceptance(default['alpha'])} for {default['bytes']:.0f} bytes."
    )


SECTION = Section(
    name="acceptance-against-bytes",
    title="What acceptance costs in bytes",
    question="How long a list is worth sending, and how should it be cut?",
    needs=Needs.LOGITS,
    seconds=Seconds(quick=4, full=30),
    run=run,
    show=show,
    meaning=meaning,
    command="acceptance-against-bytes",
    version=2,
)
