"""What transports add to a round's messages, counted on real sockets: framing, and packets with their headers.

One exchange after the other through a meter on loopback, segments as long as Ethernet's.  Headers are IPv4's and TCP's
with time stamps, or UDP's, for every segment or datagram that travelled, acknowledgements included.  Answers come at
once: over a slow link an answer that takes its time costs TCP one acknowledgement more.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tslt_transports import AllowList, DeviceKeys, EdgeKeys, Link, LinkClosed, PublicKey, SecretKey, connect, listen
from tslt_transports.allow_list import allow
from tslt_transports.devcert import make_dev_certificates

from tslt_benchmarks.meters import Counted, TcpMeter, UdpMeter

EXCHANGES = 20
"""That are counted, after the first."""
DATAGRAM = 1200
"""Most bytes of a plain datagram: what passes anywhere."""
_HEAD = struct.Struct(">II")
"""In front of everything that is sent here: how long it is, and how long the answer is to be."""
Exchange = Callable[[int, int], Awaitable[None]]
"""Sends so many bytes and waits for so many."""


@dataclass(frozen=True, slots=True)
class Added:
    """One transport and one size of messages."""

    transport: str
    title: str
    up: int
    """Bytes of the message up."""
    down: int
    framing_up: float
    """Bytes that the transport's library adds to it."""
    framing_down: float
    packets_up: float
    """Packets that a round takes."""
    packets_down: float
    headers_up: float
    """Bytes of their headers."""
    headers_down: float
    opening_up: int
    """Bytes until the first message is through, it and headers included."""
    opening_down: int


def message(up: int, down: int) -> bytes:
    """``up`` bytes that ask for ``down``; both have to have room for that."""
    return _HEAD.pack(up, down) + bytes(up - _HEAD.size)


# ------------------------------------------------------------------------------------- streams and datagrams alone


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    up, down = _HEAD.unpack(await reader.readexactly(_HEAD.size))
    await reader.readexactly(up - _HEAD.size)
    writer.write(bytes(down))


