"""Results over a grid of links, for tables and heat maps: uplink rates up, round trips to the right.

For each link: which kind of evidence wins, with what, and by how much.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rich.table import Table

from tslt_benchmarks.options import above_zero, zero_or_more
from tslt_wire.throughput.explain import rate_name

EVIDENCE = ("match", "coupled", "scalar", "lazy", "list", "full")
"""Kinds of evidence as a planner names them."""
COLOURS = ("#9aa5ab", "#7fb7de", "#8fcf9f", "#d9c77a", "#e8a87c", "#c79bd1")
"""One for each of ``EVIDENCE``."""
UPLINKS = (1e4, 3e4, 1e5, 3e5, 1e6, 3e6, 1e7, 1e8, 1e9)
"""Bit/s, from a poor radio link to a wire."""
RTTS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2)
"""Seconds, from the same building to another continent."""
DOWNLINK_OVER_UPLINK = 4.0
"""Access links send several times as much down as up."""


@dataclass(frozen=True, slots=True)
class MapEntry:
    """What is said of one link."""

    uplink_bit_s: float
    rtt_s: float
    evidence: str
    """Of ``EVIDENCE``: the colour."""
    choice: str
    """What wins, one line or two."""
    figures: str
    """The winner's tokens a second, and what ``auto`` makes of that."""


class LinkFigures(Protocol):
    """What every benchmark finds out about a link."""

    @property
    def uplink_bit_s(self) -> float:
        """Its rate up."""

    @property
    def rtt_s(self) -> float:
        """Its round trip."""

    @property
    def evidence(self) -> str:
        """Kind of the best fixed choice."""

    @property
    def shortfall(self) -> float:
        """Part by which ``auto`` misses that choice."""


def map_entry(found: LinkFigures, choice: str, tokens_per_s: float) -> MapEntry:
    """The entry of a link: ``choice`` wins with ``tokens_per_s``, and ``auto`` beside it."""
    figures = f"{tokens_per_s:.1f}/s   auto {-found.shortfall:+.1%}"
    return MapEntry(found.uplink_bit_s, found.rtt_s, found.evidence, choice, figures)


def add_grid_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--evidence``, ``--uplink`` and ``--rtt``."""
    parser.add_argument("--evidence", nargs="+", choices=EVIDENCE, default=list(EVIDENCE), help="that both ends have")
    parser.add_argument("--uplink", type=above_zero, nargs="+", default=list(UPLINKS), help="bit/s")
    parser.add_argument("--rtt", type=zero_or_more, nargs="+", default=list(RTTS), help="seconds")


def grid_table(entries: Sequence[MapEntry], title: str) -> Table:
    """One row an uplink rate, one column a round trip: what wins there, and its figures."""
    out = Table(title=title, title_justify="left", show_lines=True)
    out.add_column("uplink")
    for rtt in dict.fromkeys(entry.rtt_s for entry in entries):
        out.add_column(f"RTT {1e3 * rtt:g} ms")
    for uplink in dict.fromkeys(entry.uplink_bit_s for entry in entries):
        row = [entry for entry in entries if entry.uplink_bit_s == uplink]
        out.add_row(rate_name(uplink), *(f"{entry.choice}\n{entry.figures}" for entry in row))
    return out


def shortfalls(found: Sequence[float]) -> tuple[float, float]:
    """Mean and worst of what ``auto`` misses on all links."""
    return sum(found) / len(found), max(found)


def draw(entries: Sequence[MapEntry], path: Path, title: str) -> None:
    """Write the map of a full grid of links to ``path``; its ending says in what format."""
    import matplotlib as mpl
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure as Canvas
    from matplotlib.patches import Patch

    uplinks = list(dict.fromkeys(s.uplink_bit_s for s in entries))
    rtts = list(dict.fromkeys(s.rtt_s for s in entries))
    at = {(s.uplink_bit_s, s.rtt_s): s for s in entries}
    grid = [[EVIDENCE.index(at[u, r].evidence) for r in rtts] for u in uplinks]
    with mpl.rc_context({"font.size": 10}):
        canvas = Canvas(figsize=(1.7 * len(rtts) + 1.5, 0.72 * len(uplinks) + 2.3), dpi=120, layout="constrained")
        axes = canvas.subplots()
        axes.imshow(grid, cmap=ListedColormap(COLOURS), vmin=0, vmax=len(EVIDENCE) - 1, aspect="auto", origin="lower")
        for y, u in enumerate(uplinks):
            for x, r in enumerate(rtts):
                s = at[u, r]
                axes.text(x, y + 0.16, s.choice, ha="center", va="center", fontsize=8.5, fontweight="bold")
                axes.text(x, y - 0.28, s.figures, ha="center", va="center", fontsize=8.5)
        axes.set_xticks(range(len(rtts)), [f"{1e3 * r:g} ms" for r in rtts])
        axes.set_yticks(range(len(uplinks)), [rate_name(u) for u in uplinks])
        axes.set_xlabel("round trip")
        axes.set_ylabel("uplink")
        axes.set_title(title, loc="left", fontsize=10)
        seen = [kind for kind in EVIDENCE if any(s.evidence == kind for s in entries)]
        handles = [Patch(color=COLOURS[EVIDENCE.index(kind)], label=kind) for kind in seen]
        canvas.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
        canvas.savefig(path)
