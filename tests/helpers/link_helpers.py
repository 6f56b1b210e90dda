"""What the transport suites share: limits for a busy machine, and small peers."""

from __future__ import annotations

from dataclasses import replace

from tslt_transports import Link, LinkClosed, LinkOptions

# On a busy machine a handshake or a last acknowledgement may take seconds; no test but those of time-outs minds.
PATIENT = LinkOptions(connect_timeout_s=60.0, peer_timeout_s=60.0, linger_s=30.0)
QUICK = replace(PATIENT, heartbeat_s=0.25, peer_timeout_s=3.0)
SOON_S = 40.0  # "soon" on a machine that is busy with other things


async def echo(link: Link) -> None:
    """Answer every frame with itself until the link ends."""
    try:
        while True:
            await link.send(await link.receive())
    except LinkClosed:
        return


async def end_of(link: Link) -> tuple[list[bytes], LinkClosed]:
    """Receive to the end."""
    frames: list[bytes] = []
    while True:
        try:
            frames.append(await link.receive())
        except LinkClosed as closed:
            return frames, closed


def numbered(index: int, size: int) -> bytes:
    return index.to_bytes(4, "little") + bytes(size - 4)
