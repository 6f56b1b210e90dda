"""What is said of the links: entries of the table and heat map, the kinds of evidence side by side, the edge alone."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

import tslt_wire as tw
from tslt_benchmarks.link_grid import EVIDENCE, MapEntry, map_entry
from tslt_benchmarks.links.replay import LinkResult
from tslt_wire.throughput.explain import rate_name

PRECISIONS = tuple(precision.value for precision in tw.Precision)


def short(name: str) -> str:
    """A choice's name for a small field: ``list K=64, chain 8``."""
    how, shape = name.split(", ", 1)
    for precision in PRECISIONS:
        how = how.removesuffix(f" {precision}")
    return f"{how}, {shape.replace('chain of ', 'chain ')}"


def kinds_table(results: Sequence[LinkResult]) -> Table:
    """Each kind of evidence and the edge alone, on a few links of the diagonal and the corners."""
    uplinks = list(dict.fromkeys(result.uplink_bit_s for result in results))
    rtts = list(dict.fromkeys(result.rtt_s for result in results))
    picked = {(uplinks[i], rtts[j]) for i in (0, len(uplinks) // 2, -1) for j in (0, len(rtts) // 2, -1)}
    out = Table(title="tokens/s of each kind's best fixed choice, of auto, and of the edge alone", title_justify="left")
    kinds = [kind for kind in EVIDENCE if kind in results[0].by_evidence]
    for name in ("uplink", "RTT", *kinds, "auto", "edge streams", "edge speculates", "edge ms/token"):
        out.add_column(name, justify="right")
    for result in results:
        if (result.uplink_bit_s, result.rtt_s) in picked:
            out.add_row(
                rate_name(result.uplink_bit_s),
                f"{1e3 * result.rtt_s:g} ms",
                *(f"{result.by_evidence[kind][1]:.1f}" for kind in kinds),
                f"{result.auto:.1f}",
                f"{result.edge_streams:.1f}",
                f"{result.edge_speculates:.1f}",
                " / ".join(f"{1e3 * seconds:.1f}" for seconds in result.edge_s_per_token.values()),
            )
    return out


def edge_line(results: Sequence[LinkResult]) -> str:
    """What the edge alone makes on these links."""
    parts = []
    for name, rates in (
        ("streaming", [c.edge_streams for c in results]),
        ("speculating with both models", [c.edge_speculates for c in results]),
    ):
        low, high = min(rates), max(rates)
        parts.append(f"{name} {high:.0f}/s" if high < 1.02 * low else f"{name} {low:.0f} to {high:.0f}/s")
    split = [c.edge_s_per_token["split"] for c in results]
    busy = results[0].edge_s_per_token
    return (
        f"The edge alone: {', '.join(parts)}.  Busy a token: {1e3 * busy['streams']:.1f} and "
        f"{1e3 * busy['speculates']:.1f} ms; with a device {1e3 * min(split):.1f} to {1e3 * max(split):.1f} ms."
    )


def map_entries(results: Sequence[LinkResult]) -> list[MapEntry]:
    """For each link the winning choice, its tokens a second, and ``auto`` against it."""
    return [map_entry(c, short(c.best).replace(", ", "\n", 1), c.rate) for c in results]
