"""An edge in a process of its own, a device, and a proxy between them that cuts links at any place.

Models are tables of logits.  ``python tests/long/cut_links.py`` runs the cases of tests/runtime/test_cut_links.py
with many seeds: ``make cuts``.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from processes import ENVIRONMENT
from table_engine import TableDraft, TableTarget
from tslt_transports import ClientTls, ConnectError, InProcessListener, Link, LinkOptions, ServerTls, listen
from tslt_transports.devcert import make_dev_certificates
from two_ends import FINGERPRINT, KINDS, hello, tables

from tslt_runtime.connection import Recovery
from tslt_runtime.device import Device
from tslt_runtime.dialing import Dialer
from tslt_runtime.edge import edge_settings, serve
from tslt_runtime.seeds import device_rng, read_master_secret
from tslt_runtime.verifiers.local import LocalVerifier

TOKENS = 40
SEED = 4
OPTIONS = LinkOptions(heartbeat_s=0.1, peer_timeout_s=0.6, connect_timeout_s=2.0, linger_s=0.1)
"""A UDP flow that is cut says nothing: silence is what tells."""
WHAT = ("cut", "kill", "cut and kill")
"""Links are cut; the edge is killed and started again, with its secret; both."""
PATIENCE_S = 60.0


# ---------------------------------------------------------------------------------------------------------------- edge


async def edge_main(transport: str, address: str, folder: Path, max_links: int) -> None:
    """Serve until killed.  Its secret is that of the file in ``folder``, its nonces are those of a seed."""
    tls = ServerTls(cert_file=folder / "cert.pem", key_file=folder / "key.pem") if transport == "quic" else None
    verifier = LocalVerifier(TableTarget(tables()[0]))
    while True:
        try:
            listener = await listen(transport, address, options=replace(OPTIONS, max_links=max_links), tls=tls)
            break
        except OSError:
            await asyncio.sleep(0.05)  # the port of the one that was killed
    print(listener.address, flush=True)
    master = read_master_secret(folder / "secret")
    await serve(listener, verifier, edge_settings(verifier.facts, FINGERPRINT), seed=SEED, master=master)


class EdgeProcess:
    """An edge that can be killed and comes back at its address."""

    def __init__(self, transport: str, folder: Path, *, max_links: int = 256) -> None:
        self._given = (transport, folder, str(max_links))
        self.address = "tcp://127.0.0.1:0" if transport == "zmq" else "127.0.0.1:0"
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        transport, folder, most = self._given
        command = [sys.executable, __file__, "--edge", transport, self.address, str(folder), most]
        here = Path(__file__).parent
        path = os.pathsep.join([str(here), str(here.parent / "helpers"), ENVIRONMENT["PYTHONPATH"]])
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**ENVIRONMENT, "PYTHONPATH": path}
        )
        if self._process.stdout is None:
            raise RuntimeError("the edge has no output")
        self.address = self._process.stdout.readline().strip()

    def kill(self) -> None:
        """Kill it, as kill -9 does."""
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


# --------------------------------------------------------------------------------------------------------------- proxy


@dataclass
class Cuts:
    """Where links are cut: each after a number of bytes both ways, as long as there are any left."""

    after: list[int]
    done: int = 0

    def next(self) -> int | None:
        """For a new link."""
        return self.after.pop(0) if self.after else None


class TcpProxy:
    """Forwards connections; one that is cut is reset at both ends."""

    def __init__(self, target: Callable[[], str], cuts: Cuts) -> None:
        self._target, self._cuts = target, cuts
        self._links: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        """Listen; the address for devices."""
        self._server = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        return f"tcp://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """Cut what there is."""
        self._server.close()
        for link in self._links:
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._links.add(task)
            task.add_done_callback(self._links.discard)
        host, port = self._target().removeprefix("tcp://").rsplit(":", 1)
        writers = [writer]
        try:
            there, back = await asyncio.open_connection(host, int(port))
            writers.append(back)
            left = [self._cuts.next()]
            ways = [self._copy(reader, back, left), self._copy(there, writer, left)]
            tasks = [asyncio.ensure_future(way) for way in ways]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in tasks:
                    way.cancel()
        except (OSError, asyncio.CancelledError):
            pass  # nothing waits for this task: the end of it is the end of the link
        finally:
            for each in writers:
                each.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: list[int | None]) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                if left[0] is not None:
                    data, left[0] = data[: left[0]], left[0] - len(data)
                writer.write(data)
                await writer.drain()
                if left[0] is not None and left[0] <= 0:
                    self._cuts.done += 1
                    return


class UdpProxy(asyncio.DatagramProtocol):
    """Forwards datagrams; a flow that is cut is silent for ever."""

    def __init__(self, target: Callable[[], str], cuts: Cuts) -> None:
        self._target, self._cuts = target, cuts
        self._flows: dict[Any, Flow] = {}

    async def start(self) -> str:
        """Listen; the address for devices."""
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, ("127.0.0.1", 0))
        return f"127.0.0.1:{self.transport.get_extra_info('sockname')[1]}"

    async def close(self) -> None:
        """Forward nothing more."""
        self.transport.close()
        for flow in self._flows.values():
            flow.transport.close()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """From a device."""
        flow = self._flows.get(addr)
        if flow is None:
            flow = self._flows[addr] = Flow(self, addr, self._cuts)
            flow.opening = asyncio.ensure_future(flow.open(self._target()))
        flow.from_device(data)


@dataclass
class Flow(asyncio.DatagramProtocol):
    """The datagrams of one device's port."""

    proxy: UdpProxy
    device: Any
    cuts: Cuts
    waiting: list[bytes] = field(default_factory=list)
    opening: Any = None

    def __post_init__(self) -> None:
        self.left = self.cuts.next()
        self.transport: Any = None

    async def open(self, target: str) -> None:
        """To the edge."""
        host, port = target.rsplit(":", 1)
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, remote_addr=(host, int(port)))
        for data in self.waiting:
            self.transport.sendto(data)

    def from_device(self, data: bytes) -> None:
        """To the edge, unless the flow is cut."""
        if self._passes(data):
            if self.transport is None:
                self.waiting.append(data)
            else:
                self.transport.sendto(data)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """From the edge."""
        if self._passes(data):
            self.proxy.transport.sendto(data, self.device)

    def error_received(self, exc: Exception) -> None:
        """Nobody listens there at the moment."""

    def _passes(self, data: bytes) -> bool:
        if self.left is None:
            return True
        if self.left <= 0:
            return False
        self.left -= len(data)
        if self.left <= 0:
            self.cuts.done += 1
        return self.left > 0


