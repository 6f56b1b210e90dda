"""PINGs without end, of the link and of ZMTP, on links that are open: each costs the edge time, and an answer."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time

import stage
from tslt_transports import LinkOptions
from tslt_transports.control import ControlType, PeerLimits, encode_greeting, encode_ping
from tslt_transports.zmtp import COMMAND, MORE, encode, greeting

READY = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
HELLO = encode_greeting(ControlType.HELLO, PeerLimits.of(LinkOptions()))


async def attack(address: str, until: float) -> None:
    host, port = address.removeprefix("tcp://").split(":")

    async def one(ping: bytes) -> None:
        while time.monotonic() < until:
            with contextlib.suppress(ConnectionError):
                _, writer = await asyncio.open_connection(host, int(port))
                writer.write(greeting(b"NULL") + encode(COMMAND, READY) + encode(MORE, b"") + encode(0, HELLO))
                for _ in range(50):
                    writer.write(ping * 5000)
                    await writer.drain()
                writer.close()
            await asyncio.sleep(0.01)

    of_the_link = encode(MORE, b"") + encode(0, encode_ping())
    of_zmtp = encode(COMMAND, b"\x04PING\x00\x0a" + bytes(16))
    await asyncio.gather(one(of_the_link), one(of_zmtp))


if __name__ == "__main__":
    sys.exit(stage.main(attack, transport="zmq"))
