"""What drafting ahead saves: tokens a second with it over tokens a second without, on links of several round trips.

Real sessions over an emulated link in real time, in turns, with the same random numbers.  The models are made up: they
take as long as they are told to and have as much in common (``--alpha``), so that nothing depends on what else the
machine does.

    python -m tslt_benchmarks.links.draft_ahead --json draft_ahead.json
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from itertools import product
from typing import Any

from rich.console import Console
from rich.table import Table
from tslt_transports import Network, emulated_pair

import tslt_wire as tw
from tslt_benchmarks.links.sleeping_models import SleepingDraft, SleepingTarget, made_up_tables
from tslt_benchmarks.options import above_zero, command_parser, output_file, whole_number, write_json, zero_or_more
from tslt_benchmarks.two_ends import two_ends
from tslt_runtime.autopilot import settings_for
from tslt_runtime.device import Device
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.rounds import Tally
from tslt_runtime.timing import WANTED
from tslt_wire.throughput import default_modes

FINGERPRINT = bytes(32)
KINDS = ("match", "coupled", "list")
"""Of evidence."""


def settings_of(evidence: str, length: int, temperature: float) -> DraftSettings:
    """A chain with this evidence, as the planner would draft it at this temperature of the target."""
    mode = next(mode for mode in default_modes(temperature=temperature) if mode.evidence == evidence)
    return settings_for(mode, (1,) * length)


BEYOND = 256
"""Tokens that a text has left when its last round counts."""


async def write(
    tables: Any, network: Network, settings: DraftSettings, *, ahead: int, window: int = 1, text: int, args: Any
) -> tuple[Tally, Device]:
    """One text, in a session of its own; its rounds, and the device.  ``window``: drafts in flight."""
    target, draft = tables
    hello = tw.Hello(
        vocab_size=len(draft),
        tokenizer=FINGERPRINT,
        evidence=KINDS,
        entropy=("range",),
        priors=("none",),
        sampling=tw.Sampling(temperature=args.temperature),
        extra=WANTED,
    )
    big, small = SleepingTarget(target, args.target_ms / 1e3), SleepingDraft(draft, args.draft_ms / 1e3)
    links = emulated_pair(network)
    tally, started = Tally(), 0.0
    async with two_ends(
        big, FINGERPRINT, small, hello, links=links, seed=args.seed, number=text, ahead=ahead, window=window
    ) as device:
        await device.prompt([text])
        # What comes after the last round that counts is there, so that drafts are as long and as many to the end.
        async for round_ in device.generate(args.tokens + BEYOND, settings):
            if started:  # the first round waits for the prompt
                tally.rounds.append(round_)
            else:
                started = time.perf_counter()
            if tally.tokens >= args.tokens:
                break
        tally.wall_s = time.perf_counter() - started
    return tally, device


def measure(alpha: float, rtt_s: float, evidence: str, length: int, args: Any) -> dict[str, Any]:
    """Texts with and without, in turns."""
    tables = made_up_tables(alpha, args.temperature, args.seed)
    network = Network(uplink_bit_s=args.rate, downlink_bit_s=args.rate, rtt_s=rtt_s)
    settings = settings_of(evidence, length, args.temperature)
    tokens, seconds = {0: 0, args.ahead: 0}, {0: 0.0, args.ahead: 0.0}
    guessed = right = nodes = 0
    ready, rounds = 0.0, 0
    for text in range(args.texts):
        for ahead in (0, args.ahead) if text % 2 else (args.ahead, 0):
            tally, device = asyncio.run(write(tables, network, settings, ahead=ahead, text=text, args=args))
            tokens[ahead] += tally.tokens
            seconds[ahead] += tally.wall_s
            if ahead:
                guessed, right, nodes = (
                    guessed + device.ahead.rounds,
                    right + device.ahead.right,
                    nodes + device.ahead.nodes,
                )
                ready += sum(round_.ahead / max(1, round_.drafted) for round_ in tally.rounds)
                rounds += len(tally.rounds)
    rate = {ahead: tokens[ahead] / seconds[ahead] for ahead in tokens}
    return {
        "alpha": alpha,
        "rtt_ms": round(rtt_s * 1e3, 3),
        "evidence": evidence,
        "length": length,
        "tokens_a_second_without": round(rate[0], 2),
        "tokens_a_second_with": round(rate[args.ahead], 2),
        "ratio": round(rate[args.ahead] / rate[0], 3),
        "right": round(right / max(1, guessed), 3),
        "ready": round(ready / max(1, rounds), 3),
        "nodes_ahead_a_token": round(nodes / max(1, tokens[args.ahead]), 2),
    }


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(__doc__)
    parser.add_argument("--alpha", nargs="+", type=above_zero, default=[0.75, 0.9], help="of the models (.75 .9)")
    parser.add_argument("--draft-ms", type=zero_or_more, default=8.0, help="a pass of the draft model (%(default)s)")
    parser.add_argument("--target-ms", type=zero_or_more, default=40.0, help="of the target model (%(default)s)")
    parser.add_argument("--rtt", nargs="+", type=zero_or_more, default=[0.05, 0.1, 0.2], metavar="S")
    parser.add_argument("--rate", type=above_zero, default=1e6, help="bits a second, each way (%(default)g)")
    parser.add_argument("--evidence", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--lengths", nargs="+", type=whole_number(1), default=[4, 8], metavar="L", help="of chains")
    parser.add_argument("--ahead", type=whole_number(1), default=16, help="nodes a round at most (%(default)s)")
    parser.add_argument("--texts", type=whole_number(1), default=4, help="of each way (%(default)s)")
    parser.add_argument("--tokens", type=whole_number(1), default=64, help="of a text (%(default)s)")
    parser.add_argument("--temperature", type=zero_or_more, default=0.7)
    parser.add_argument("--seed", type=whole_number(0), default=0)
    parser.add_argument("--json", type=output_file, help="write all figures")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Write texts with and without, print."""
    args = arguments(argv)
    heads = (
        "alpha",
        "round trip, ms",
        "evidence",
        "chain",
        "tokens/s",
        "ahead",
        "ratio",
        "right",
        "ready",
        "nodes/token",
    )
    table, rows = Table(*heads), []
    for alpha, rtt_s, evidence, length in product(args.alpha, args.rtt, args.evidence, args.lengths):
        rows.append(measure(alpha, rtt_s, evidence, length, args))
        table.add_row(*(str(value) for value in rows[-1].values()))
    Console().print(table)
    if args.json:
        settings = {
            name: getattr(args, name)
            for name in ("draft_ms", "target_ms", "rate", "ahead", "texts", "tokens", "temperature", "seed")
        }
        write_json({"settings": settings, "figures": rows}, args.json)
    ratios = sorted(row["ratio"] for row in rows)
    print(f"draft_ahead: ratios {ratios[0]:.2f} to {ratios[-1]:.2f}, median {ratios[len(ratios) // 2]:.2f}")


if __name__ == "__main__":
    main()
