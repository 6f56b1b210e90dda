"""A heat map over links: uplink rates up, round trips to the right, in each cell who wins and by what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tslt_wire.throughput.explain import rate_name

EVIDENCE = ("match", "coupled", "scalar", "lazy", "list", "full")
"""Kinds of evidence as a planner names them."""
COLOURS = ("#9aa5ab", "#7fb7de", "#8fcf9f", "#d9c77a", "#e8a87c", "#c79bd1")


@dataclass(frozen=True, slots=True)
class MapEntry:
    """One link."""

    uplink_bit_s: float
    rtt_s: float
    evidence: str
    """Of ``EVIDENCE``: the colour."""
    choice: str
    """What wins, one line or two."""
    figures: str


def draw(squares: Sequence[MapEntry], path: Path, title: str) -> None:
    """Write the map of a full grid of links to ``path``; its ending says in what format."""
    import matplotlib as mpl
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure as Canvas
    from matplotlib.patches import Patch

    uplinks = list(dict.fromkeys(s.uplink_bit_s for s in squares))
    rtts = list(dict.fromkeys(s.rtt_s for s in squares))
    at = {(s.uplink_bit_s, s.rtt_s): s for s in squares}
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
        seen = [kind for kind in EVIDENCE if any(s.evidence == kind for s in squares)]
        handles = [Patch(color=COLOURS[EVIDENCE.index(kind)], label=kind) for kind in seen]
        canvas.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
        canvas.savefig(path)
