"""Which evidence wins where, and how close the planner comes to it, on simulated links.

The model of ``tslt_wire.throughput`` with the default catalogue over a grid of uplink rates and round trips (downlink:
four times the uplink).  ``auto`` makes so many tokens on each link without knowing it, with jitter
and outliers; its shortfall is the time it takes more than the best fixed choice, start and tries included.

    python -m tslt_benchmarks.planner.simulated_links --json planner.json --png planner.png
    python -m tslt_benchmarks.planner.simulated_links --window 4 --ahead 16 --uplink 1e6    # what drafts in flight gain
    python -m tslt_benchmarks.planner.simulated_links --draft-ms 2 --target-ms 6 --node-ms 1.4   # nodes are dear
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from rich.console import Console

from tslt_benchmarks.link_grid import (
    DOWNLINK_OVER_UPLINK,
    MapEntry,
    add_grid_options,
    draw,
    grid_table,
    map_entry,
    shortfalls,
)
from tslt_benchmarks.options import above_zero, command_parser, output_file, whole_number, write_json, zero_or_more
from tslt_benchmarks.planner.simulation import COMPUTE, Conditions, best_fixed, simulate_session
from tslt_wire.throughput import Agreed, Link, Planner, default_modes, default_shapes, streamed_tokens_per_s
from tslt_wire.throughput.explain import rate_name
from tslt_wire.throughput.plan import shape_name

SCHEMA_VERSION = 2
_SETTINGS = ("evidence", "tokens", "seeds", "temperature", "untold", "cold", "window", "ahead")
_WIDTH = 130
"""Columns that the table needs."""


@dataclass(frozen=True, slots=True)
class LinkResult:
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
    in_flight: str
    """The best choice with drafts in flight, and with drafting ahead; empty where neither was asked for."""
    in_flight_tokens_per_s: float
    in_flight_edge: float
    """The edge's time a token over that of the best fixed choice; 1 where nothing was asked for."""


def measure(
    conditions: Conditions,
    evidence: Sequence[str],
    *,
    tokens: int,
    seeds: int,
    temperature: float,
    window: int = 1,
    ahead: int = 0,
) -> LinkResult:
    """One link, for sessions of ``tokens`` tokens that agreed on these kinds of evidence.

    ``window``, ``ahead``: most drafts in flight, and nodes drafted ahead, of the choice that is shown beside others.
    """
    modes, shapes = default_modes(temperature=temperature), default_shapes()
    rates = {
        kind: tokens / best_fixed([conditions], tokens, [m for m in modes if m.evidence == kind], shapes)[0]
        for kind in evidence
    }
    seconds, mode, shape = best_fixed([conditions], tokens, [m for m in modes if m.evidence in evidence], shapes)
    sessions = [
        simulate_session(Planner(modes, Agreed(evidence=evidence)), [conditions], tokens, np.random.default_rng(seed))
        for seed in range(seeds)
    ]
    more = [each.seconds / seconds - 1 for each in sessions]
    agreed = Agreed(evidence=evidence, window=window, ahead=ahead)
    every = Planner(modes, agreed, link=conditions.link, compute=conditions.compute, budget=0).ranking()[0]
    wanted = window > 1 or ahead > 0
    busy_s = conditions.expected(mode, shape).edge_s / conditions.expected(mode, shape).tokens
    return LinkResult(
        uplink_bit_s=conditions.link.uplink_bit_s,
        rtt_s=conditions.link.rtt_s,
        evidence=mode.evidence,
        k=mode.k,
        precision=mode.precision,
        shape=shape_name(shape),
        tokens_per_s=tokens / seconds,
        by_evidence=rates,
        streamed=streamed_tokens_per_s(conditions.compute.verify_s, conditions.link),
        shortfall=float(np.mean(more)),
        worst=max(more),
        chosen=sessions[0].chosen,
        in_flight=every.name if wanted else "",
        in_flight_tokens_per_s=every.expected.tokens_per_s if wanted else tokens / seconds,
        in_flight_edge=every.expected.edge_s / every.expected.tokens / busy_s if wanted else 1.0,
    )


