"""Links over QUIC: TLS 1.3, ALPN `tslt/1`, one connection and one bidirectional stream a link, opened by the device.

Frames are delimited as `framing` says, 1 to 4 bytes each. The clean end of a link is the end of the stream, which the
other side answers with the end of its own, whereupon the first closes the connection with code 0; every other end of
the connection is a loss. Refusals and losses travel as the code and reason of CONNECTION_CLOSE.

Cost of keepalive: after `heartbeat_s` in which it sent nothing the device sends a QUIC PING, a UDP datagram of about 30
bytes that the edge acknowledges with another, which also keeps a NAT's binding open. The connection's idle timeout is
the smaller `peer_timeout_s` of the two ends: how a killed peer is noticed, on either side.

Backpressure is the windows of `channel`. aioquic's own windows double as bytes *arrive*, read or not, and its
reassembly buffer grows to the furthest offset seen, so a hostile peer could grow it without end: see `quic_bounds`.
"""

from __future__ import annotations

import asyncio
import socket as stdlib_socket
from enum import IntEnum
from pathlib import Path
from typing import Final

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import QuicServer
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicErrorCode
from cryptography import x509

from tslt_transports.address import HostPort, parse_address, resolve
from tslt_transports.channel import Backlog, Channel, await_greeting
from tslt_transports.control import (
    ControlError,
    ControlType,
    PeerLimits,
    decode_control,
    encode_greeting,
)
from tslt_transports.framing import UnitDecoder, encode_control, encode_frame, prefix_bytes
from tslt_transports.link import ClientTls, ConnectError, Link, LinkError, LinkOptions, ServerTls
from tslt_transports.quic_bounds import REORDER_WINDOW_BYTES, bound_receiver

ALPN: Final = "tslt/1"
"""The application protocol that both ends must name."""

STREAM_ID: Final = 0
"""The first bidirectional stream that a client opens, and the only one there is."""

_MAX_REASON_CHARACTERS: Final = 200
_MIN_HALF_OPEN: Final = 64
_ALERT_NO_APPLICATION_PROTOCOL: Final = QuicErrorCode.CRYPTO_ERROR + 120
_CERTIFICATE_ALERTS: Final = range(QuicErrorCode.CRYPTO_ERROR + 42, QuicErrorCode.CRYPTO_ERROR + 50)
_CONNECT_HINT: Final = "check that the edge runs and speaks QUIC, its address and port, and that UDP passes"
_CERTIFICATE_HINT: Final = "pass the file of the authority that signed it (ClientTls.ca_file), and a host it is for"


class CloseCode(IntEnum):
    """Application codes of CONNECTION_CLOSE."""

    DONE = 0
    """Both ends of the stream are confirmed."""

    REFUSED = 1
    """The edge does not take this link; the reason says why."""

    LOST = 2
    """The sender gave the link up; the reason says why."""

    ABANDONED = 3
    """The sender closed, and not all it had sent was confirmed within its `linger_s`."""


class QuicLink(Channel):
    """Either end of a link over QUIC."""

    def __init__(self, *, peer: str, options: LinkOptions, endpoint: _Endpoint) -> None:
        """`endpoint` is the connection that carries the link."""
        super().__init__(peer=peer, options=options)
        self._endpoint = endpoint
        self._keeper: asyncio.Task[None] | None = None

    def start_keepalive(self) -> None:
        """Ping the peer when idle. Only the device does: the edge's answers tell it as much."""
        self._keeper = asyncio.create_task(self.keep_alive())

    def frame_overhead(self, size: int) -> int:
        """Return the bytes of the length prefix, 1 to 4."""
        return prefix_bytes(size)

    def _write_frame(self, frame: bytes) -> None:
        self._endpoint.write(encode_frame(frame))

    def _write_control(self, data: bytes) -> None:
        self._endpoint.write(encode_control(data))

    def _send_keepalive(self) -> None:
        self._endpoint.ping_peer()

    def _hang_up(self, *, announce: bytes | None) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
        if announce == b"":
            self._endpoint.end_stream()
        elif not self._endpoint.peer_ended:
            reason = decode_control(announce).reason if announce else ""
            self._endpoint.hang_up(CloseCode.LOST, reason)

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
        """Send bytes on the stream. aioquic buffers them; the windows of `channel` bound how many."""
        self._quic.send_stream_data(STREAM_ID, data)
        self.transmit()

    def ping_peer(self) -> None:
        """Send a QUIC PING."""
        self._quic.send_ping(0)
        self.transmit()

    def end_stream(self) -> None:
        """Send the end of the stream behind everything sent so far."""
        self._we_ended = True
        self._quic.send_stream_data(STREAM_ID, b"", end_stream=True)
        self.transmit()

    def hang_up(self, code: CloseCode, reason: str) -> None:
        """Close the connection; what is not acknowledged yet is not sent again."""
        self.close(error_code=code, reason_phrase=reason[:_MAX_REASON_CHARACTERS])

    async def finish(self, *, linger_s: float) -> None:
        """Wait until the peer has answered the end of the stream, `linger_s` seconds at most."""
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

    def on_stranger(self, control: bytes | None) -> None:
        """A unit arrived and there is no link yet: a control message, or a frame (None)."""

    # ---- for aioquic

    def datagram_received(self, data: bytes | str, addr: tuple[str, int]) -> None:
        """See `asyncio.DatagramProtocol`."""
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
                    self.on_stranger(unit.data if unit.is_control else None)
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
            self._link.lose(_explain(event))
        self.release_socket()


