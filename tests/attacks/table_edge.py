"""An edge with a table of logits for a model: `python tests/attacks/table_edge.py zmq FOLDER`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
from contextlib import suppress
from pathlib import Path

from stage import TARGET
from table_engine import TableTarget
from tslt_transports import LinkOptions, ServerTls, listen
from tslt_transports.devcert import make_dev_certificates
from two_ends import FINGERPRINT

from tslt_runtime.edge import edge_settings, serve
from tslt_runtime.verifiers.local import LocalVerifier


async def run(args: argparse.Namespace) -> None:
    tls = None
    if args.transport == "quic":
        files = make_dev_certificates(args.folder)
        tls = ServerTls(cert_file=files.cert_file, key_file=files.key_file)
    options = LinkOptions(send_timeout_s=args.send_timeout, max_links=args.max_links)
    listener = await listen(args.transport, "127.0.0.1:0", options=options, tls=tls)
    verifier = LocalVerifier(TableTarget(TARGET))
    task = asyncio.create_task(serve(listener, verifier, edge_settings(verifier.facts, FINGERPRINT), seed=0))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    print(f"edge: a table listens on {listener.address}", flush=True)
    with suppress(asyncio.CancelledError):
        await task
    await listener.close()
    verifier.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("transport")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--send-timeout", type=float, default=30.0)
    parser.add_argument("--max-links", type=int, default=256)
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    logging.getLogger("quic").setLevel(logging.CRITICAL)
    asyncio.run(run(parser.parse_args()))