# ---------------------------------------------------------------------------------------------------------------- texts


@dataclass
class Outcome:
    """What became of a text."""

    text: tuple[int, ...]
    reconnects: int
    cuts: int
    kills: int
    longest_s: float
    """The longest round."""


@asynccontextmanager
async def proxied(transport: str, edge: EdgeProcess, cuts: Cuts) -> AsyncIterator[str]:
    """The address of a proxy before ``edge``."""
    proxy = (TcpProxy if transport == "zmq" else UdpProxy)(lambda: edge.address, cuts)
    address = await proxy.start()
    try:
        yield address
    finally:
        await proxy.close()


def device_on(link: Link, nonce: int, recovery: Recovery | None = None) -> Device:
    """A device; its numbers are always the same."""
    said = hello(8, nonce=nonce.to_bytes(16, "little"))
    draft = TableDraft(tables()[1])
    return Device(link, draft, said, rng=device_rng(11), reply_timeout_s=20, recovery=recovery)


async def calm_text(
    kind: str, made: Callable[[Link], Device], tokens: int, *, seed: int, master: bytes | None = None
) -> tuple[int, ...]:
    """The text of the device that ``made`` makes, without any disturbance: at an edge in this process.

    ``seed``, ``master``: of the edge, the same as of those that are disturbed.
    """
    verifier, listener = LocalVerifier(TableTarget(tables()[0])), InProcessListener()
    offered = edge_settings(verifier.facts, FINGERPRINT)
    task = asyncio.create_task(serve(listener, verifier, offered, seed=seed, master=master))
    device = made(await listener.connect())
    await device.open()
    await device.prompt([0])
    _ = [round_ async for round_ in device.generate(tokens, KINDS[kind])]
    await device.close()
    await listener.close()
    await task
    verifier.close()
    return device.session.prefix


async def first_link(dialer: Dialer) -> Link:
    """A link to begin with: the first ones may be cut while they come to be."""
    while True:
        with suppress(ConnectError):
            return await dialer.reach(20)


