"""What both ends of a QUIC link share: the connection, its one stream, and the link on it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Final

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic import events
from aioquic.quic.connection import QuicConnection

from tslt_transports.address import HostPort, unmapped
from tslt_transports.control import ControlError
from tslt_transports.flow_control import NO_EDGE_HINT, Channel, Parting
from tslt_transports.framing import Unit, UnitDecoder, encode_control, encode_frame, prefix_bytes
from tslt_transports.link import LinkOptions
from tslt_transports.quic_ends import MAX_REASON_CHARACTERS, CloseCode, explain
from tslt_transports.rates import RateLimit
from tslt_transports.untrusted import printable

STREAM_ID: Final = 0
"""The first bidirectional stream that a client opens, and the only one there is."""

MAX_EMPTY_A_SECOND: Final = 500
"""Datagrams in a second that bring nothing and acknowledge nothing of ours: one more ends the connection.  An honest
peer sends a PING each ``heartbeat_s``, and some acknowledgements twice."""

_SMALL_DATAGRAM_BYTES: Final = 100
"""Bytes up to which a datagram may be a PING or an acknowledgement.  Larger ones carry data, if only ahead of a gap."""

_ACKNOWLEDGED_BYTES: Final = 600
"""Bytes of ours for which a peer may send an acknowledgement: half a datagram."""

_PING_UID: Final = 0
"""What aioquic shall call our PINGs; nobody asks for their acknowledgement."""


class QuicLink(Channel):
    """Either end of a link over QUIC."""

    def __init__(
        self, *, peer: str, target: HostPort, options: LinkOptions, endpoint: QuicEndpoint, identity: str
    ) -> None:
        """``endpoint`` is the connection that carries the link, ``target`` the numeric address of its other end."""
        super().__init__(peer=peer, options=options, identity=identity, address=target.host)
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


class QuicEndpoint(QuicConnectionProtocol, ABC):
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
        self._holds_back = False  # what is to be sent after a datagram: the application may have something to add
        self._held_back = False
        self._empty = RateLimit(MAX_EMPTY_A_SECOND)
        self._acknowledgements = 0  # datagrams that may come for what we sent
        self._bytes_fed = 0

    # ---- for the link

    def write(self, data: bytes) -> None:
        """Send bytes on the stream. aioquic buffers them; the windows of ``flow_control`` bound how many."""
        self._acknowledgements += 2 + len(data) // _ACKNOWLEDGED_BYTES
        self._quic.send_stream_data(STREAM_ID, data)
        self._transmit_now()

    def ping_peer(self) -> None:
        """Send a QUIC PING."""
        self._quic.send_ping(_PING_UID)
        self._transmit_now()

    def end_stream(self) -> None:
        """Send the end of the stream behind everything sent so far."""
        self._we_ended = True
        self._quic.send_stream_data(STREAM_ID, b"", end_stream=True)
        self._transmit_now()

    def hang_up(self, code: CloseCode, reason: str) -> None:
        """Close the connection; what is not acknowledged yet is not sent again."""
        self._holds_back = False
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

    @abstractmethod
    def on_unit(self, unit: Unit) -> bool:
        """A unit arrived.  Returns whether its sender is still welcome.  May raise ``ControlError``."""

    @abstractmethod
    def _give_up(self, reason: str, *, hint: str = NO_EDGE_HINT) -> None:
        """The peer broke the protocol."""

    def deliver(self, link: QuicLink, unit: Unit) -> None:
        """Hand a unit to the link.  May raise ``ControlError``."""
        if unit.is_control:
            self.on_control(link, unit.data)
        else:
            link.deliver_frame(unit.data)

    def lose(self, link: QuicLink, reason: str, *, hint: str) -> None:
        """End the connection, and the link on it."""
        link.lose(reason, tell=True, hint=hint)
        self.hang_up(CloseCode.LOST, reason)

    def on_control(self, link: QuicLink, data: bytes) -> None:
        """A control message arrived.  May raise ``ControlError``."""
        link.deliver_control(data)

    # ---- for aioquic

    def transmit(self) -> None:
        """Send what is to be sent.

        After a datagram that is left to the loop's next turn, behind the application's: a frame that is answered at
        once is answered by then, and one pass over the connection does for both.
        """
        if self._holds_back:
            self._held_back = True
            self._loop.call_soon(self._send_held_back)
        else:
            self._transmit_now()

    def _send_held_back(self) -> None:
        if self._held_back:
            self._transmit_now()

    def _transmit_now(self) -> None:
        self._held_back = False
        if self._transport is not None and not self._transport.is_closing():  # a timer may go off after the end
            super().transmit()

    def datagram_received(self, data: bytes | str, addr: tuple[str, int]) -> None:
        """See ``asyncio.DatagramProtocol``."""
        self._last_address = HostPort(unmapped(addr[0]), addr[1])
        if self._link is not None:
            self._link.heard()
        fed = self._bytes_fed
        self._holds_back = True
        try:
            super().datagram_received(data, addr)
        finally:
            self._holds_back = False
        if len(data) <= _SMALL_DATAGRAM_BYTES and self._bytes_fed == fed:
            if self._acknowledgements:
                self._acknowledgements -= 1
            elif not self._empty.take() and not self._over.is_set():
                self._give_up(f"more than {MAX_EMPTY_A_SECOND} datagrams a second that bring nothing")

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
        self._bytes_fed += len(data)
        try:
            for unit in self._units.feed(data):
                if not self.on_unit(unit):
                    return
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

    def _on_terminated(self, event: events.ConnectionTerminated) -> None:
        self._over.set()
        if self._link is not None:
            ending = explain(event, is_overdue=self._link.is_overdue)
            self._link.lose(ending.reason, hint=ending.hint)
        self.release_socket()