class _DeviceEndpoint(_Endpoint):
    """The device's side: it opens the stream and says hello."""

    def __init__(self, quic: QuicConnection, *, options: LinkOptions, peer: str) -> None:
        super().__init__(quic, options=options)
        self.link = QuicLink(peer=peer, options=options, endpoint=self)
        self._link = self.link

    def on_open(self, alpn: str | None) -> None:
        """Say hello."""
        if alpn != ALPN:
            self._give_up(f"the edge does not speak {ALPN} (ALPN)")
            return
        self.link.write_control(encode_greeting(ControlType.HELLO, PeerLimits.of(self._options)))
        self.link.start_keepalive()

    def error_received(self, exc: Exception) -> None:
        """An ICMP error. Believed only before the link is open: later anyone could forge one to end it."""
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

    def on_stranger(self, control: bytes | None) -> None:
        """Take the greeting, and make it a link if there is room."""
        if control is None:
            self._refuse("a frame came before the greeting")
            return
        greeting = decode_control(control)
        if greeting.type is not ControlType.HELLO or greeting.limits is None:
            self._refuse("the first message was no greeting")
            return
        refusal = self._listener.backlog.refusal()
        if refusal is not None:
            self._refuse(refusal)
            return
        self._settled()
        self._link = QuicLink(peer=f"quic://{self._last_address}", options=self._options, endpoint=self)
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
        """See `asyncio.DatagramProtocol`."""
        # A long header (first bit set) belongs to a handshake. Beyond the bound new ones are not answered, so that a
        # flood of first packets costs bandwidth but no memory; devices repeat theirs.
        is_handshake = isinstance(data, bytes) and data[:1] >= b"\x80"
        if not (is_handshake and self._listener.is_crowded):
            super().datagram_received(data, addr)


class QuicListener:
    """The edge's UDP socket and the connections on it."""

    def __init__(self, *, options: LinkOptions) -> None:
        """Make a listener that is not bound yet."""
        self._options = options
        self._server: _Server | None = None
        self._address = ""
        self.half_open: set[_EdgeEndpoint] = set()
        self.backlog = Backlog(address="quic", options=options)

    @property
    def is_crowded(self) -> bool:
        """Whether too many connections have no link yet."""
        return len(self.half_open) >= max(_MIN_HALF_OPEN, self._options.max_links)

    @property
    def address(self) -> str:
        """See `Listener.address`."""
        return self._address

    async def accept(self) -> Link:
        """See `Listener.accept`."""
        return await self.backlog.accept()

    async def close(self) -> None:
        """See `Listener.close`."""
        self.backlog.close()
        await asyncio.gather(*(link.close() for link in self.backlog.links))
        if self._server is not None:
            self._server.close()
            self._server = None

    async def bind(self, target: HostPort, configuration: QuicConfiguration) -> None:
        """Start to listen. Raises `LinkError` where that fails."""
        try:
            transport, self._server = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: _Server(self, configuration), local_addr=(target.host, target.port)
            )
        except OSError as error:
            raise LinkError(f"cannot listen at {target}: {error}; is the port in use?") from error
        host, port = transport.get_extra_info("sockname")[:2]
        self._address = str(HostPort(host, port))

    def make_endpoint(self, quic: QuicConnection, stream_handler: object) -> _EdgeEndpoint:
        """Make the protocol of a new connection, for aioquic."""
        bound_receiver(quic, peer_streams=1)
        return _EdgeEndpoint(quic, options=self._options, listener=self)


