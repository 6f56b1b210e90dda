"""Carries bytes between two ends on loopback and counts them: streams and their segments, datagrams.

A segment and a datagram are what travels in a packet of its own; what IP and TCP or UDP put in front of them is known.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

TCP_HEADER = 20 + 20 + 12
"""Bytes of IPv4, TCP and its time stamps in front of a segment."""
UDP_HEADER = 20 + 8
"""Bytes of IPv4 and UDP in front of a datagram."""
_MAXSEG = 1460
"""Bytes that a segment may have on Ethernet, time stamps included: loopback would take 64 KB."""
_SEGMENTS_AT = 136
"""Where Linux's ``struct tcp_info`` has ``tcpi_segs_out`` and ``tcpi_segs_in``."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What travelled so far."""

    up: int = 0
    """Bytes of streams, or of datagrams, from those who connect."""
    down: int = 0
    packets_up: int = 0
    """Segments, those without bytes included, or datagrams; 0 where the system does not say."""
    packets_down: int = 0

    def minus(self, other: Counted) -> Counted:
        """What travelled since ``other``."""
        return Counted(
            self.up - other.up,
            self.down - other.down,
            self.packets_up - other.packets_up,
            self.packets_down - other.packets_down,
        )


class TcpMeter:
    """Stands before a server of streams; who connects, connects to it."""

    header = TCP_HEADER

    def __init__(self, port: int) -> None:
        """``port``: of the server, on 127.0.0.1."""
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()
        self._sockets: list[Any] = []
        self._writers: list[asyncio.StreamWriter] = []
        self.up = self.down = 0

    async def open(self) -> int:
        """Listen; the port."""
        door = socket.socket()
        with suppress(OSError, AttributeError):
            door.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _MAXSEG)
        door.bind(("127.0.0.1", 0))
        self._server = await asyncio.start_server(self._carry, sock=door)
        port: int = door.getsockname()[1]
        return port

    async def close(self) -> None:
        """Take no more clients, and end the connections that there are."""
        self._server.close()
        for writer in self._writers:
            writer.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def counted(self) -> Counted:
        """So far, of all connections that are open."""
        out = into = 0
        for each in self._sockets:
            with suppress(OSError, AttributeError, struct.error):
                info = each.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SEGMENTS_AT + 8)
                sent, received = struct.unpack_from("<II", info, _SEGMENTS_AT)
                out, into = out + sent, into + received
        return Counted(self.up, self.down, into, out)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._sockets.append(writer.get_extra_info("socket"))
        theirs, ours = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, ours]

        async def up() -> None:
            while data := await reader.read(1 << 16):
                self.up += len(data)
                ours.write(data)
            ours.close()

        async def down() -> None:
            while data := await theirs.read(1 << 16):
                self.down += len(data)
                writer.write(data)
            writer.close()

        with suppress(OSError):
            self._tasks |= {asyncio.create_task(up()), asyncio.create_task(down())}


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, arrived: Callable[[bytes, Any], None]) -> None:
        self._arrived = arrived

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._arrived(data, addr)


class UdpMeter:
    """Stands before a server of datagrams, for one client."""

    header = UDP_HEADER

    def __init__(self, port: int) -> None:
        """``port``: of the server, on 127.0.0.1."""
        self._port = port
        self._counts = [0, 0, 0, 0]
        self._client: Any = None

    async def open(self) -> int:
        """Listen; the port."""
        loop = asyncio.get_running_loop()
        self._door, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self._up), local_addr=("127.0.0.1", 0))
        self._server, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self._down), remote_addr=("127.0.0.1", self._port)
        )
        port: int = self._door.get_extra_info("sockname")[1]
        return port

    async def close(self) -> None:
        """Carry nothing any more."""
        self._door.close()
        self._server.close()

    def counted(self) -> Counted:
        """So far."""
        return Counted(*self._counts)

    def _up(self, data: bytes, address: Any) -> None:
        self._client = address
        self._counts[0] += len(data)
        self._counts[2] += 1
        self._server.sendto(data)

    def _down(self, data: bytes, _: Any) -> None:
        self._counts[1] += len(data)
        self._counts[3] += 1
        self._door.sendto(data, self._client)
