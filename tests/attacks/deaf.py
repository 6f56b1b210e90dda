"""Devices that ask and never read: each keeps its place for as long as somebody waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time

import stage
from tslt_transports import Link, LinkClosed, LinkError, LinkOptions, connect

import tslt_wire as tw

LINKS = 8
SEND_TIMEOUT_S = 0.5
DEAF = LinkOptions(queue_frames=1)


async def attack(address: str, until: float) -> None:
    async def one() -> None:
        while time.monotonic() < until:
            with contextlib.suppress(LinkError):
                await deaf(await connect("zmq", address, options=DEAF), until)

    await asyncio.gather(*(one() for _ in range(LINKS)))


async def deaf(link: Link, until: float) -> None:
    """WELCOME fills the window of this link, so that the ERROR behind it waits until somebody reads."""
    session = tw.DeviceSession(stage.hello(len(stage.DRAFT)))
    with contextlib.suppress(LinkClosed):
        await link.send(session.data_to_send())
        await link.send(b"nonsense")
        while time.monotonic() < until and not link.ended:
            await asyncio.sleep(0.02)


async def places_come_back(edge: stage.Edge) -> str | None:
    started = time.monotonic()
    await deaf(await connect("zmq", edge.address, options=DEAF), started + 30)
    waited = time.monotonic() - started
    return None if SEND_TIMEOUT_S <= waited < 15 else f"a place was held for {waited:.1f} s"


if __name__ == "__main__":
    options = ("--send-timeout", str(SEND_TIMEOUT_S), "--max-links", str(2 * LINKS))
    sys.exit(stage.main(attack, transport="zmq", options=options, check=places_come_back))