class _Server:
    """A server of streams that answers one request after the other."""

    def __init__(self, answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> None:
        self._answer = answer
        self._tasks: list[asyncio.Task[None] | None] = []

    async def open(self, tls: ssl.SSLContext | None = None) -> int:
        """Listen; the port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """Wait for the end of the connections, which the meter has ended."""
        self._server.close()
        await asyncio.gather(*(task for task in self._tasks if task is not None))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.append(asyncio.current_task())
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await self._answer(reader, writer)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def _stream(folder: Path | None) -> AsyncIterator[tuple[Exchange, TcpMeter]]:
    """TCP, with TLS where there is a folder of certificates.  The length in front is counted as the message's."""
    server_tls = client_tls = None
    if folder is not None:
        server_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        server_tls.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        client_tls = ssl.create_default_context(cafile=folder / "ca.pem")
    server = _Server(_answer)
    meter = TcpMeter(await server.open(server_tls))
    reader, writer = await asyncio.open_connection("127.0.0.1", await meter.open(), ssl=client_tls)

    async def exchange(up: int, down: int) -> None:
        writer.write(message(up, down))
        await reader.readexactly(down)

    try:
        yield exchange, meter
    finally:
        writer.close()
        await meter.close()
        await server.close()


class _Echo(asyncio.DatagramProtocol):
    """Collects datagrams until ``wanted`` bytes have come, then calls ``done``; a server's first one says how many."""

    def __init__(self, serves: bool) -> None:
        self._serves, self._have, self._answer = serves, 0, 0
        self.wanted = 0
        self.done: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See DatagramProtocol."""
        self.transport: asyncio.DatagramTransport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """See DatagramProtocol."""
        if self._serves and not self._have:
            self.wanted, self._answer = _HEAD.unpack_from(data)
        self._have += len(data)
        if self._have >= self.wanted:
            self._have = 0
            if self._serves:
                self.say(bytes(self._answer), addr)
            elif self.done is not None:
                self.done.set_result(None)

    def say(self, data: bytes, to: tuple[str, int] | None = None) -> None:
        """Send ``data`` in as many datagrams as it takes."""
        for at in range(0, len(data), DATAGRAM):
            self.transport.sendto(data[at : at + DATAGRAM], to)


@asynccontextmanager
async def _datagrams() -> AsyncIterator[tuple[Exchange, UdpMeter]]:
    loop = asyncio.get_running_loop()
    server, _ = await loop.create_datagram_endpoint(lambda: _Echo(True), local_addr=("127.0.0.1", 0))
    meter = UdpMeter(server.get_extra_info("sockname")[1])
    _, client = await loop.create_datagram_endpoint(lambda: _Echo(False), remote_addr=("127.0.0.1", await meter.open()))

    async def exchange(up: int, down: int) -> None:
        client.wanted, client.done = down, loop.create_future()
        client.say(message(up, down))
        await asyncio.wait_for(client.done, 10)

    try:
        yield exchange, meter
    finally:
        server.close()
        client.transport.close()
        await meter.close()


# ------------------------------------------------------------------------------------------------------------ our links


@asynccontextmanager
async def _link(
    transport: str, keys: tuple[DeviceKeys, EdgeKeys] | None
) -> AsyncIterator[tuple[Exchange, TcpMeter | UdpMeter]]:
    listener = await listen(transport, "127.0.0.1:0", keys=keys[1] if keys else None)
    port = int(listener.address.rpartition(":")[2])
    meter = TcpMeter(port) if transport == "zmq" else UdpMeter(port)
    address = f"127.0.0.1:{await meter.open()}"

    async def serve() -> None:
        link = await listener.accept()
        try:
            while True:
                await link.send(bytes(_HEAD.unpack_from(await link.receive())[1]))
        except LinkClosed:
            await link.close()

    task = asyncio.create_task(serve())
    link: Link = await connect(transport, address, keys=keys[0] if keys else None)

    async def exchange(up: int, down: int) -> None:
        await link.send(message(up, down))
        await link.receive()

    try:
        yield exchange, meter
    finally:
        await link.close()
        await task
        await listener.close()
        await meter.close()


# ----------------------------------------------------------------------------------------------------------------- HTTP


async def _http_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server's answer with the headers that uvicorn gives: date, server, length, type."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii").lower()
    length = int(next(line.split(":")[1] for line in head.split("\r\n") if line.startswith("content-length")))
    down = _HEAD.unpack_from(await reader.readexactly(length))[1]
    lines = ["HTTP/1.1 200 OK", "date: Mon, 02 Nov 2026 12:00:00 GMT", "server: uvicorn"]
    lines += [f"content-length: {down}", "content-type: application/json", "", ""]
    writer.write("\r\n".join(lines).encode("ascii") + bytes(down))


@asynccontextmanager
async def _http() -> AsyncIterator[tuple[Exchange, TcpMeter]]:
    """httpx, with its own headers and those that a service gives; a connection that stays open."""
    import httpx

    server = _Server(_http_answer)
    meter = TcpMeter(await server.open())
    address = f"http://127.0.0.1:{await meter.open()}/propose"

    async with httpx.AsyncClient() as client:

        async def exchange(up: int, down: int) -> None:
            headers = {"Content-Type": "application/msgpack"}
            (await client.post(address, content=message(up, down), headers=headers)).raise_for_status()

        yield exchange, meter
    await meter.close()
    await server.close()


# ------------------------------------------------------------------------------------------------------------ measuring

Way = AbstractAsyncContextManager[tuple[Exchange, TcpMeter | UdpMeter]]


def ways(folder: Path) -> dict[str, tuple[str, Callable[[], Way]]]:
    """Title and opener of every transport, by name; ``folder``: for keys and certificates, which are made."""
    edge, device = SecretKey.make("edge"), SecretKey.make("device")
    device.write(folder / "device.key")
    edge.write(folder / "edge.key")
    (folder / "edge.pub").write_text(edge.public.line + "\n", encoding="ascii")
    allow(folder / "allowed", device.public)
    make_dev_certificates(folder)
    keys = (
        DeviceKeys(own=device, edge=PublicKey.read(folder / "edge.pub")),
        EdgeKeys(own=edge, allowed=AllowList(folder / "allowed")),
    )
    return {
        "udp": ("UDP, datagrams of 1,200", _datagrams),
        "tcp": ("TCP", lambda: _stream(None)),
        "tls": ("TLS 1.3 over TCP", lambda: _stream(folder)),
        "http": ("HTTP/1.1, kept open", _http),
        "zmq": ("tslt ZeroMQ, no keys", lambda: _link("zmq", None)),
        "curve": ("tslt ZeroMQ, CURVE", lambda: _link("zmq", keys)),
        "quic": ("tslt QUIC, keys", lambda: _link("quic", keys)),
    }


async def _measure(name: str, title: str, way: Way, up: int, down: int) -> Added:
    async with way as (exchange, meter):
        await exchange(up, down)
        first = meter.counted()
        for _ in range(EXCHANGES):
            await exchange(up, down)
        each = meter.counted().minus(first)
        return added(name, title, up, down, first, each, meter.header)


def added(name: str, title: str, up: int, down: int, first: Counted, then: Counted, header: int) -> Added:
    """What ``then``, ``EXCHANGES`` exchanges after ``first``, says of a transport."""
    return Added(
        transport=name,
        title=title,
        up=up,
        down=down,
        framing_up=then.up / EXCHANGES - up,
        framing_down=then.down / EXCHANGES - down,
        packets_up=then.packets_up / EXCHANGES,
        packets_down=then.packets_down / EXCHANGES,
        headers_up=header * then.packets_up / EXCHANGES,
        headers_down=header * then.packets_down / EXCHANGES,
        opening_up=first.up + header * first.packets_up,
        opening_down=first.down + header * first.packets_down,
    )


def measure_transports(sizes: list[tuple[int, int]], names: list[str] | None = None) -> list[Added]:
    """Every transport (or those of ``names``) with messages of every size (bytes up, down; at least 8 up, 1 down)."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name, (title, opener) in ways(Path(folder)).items():
            if names is None or name in names:
                found += [asyncio.run(_measure(name, title, opener(), up, down)) for up, down in sizes]
    return found
