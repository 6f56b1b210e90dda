"""The edge's end of QUIC links: the UDP socket, the connections on it, and who may have a link."""

from __future__ import annotations

import asyncio
from typing import Final, cast

from aioquic._buffer import Buffer
from aioquic.asyncio.server import QuicServer
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicPacketType, pull_quic_header
from aioquic.quic.retry import QuicRetryTokenHandler
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tslt_transports.accepting import BaseListener, Doorstep, cannot_listen
from tslt_transports.address import HostPort
from tslt_transports.allow_list import EdgeKeys
from tslt_transports.control import (
    Control,
    ControlType,
    PeerLimits,
    decode_control,
    encode_challenge,
    encode_greeting,
)
from tslt_transports.flow_control import NO_EDGE_HINT, name_of_device
from tslt_transports.framing import Unit, encode_control
from tslt_transports.link import LinkOptions
from tslt_transports.proof import Unproven, check_proof, new_nonce, statement
from tslt_transports.quic_bounds import bound_receiver, check_retries
from tslt_transports.quic_endpoint import QuicEndpoint, QuicLink
from tslt_transports.quic_ends import CloseCode
from tslt_transports.quic_tls import ALPN

_LONG_HEADER: Final = 0x80
"""The first bit of a packet that belongs to a handshake (RFC 9000, section 17.2)."""

_RETRY_FROM: Final = 1 / 16
"""Share of the places for connections without a link from which on an address must be proven first: one round trip
more, and nothing is kept of who does not answer (RFC 9000, section 8.1.2)."""


class _EdgeEndpoint(QuicEndpoint):
    """The edge's side of one connection."""

    def __init__(self, quic: QuicConnection, *, options: LinkOptions, listener: QuicListener) -> None:
        super().__init__(quic, options=options)
        self._units.max_frame_bytes = 0  # until there is a link, and then as much as its windows allow
        self._listener = listener
        self._greeting: Control | None = None
        self._said = b""  # what the device is to sign
        listener.half_open.add(self)
        self._deadline = self._loop.call_later(options.connect_timeout_s, self._too_late)

    def on_open(self, alpn: str | None) -> None:
        """Refuse a device of another protocol where aioquic has not."""
        if alpn != ALPN:
            self._refuse(f"the protocol must be {ALPN} (ALPN)")

    def on_unit(self, unit: Unit) -> bool:
        """Before there is a link, the greeting or a proof."""
        if self._link is None:
            return self._on_stranger(unit)
        self.deliver(self._link, unit)
        return True

    def _on_stranger(self, unit: Unit) -> bool:
        """Take the greeting, and the proof where one is asked for; make it a link if there is room."""
        control = decode_control(unit.data)
        keys = self._listener.keys
        if self._greeting is None:
            if control.type is not ControlType.HELLO:
                return self._refuse("the first message was no greeting")
            if keys is None:
                return self._open(control, identity="")
            self._greeting = control
            challenge = encode_challenge(PeerLimits.of(self._options), new_nonce())
            self._said = statement(certificate=self._listener.certificate, hello=unit.data, challenge=challenge)
            self.write(encode_control(challenge))
            return True
        if control.type is not ControlType.PROOF or keys is None:
            return self._refuse("a CHALLENGE is answered with a PROOF", code=CloseCode.KEY, kind="key")
        try:
            device = check_proof(keys, control, self._said)
        except Unproven as unproven:
            return self._refuse(str(unproven), code=CloseCode.KEY, kind="key")
        return self._open(self._greeting, identity=device.name)

    def _open(self, greeting: Control, *, identity: str) -> bool:
        refusal = self._listener.backlog.refusal()
        if refusal is not None or greeting.limits is None:
            return self._refuse(refusal or "the first message was no greeting", kind="full" if refusal else "protocol")
        self._settled()
        self._units.max_frame_bytes = self._options.max_frame_bytes
        self._link = QuicLink(
            peer=name_of_device(identity, f"quic://{self._last_address}"),
            target=self._last_address,
            options=self._options,
            endpoint=self,
            identity=identity,
        )
        self._link.negotiate(greeting.limits)
        self._link.write_control(encode_greeting(ControlType.WELCOME, PeerLimits.of(self._options)))
        self._listener.backlog.add(self._link)
        return True

    def abort(self) -> None:
        """Close the connection at once."""
        self._refuse("the edge is shutting down", kind="full")

    def give_way(self) -> None:
        """Likewise: others want its place."""
        self._refuse("the edge has too many connections that say nothing; try again", kind="crowded")

    def _too_late(self) -> None:
        self._refuse("no greeting in time", kind="silent")

    def _give_up(self, reason: str, *, hint: str = NO_EDGE_HINT) -> None:
        if self._link is None:
            self._refuse(reason)
        else:
            self.lose(self._link, reason, hint=hint)

    def _on_terminated(self, event: events.ConnectionTerminated) -> None:
        self._settled()
        super()._on_terminated(event)

    def _refuse(self, reason: str, *, code: CloseCode = CloseCode.REFUSED, kind: str = "protocol") -> bool:
        self._settled()
        self._listener.refused(self._last_address.host, reason, kind=kind)
        self.hang_up(code, reason)
        return False

    def _settled(self) -> None:
        self._deadline.cancel()
        self._listener.half_open.discard(self)


