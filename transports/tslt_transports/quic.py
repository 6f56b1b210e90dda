"""Links over QUIC: TLS 1.3, one connection and one bidirectional stream a link, opened by the device.

Frames are delimited as ``framing`` says, 1 to 4 bytes each.  The clean end of a link is the end of the stream, which
the other side answers with the end of its own, whereupon the first closes the connection with code 0; every other end
of the connection is a loss.  Refusals and losses travel as the code and reason of CONNECTION_CLOSE.

Cost of keepalive: after ``heartbeat_s`` in which it sent nothing the device sends a QUIC PING, a UDP datagram of about
30 bytes that the edge acknowledges with another, which also keeps a NAT's binding open.  The connection's idle timeout
is the smaller ``peer_timeout_s`` of the two ends: how a killed peer is noticed, on either side.

Backpressure is the windows of ``flow_control``.  aioquic's own windows double as bytes *arrive*, read or not, and its
reassembly buffer grows to the furthest offset seen, so a hostile peer could grow it without end: see ``quic_bounds``.
"""

from __future__ import annotations

import asyncio
import socket as stdlib_socket
from typing import Final

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import QuicServer
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

from tslt_transports.accepting import BaseListener, cannot_listen
from tslt_transports.address import HostPort, parse_address, parse_target
from tslt_transports.control import (
    ControlError,
    ControlType,
    PeerLimits,
    decode_control,
    encode_greeting,
)
from tslt_transports.dialing import dial
from tslt_transports.flow_control import Channel, Parting
from tslt_transports.framing import Unit, UnitDecoder, encode_control, encode_frame, prefix_bytes
from tslt_transports.link import ClientTls, ConnectError, LinkOptions, ServerTls
from tslt_transports.quic_bounds import bound_receiver
from tslt_transports.quic_ends import MAX_REASON_CHARACTERS, CloseCode, explain
from tslt_transports.quic_tls import ALPN, client_configuration, server_configuration
from tslt_transports.untrusted import printable

STREAM_ID: Final = 0
"""The first bidirectional stream that a client opens, and the only one there is."""

_MIN_HALF_OPEN: Final = 64
"""Connections without a link that an edge holds at least, however few links it may have: handshakes take a while."""

_LONG_HEADER: Final = 0x80
"""The first bit of a packet that belongs to a handshake (RFC 9000, section 17.2)."""

_PING_UID: Final = 0
"""What aioquic shall call our PINGs; nobody asks for their acknowledgement."""

_CONNECT_HINT: Final = "check that the edge runs and speaks QUIC, its address and port, and that UDP passes"


class QuicLink(Channel):
    """Either end of a link over QUIC."""

    def __init__(self, *, target: HostPort, options: LinkOptions, endpoint: _Endpoint) -> None:
        """``endpoint`` is the connection that carries the link, ``target`` the numeric address of its other end."""
        super().__init__(peer=f"quic://{target}", options=options, address=target.host)
        self._endpoint = endpoint
        self._keeper: asyncio.Task[None] | None = None

    def start_keepalive(self) -> None:
        """Ping the peer when idle.  Only the device does: the edge's answers tell it as much."""
        self._keeper = asyncio.create_task(self.keep_alive())

    def frame_overhead(self, size: int) -> int:
        """The bytes of the length prefix, 1 to 4."""
        return prefix_bytes(size)

    def _write_frame(self, frame: bytes) -> None:
        self._endpoint.write(encode_frame(frame))

    def _write_control(self, data: bytes) -> None:
        self._endpoint.write(encode_control(data))

    def _send_keepalive(self) -> None:
        self._endpoint.ping_peer()

    def _hang_up(self, parting: Parting, reason: str) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
        if parting is Parting.CLEAN:
            self._endpoint.end_stream()
        elif not self._endpoint.peer_ended:
            self._endpoint.hang_up(CloseCode.LOST, printable(reason) if parting is Parting.LOSS else "")

    async def _flush(self) -> None:
        await self._endpoint.finish(linger_s=self._options.linger_s)