async def connect_quic(address: str, *, options: LinkOptions, tls: ClientTls) -> QuicLink:
    """Open a link to the edge at `address`; see `link.connect`."""
    target = parse_address(address, scheme="quic")
    deadline_s = asyncio.get_running_loop().time() + options.connect_timeout_s
    configuration = _configure(options, is_client=True)
    configuration.server_name = tls.server_name or target.host
    if tls.ca_file is not None:
        configuration.load_verify_locations(cafile=_check_ca_file(tls.ca_file, address))
    failure: ConnectError | None = None
    for candidate in await resolve(target, kind=stdlib_socket.SOCK_DGRAM):
        link = await _dial(candidate, configuration, options, address)
        try:
            await await_greeting(link, address=address, deadline_s=deadline_s, hint=_CONNECT_HINT)
        except ConnectError as error:
            failure = error
            if "certificate" in error.reason:
                failure = ConnectError(address=address, reason=error.reason, hint=_CERTIFICATE_HINT)
        else:
            return link
    raise failure or ConnectError(address=address, reason="the name resolves to nothing", hint=_CONNECT_HINT)


async def listen_quic(address: str, *, options: LinkOptions, tls: ServerTls) -> QuicListener:
    """Listen for devices at `address`; see `link.listen`."""
    configuration = _configure(options, is_client=False)
    try:
        configuration.load_cert_chain(tls.cert_file, tls.key_file)
    except (OSError, ValueError, IndexError, TypeError) as error:
        raise LinkError(f"cannot use the certificate {tls.cert_file} with the key {tls.key_file}: {error}") from error
    listener = QuicListener(options=options)
    await listener.bind(parse_address(address, scheme="quic"), configuration)
    return listener


async def _dial(target: HostPort, configuration: QuicConfiguration, options: LinkOptions, address: str) -> QuicLink:
    """Send the first packet to the numeric `target`. Raises `ConnectError` where there is no route."""
    quic = QuicConnection(configuration=configuration)
    bound_receiver(quic, peer_streams=0)
    try:
        # A connected socket: the kernel then reports a refusal (ICMP), and drops datagrams from elsewhere.
        transport, endpoint = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _DeviceEndpoint(quic, options=options, peer=f"quic://{target}"),
            remote_addr=(target.host, target.port),
        )
    except OSError as error:
        raise ConnectError(address=address, reason=str(error), hint=_CONNECT_HINT) from error
    endpoint.connect(transport.get_extra_info("peername"))
    return endpoint.link


def _configure(options: LinkOptions, *, is_client: bool) -> QuicConfiguration:
    return QuicConfiguration(
        is_client=is_client,
        alpn_protocols=[ALPN],
        idle_timeout=options.peer_timeout_s,
        max_data=REORDER_WINDOW_BYTES,
        max_stream_data=REORDER_WINDOW_BYTES,
        # The size every path must carry; larger ones would need path MTU discovery, which aioquic has not.
        max_datagram_size=1200,
    )


def _check_ca_file(ca_file: str | Path, address: str) -> str:
    """Return the path of a usable CA file: what aioquic would find wrong only in the middle of a handshake."""
    try:
        x509.load_pem_x509_certificates(Path(ca_file).read_bytes())
    except (OSError, ValueError) as error:
        raise ConnectError(
            address=address, reason=f"the CA file {ca_file} is unusable ({error})", hint="give a PEM certificate file"
        ) from error
    return str(ca_file)


def _explain(event: events.ConnectionTerminated) -> str:
    """Say in words how a connection ended."""
    reason = "".join(c if c.isprintable() else "?" for c in event.reason_phrase[:_MAX_REASON_CHARACTERS])
    if event.frame_type is None:
        match event.error_code:
            case CloseCode.REFUSED:
                return f"the edge refused: {reason}"
            case CloseCode.DONE:
                return "the peer closed the connection without ending the stream"
            case _:
                return f"the peer gave it up: {reason or event.error_code}"
    if event.error_code == _ALERT_NO_APPLICATION_PROTOCOL or "ALPN" in reason:
        return f"the edge does not speak {ALPN} (ALPN: {reason or 'no common protocol'})"
    if event.error_code in _CERTIFICATE_ALERTS:
        return f"the certificate was not accepted ({reason or 'no detail'})"
    if "dle timeout" in reason:
        return "nothing heard for peer_timeout_s (QUIC idle timeout)"
    return f"QUIC error {event.error_code:#x} ({reason or 'no detail'})"
