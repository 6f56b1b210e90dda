"""Strangers that are refused as fast as they come: a line of log each would fill the disk."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time

import stage
from tslt_transports.rates import LOG_LINES_A_SECOND

STARTED = time.monotonic()


async def attack(address: str, until: float) -> None:
    host, port = address.removeprefix("tcp://").split(":")
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            writer.close()
        await asyncio.sleep(0)


async def few_lines(edge: stage.Edge) -> str | None:
    lines = len(edge.log.read_text().splitlines())
    most = LOG_LINES_A_SECOND * (time.monotonic() - STARTED + 2)
    return None if 0 < lines <= most else f"{lines} lines of log, {most:.0f} are allowed"


if __name__ == "__main__":
    sys.exit(stage.main(attack, transport="zmq", check=few_lines))
