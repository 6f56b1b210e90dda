"""Which evidence wins where, and how close the planner comes to it, on simulated links.

The model of ``tslt_wire.throughput`` with the default catalogue over a grid of uplink rates and round trips (downlink:
four times the uplink).  ``auto`` plays a session of so many tokens in each cell without knowing the link, with jitter
and outliers; its shortfall is the time it takes more than the best fixed choice, start and tries included.

    python -m tslt_benchmarks.planner.simulated_links --json planner.json --png planner.png
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from tslt_benchmarks.links.link_map import EVIDENCE, Square, draw
from tslt_benchmarks.planner.simulation import COMPUTE, World, best_fixed, play
from tslt_wire.throughput import Agreed, Link, Planner, default_modes, default_shapes, streamed_tokens_per_s
from tslt_wire.throughput.explain import rate_name
from tslt_wire.throughput.plan import shape_name

SCHEMA_VERSION = 1
UPLINKS = (1e4, 3e4, 1e5, 3e5, 1e6, 3e6, 1e7, 1e8, 1e9)
RTTS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2)
DOWNLINK = 4.0


@dataclass(frozen=True, slots=True)
class Cell:
    """One link."""

    uplink_bit_s: float
    rtt_s: float
    evidence: str
    """Of the best fixed choice."""
    k: int
    precision: str
    shape: str
    tokens_per_s: float
    """Of the best fixed choice."""
    by_evidence: dict[str, float]
    """Tokens a second of the best fixed choice of each kind."""
    streamed: float
    """Tokens a second if the edge decodes alone and streams."""
    shortfall: float
    """Mean over seeds of the time ``auto`` takes more, as a part."""
    worst: float
    """The worst seed's."""
    chosen: dict[str, int]
    """Rounds by evidence kind in the first seed's session."""


def measure(uplink: float, rtt: float, *, evidence: Sequence[str], tokens: int, seeds: int, temperature: float) -> Cell:
    """One cell of the grid."""
    world = World(Link(uplink_bit_s=uplink, downlink_bit_s=DOWNLINK * uplink, rtt_s=rtt))
    modes, shapes = default_modes(temperature=temperature), default_shapes()
    rates = {
        kind: tokens / best_fixed([world], tokens, [m for m in modes if m.evidence == kind], shapes)[0]
        for kind in evidence
    }
    seconds, mode, shape = best_fixed([world], tokens, [m for m in modes if m.evidence in evidence], shapes)
    played = [
        play(Planner(modes, Agreed(evidence=evidence)), [world], tokens, np.random.default_rng(seed))
        for seed in range(seeds)
    ]
    more = [each.seconds / seconds - 1 for each in played]
    return Cell(
        uplink_bit_s=uplink,
        rtt_s=rtt,
        evidence=mode.evidence,
        k=mode.k,
        precision=mode.precision,
        shape=shape_name(shape),
        tokens_per_s=tokens / seconds,
        by_evidence=rates,
        streamed=streamed_tokens_per_s(world.compute.verify_s, world.link),
        shortfall=float(np.mean(more)),
        worst=max(more),
        chosen=played[0].chosen,
    )


def table(cells: Sequence[Cell], rtts: Sequence[float]) -> Table:
    """One row a rate: winner, tokens a second, shortfall of ``auto``."""
    out = Table(title="best fixed choice, tokens/s, time auto takes more", title_justify="left")
    out.add_column("uplink")
    for rtt in rtts:
        out.add_column(f"RTT {1e3 * rtt:g} ms")
    for uplink in dict.fromkeys(cell.uplink_bit_s for cell in cells):
        row = [c for c in cells if c.uplink_bit_s == uplink]
        texts = [
            f"{c.evidence}{f' {c.k}' if c.k else ''}\n{c.shape}\n{c.tokens_per_s:.1f} {c.shortfall:+.1%}" for c in row
        ]
        out.add_row(rate_name(uplink), *texts)
    return out


def plot(cells: Sequence[Cell], path: Path, title: str) -> None:
    """Heat map: colour is the winner, text what it is, its tokens a second and the shortfall of ``auto``."""
    squares = [
        Square(
            uplink_bit_s=c.uplink_bit_s,
            rtt_s=c.rtt_s,
            evidence=c.evidence,
            choice=f"{c.evidence}{f' K={c.k}' if c.k else ''}\n{c.shape}",
            figures=f"{c.tokens_per_s:.1f}/s   auto {-c.shortfall:+.1%}",
        )
        for c in cells
    ]
    draw(squares, path, title)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, write JSON and PNG."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evidence", nargs="+", choices=EVIDENCE, default=list(EVIDENCE))
    parser.add_argument("--uplink", type=float, nargs="+", default=list(UPLINKS), help="bit/s")
    parser.add_argument("--rtt", type=float, nargs="+", default=list(RTTS), help="seconds")
    parser.add_argument("--tokens", type=int, default=1500, help="length of a session")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--temperature", type=float, default=1.0, help="of the target: decides the catalogue")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--png", type=Path)
    args = parser.parse_args(argv)
    console = Console(width=130)
    cells = [
        measure(u, r, evidence=args.evidence, tokens=args.tokens, seeds=args.seeds, temperature=args.temperature)
        for u in args.uplink
        for r in args.rtt
    ]
    console.print(table(cells, args.rtt))
    mean, worst = float(np.mean([c.shortfall for c in cells])), max(c.shortfall for c in cells)
    console.print(f"planner_sim: cells={len(cells)} shortfall_mean={mean:.4f} shortfall_worst={worst:.4f}")
    if args.json is not None:
        settings = {key: getattr(args, key) for key in ("evidence", "tokens", "seeds", "temperature")}
        document = {
            "benchmark": "planner_sim",
            "schema": SCHEMA_VERSION,
            "settings": {**settings, "downlink_over_uplink": DOWNLINK, "compute": asdict(COMPUTE)},
            "cells": [asdict(cell) for cell in cells],
        }
        args.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if args.png is not None:
        plot(cells, args.png, f"Best fixed choice, its tokens/s, and auto over {args.tokens} tokens (simulated link)")


if __name__ == "__main__":
    main()
