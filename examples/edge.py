"""Run an edge: load a Llama target and verify the drafts of any number of devices.

python -m examples.edge
python -m examples.edge --model meta-llama/Llama-3.1-8B --torch-device cuda --dtype bfloat16 --listen tcp://0.0.0.0:5757
python -m examples.edge --transport quic --listen 0.0.0.0:5757 --cert certs/edge.pem --key certs/edge.key
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from contextlib import suppress
from pathlib import Path

from examples.command_line import QUIC_ADDRESS, ZMQ_ADDRESS, add_common, load_table, load_tokenizer, set_up


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.edge", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_common(parser, "target")
    parser.add_argument(
        "--listen", metavar="ADDRESS", help=f"port 0 takes a free one ({ZMQ_ADDRESS}; quic: {QUIC_ADDRESS})"
    )
    parser.add_argument(
        "--max-devices", type=int, default=256, metavar="N", help="devices served at once (%(default)s)"
    )
    parser.add_argument(
        "--table",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="trained priors that devices may name (examples.train_prior)",
    )
    parser.add_argument("--cert", type=Path, metavar="FILE", help="quic: certificate (PEM)")
    parser.add_argument("--key", type=Path, metavar="FILE", help="quic: private key (PEM)")
    args = parser.parse_args(argv)
    if args.transport == "quic" and not (args.cert and args.key):
        parser.error("quic needs --cert and --key; python -m tslt_transports.devcert --out certs makes both")
    if args.transport == "zmq" and (args.cert or args.key):
        parser.error("--cert and --key are for --transport quic")
    return args


async def run(args: argparse.Namespace) -> None:
    """Load the target and serve until SIGINT or SIGTERM."""
    from tslt_transports.link import LinkOptions, ServerTls, listen

    from examples.edge_loop import edge_settings, serve
    from examples.fingerprint import vocabulary_of
    from examples.llama_target import TargetModel

    model = TargetModel.load(args.model, dtype=args.dtype, device=args.torch_device)
    vocabulary = vocabulary_of(load_tokenizer(args.model), vocab_size=model.vocab_size)
    tables = [load_table(path, vocab_size=model.vocab_size) for path in args.table]
    settings = edge_settings(model, vocabulary.fingerprint, tables)
    tls = ServerTls(cert_file=args.cert, key_file=args.key) if args.transport == "quic" else None
    address = args.listen or (QUIC_ADDRESS if args.transport == "quic" else ZMQ_ADDRESS)
    listener = await listen(args.transport, address, options=LinkOptions(max_links=args.max_devices), tls=tls)
    # One line for people and for scripts that wait until devices may connect.
    print(f"edge: {model.model_id} listens on {listener.address}", flush=True)
    task = asyncio.create_task(serve(listener, model, settings, seed=args.seed))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        await task
    await listener.close()


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    args = parse(argv)
    set_up(args)
    from tslt_transports.link import LinkError

    from examples.fingerprint import VocabularyMismatch
    from examples.llama_model import ModelError

    try:
        asyncio.run(run(args))
    except (LinkError, ModelError, VocabularyMismatch, OSError, ValueError) as error:
        print(f"edge: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
