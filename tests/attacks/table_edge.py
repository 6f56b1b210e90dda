"""An edge with a table of logits for a model: `python tests/attacks/table_edge.py zmq FOLDER`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from contextlib import suppress
from pathlib import Path

from stage import TARGET
from table_engine import TableTarget
from tslt_transports import LinkOptions, ServerTls, listen
from tslt_transports.devcert import make_dev_certificates
from two_ends import FINGERPRINT

from tslt_runtime.commands.edge import SWITCH_S
from tslt_runtime.edge import edge_settings, serve
from tslt_runtime.limits import EdgeLimits
from tslt_runtime.verifiers.local import LocalVerifier


async def run(args: argparse.Namespace) -> None:
    tls = None
    transports = args.transport.split(",")
    if "quic" in transports:
        files = make_dev_certificates(args.folder)
        tls = ServerTls(cert_file=files.cert_file, key_file=files.key_file)
    options = LinkOptions(send_timeout_s=args.send_timeout, max_links=args.max_links)
    listeners = [
        await listen(name, "127.0.0.1:0", options=options, tls=tls if name == "quic" else None) for name in transports
    ]
    verifier = LocalVerifier(TableTarget(TARGET))
    settings = edge_settings(verifier.facts, FINGERPRINT)
    limits = EdgeLimits(peer_links=args.peer_links)
    task = asyncio.gather(*(serve(each, verifier, settings, seed=0, limits=limits) for each in listeners))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    print(f"edge: a table listens on {' '.join(each.address for each in listeners)}", flush=True)
    with suppress(asyncio.CancelledError):
        await task
    for each in listeners:
        await each.close()
    verifier.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("transport")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--send-timeout", type=float, default=30.0)
    parser.add_argument("--max-links", type=int, default=256)
    parser.add_argument("--peer-links", type=int)
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    logging.getLogger("quic").setLevel(logging.CRITICAL)
    sys.setswitchinterval(SWITCH_S)
    asyncio.run(run(parser.parse_args()))
