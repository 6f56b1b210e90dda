"""What a fleet costs: a round at a gateway over replicas in Ray Serve beside one at an edge, and what replicas bring.

Devices are recordings, as in ``tslt bench capacity``; both run on this machine, in turns, with the same model.  With
two replicas, each on a core of its own, nothing is left for the gateway: say how many cores there are.

    python -m tslt_benchmarks.fleet.fleet_round --json fleet_round.json
    python -m tslt_benchmarks.fleet.fleet_round --replicas 1 2 4 --pin
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from tslt_benchmarks.options import (
    above_zero,
    add_model_options,
    command_parser,
    output_file,
    require_models,
    whole_number,
    write_json,
)
from tslt_benchmarks.speed.capacity import load, recorded, tokenized
from tslt_benchmarks.speed.recorded_devices import FINGERPRINT, Recording, play
from tslt_runtime.limits import EdgeLimits
from tslt_runtime.verifiers.local import LocalVerifier
from tslt_runtime.verifiers.pool.protocol import Offer
from tslt_runtime.verifiers.pool.replica import Replica
from tslt_runtime.verifiers.pool.scale import Scale
from tslt_runtime.verifiers.protocol import Verifier

APPLICATION = "tslt-bench"
WARM_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one way and a number of devices."""

    way: str
    """"edge" or "fleet"."""
    replicas: int
    devices: int
    tokens_s: float
    p50_ms: float
    """Of a round at the gateway, or the edge."""
    p95_ms: float
    gateway_cpu_ms: float
    """CPU milliseconds a round of the process that holds the sessions: of an edge the model's, too."""


def replica(target: Path, first_core: int | None) -> Replica:
    """A replica of ``target``; ``first_core``: where cores are theirs alone, the first one that may be."""
    if first_core is not None:
        taken = len(list(Path(os.environ["TSLT_BENCH_CORES"]).iterdir()))
        (Path(os.environ["TSLT_BENCH_CORES"]) / str(os.getpid())).touch()
        os.sched_setaffinity(0, {(first_core + taken) % (os.cpu_count() or 1)})
    import torch

    from tslt_runtime.engines.transformers.target import TargetModel

    torch.set_num_threads(1)
    verifier = LocalVerifier(TargetModel.load(target, dtype="float32"), limits=EdgeLimits(share_least=0))
    return Replica(verifier, Offer(verifier.facts, FINGERPRINT))


async def _cost(
    verifier: Verifier, recordings: Sequence[Recording], devices: int, seconds: float, way: str, replicas: int
) -> Cost:
    cpu, began = time.process_time(), time.perf_counter()
    played, took = await play(verifier, recordings, devices, seconds=seconds, warm_s=WARM_S)
    cpu = (time.process_time() - cpu) * took / (time.perf_counter() - began)
    rounds = 1e3 * np.array(played.rounds_s)
    return Cost(
        way=way,
        replicas=replicas,
        devices=devices,
        tokens_s=played.tokens / took,
        p50_ms=float(np.median(rounds)),
        p95_ms=float(np.quantile(rounds, 0.95)),
        gateway_cpu_ms=1e3 * cpu / len(rounds),
    )


