"""Tables and the heat map of the regimes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

import tslt_wire as tw
from tslt_benchmarks.links.link_map import EVIDENCE, Square, draw
from tslt_benchmarks.links.replay import Cell
from tslt_wire.throughput.explain import rate_name

PRECISIONS = tuple(precision.value for precision in tw.Precision)


def short(name: str) -> str:
    """A choice's name for a small field: ``list K=64, chain 8``."""
    how, shape = name.split(", ", 1)
    for precision in PRECISIONS:
        how = how.removesuffix(f" {precision}")
    return f"{how}, {shape.replace('chain of ', 'chain ')}"


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


def edge_line(cells: Sequence[Cell]) -> str:
    """What the edge alone makes on these links."""
    parts = []
    for name, rates in (
        ("streaming", [c.edge_streams for c in cells]),
        ("speculating with both models", [c.edge_speculates for c in cells]),
    ):
        low, high = min(rates), max(rates)
        parts.append(f"{name} {high:.0f}/s" if high < 1.02 * low else f"{name} {low:.0f} to {high:.0f}/s")
    split = [c.edge_s_per_token["split"] for c in cells]
    busy = cells[0].edge_s_per_token
    return (
        f"The edge alone: {', '.join(parts)}.  Busy a token: {1e3 * busy['streams']:.1f} and "
        f"{1e3 * busy['speculates']:.1f} ms; with a device {1e3 * min(split):.1f} to {1e3 * max(split):.1f} ms."
    )


def plot(cells: Sequence[Cell], path: Path, title: str) -> None:
    """Heat map: colour is the winning kind, text the choice, its tokens a second, and ``auto`` against it."""
    squares = [
        Square(
            uplink_bit_s=c.uplink_bit_s,
            rtt_s=c.rtt_s,
            evidence=c.evidence,
            choice=short(c.best).replace(", ", "\n", 1),
            figures=f"{c.rate:.1f}/s   auto {-c.shortfall:+.1%}",
        )
        for c in cells
    ]
    draw(squares, path, title)