class _Endpoint(QuicConnectionProtocol):
    """One QUIC connection: turns its events into calls on the link."""

    def __init__(self, quic: QuicConnection, *, options: LinkOptions) -> None:
        super().__init__(quic)
        self._options = options
        self._units = UnitDecoder(max_frame_bytes=options.max_frame_bytes)
        self._link: QuicLink | None = None
        self.peer_ended = False  # cleanly: the end of its stream arrived
        self._we_ended = False
        self._over = asyncio.Event()  # both ended, or the connection is gone
        self._last_address = HostPort("unknown", 0)

    # ---- for the link

    def write(self, data: bytes) -> None:
        """Send bytes on the stream. aioquic buffers them; the windows of ``flow_control`` bound how many."""
        self._quic.send_stream_data(STREAM_ID, data)
        self.transmit()

    def ping_peer(self) -> None:
        """Send a QUIC PING."""
        self._quic.send_ping(_PING_UID)
        self.transmit()

    def end_stream(self) -> None:
        """Send the end of the stream behind everything sent so far."""
        self._we_ended = True
        self._quic.send_stream_data(STREAM_ID, b"", end_stream=True)
        self.transmit()

    def hang_up(self, code: CloseCode, reason: str) -> None:
        """Close the connection; what is not acknowledged yet is not sent again."""
        self.close(error_code=code, reason_phrase=reason[:MAX_REASON_CHARACTERS])

    async def finish(self, *, linger_s: float) -> None:
        """Wait until the peer has answered the end of the stream, ``linger_s`` seconds at most."""
        if self._we_ended and not self.peer_ended:
            try:
                await asyncio.wait_for(self._over.wait(), linger_s)
            except TimeoutError:
                self.hang_up(CloseCode.ABANDONED, "not everything sent was confirmed in time")
        self.release_socket()

    def release_socket(self) -> None:
        """Let go of the UDP socket where this connection has one of its own."""

    # ---- for subclasses

    def on_open(self, alpn: str | None) -> None:
        """The handshake is complete."""

    def on_stranger(self, unit: Unit) -> None:
        """A unit arrived and there is no link yet."""

    # ---- for aioquic

    def datagram_received(self, data: bytes | str, addr: tuple[str, int]) -> None:
        """See ``asyncio.DatagramProtocol``."""
        self._last_address = HostPort(addr[0], addr[1])
        if self._link is not None:
            self._link.heard()
        super().datagram_received(data, addr)

    def quic_event_received(self, event: events.QuicEvent) -> None:
        """Act on one event of the connection."""
        match event:
            case events.HandshakeCompleted():
                self.on_open(event.alpn_protocol)
            case events.StreamDataReceived(stream_id=stream_id) if stream_id == STREAM_ID:
                self._on_data(event.data, ended=event.end_stream)
            case events.StreamReset() | events.StopSendingReceived():
                self._give_up("the peer reset the stream")
            case events.ConnectionTerminated():
                self._on_terminated(event)
            case _:
                pass

    def _on_data(self, data: bytes, *, ended: bool) -> None:
        try:
            for unit in self._units.feed(data):
                link = self._link
                if link is None:
                    self.on_stranger(unit)
                    if self._link is None:
                        return  # refused
                elif unit.is_control:
                    link.deliver_control(unit.data)
                else:
                    link.deliver_frame(unit.data)
        except ControlError as error:
            self._give_up(f"the peer broke the transport protocol: {error}")
            return
        if ended:
            if self._link is None or self._units.pending_bytes:
                self._give_up("the stream ended inside a frame")
                return
            self.peer_ended = True
            self._link.deliver_end()
            if self._we_ended:
                self._over.set()
                self.hang_up(CloseCode.DONE, "")
            else:
                self.end_stream()

    def _give_up(self, reason: str) -> None:
        if self._link is not None:
            self._link.lose(reason, tell=True)
        self.hang_up(CloseCode.LOST, reason)

    def _on_terminated(self, event: events.ConnectionTerminated) -> None:
        self._over.set()
        if self._link is not None:
            ending = explain(event, is_overdue=self._link.is_overdue)
            self._link.lose(ending.reason, hint=ending.hint)
        self.release_socket()


class _DeviceEndpoint(_Endpoint):
    """The device's side: it opens the stream and says hello."""

    def __init__(self, quic: QuicConnection, *, options: LinkOptions, target: HostPort) -> None:
        super().__init__(quic, options=options)
        self.link = QuicLink(target=target, options=options, endpoint=self)
        self._link = self.link

    def on_open(self, alpn: str | None) -> None:
        """Say hello."""
        if alpn != ALPN:
            self._give_up(f"the edge does not speak {ALPN} (ALPN)")
            return
        self.link.write_control(encode_greeting(ControlType.HELLO, PeerLimits.of(self._options)))
        self.link.start_keepalive()

    def error_received(self, exc: Exception) -> None:
        """An ICMP error.  Believed only before the link is open: later anyone could forge one to end it."""
        if not self.link.greeted.done():
            self.link.lose(f"nobody answered ({exc})")

    def release_socket(self) -> None:
        """Close the UDP socket, which belongs to this connection."""
        if self._transport is not None:
            self._transport.close()


