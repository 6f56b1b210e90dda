"""Run an edge: load a target model and verify the drafts of any number of devices.

tslt edge --model meta-llama/Llama-3.1-8B --torch-device cuda --dtype bfloat16
tslt edge --model llama-8b.gguf --context 4096
tslt edge --model llama-8b.gguf --listen tcp://0.0.0.0:5757 --key edge.key --allow devices.txt
tslt edge --model llama-8b.gguf --transport quic --listen 0.0.0.0:5757 --key edge.key --allow devices.txt
tslt edge --engine vllm --url http://127.0.0.1:8000
tslt edge --engine llama-server --url http://127.0.0.1:8080 --model llama-8b.gguf
tslt edge --engine ray --replicas 4 --replica-gpus 1 --torch-device cuda --model meta-llama/Llama-3.1-8B --secret-file s
tslt edge --engine ray --ray-address 10.0.0.1:6379 --secret-file s
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tslt_runtime.capture import Capture, capturing
from tslt_runtime.commands import fleet, inference, operation, who
from tslt_runtime.commands.options import (
    QUIC_ADDRESS,
    add_common,
    at_least_one,
    load_options,
    load_table,
    set_up,
    shipped,
)
from tslt_runtime.commands.running import run_command
from tslt_runtime.limits import DEFAULT_LIMITS, EdgeLimits
from tslt_runtime.seeds import read_master_secret
from tslt_runtime.streaming import EDGE

if TYPE_CHECKING:
    from tslt_runtime.operating.meter import EdgeMeter
    from tslt_runtime.verifiers.pool.protocol import Offer

SWITCH_S = 0.0005
"""Seconds after which a thread that computes in Python lets another one have the interpreter, instead of 5 ms: the
event loop, busy with a flood say, and the model's thread wait for each other several times a round."""


