"""The device's end of a QUIC connection: it opens the stream, says hello, and proves its key where it is asked to."""

from __future__ import annotations

import asyncio
from typing import cast

from aioquic.quic.connection import QuicConnection

from tslt_transports.address import HostPort
from tslt_transports.control import (
    Control,
    ControlError,
    ControlType,
    PeerLimits,
    decode_control,
    encode_greeting,
    encode_proof,
)
from tslt_transports.flow_control import NO_EDGE_HINT
from tslt_transports.framing import Unit
from tslt_transports.keys import DEMANDED_HINT, NO_KEYS_HINT, DeviceKeys
from tslt_transports.link import ClientTls, LinkOptions
from tslt_transports.proof import statement
from tslt_transports.quic_bounds import peer_certificate
from tslt_transports.quic_endpoint import QuicEndpoint, QuicLink
from tslt_transports.quic_tls import ALPN, PIN_HINT, mistaken_edge


class DeviceEndpoint(QuicEndpoint):
    """The device's side of one connection."""

    def __init__(
        self,
        quic: QuicConnection,
        *,
        options: LinkOptions,
        target: HostPort,
        tls: ClientTls | None,
        keys: DeviceKeys | None,
        edge: str,
    ) -> None:
        """``target``: the numeric address of the edge; ``edge``: the name that it proves, in words."""
        super().__init__(quic, options=options)
        self.link = QuicLink(peer=f"quic://{target}", target=target, options=options, endpoint=self, identity=edge)
        self._link = self.link
        self._tls = tls
        self._keys = keys
        self._hello = encode_greeting(ControlType.HELLO, PeerLimits.of(options))
        self._challenged = False

    def on_open(self, alpn: str | None) -> None:
        """Look at the edge's certificate, and say hello; give up where aioquic has taken another protocol."""
        if alpn != ALPN:
            self._give_up(f"the edge does not speak {ALPN} (ALPN)")
            return
        mistake = mistaken_edge(peer_certificate(self._quic), self._tls, self._keys)
        if mistake is not None:
            self._give_up(mistake, hint=PIN_HINT)
            return
        self.link.write_control(self._hello)
        self.link.start_keepalive()

    def on_unit(self, unit: Unit) -> bool:
        """There is a link from the start."""
        self.deliver(self.link, unit)
        return True

    def on_control(self, link: QuicLink, data: bytes) -> None:
        """Answer the edge's challenge; all else is the link's."""
        if not link.greeted.done() and not link.ended:
            control = decode_control(data)  # ControlError: the caller's
            if control.type is ControlType.CHALLENGE:
                self._prove(control, data)
                return
            if control.type is ControlType.WELCOME and self._keys is not None and not self._challenged:
                self._give_up("the edge did not ask for this device's key: it talks to anybody", hint=NO_KEYS_HINT)
                return
        super().on_control(link, data)

    def _prove(self, challenge: Control, data: bytes) -> None:
        if self._challenged:
            raise ControlError("a second CHALLENGE")
        self._challenged = True
        if self._keys is None:
            self._give_up("the edge demands a key, and this device has none", hint=DEMANDED_HINT)
            return
        own = self._keys.own
        said = statement(certificate=peer_certificate(self._quic), hello=self._hello, challenge=data)
        self.link.write_control(encode_proof(own.public.signing, own.sign(said)))

    def _give_up(self, reason: str, *, hint: str = NO_EDGE_HINT) -> None:
        self.lose(self.link, reason, hint=hint)

    def error_received(self, exc: Exception) -> None:
        """An ICMP error.  Believed only before the link is open: later anyone could forge one to end it."""
        if not self.link.greeted.done():
            self.link.lose(f"nobody answered ({exc})")

    def release_socket(self) -> None:
        """Close the UDP socket, which belongs to this connection."""
        cast("asyncio.DatagramTransport", self._transport).close()
