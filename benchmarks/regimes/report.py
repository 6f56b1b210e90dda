"""Tables and the heat map of the regimes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from benchmarks.regimes.replay import Cell
from tslt_wire.throughput.explain import rate_name

EVIDENCE = ("match", "coupled", "scalar", "lazy", "list", "full")
COLOURS = ("#b9c0c4", "#7fb7de", "#8fcf9f", "#d9c77a", "#e8a87c", "#c79bd1")


def short(name: str) -> str:
    """A choice's name for a small field: ``coupled, chain 8``."""
    return name.replace("chain of ", "chain ").replace("log2/", "").replace("no draft", "no draft")


def table(cells: Sequence[Cell]) -> Table:
    """One row an uplink rate: winner, its tokens a second, what ``auto`` misses."""
    rtts = list(dict.fromkeys(cell.rtt_s for cell in cells))
    out = Table(title="best fixed choice; its tokens/s, auto's against it", title_justify="left", show_lines=True)
    out.add_column("uplink")
    for rtt in rtts:
        out.add_column(f"RTT {1e3 * rtt:g} ms")
    for uplink in dict.fromkeys(cell.uplink_bit_s for cell in cells):
        row = [cell for cell in cells if cell.uplink_bit_s == uplink]
        out.add_row(rate_name(uplink), *(f"{short(c.best)}\n{c.rate:.1f}/s  {-c.shortfall:+.1%}" for c in row))
    return out


def kinds_table(cells: Sequence[Cell]) -> Table:
    """Each kind of evidence and the edge alone, on a few links of the diagonal and the corners."""
    uplinks = list(dict.fromkeys(cell.uplink_bit_s for cell in cells))
    rtts = list(dict.fromkeys(cell.rtt_s for cell in cells))
    picked = {(uplinks[i], rtts[j]) for i in (0, len(uplinks) // 2, -1) for j in (0, len(rtts) // 2, -1)}
    out = Table(title="tokens/s of each kind's best fixed choice, of auto, and of the edge alone", title_justify="left")
    kinds = [kind for kind in EVIDENCE if kind in cells[0].by_evidence]
    for name in ("uplink", "RTT", *kinds, "auto", "edge streams", "edge speculates", "edge ms/token"):
        out.add_column(name, justify="right")
    for cell in cells:
        if (cell.uplink_bit_s, cell.rtt_s) in picked:
            out.add_row(
                rate_name(cell.uplink_bit_s),
                f"{1e3 * cell.rtt_s:g} ms",
                *(f"{cell.by_evidence[kind][1]:.1f}" for kind in kinds),
                f"{cell.auto:.1f}",
                f"{cell.edge_streams:.1f}",
                f"{cell.edge_speculates:.1f}",
                " / ".join(f"{1e3 * seconds:.1f}" for seconds in cell.edge_s_per_token.values()),
            )
    return out


def plot(cells: Sequence[Cell], path: Path, title: str) -> None:
    """Heat map: colour is the winning kind, text the choice, its tokens a second, and ``auto`` against it."""
    import matplotlib as mpl
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure as Canvas
    from matplotlib.patches import Patch

    uplinks = list(dict.fromkeys(c.uplink_bit_s for c in cells))
    rtts = list(dict.fromkeys(c.rtt_s for c in cells))
    at = {(c.uplink_bit_s, c.rtt_s): c for c in cells}
    grid = [[EVIDENCE.index(at[u, r].evidence) for r in rtts] for u in uplinks]
    with mpl.rc_context({"font.size": 10}):
        canvas = Canvas(figsize=(1.95 * len(rtts) + 1.5, 0.95 * len(uplinks) + 2.2), dpi=120, layout="constrained")
        axes = canvas.subplots()
        axes.imshow(grid, cmap=ListedColormap(COLOURS), vmin=0, vmax=len(EVIDENCE) - 1, aspect="auto", origin="lower")
        for y, u in enumerate(uplinks):
            for x, r in enumerate(rtts):
                c = at[u, r]
                lines = (
                    (0.27, short(c.best).replace(", ", "\n", 1), "bold"),
                    (-0.12, f"{c.rate:.1f}/s   auto {-c.shortfall:+.1%}", "normal"),
                    (-0.34, f"edge {c.edge_streams:.0f} / {c.edge_speculates:.0f}", "normal"),
                )
                for offset, text, weight in lines:
                    axes.text(x, y + offset, text, ha="center", va="center", fontsize=8, fontweight=weight)
        axes.set_xticks(range(len(rtts)), [f"{1e3 * r:g} ms" for r in rtts])
        axes.set_yticks(range(len(uplinks)), [rate_name(u) for u in uplinks])
        axes.set_xlabel("round trip")
        axes.set_ylabel("uplink")
        axes.set_title(title, loc="left", fontsize=10)
        seen = [kind for kind in EVIDENCE if any(c.evidence == kind for c in cells)]
        handles = [Patch(color=COLOURS[EVIDENCE.index(kind)], label=kind) for kind in seen]
        canvas.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
        canvas.savefig(path)
