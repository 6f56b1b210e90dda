"""QUIC PINGs without end on links that are open: each is a datagram that the edge decrypts and answers."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time

import stage
from aioquic.asyncio import QuicConnectionProtocol
from aioquic.asyncio import connect as raw_connect
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated
from tslt_transports import LinkOptions
from tslt_transports.control import ControlType, PeerLimits, encode_greeting
from tslt_transports.framing import encode_control

HELLO = encode_control(encode_greeting(ControlType.HELLO, PeerLimits.of(LinkOptions())))


class Pinger(QuicConnectionProtocol):
    is_over = False

    def quic_event_received(self, event):
        self.is_over |= isinstance(event, ConnectionTerminated)


async def attack(address: str, until: float) -> None:
    host, port = address.split(":")
    configuration = QuicConfiguration(is_client=True, alpn_protocols=["tslt/1"], verify_mode=False)
    while time.monotonic() < until:
        with contextlib.suppress(ConnectionError):
            async with raw_connect(host, int(port), configuration=configuration, create_protocol=Pinger) as peer:
                peer._quic.send_stream_data(0, HELLO)
                while time.monotonic() < until and not peer.is_over:
                    for uid in range(20):
                        peer._quic.send_ping(uid)
                        peer.transmit()
                    await asyncio.sleep(0.001)


if __name__ == "__main__":
    sys.exit(stage.main(attack, transport="quic", most_mib=64))
