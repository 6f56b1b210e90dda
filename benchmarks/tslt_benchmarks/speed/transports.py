"""How long a frame takes to an edge and back over each transport, beside the libraries alone.

Two processes on loopback, no models: one sends frames back, the other waits for each before the next.  ``tslt`` is a
link of ours with keys, so CURVE and TLS are on; ``raw`` is an echo with nothing but the library: a DEALER and a ROUTER
of pyzmq.asyncio with CURVE, an aioquic connection with one stream.  Both take turns, a block of round trips each, and
the ratio is that of the medians over all blocks.  ``--bulk`` is the time of one large frame, answered with a byte.

    tslt bench transports --json transports.json
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import zmq
import zmq.asyncio
from aioquic.asyncio.client import connect as quic_connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import serve as quic_serve
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import QuicEvent, StreamDataReceived
from rich.console import Console
from rich.table import Table
from tslt_transports import (
    AllowList,
    DeviceKeys,
    EdgeKeys,
    Link,
    LinkClosed,
    LinkOptions,
    PublicKey,
    SecretKey,
    connect,
    listen,
)
from tslt_transports.allow_list import allow
from tslt_transports.devcert import make_dev_certificates

from tslt_benchmarks.options import command_parser, output_file, whole_number, write_json

SCHEMA_VERSION = 1
TRANSPORTS = ("zmq", "quic")
WAYS = ("tslt", "raw")
MIB = 1 << 20
OPTIONS = LinkOptions(max_frame_bytes=64 * MIB, queue_bytes=64 * MIB, connect_timeout_s=20.0)
LARGE = 4096
"""Bytes from which on a frame is answered with one byte."""
_HEAD = 4
"""Bytes of length before what the raw QUIC echo is sent, so that it knows when it has all."""


class Echo(Protocol):
    """A way to send ``size`` bytes and wait for the answer."""

    async def __call__(self, size: int) -> None:
        """Once."""


@dataclass(frozen=True, slots=True)
class Times:
    """Of one transport and one size, medians."""

    transport: str
    size: int
    tslt_ms: float
    raw_ms: float
    ratio: float
    tslt_p99_ms: float
    raw_p99_ms: float


def answer_to(frame: bytes) -> bytes:
    """What an echo sends back."""
    return frame if len(frame) < LARGE else b"x"


# -------------------------------------------------------------------------------------------------------------- ours


async def serve_tslt(transport: str, folder: Path) -> None:
    """An edge of ours that sends frames back."""
    keys = EdgeKeys(own=SecretKey.read(folder / "edge.key"), allowed=AllowList(folder / "allowed"))
    listener = await listen(transport, "127.0.0.1:0", options=OPTIONS, keys=keys)
    announce(listener.address)

    async def echo(link: Link) -> None:
        try:
            while True:
                await link.send(answer_to(await link.receive()))
        except LinkClosed:
            await link.close()

    tasks = set()
    while True:
        tasks.add(asyncio.create_task(echo(await listener.accept())))


@asynccontextmanager
async def tslt(transport: str, address: str, folder: Path) -> AsyncIterator[Echo]:
    """A device of ours."""
    keys = DeviceKeys(own=SecretKey.read(folder / "device.key"), edge=PublicKey.read(folder / "edge.pub"))
    link = await connect(transport, address, options=OPTIONS, keys=keys)

    async def once(size: int) -> None:
        await link.send(bytes(size))
        await link.receive()

    yield once
    await link.close()


# ---------------------------------------------------------------------------------------------------- libraries alone


async def serve_raw_zmq(folder: Path) -> None:
    """A ROUTER that sends messages back."""
    router = zmq.asyncio.Context.instance().socket(zmq.ROUTER)
    router.curve_server = True
    router.curve_secretkey = SecretKey.read(folder / "edge.key").agreement_secret
    port = router.bind_to_random_port("tcp://127.0.0.1")
    announce(f"tcp://127.0.0.1:{port}")
    while True:
        name, frame = await router.recv_multipart()
        await router.send_multipart([name, answer_to(frame)])


@asynccontextmanager
async def raw_zmq(address: str, folder: Path) -> AsyncIterator[Echo]:
    """A DEALER."""
    own = SecretKey.read(folder / "device.key")
    dealer = zmq.asyncio.Context.instance().socket(zmq.DEALER)
    dealer.curve_serverkey = PublicKey.read(folder / "edge.pub").agreement
    dealer.curve_publickey, dealer.curve_secretkey = own.public.agreement, own.agreement_secret
    dealer.connect(address)

    async def once(size: int) -> None:
        await dealer.send(bytes(size))
        await dealer.recv()

    yield once
    dealer.close(linger=0)


class _RawQuic(QuicConnectionProtocol):
    """One end of a connection that cuts its stream by lengths."""

    def __init__(self, quic: QuicConnection, stream_handler: object = None) -> None:
        super().__init__(quic)
        self._parts: list[bytes] = []
        self._have = 0
        self._wanted = 0
        self.answers = False
        self.arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def say(self, data: bytes) -> None:
        """Send one message."""
        self._quic.send_stream_data(0, len(data).to_bytes(_HEAD, "big") + data)
        self.transmit()

    def quic_event_received(self, event: QuicEvent) -> None:
        """Take what comes; whole messages are answered, or waited for."""
        if not isinstance(event, StreamDataReceived):
            return
        self._parts.append(event.data)
        self._have += len(event.data)
        if not self._wanted and self._have >= _HEAD:
            self._parts = [b"".join(self._parts)]
            self._wanted = _HEAD + int.from_bytes(self._parts[0][:_HEAD], "big")
        if self._wanted and self._have >= self._wanted:
            data = b"".join(self._parts)[_HEAD:]
            self._parts, self._have, self._wanted = [], 0, 0
            if self.answers:
                self.say(answer_to(data))
            else:
                self.arrived.set_result(None)


class _RawQuicEdge(_RawQuic):
    def __init__(self, quic: QuicConnection, stream_handler: object = None) -> None:
        super().__init__(quic)
        self.answers = True


async def serve_raw_quic(folder: Path) -> None:
    """A server that sends messages back."""
    configuration = QuicConfiguration(is_client=False, alpn_protocols=["raw"])
    configuration.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    server = await quic_serve("127.0.0.1", 0, configuration=configuration, create_protocol=_RawQuicEdge)
    transport = server._transport
    if transport is None:
        raise RuntimeError("aioquic serves without a socket")
    announce(f"127.0.0.1:{transport.get_extra_info('sockname')[1]}")
    await asyncio.Event().wait()


@asynccontextmanager
async def raw_quic(address: str, folder: Path) -> AsyncIterator[Echo]:
    """A client."""
    configuration = QuicConfiguration(is_client=True, alpn_protocols=["raw"])
    configuration.load_verify_locations(str(folder / "ca.pem"))
    host, port = address.split(":")
    async with quic_connect(host, int(port), configuration=configuration, create_protocol=_RawQuic) as client:
        if not isinstance(client, _RawQuic):
            raise TypeError(f"aioquic made a {type(client).__name__}")

        async def once(size: int) -> None:
            client.arrived = asyncio.get_running_loop().create_future()
            client.say(bytes(size))
            await client.arrived

        yield once


# ---------------------------------------------------------------------------------------------------------- measuring


def announce(address: str) -> None:
    """Tell the other process where to come."""
    print(address, flush=True)


SERVERS: dict[tuple[str, str], Callable[[Path], Coroutine[Any, Any, None]]] = {
    ("zmq", "tslt"): lambda folder: serve_tslt("zmq", folder),
    ("quic", "tslt"): lambda folder: serve_tslt("quic", folder),
    ("zmq", "raw"): serve_raw_zmq,
    ("quic", "raw"): serve_raw_quic,
}
CLIENTS: dict[tuple[str, str], Callable[[str, Path], AbstractAsyncContextManager[Echo]]] = {
    ("zmq", "tslt"): lambda address, folder: tslt("zmq", address, folder),
    ("quic", "tslt"): lambda address, folder: tslt("quic", address, folder),
    ("zmq", "raw"): raw_zmq,
    ("quic", "raw"): raw_quic,
}


async def measure(
    transport: str, addresses: dict[str, str], folder: Path, *, size: int, trips: int, blocks: int
) -> Times:
    """Round trips of ``size`` bytes: ``blocks`` blocks of ``trips`` for each way, in turn."""
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    async with (
        CLIENTS[transport, "tslt"](addresses["tslt"], folder) as ours,
        CLIENTS[transport, "raw"](addresses["raw"], folder) as raw,
    ):
        ways: dict[str, Echo] = {"tslt": ours, "raw": raw}
        for echo in ways.values():
            for _ in range(min(trips, 50)):  # until everything is warm
                await echo(size)
        for way in WAYS * blocks:
            for _ in range(trips):
                started = time.perf_counter()
                await ways[way](size)
                found[way].append(1000 * (time.perf_counter() - started))
    medians = {way: statistics.median(times) for way, times in found.items()}
    p99 = {way: sorted(times)[int(0.99 * (len(times) - 1))] for way, times in found.items()}
    ratio = medians["tslt"] / medians["raw"]
    return Times(transport, size, medians["tslt"], medians["raw"], ratio, p99["tslt"], p99["raw"])


def prepare(folder: Path) -> None:
    """Keys and certificates for all."""
    edge, device = SecretKey.make("edge"), SecretKey.make("device")
    edge.write(folder / "edge.key")
    device.write(folder / "device.key")
    (folder / "edge.pub").write_text(edge.public.line + "\n", encoding="ascii")
    allow(folder / "allowed", device.public)
    make_dev_certificates(folder)


def run(args: argparse.Namespace) -> list[Times]:
    """Everything, transport by transport."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        for transport in args.transports:
            with ExitStack() as stack:
                addresses = {way: _started(stack, transport, way, folder) for way in WAYS}
                for size, trips, blocks in ((args.size, args.trips, args.blocks), (args.bulk, 1, args.bulk_trips)):
                    if size and trips and blocks:
                        times = measure(transport, addresses, folder, size=size, trips=trips, blocks=blocks)
                        found.append(asyncio.run(times))
    return found