class _EdgeEndpoint(_Endpoint):
    """The edge's side of one connection."""

    def __init__(self, quic: QuicConnection, *, options: LinkOptions, listener: QuicListener) -> None:
        super().__init__(quic, options=options)
        self._listener = listener
        listener.half_open.add(self)
        self._deadline = self._loop.call_later(options.connect_timeout_s, self._refuse, "no greeting in time")

    def on_open(self, alpn: str | None) -> None:
        """Refuse a device that named no protocol at all; aioquic refuses one that named another."""
        if alpn != ALPN:
            self._refuse(f"the protocol must be {ALPN} (ALPN)")

    def on_stranger(self, unit: Unit) -> None:
        """Take the greeting, and make it a link if there is room."""
        if not unit.is_control:
            self._refuse("a frame came before the greeting")
            return
        greeting = decode_control(unit.data)
        if greeting.type is not ControlType.HELLO or greeting.limits is None:
            self._refuse("the first message was no greeting")
            return
        refusal = self._listener.backlog.refusal()
        if refusal is not None:
            self._refuse(refusal)
            return
        self._settled()
        self._link = QuicLink(target=self._last_address, options=self._options, endpoint=self)
        self._link.negotiate(greeting.limits)
        self._link.write_control(encode_greeting(ControlType.WELCOME, PeerLimits.of(self._options)))
        self._listener.backlog.add(self._link)

    def _on_terminated(self, event: events.ConnectionTerminated) -> None:
        self._settled()
        super()._on_terminated(event)

    def _refuse(self, reason: str) -> None:
        self._settled()
        self.hang_up(CloseCode.REFUSED, reason)

    def _settled(self) -> None:
        self._deadline.cancel()
        self._listener.half_open.discard(self)


class _Server(QuicServer):
    """aioquic's demultiplexer, with a bound on connections that have no link yet."""

    def __init__(self, listener: QuicListener, configuration: QuicConfiguration) -> None:
        super().__init__(configuration=configuration, create_protocol=listener.make_endpoint)
        self._listener = listener

    def datagram_received(self, data: bytes | str, addr: tuple[str, int]) -> None:
        """See ``asyncio.DatagramProtocol``."""
        # A long header (first bit set) belongs to a handshake.  Beyond the bound new ones are not answered, so that a
        # flood of first packets costs bandwidth but no memory; devices repeat theirs.
        is_handshake = isinstance(data, bytes) and data[:1] >= bytes([_LONG_HEADER])
        if not (is_handshake and self._listener.is_crowded):
            super().datagram_received(data, addr)


class QuicListener(BaseListener):
    """The edge's UDP socket and the connections on it."""

    def __init__(self, *, options: LinkOptions) -> None:
        """Make a listener that is not bound yet."""
        super().__init__(address="quic", options=options)
        self._server: _Server | None = None
        self.half_open: set[_EdgeEndpoint] = set()
        """Connections that have no link yet."""

    @property
    def is_crowded(self) -> bool:
        """Whether too many connections have no link yet."""
        return len(self.half_open) >= max(_MIN_HALF_OPEN, self._options.max_links)

    def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def bind(self, target: HostPort, configuration: QuicConfiguration) -> None:
        """Start to listen.  Raises ``LinkError`` where that fails."""
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


async def connect(address: str, *, options: LinkOptions, tls: ClientTls | None) -> QuicLink:
    """Open a link to the edge at ``address``; see ``registry.connect``.  No ``tls``: the public authorities."""
    target = parse_target(address, scheme="quic")
    configuration = client_configuration(options, tls or ClientTls(), host=target.host, address=address)

    async def start(candidate: HostPort) -> QuicLink:
        return await _start(candidate, configuration, options, address)

    return await dial(
        target,
        address=address,
        kind=stdlib_socket.SOCK_DGRAM,
        start=start,
        timeout_s=options.connect_timeout_s,
        hint=_CONNECT_HINT,
    )


async def listen(address: str, *, options: LinkOptions, tls: ServerTls | None) -> QuicListener:
    """Listen for devices at ``address``; see ``registry.listen``.  Raises ``ValueError`` without ``tls``."""
    if tls is None:
        raise ValueError("quic needs tls=ServerTls(...): python -m tslt_transports.devcert --out DIR makes one")
    target = parse_address(address, scheme="quic")
    configuration = server_configuration(options, tls)
    listener = QuicListener(options=options)
    await listener.bind(target, configuration)
    return listener


async def _start(target: HostPort, configuration: QuicConfiguration, options: LinkOptions, address: str) -> QuicLink:
    """Send the first packet to the numeric ``target``.  Raises ``ConnectError`` where there is no route."""
    quic = QuicConnection(configuration=configuration)
    bound_receiver(quic, peer_streams=0)
    try:
        # A connected socket: the kernel then reports a refusal (ICMP), and drops datagrams from elsewhere.
        transport, endpoint = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _DeviceEndpoint(quic, options=options, target=target),
            remote_addr=(target.host, target.port),
        )
    except OSError as error:
        raise ConnectError(address=address, reason=str(error), hint=_CONNECT_HINT) from error
    endpoint.connect(transport.get_extra_info("peername"))
    return endpoint.link