def map_entries(results: Sequence[LinkResult]) -> list[MapEntry]:
    """For each link the winner, its tokens a second and how much of them ``auto`` misses."""
    return [map_entry(c, f"{c.evidence}{f' K={c.k}' if c.k else ''}\n{c.shape}", c.tokens_per_s) for c in results]


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(__doc__)
    add_grid_options(parser)
    parser.add_argument("--tokens", type=whole_number(1), default=1500, help="length of a session (%(default)s)")
    parser.add_argument("--seeds", type=whole_number(1), default=3, help="sessions on each link (%(default)s)")
    parser.add_argument("--temperature", type=zero_or_more, default=1.0, help="of the target: decides the catalogue")
    times = parser.add_argument_group("model times")
    for name, seconds, kind, what in (
        ("--draft-ms", COMPUTE.draft_s, above_zero, "a level of the draft"),
        ("--target-ms", COMPUTE.verify_s, above_zero, "a pass of the target"),
        ("--node-ms", COMPUTE.verify_node_s, zero_or_more, "what a pass takes longer for each drafted token"),
    ):
        times.add_argument(name, type=kind, default=1e3 * seconds, help=f"{what} (%(default)g)")
    times.add_argument("--cold", type=above_zero, default=1.0, help="times as long in the first round (%(default)g)")
    times.add_argument("--untold", action="store_true", help="the edge does not say how long it takes")
    parser.add_argument("--window", type=whole_number(1), default=1, help="show the best with so many drafts in flight")
    parser.add_argument("--ahead", type=whole_number(0), default=0, help="and with so many nodes drafted ahead")
    parser.add_argument("--json", type=output_file, help="write all links and settings")
    parser.add_argument("--png", type=output_file, help="draw a heat map")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, write JSON and PNG."""
    args = arguments(argv)
    console = Console(width=_WIDTH)
    compute = replace(
        COMPUTE, draft_s=args.draft_ms / 1e3, verify_s=args.target_ms / 1e3, verify_node_s=args.node_ms / 1e3
    )
    results = [
        measure(
            Conditions(
                Link(uplink_bit_s=uplink, downlink_bit_s=DOWNLINK_OVER_UPLINK * uplink, rtt_s=rtt),
                compute,
                tells_time=not args.untold,
                cold=args.cold,
            ),
            args.evidence,
            tokens=args.tokens,
            seeds=args.seeds,
            temperature=args.temperature,
            window=args.window,
            ahead=args.ahead,
        )
        for uplink in args.uplink
        for rtt in args.rtt
    ]
    entries = map_entries(results)
    console.print(grid_table(entries, "best fixed choice, its tokens/s, and auto against it"))
    if args.window > 1 or args.ahead:
        for result in results:
            gain = result.in_flight_tokens_per_s / result.tokens_per_s
            console.print(
                f"{rate_name(result.uplink_bit_s)}, {1e3 * result.rtt_s:g} ms: {result.in_flight}: "
                f"{result.in_flight_tokens_per_s:.1f} tokens/s, {gain:.2f} times the best that waits, "
                f"{result.in_flight_edge:.2f} times the edge's time"
            )
    mean, worst = shortfalls([result.shortfall for result in results])
    console.print(f"simulated_links: links={len(results)} shortfall_mean={mean:.4f} shortfall_worst={worst:.4f}")
    if args.json is not None:
        settings = {key: getattr(args, key) for key in _SETTINGS}
        document = {
            "benchmark": "simulated_links",
            "schema": SCHEMA_VERSION,
            "settings": {**settings, "downlink_over_uplink": DOWNLINK_OVER_UPLINK, "compute": asdict(compute)},
            "links": [asdict(result) for result in results],
        }
        write_json(document, args.json)
    if args.png is not None:
        title = f"Best fixed choice, its tokens/s, and auto over {args.tokens} tokens (simulated link)"
        draw(entries, args.png, title)


if __name__ == "__main__":
    main()