def _started(stack: ExitStack, transport: str, way: str, folder: Path) -> str:
    """Start an echo; returns its address."""
    command = [sys.executable, "-m", "tslt_benchmarks.speed.transports", "--serve", transport, way, str(folder)]
    process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    stack.callback(process.kill)
    address = (process.stdout.readline() if process.stdout else "").strip()
    if not address:
        raise SystemExit(f"the echo of {transport}, {way}, did not start")
    return address


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(__doc__)
    parser.add_argument("--transports", nargs="+", choices=TRANSPORTS, default=list(TRANSPORTS))
    parser.add_argument("--size", type=whole_number(1), default=64, metavar="BYTES", help="of a small frame (64)")
    parser.add_argument("--trips", type=whole_number(1), default=500, metavar="N", help="in a block (500)")
    parser.add_argument("--blocks", type=whole_number(1), default=10, metavar="N", help="of each way (10)")
    parser.add_argument("--bulk", type=whole_number(0), default=12 * MIB, metavar="BYTES", help="0: none (12 MiB)")
    parser.add_argument("--bulk-trips", type=whole_number(1), default=3, metavar="N", help="large frames (3)")
    parser.add_argument("--json", type=output_file, metavar="FILE")
    parser.add_argument("--serve", nargs=3, metavar="WHAT", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print a table."""
    args = arguments(argv)
    if args.serve:
        transport, way, folder = args.serve
        asyncio.run(SERVERS[transport, way](Path(folder)))
        return
    found = run(args)
    table = Table("transport", "bytes", "tslt, ms", "raw, ms", "ratio", "p99 tslt", "p99 raw")
    for times in found:
        cells = (times.tslt_ms, times.raw_ms, times.ratio, times.tslt_p99_ms, times.raw_p99_ms)
        table.add_row(times.transport, f"{times.size:,}", *(f"{cell:.2f}" for cell in cells))
    Console().print(table)
    if args.json:
        document = {"benchmark": "transports", "schema": SCHEMA_VERSION, "times": [asdict(times) for times in found]}
        write_json(document, args.json)
    ratios = " ".join(f"{times.transport}/{times.size}={times.ratio:.2f}" for times in found)
    print(f"transports: {ratios}")


if __name__ == "__main__":
    main()