def parse(argv: list[str] | None = None, *, prog: str = "tslt edge", model: Path | None = None) -> argparse.Namespace:
    """Read the command line; ``model``: the target model that is taken if none is named."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_common(parser, "target", model)
    parser.add_argument("--listen", metavar="ADDRESS", help=f"port 0 takes a free one ({EDGE}; quic: {QUIC_ADDRESS})")
    parser.add_argument(
        "--max-devices",
        type=at_least_one,
        default=DEFAULT_LIMITS.devices,
        metavar="N",
        help="devices served at once (%(default)s)",
    )
    share = "links of one device, or one address without keys (half of --max-devices, 8 at least)"
    parser.add_argument("--max-links", type=at_least_one, metavar="N", help=share)
    parser.add_argument(
        "--secret-file",
        type=Path,
        metavar="FILE",
        help="what all random numbers follow from, made if it is not there: after a restart, and at other edges with\n"
        "it, texts go on as they were; keep it as secret as a key",
    )
    limits = parser.add_argument_group("model passes")
    limits.add_argument(
        "--cache-memory",
        type=at_least_one,
        default=DEFAULT_LIMITS.cache_bytes >> 20,
        metavar="MB",
        help="of all texts' keys and values; beyond it idle texts are read again when needed (%(default)s)",
    )
    limits.add_argument(
        "--max-rows",
        type=at_least_one,
        default=DEFAULT_LIMITS.rows,
        metavar="N",
        help="tokens and nodes of all devices that one pass of the model takes at most (%(default)s)",
    )
    parser.add_argument(
        "--table",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="trained priors that devices may name (tslt train-prior)",
    )
    inference.add(parser)
    fleet.add(parser)
    who.add_edge(parser)
    operation.add(parser)
    args = parser.parse_args(argv)
    try:
        fleet.check(args, default=parser.get_default("model"))
        inference.check(args, default=parser.get_default("model"))
    except ValueError as error:
        parser.error(str(error))
    if args.secret_file and args.seed is not None:
        parser.error("--seed makes the master secret: say --secret-file or --seed")
    for path in args.table:
        if not path.is_file():
            parser.error(f"--table {path}: there is no such file")
    args.listen = args.listen or (QUIC_ADDRESS if args.transport == "quic" else EDGE)
    try:
        who.check_edge(args)
    except ValueError as error:
        parser.error(str(error))
    return args


async def load(
    args: argparse.Namespace, limits: EdgeLimits, meter: EdgeMeter
) -> tuple[operation.WatchedVerifier, Offer]:
    """The verifier that the arguments name, and what it offers."""
    if args.engine == inference.FLEET:
        pool = await fleet.load(args, on_pass=meter.passed)
        return pool, pool.offer
    from tslt_runtime.commands.replica import offer_of

    verifier: operation.WatchedVerifier
    if args.engine:
        verifier, tokenizer = inference.load(args, on_pass=meter.passed)
    else:
        from tslt_runtime.loading import load_target
        from tslt_runtime.verifiers.local import LocalVerifier

        engine = load_options(args)
        engine["cache_bytes"] = limits.cache_bytes
        target, tokenizer = load_target(args.model, **engine)
        verifier = LocalVerifier(target, limits=limits, on_pass=meter.passed)
    return verifier, offer_of(verifier.facts, tokenizer)


async def run(args: argparse.Namespace, capture: Capture | None = None) -> bool:
    """Load the target and serve until SIGINT or SIGTERM; False if a round was under way for too long after it."""
    tls, keys = who.edge_who(args)
    if keys and hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, lambda *_: keys.allowed.reload())  # while the model is loaded, too

    from tslt_transports import LinkOptions, listen

    from tslt_runtime.edge import edge_settings, serve
    from tslt_runtime.operating.draining import Drain
    from tslt_runtime.operating.meter import EdgeMeter

    master = read_master_secret(args.secret_file) if args.secret_file else None
    limits = EdgeLimits(
        devices=args.max_devices,
        peer_links=args.max_links,
        rows=args.max_rows,
        cache_bytes=args.cache_memory << 20,
    )
    meter, drain = EdgeMeter(), Drain()
    verifier, offer = await load(args, limits, meter)
    facts = offer.facts.engine
    tables = [load_table(path, vocab_size=facts.vocab_size) for path in args.table]
    settings = edge_settings(offer.facts, offer.vocabulary, tables, limits=limits, chat_template=offer.chat_template)
    settings = replace(settings, padding=args.pad)
    options = LinkOptions(max_links=limits.links)
    listener = await listen(args.transport, args.listen, options=options, tls=tls, keys=keys)
    async with operation.status_pages(args.metrics, listener, verifier, meter, drain, limits) as pages:
        # One line for people and for scripts that wait until devices may connect.
        print(f"edge: {facts.model} listens on {listener.address}", flush=True)
        if pages:
            print(f"edge: metrics at http://{pages}/metrics", flush=True)
        door = capture.listener(listener) if capture else listener
        work = serve(door, verifier, settings, seed=args.seed, master=master, limits=limits, meter=meter, drain=drain)
        operation.end_by_signal(drain)
        if keys and hasattr(signal, "SIGHUP"):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, keys.allowed.reload)
        in_time = await operation.serve_until_drained(asyncio.create_task(work), drain, args.drain_s)
    await listener.close()
    verifier.close()
    return in_time


def main(argv: list[str] | None = None, *, prog: str = "tslt edge", model: Path | None = None) -> int:
    """Entry point; returns the exit status.  ``prog``, ``model``: see ``parse``; a checkout has models of its own."""
    args = parse(argv, prog=prog, model=model or shipped("target"))

    def work() -> None:
        sys.setswitchinterval(SWITCH_S)
        with capturing(args.capture) as capture:
            operation.set_up(args)
            set_up(args)
            in_time = asyncio.run(run(args, capture))
        operation.leave(in_time=in_time)

    return run_command("edge", work)


if __name__ == "__main__":
    sys.exit(main())