class _Server(QuicServer):
    """aioquic's demultiplexer, which under load makes a stranger prove its address first."""

    def __init__(self, listener: QuicListener, configuration: QuicConfiguration) -> None:
        super().__init__(configuration=configuration, create_protocol=listener.make_endpoint)
        check_retries(self)
        self._listener = listener
        self._tokens = QuicRetryTokenHandler()

    def datagram_received(self, data: bytes | str, addr: tuple[str, int]) -> None:
        """See ``asyncio.DatagramProtocol``."""
        if isinstance(data, bytes) and data[:1] >= bytes([_LONG_HEADER]):
            proves = self._listener.is_crowded or _has_token(data)
            self._retry = self._tokens if proves else None  # type: ignore[assignment]  # aioquic starts with None
        super().datagram_received(data, addr)


def _has_token(data: bytes) -> bool:
    """Whether a packet brings the token of a Retry, which is then checked even if the crowd is gone."""
    try:
        header = pull_quic_header(Buffer(data=data), host_cid_length=8)
    except ValueError:
        return False
    return header.packet_type is QuicPacketType.INITIAL and bool(header.token)


class QuicListener(BaseListener):
    """The edge's UDP socket and the connections on it."""

    def __init__(self, *, options: LinkOptions, keys: EdgeKeys | None) -> None:
        """Make a listener that is not bound yet."""
        super().__init__(address="quic", options=options)
        self.keys = keys
        """The edge's, and the devices that may talk; None: anybody may."""
        self.certificate = b""
        """The edge's, in DER."""
        self._server: _Server | None = None
        self.half_open = Doorstep[_EdgeEndpoint](most=options.max_links)
        """Connections that have no link yet."""

    @property
    def is_crowded(self) -> bool:
        """Whether so many connections have no link yet that a new one must prove its address first."""
        return len(self.half_open) >= _RETRY_FROM * self.half_open.most

    async def _stop(self) -> None:
        for connection in self.half_open:
            connection.abort()
        if self._server is not None:
            self._server.close()
            self._server = None

    async def bind(self, target: HostPort, configuration: QuicConfiguration) -> None:
        """Start to listen.  Raises ``LinkError`` where that fails."""
        self.certificate = cast("x509.Certificate", configuration.certificate).public_bytes(Encoding.DER)
        try:
            transport, self._server = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: _Server(self, configuration), local_addr=(target.host, target.port)
            )
        except OSError as error:
            raise cannot_listen(target, error) from error
        host, port = transport.get_extra_info("sockname")[:2]
        self._address = str(HostPort(host, port))

    def make_endpoint(self, quic: QuicConnection, stream_handler: object) -> _EdgeEndpoint:
        """Make the protocol of a new connection, for aioquic."""
        bound_receiver(quic, peer_streams=1)
        return _EdgeEndpoint(quic, options=self._options, listener=self)