def measure(args: argparse.Namespace, say: Callable[[Cost], None]) -> list[Cost]:
    """All that was asked for."""
    from tempfile import TemporaryDirectory

    from tslt_runtime.verifiers.pool import ray_serve
    from tslt_runtime.verifiers.pool.verifier import connect

    found: list[Cost] = []

    def keep(one: Cost) -> None:
        found.append(one)
        say(one)

    # One event loop for all: Serve's router belongs to the first one.
    with TemporaryDirectory() as folder, asyncio.Runner() as runner:
        os.environ["TSLT_BENCH_CORES"] = folder
        engines = load("transformers", args.target, args.draft, Path(folder), 4 << 30)
        recordings = recorded(engines, tokenized(args.target)[: args.recordings], args)
        ray_serve.join(ray_serve.NEW, cpus=max(args.replicas) + 1)
        for count in args.replicas:
            for file in Path(folder).iterdir():
                file.unlink()
            scale = Scale(replicas=count)
            loading = partial(replica, args.target, 0 if args.pin else None)
            ray_serve.deploy(ray_serve.application(loading, scale, version=str(count)), APPLICATION)
            for devices in args.devices:
                if count == min(args.replicas):
                    local = LocalVerifier(engines.target, limits=EdgeLimits(share_least=0))
                    keep(runner.run(_cost(local, recordings, devices, args.seconds, "edge", 0)))
                    local.close()

                async def fleet(count: int = count, devices: int = devices) -> Cost:
                    pooled = await connect(ray_serve.RayPool(APPLICATION))
                    return await _cost(pooled, recordings, devices, args.seconds, "fleet", count)

                keep(runner.run(fleet()))
    return found


def table(found: Sequence[Cost]) -> Table:
    """All of it."""
    out = Table(title="a round at an edge, and at a gateway over replicas", title_justify="left")
    for name in ("way", "replicas", "devices", "tokens/s", "p50 ms", "p95 ms", "gateway CPU ms/round"):
        out.add_column(name, justify="right")
    for one in found:
        numbers = f"{one.tokens_s:.0f}", f"{one.p50_ms:.1f}", f"{one.p95_ms:.1f}", f"{one.gateway_cpu_ms:.2f}"
        out.add_row(one.way, str(one.replicas or ""), str(one.devices), *numbers)
    return out


def headline(found: Sequence[Cost]) -> str:
    """What a gateway adds where nothing waits, and what most replicas bring."""
    few = min(one.devices for one in found)
    edge, fleet = (next(one for one in found if one.devices == few and one.way == way) for way in ("edge", "fleet"))
    many = max(one.devices for one in found)
    rates = {one.replicas: one.tokens_s for one in found if one.devices == many and one.way == "fleet"}
    best, least = max(rates), min(rates)
    return (
        f"fleet_round: {few} device: {fleet.p50_ms - edge.p50_ms:+.1f} ms at p50; {many} devices: "
        f"{best} replicas {rates[best] / rates[least]:.2f} x {least}, {os.cpu_count()} cores"
    )


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(__doc__)
    add_model_options(parser)
    one = whole_number(1)
    parser.add_argument("--replicas", nargs="+", type=one, default=[1, 2], metavar="N", help="(1 2)")
    parser.add_argument("--devices", nargs="+", type=one, default=[1, 8], metavar="N", help="(1 8)")
    parser.add_argument("--pin", action="store_true", help="each replica on a core of its own, from the first one on")
    parser.add_argument("--seconds", type=above_zero, default=8.0, metavar="S", help="for each (%(default)s)")
    parser.add_argument("--recordings", type=one, default=8, metavar="N", help="sessions (%(default)s)")
    parser.add_argument("--tokens", type=one, default=64, metavar="N", help="of a session (%(default)s)")
    parser.add_argument("--chain", type=one, default=4, metavar="N", help="drafted tokens of a round (%(default)s)")
    parser.add_argument("--json", type=output_file, help="write the results here")
    parser.set_defaults(temperature=1.0, top_p=1.0)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    args = arguments(argv)
    require_models(args.target, args.draft)
    found = measure(
        args, lambda one: print(f"{one.way} {one.replicas}, {one.devices}: {one.p50_ms:.1f} ms", flush=True)
    )
    Console(width=100).print(table(found))
    if args.json:
        settings = {name: getattr(args, name) for name in ("seconds", "recordings", "tokens", "chain", "pin")}
        write_json(
            {"settings": {**settings, "cores": os.cpu_count()}, "rounds": [asdict(one) for one in found]}, args.json
        )
    print(headline(found))


if __name__ == "__main__":
    main()
