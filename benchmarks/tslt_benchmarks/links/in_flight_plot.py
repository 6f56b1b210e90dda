"""Plot of ``in_flight``: tokens a second against the edge's time a token, both over the best chain that waits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

SERIES = (
    ("in_flight", "in flight", "C0", "-"),
    ("in_flight_ahead", "in flight, and ahead", "C1", "-"),
    ("alone_ahead", "one at a time, and ahead", "C2", "-"),
)
MOST_EDGE = 2.6


def frontier(rows: Sequence[dict[str, Any]]) -> list[tuple[float, float]]:
    """(edge, gain) of those that no other one beats in both, cheapest first."""
    found: list[tuple[float, float]] = []
    for edge, gain in sorted((row["edge"], -row["gain"]) for row in rows):
        if not found or -gain > found[-1][1]:
            found.append((edge, -gain))
    return found


def draw(cells: Sequence[dict[str, Any]], most_edge: float, path: Path) -> None:
    """A panel a link: frontiers, the bound, what was measured."""
    from matplotlib.figure import Figure

    alphas = list(dict.fromkeys(cell["alpha"] for cell in cells))
    columns = max(sum(cell["alpha"] == alpha for cell in cells) for alpha in alphas)
    figure = Figure(figsize=(4.2 * columns, 3.6 * len(alphas) + 0.5), layout="constrained")
    every = figure.subplots(len(alphas), columns, squeeze=False)
    for row, alpha in zip(every, alphas, strict=True):
        for axes, cell in zip(row, (cell for cell in cells if cell["alpha"] == alpha), strict=False):
            for name, label, colour, style in SERIES:
                points = [(x, y) for x, y in frontier(cell[name]) if x <= MOST_EDGE]
                axes.plot(*zip(*points, strict=True), color=colour, linestyle=style, marker=".", label=label)
            axes.axhline(cell["bound"], color="0.3", linestyle="--", label="chains' bound: 1/(1-alpha) tokens a trip")
            for name, label, mark in (("best_tree", "one at a time", "D"), ("tree_in_flight", "in flight", "s")):
                tree = cell[name]
                axes.plot(tree["edge"], tree["gain"], f"C4{mark}", markersize=7, label=f"fastest tree, {label}")
            axes.axvline(most_edge, color="0.7", linewidth=0.8)
            for live in cell["live"]:
                mark, what = ("kx", "trees") if live["tree"] else ("k+", "chains")
                axes.plot(live["edge"], live["gain"], mark, markersize=9, label=f"real sessions with {what}")
            axes.set_title(f"alpha {alpha:.2f}, {1e3 * cell['rtt_s']:g} ms", loc="left", fontsize=10)
            axes.set_xlabel("edge's time a token")
            axes.set_ylabel("tokens a second")
            axes.grid(linewidth=0.4)
    found = dict(zip(*reversed(every[0][0].get_legend_handles_labels()), strict=True))
    figure.legend(found.values(), found.keys(), loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    figure.suptitle("Times the best chain that waits for its verdict", fontsize=11)
    figure.savefig(path, dpi=110)
