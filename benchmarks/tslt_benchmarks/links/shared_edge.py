"""Many devices at one edge that is busy all the time: what drafts in flight, and an edge that says so, make of it.

Real sessions with ``--evidence auto`` on one edge, each over an emulated link of its own in real time; the models take
as long as they are told to.  Ways take turns: one draft at a time; with drafting ahead; with drafts in flight as edges
allow them (sessions that begin among others have one at a time); the same without what the edge says of others; and
with drafts in flight for all of them.

All devices are in one process, and devices have processors of their own: so all times are ``--slow`` times as long as
they are asked for, and rates are given for those that were.  Who meets whom in a pass is luck: means of ``--runs``.

    python -m tslt_benchmarks.links.shared_edge --json shared_edge.json
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console
from rich.table import Table
from tslt_transports import Network, emulated_pair

import tslt_wire as tw
from tslt_benchmarks.links.draft_ahead import FINGERPRINT
from tslt_benchmarks.links.sleeping_models import SleepingDraft, SleepingTarget, made_up_tables
from tslt_benchmarks.options import above_zero, command_parser, output_file, whole_number, write_json, zero_or_more
from tslt_runtime.autopilot import Autopilot, planner_for
from tslt_runtime.device import Device
from tslt_runtime.edge import edge_settings, serve_link
from tslt_runtime.edge_driver import EdgeDriver
from tslt_runtime.limits import DEFAULT_LIMITS
from tslt_runtime.rounds import Tally
from tslt_runtime.seeds import device_rng
from tslt_runtime.sessions import Sessions
from tslt_runtime.timing import WANTED
from tslt_runtime.verifiers.local import LocalVerifier
from tslt_wire.session.negotiation import OUR_EVIDENCE
from tslt_wire.throughput import Observation, Planner

MOST_TOKENS = 1 << 18
"""Of a text: nobody gets so far."""
SCHEMA_VERSION = 2


@dataclass(frozen=True, slots=True)
class Way:
    """What devices may do."""

    window: int
    ahead: int
    told: bool
    links: int | None
    """Sessions that may have drafts in flight; None: all."""


AHEAD = 64
MEANS = ("tokens_per_s", "least_over_most", "nodes", "nodes_per_token", "others")
WAYS = {
    "one at a time": Way(1, 0, True, None),
    "and ahead": Way(1, AHEAD, True, None),
    "and in flight": Way(4, AHEAD, True, DEFAULT_LIMITS.window_links),
    "not told of others": Way(4, AHEAD, False, DEFAULT_LIMITS.window_links),
    "in flight, all": Way(4, AHEAD, True, None),
}


class Deaf:
    """A planner that does not hear for how many others the edge works."""

    def __init__(self, planner: Planner) -> None:
        """``planner``: all else is its."""
        self._planner = planner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._planner, name)

    def observe(self, seen: Observation) -> None:
        """See ``Planner.observe``."""
        self._planner.observe(replace(seen, others=0, row_s=0.0))


async def _write(device: Device, number: int, way: Way, start: asyncio.Event, tally: Tally) -> None:
    await device.prompt([number])
    planner = planner_for(device, budget=0.02)
    pilot = Autopilot(device, planner if way.told else Deaf(planner))  # type: ignore[arg-type]
    async for round_ in pilot.generate(MOST_TOKENS):
        if start.is_set():
            tally.rounds.append(round_)


async def share(way: Way, args: argparse.Namespace, seed: int) -> list[Tally]:
    """What each device wrote in ``--seconds``, once all have learned for as long as ``--learn``."""
    target, own = made_up_tables(args.alpha, args.temperature, seed)
    slow = args.slow
    verifier = LocalVerifier(SleepingTarget(target, slow * args.target_ms / 1e3, slow * args.row_ms / 1e3))
    offered, sessions = edge_settings(verifier.facts, FINGERPRINT), Sessions(seed=seed, release=verifier.release)
    network = Network(uplink_bit_s=args.rate / slow, downlink_bit_s=args.rate / slow, rtt_s=slow * args.rtt)
    devices, serving, start = list[Device](), list[asyncio.Task[None]](), asyncio.Event()
    for number in range(args.devices):
        mine, theirs = emulated_pair(network)
        few = offered if way.links is None or number < way.links else replace(offered, window=1)
        serving.append(asyncio.create_task(serve_link(theirs, EdgeDriver(verifier, few, sessions=sessions))))
        hello = tw.Hello(
            vocab_size=len(own), tokenizer=FINGERPRINT, evidence=OUR_EVIDENCE, entropy=("range",), priors=("none",),
            sampling=tw.Sampling(temperature=args.temperature), extra=WANTED, nonce=number.to_bytes(16, "big"),
        )  # fmt: skip
        text = SleepingDraft(own, slow * args.draft_ms / 1e3)
        device = Device(mine, text, hello, rng=device_rng(number), window=way.window, ahead=way.ahead)
        await device.open()
        devices.append(device)
    tallies = [Tally() for _ in devices]
    writing = [
        asyncio.create_task(_write(device, number, way, start, tally))
        for number, (device, tally) in enumerate(zip(devices, tallies, strict=True))
    ]
    await asyncio.sleep(slow * args.learn)
    start.set()
    began = time.perf_counter()
    await asyncio.sleep(slow * args.seconds)
    for tally in tallies:
        tally.wall_s = (time.perf_counter() - began) / slow
    for task in writing:
        if task.done():
            task.result()  # a device that failed is no device that was slow
        task.cancel()
    await asyncio.gather(*writing, return_exceptions=True)
    for device in devices:
        await device.close()
    await asyncio.gather(*serving, return_exceptions=True)
    sessions.close()
    verifier.close()
    return tallies


def figures(tallies: Sequence[Tally]) -> dict[str, Any]:
    """Tokens a second of all, of who has fewest over who has most, and what drafts were like."""
    rates = [tally.tokens / tally.wall_s for tally in tallies]
    rounds = [each for tally in tallies for each in tally.rounds]
    nodes, kinds = sum(each.nodes for each in rounds), [each.settings.evidence for each in rounds if each.settings]
    return {
        "tokens_per_s": sum(rates),
        "least_over_most": min(rates) / max(rates),
        "nodes": nodes / max(1, len(rounds)),
        "nodes_per_token": nodes / max(1, sum(tally.tokens for tally in tallies)),
        "others": sum(each.others for each in rounds) / max(1, len(rounds)),
        "evidence": {kind: kinds.count(kind) / len(kinds) for kind in sorted(set(kinds))},
    }


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(__doc__)
    parser.add_argument("--devices", type=whole_number(1), default=8)
    parser.add_argument("--alpha", type=above_zero, default=0.75, help="of the models (%(default)s)")
    parser.add_argument("--rtt", type=zero_or_more, default=0.05, metavar="S")
    parser.add_argument("--rate", type=above_zero, default=1e6, help="bits a second, each way (%(default)g)")
    parser.add_argument("--draft-ms", type=zero_or_more, default=8.0, help="a pass of the draft model (%(default)s)")
    parser.add_argument("--target-ms", type=zero_or_more, default=40.0, help="a pass of the target (%(default)s)")
    parser.add_argument("--row-ms", type=zero_or_more, default=2.0, help="each row in it (%(default)s)")
    parser.add_argument("--seconds", type=above_zero, default=12.0, help="that are counted, of each way (%(default)s)")
    parser.add_argument("--learn", type=zero_or_more, default=6.0, help="seconds before (%(default)s)")
    parser.add_argument("--ways", nargs="+", choices=tuple(WAYS), default=tuple(WAYS), metavar="WAY")
    parser.add_argument("--temperature", type=above_zero, default=0.7)
    parser.add_argument(
        "--slow", type=above_zero, default=2.0, help="times as long as asked all times are meanwhile (%(default)s)"
    )
    parser.add_argument("--runs", type=whole_number(1), default=3, help="of each way, with seeds of their own")
    parser.add_argument("--seed", type=whole_number(0), default=0, help="of the first run (%(default)s)")
    parser.add_argument("--json", type=output_file, help="write all figures")
    return parser.parse_args(argv)


def measure(args: argparse.Namespace, tell: Callable[[int, int], None] = lambda done, of: None) -> dict[str, Any]:
    """``figures`` of every run, by way, and the means of what they say of rates and nodes."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in args.ways}
    for number in range(args.runs):
        for place, name in enumerate(args.ways):
            tell(number * len(args.ways) + place, args.runs * len(args.ways))
            runs[name].append(figures(asyncio.run(share(WAYS[name], args, args.seed + number))))
    first = runs[args.ways[0]]
    found = {}
    for name, rows in runs.items():
        over = [row["tokens_per_s"] / base["tokens_per_s"] for row, base in zip(rows, first, strict=True)]
        means = {key: sum(row[key] for row in rows) / len(rows) for key in MEANS}
        found[name] = means | {"over_first": over, "runs": rows}
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Let devices write, print."""
    args = arguments(argv)
    found = measure(args)
    first = found[args.ways[0]]["tokens_per_s"]
    table = Table(
        "way", "tokens/s", "over the first", "least over most", "nodes a draft", "nodes a token", "others", "evidence"
    )
    for name, row in found.items():
        kinds = ", ".join(f"{kind} {part:.0%}" for kind, part in row["runs"][0]["evidence"].items())
        over = row["over_first"]
        table.add_row(
            name, f"{row['tokens_per_s']:.1f}",
            f"{row['tokens_per_s'] / first:.2f} ({min(over):.2f} to {max(over):.2f})", f"{row['least_over_most']:.2f}",
            f"{row['nodes']:.1f}", f"{row['nodes_per_token']:.2f}", f"{row['others']:.1f}", kinds,
        )  # fmt: skip
    Console(width=140).print(table)
    if args.json:
        settings = {key: value for key, value in vars(args).items() if key != "json"}
        document = {"benchmark": "shared_edge", "schema": SCHEMA_VERSION, "settings": settings, "ways": found}
        write_json(document, args.json)
    last = found[args.ways[-1]]["tokens_per_s"]
    print(f"shared_edge: {args.devices} devices, {first:.1f} tokens/s {args.ways[0]}, {last:.1f} {args.ways[-1]}")


if __name__ == "__main__":
    main()