async def text_of(
    transport: str, edge: EdgeProcess, kind: str, *, folder: Path, cuts: Cuts, kills: list[int], nonce: int
) -> Outcome:
    """A text of ``TOKENS`` tokens; the edge is killed and restarted when it has as many tokens as ``kills`` say."""
    tls = ClientTls(ca_file=folder / "ca.pem") if transport == "quic" else None
    async with proxied(transport, edge, cuts) as address:
        dialer = Dialer(transport, address, tls=tls, options=OPTIONS)
        device = device_on(await first_link(dialer), nonce, Recovery(dial=dialer, patience_s=PATIENCE_S))
        killed, longest, restarting = 0, 0.0, None
        try:
            await device.open()
            await device.prompt([0])
            started = time.perf_counter()
            async for _ in device.generate(TOKENS, KINDS[kind]):
                longest, started = max(longest, time.perf_counter() - started), time.perf_counter()
                if kills and len(device.session.prefix) > kills[0]:
                    kills.pop(0)
                    killed += 1
                    if restarting is not None:
                        await restarting
                    edge.kill()
                    restarting = asyncio.create_task(asyncio.to_thread(edge.start))
        finally:
            if restarting is not None:
                await restarting
            await device.close()
        return Outcome(device.session.prefix, device.reconnects, cuts.done, killed, longest)


def plan(what: str, transport: str, seed: int) -> tuple[Cuts, list[int]]:
    """Where links are cut, and when the edge is killed."""
    rng = random.Random(f"{what} {transport} {seed}")
    # The handshakes of the transport and ours take about 1,200 bytes over ZeroMQ, and 9,000 over QUIC; a round 100.
    most = 1800 if transport == "zmq" else 9000
    cuts = [rng.randrange(1, most) for _ in range(rng.randrange(1, 4))] if "cut" in what else []
    kills = sorted(rng.sample(range(1, TOKENS), rng.randrange(1, 3))) if "kill" in what else []
    return Cuts(cuts), kills


def prepare(folder: Path) -> None:
    """Certificates, where they are read from."""
    files = make_dev_certificates(folder / "made")
    for name, path in (("ca.pem", files.ca_file), ("cert.pem", files.cert_file), ("key.pem", files.key_file)):
        (folder / name).write_bytes(Path(path).read_bytes())


class Case:
    """All texts of one transport, at one edge."""

    def __init__(self, transport: str, folder: Path) -> None:
        self.transport, self.folder = transport, folder
        self.edge = EdgeProcess(transport, folder)
        self._texts = 0

    def run(self, what: str, kind: str, seed: int) -> Outcome:
        """One disturbed text; AssertionError if it is not the undisturbed one."""
        cuts, kills = plan(what, self.transport, seed)
        self._texts += 1  # each device says another HELLO
        nonce, master = self._texts, read_master_secret(self.folder / "secret")
        calm = asyncio.run(calm_text(kind, partial(device_on, nonce=nonce), TOKENS, seed=SEED, master=master))
        text = text_of(self.transport, self.edge, kind, cuts=cuts, kills=kills, folder=self.folder, nonce=nonce)
        found = asyncio.run(text)
        if found.text != calm:
            raise AssertionError(f"{self.transport}, {what}, {kind}, seed {seed}: another text")
        return found


def main() -> int:
    """Run all, or be the edge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edge", nargs=4, metavar=("TRANSPORT", "ADDRESS", "FOLDER", "LINKS"))
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--what", nargs="+", choices=WHAT, default=WHAT)
    parser.add_argument("--transports", nargs="+", choices=("zmq", "quic"), default=("zmq", "quic"))
    args = parser.parse_args()
    if args.edge:
        asyncio.run(edge_main(args.edge[0], args.edge[1], Path(args.edge[2]), int(args.edge[3])))
        return 0
    kinds = list(KINDS)
    print("transport  what          texts  reconnects  cuts  kills  longest round")
    logging.disable(logging.WARNING)  # links that break
    for transport in args.transports:
        with TemporaryDirectory() as folder:
            prepare(Path(folder))
            case = Case(transport, Path(folder))
            try:
                for what in args.what:
                    found = [case.run(what, kinds[seed % len(kinds)], seed) for seed in range(args.seeds)]
                    sums = [sum(getattr(one, name) for one in found) for name in ("reconnects", "cuts", "kills")]
                    longest = max(one.longest_s for one in found)
                    counts = f"{len(found):5}  {sums[0]:10}  {sums[1]:4}  {sums[2]:5}"
                    print(f"{transport:9}  {what:12}  {counts}  {longest:.1f} s", flush=True)
            finally:
                case.edge.kill()
    return 0


if __name__ == "__main__":
    sys.exit(main())
