"""The picture of acceptance against bytes: all settings, their Pareto fronts, references with their names beside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure as Canvas

from tslt_benchmarks.acceptance.recommendations import ANY, BUDGET, WITHIN, Reference, best_whole, whole
from tslt_benchmarks.acceptance.two_passes import Result

_BLUE, _ORANGE, _GREY, _GOLD, _CLOUD = "#0b6fb8", "#c8641a", "#606060", "#8a6d10", "#87929a"
_TEAL, _GREEN = "#49c5b6", "#2e7d32"
_FREE = 0.46
"""The lower part of a panel, right of the fronts' steep start: there is the text."""
_ROWS = {"published_bound": 0.4, "paper": 0.34}
"""Where the K of a reference's points are written, as fractions of the axes' height."""
_TEXT_TOP, _TEXT_STEP = 0.29, 0.042
_TICKS = tuple(1 << i for i in range(17))
_RULES = {"within": ("B", f"cheapest within {WITHIN:g} of the best"), "budget": ("A", f"best in {BUDGET:g} B")}


def plot_acceptance(results: Sequence[Result], path: Path) -> None:
    """One panel a target temperature: bytes (logarithmic) against acceptance; a PNG 1650 pixels wide."""
    with mpl.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        canvas = Canvas(figsize=(11, 7 * len(results)), dpi=150, layout="constrained")
        for axes, result in zip(canvas.subplots(len(results), 1, squeeze=False)[:, 0], results, strict=True):
            _panel(axes, result)
        canvas.savefig(path)


def _panel(axes: Any, result: Result) -> None:
    cloud = [p for p in result.measured if p.setting.entropy == "range"]
    listed = [r for r in result.references if r.k is not None]
    last = max(*(r.bytes for r in listed), *(p.bytes for p in result.measured))
    first = min(p.bytes for p in result.measured)
    least = min(r.alpha for r in listed)
    high = max(*(r.alpha for r in result.references), *(p.alpha for p in result.measured))
    high += 0.04
    low = min(result.front()[0].alpha - 0.03, (least - _FREE * high) / (1 - _FREE))
    axes.set_xscale("log")
    axes.set_xlim(first * 0.93, last * 4.2)
    axes.set_ylim(low, high)
    axes.scatter([p.bytes for p in cloud], [p.alpha for p in cloud], s=6, color="#b9c2c8", linewidths=0, zorder=1)
    for entropy, priors, colour, width in (
        ("none", True, _ORANGE, 1.4),
        ("range", True, _BLUE, 2.6),
        ("range", False, _TEAL, 1.2),  # on top: where tails do not help it is the same front
    ):
        front = result.front(entropy, priors=priors)
        xs, ys = [p.bytes for p in front], [p.alpha for p in front]
        axes.plot(xs, ys, color=colour, linewidth=width, marker="o", markersize=width + 0.8, zorder=3)
    axes.axvline(BUDGET, color=_BLUE, linewidth=0.6, alpha=0.5, zorder=1)
    _wholes(axes, result.references)
    _series(axes, [r for r in listed if r.name == "published_bound"], "K-SQS formula", "black", "x")
    _series(axes, [r for r in listed if r.name == "paper"], "the paper's list", _GREY, "s")
    _texts(axes, result)
    axes.grid(alpha=0.2, which="major")
    axes.set_xlabel("mean bytes of a list")
    axes.set_ylabel("acceptance, mean of 1 \u2212 TV")
    count = len(result.measured[0].alphas)
    axes.set_title(f"Target temperature {result.temperature:g}, {count} positions", loc="left", fontweight="bold")
    ticks = [x for x in _TICKS if first < x < last * 1.5]
    axes.set_xticks(ticks, [str(x) for x in ticks])
    axes.set_xticks([], minor=True)
    step = next(step for step in (1, 2, 5, 10) if step * 8 >= (high - low) * 100 or step == 10)
    axes.set_yticks([y / 100 for y in range(0, 101, step) if low <= y / 100 <= high])


def _wholes(axes: Any, references: Sequence[Reference]) -> None:
    """Horizontal lines, named in the margin: the whole distribution, and where another draft temperature is better."""
    full, best = whole(references), best_whole(references)
    lines = [(full, "--", "center" if best is full else "top")] + ([(best, ":", "bottom")] if best is not full else [])
    for reference, style, side in lines:
        axes.axhline(reference.alpha, color=_GOLD, linestyle=style, linewidth=1.2, zorder=2)
        name = reference.label.replace(", ", ",\n")
        text = f"{name}\n{reference.alpha:.3f} ({reference.bytes:,.0f} B)"
        at = (1.01, reference.alpha)
        axes.annotate(text, at, xycoords=axes.get_yaxis_transform(), color=_GOLD, va=side, fontsize=9)


def _series(axes: Any, rows: Sequence[Reference], name: str, colour: str, marker: str) -> None:
    """A reference at several K; leaders go down to a row with each point's K, and the name at its end."""
    rows = sorted(rows, key=lambda r: r.bytes)
    level = axes.get_ylim()[0] + _ROWS[rows[0].name] * (axes.get_ylim()[1] - axes.get_ylim()[0])
    axes.plot([r.bytes for r in rows], [r.alpha for r in rows], color=colour, linewidth=0.7, alpha=0.6, zorder=2)
    axes.scatter([r.bytes for r in rows], [r.alpha for r in rows], s=26, color=colour, marker=marker, zorder=4)
    for i, r in enumerate(rows):
        axes.plot([r.bytes, r.bytes], [level, r.alpha], color=colour, linewidth=0.5, linestyle=(0, (1, 3)), zorder=2)
        text = f"K = {r.k}, {name}" if i == len(rows) - 1 else f"{r.k}"
        axes.annotate(text, (r.bytes, level), (3, 0), textcoords="offset points", color=colour, fontsize=9, va="center")


def _texts(axes: Any, result: Result) -> None:
    """Rings with letters around the recommended points; what they, the lines and the cloud are, below."""
    rows = []
    chosen = sorted((*_RULES[c.rule], c.point, _BLUE) for c in result.recommended if c.among == ANY)
    for letter, rule, point, colour in [*chosen, ("D", "default profile", result.default_point, _GREEN)]:
        at = (point.bytes, point.alpha)
        axes.scatter([at[0]], [at[1]], s=190, facecolors="white", edgecolors=colour, linewidths=1.8, zorder=5)
        axes.text(*at, letter, color=colour, ha="center", va="center_baseline", fontweight="bold", fontsize=9, zorder=6)
        rows.append((f"{letter}  {rule}: {point.bytes:.1f} B, {point.alpha:.3f} ({point.setting.text})", colour))
    rows += [
        ('Pareto front, entropy="range"', _BLUE),
        ('Pareto front, entropy="range", no prior: no tails', _TEAL),
        ('Pareto front, entropy="none"', _ORANGE),
        ('other settings that are not clearly beaten, entropy="range"', _CLOUD),
    ]
    for i, (text, colour) in enumerate(rows):
        at = (0.985, _TEXT_TOP - _TEXT_STEP * i)
        axes.text(*at, text, color=colour, ha="right", fontsize=9, transform=axes.transAxes)
