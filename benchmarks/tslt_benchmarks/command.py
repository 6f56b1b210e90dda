"""The benchmarks by name: tslt bench NAME."""

from __future__ import annotations

import argparse
import importlib
import sys

BENCHMARKS = {
    name.rpartition(".")[2].replace("_", "-"): f"tslt_benchmarks.{name}"
    for name in (
        "acceptance.acceptance_against_bytes",
        "acceptance.default_profile",
        "acceptance.evidence_acceptance",
        "acceptance.held_nodes",
        "acceptance.lossy_schemes",
        "acceptance.vocabularies",
        "bytes.bytes_per_token",
        "bytes.compression",
        "encodings.encodings",
        "bytes.fit_list_model",
        "bytes.published_bound",
        "endtoend.end_to_end",
        "fleet.fleet",
        "fleet.fleet_round",
        "links.best_evidence",
        "links.evidence_sessions",
        "links.padding",
        "links.draft_ahead",
        "links.in_flight",
        "links.shared_edge",
        "paper.paper_figures",
        "planner.expected",
        "links.conversation",
        "planner.simulated_links",
        "speed.capacity",
        "speed.codec_speed",
        "speed.edge_round",
        "speed.engines",
        "speed.round_at_edge",
        "speed.transports",
    )
}
"""The module of each benchmark."""


def main(argv: list[str] | None = None, *, prog: str = "tslt bench") -> int:
    """Run the benchmark that the first argument names; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="What was measured, measured again.",
        epilog=f"what a benchmark takes: {prog} NAME --help",
        allow_abbrev=False,
    )
    parser.add_argument("name", metavar="NAME", choices=BENCHMARKS, help=", ".join(BENCHMARKS))
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="what the benchmark takes")
    args = parser.parse_args(argv)
    sys.argv[0] = f"{prog} {args.name}"  # what its own parser calls itself
    importlib.import_module(BENCHMARKS[args.name]).main(args.arguments)
    return 0
