"""Links over ZeroMQ: a DEALER on the device, one ROUTER on the edge that is split into one link a peer.

A message of one part is a frame, as it is; a message of one empty part is the clean end of the link, which the other
side answers with another; a message of an empty part and a second one is a control message (see ``control``).  Nothing
else is valid.

Cost of a frame: the ZMTP header, 2 bytes up to 255 bytes and 9 above.  Cost of keepalive: a PING is 5 bytes, sent each
way after ``heartbeat_s`` without other traffic (2.5 bytes/s by default), and a ZMTP heartbeat of 9 + 7 bytes every
``peer_timeout_s``.  Why a keepalive of our own: a ROUTER is never told which peer died, but sending to one that it no
longer has fails, so the PING finds a killed device within ``heartbeat_s`` and silence finds a vanished host within
``peer_timeout_s``.  The ZMTP heartbeat only makes libzmq let go of the TCP connection.

What ZeroMQ cannot do, and so this cannot: throw one peer's TCP connection out of a ROUTER, limit how many peers connect
without saying hello, or limit the parts of one message.  There is no encryption either.  Use it between ends that trust
each other and the network; elsewhere use QUIC.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket as stdlib_socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar, cast

import zmq
import zmq.asyncio

from tslt_transports.accepting import BaseListener, cannot_listen
from tslt_transports.address import HostPort, parse_address, parse_target
from tslt_transports.control import (
    MAX_CONTROL_BYTES,
    ControlError,
    ControlType,
    PeerLimits,
    decode_control,
    encode_greeting,
    encode_reason,
)
from tslt_transports.dialing import dial
from tslt_transports.flow_control import Channel, Parting, PeerGone
from tslt_transports.link import MAX_COUNT, ClientTls, LinkOptions, ServerTls

_CONTROL_ALLOWANCE: Final = 64
"""Messages beyond frames that a queue holds: pings, reports and greetings, all of them rare and answered by nothing."""

_MESSAGES_A_TURN: Final = 64
"""Messages read before other tasks get their turn: pyzmq does not yield to the loop while messages are waiting."""

_NEVER_MS: Final = 86_400_000
"""Milliseconds.  A day: the reconnect that is never to happen."""

_FAILURES: Final = {
    zmq.Event.CLOSED: "nobody answered (refused or unreachable)",
    zmq.Event.CONNECT_RETRIED: "nobody answered (refused or unreachable)",
    zmq.Event.DISCONNECTED: "something answered and hung up: no ZeroMQ edge, or one that is closing",
    zmq.Event.HANDSHAKE_FAILED_NO_DETAIL: "something answered that does not speak ZeroMQ",
    zmq.Event.HANDSHAKE_FAILED_PROTOCOL: "something answered that does not speak ZeroMQ properly",
    zmq.Event.HANDSHAKE_FAILED_AUTH: "the edge demands a ZeroMQ authentication that this transport does not have",
}

_CONNECT_HINT: Final = "check that the edge runs, its address and port, and firewalls between"

_SHORT_PART_BYTES: Final = 255
"""Bytes up to which ZMTP writes a part's length in one byte."""

_SHORT_HEADER_BYTES: Final = 2
_LONG_HEADER_BYTES: Final = 9
"""Bytes of a ZMTP header: flags, and the length in 1 byte or in 8."""

_MAX_HEARTBEAT_TTL_MS: Final = 6_553_500
"""Milliseconds.  The longest that ZMTP can say in its 16 bits of 0.1 s."""

_MIN_BACKLOG: Final = 100
"""TCP connections that may wait to be taken, however few links there may be: libzmq's own number."""

_AsyncSocket = zmq.asyncio.Socket
_Message = TypeVar("_Message")


class _ZmqChannel(Channel):
    """What the links of both ends share."""

    def __init__(self, *, peer: str, options: LinkOptions, address: str) -> None:
        """See ``Channel``."""
        super().__init__(peer=peer, options=options, address=address)
        self._peer_ended = False  # cleanly: its end arrived
        self._we_ended = False
        self._over = asyncio.Event()  # both ended, or the peer is gone

    def frame_overhead(self, size: int) -> int:
        """The bytes of the ZMTP header: flags and a length of 1 byte up to 255, of 8 above."""
        return _SHORT_HEADER_BYTES if size <= _SHORT_PART_BYTES else _LONG_HEADER_BYTES

    def _write_frame(self, frame: bytes) -> None:
        self._post([frame])

    def _write_control(self, data: bytes) -> None:
        self._post([b"", data])

    def _post(self, parts: Sequence[bytes]) -> None:
        """Hand a message to libzmq.  Raises ``PeerGone``."""
        raise NotImplementedError

    def deliver(self, parts: Sequence[bytes]) -> None:
        """Take one message from the peer."""
        match parts:
            case [b""]:
                self._peer_ended = True
                self._over.set()
                self.deliver_end()
            case [frame]:
                self.deliver_frame(frame)
            case [b"", control]:
                self.deliver_control(control)
            case _:
                self.lose(f"the peer sent a message of {len(parts)} parts", tell=True)

    def _hang_up(self, parting: Parting, reason: str) -> None:
        try:
            if parting is Parting.LOSS:
                self._post([b"", encode_reason(ControlType.LOST, reason)])
            elif parting is Parting.CLEAN or self._peer_ended:
                self._post([b""])
        except PeerGone:  # then nobody is left to tell
            self._over.set()
        if parting is Parting.CLEAN:
            self._we_ended = True
        else:
            self._dispose()

    async def _flush(self) -> None:
        # libzmq would go on by itself (LINGER), but not beyond the end of this process, which may come next.
        try:
            if self._we_ended:
                await asyncio.wait_for(self._over.wait(), self._options.linger_s)
        except TimeoutError:
            pass  # the peer sees a loss unless libzmq still gets it through
        finally:
            self._dispose()

    def _dispose(self) -> None:
        """Let go of what the link holds.  Harmless when repeated."""
        raise NotImplementedError


class ZmqDeviceLink(_ZmqChannel):
    """The device's end: a DEALER socket of its own."""

    def __init__(self, *, target: HostPort, options: LinkOptions) -> None:
        """Start to connect to the numeric ``target``; ``greeted`` says how it went."""
        super().__init__(peer=f"tcp://{target}", options=options, address=target.host)
        self._socket = _make_socket(zmq.DEALER, options, ipv6=":" in target.host)
        self._monitor = self._socket.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_CLOSED | zmq.EVENT_CONNECT_RETRIED
            | zmq.EVENT_DISCONNECTED
            | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
            | zmq.EVENT_HANDSHAKE_FAILED_AUTH
        )  # fmt: skip
        self._tasks = [
            _start(self, self._watch()),
            _start(self, _read(self._socket, self._socket.recv_multipart, self.deliver)),
        ]
        self._socket.connect(f"tcp://{target}")

    async def _watch(self) -> None:
        """Say hello once libzmq has a connection, and notice that it has none any more."""
        while not self._over.is_set():
            parts = await self._monitor.recv_multipart()
            event = zmq.Event(int.from_bytes(parts[0][:2], sys.byteorder))
            if event is zmq.Event.HANDSHAKE_SUCCEEDED:
                self.write_control(encode_greeting(ControlType.HELLO, PeerLimits.of(self._options)))
                self._tasks.append(_start(self, self.keep_alive()))
            else:
                # What arrived last tells more than we can: a clean end, or why the edge refused.
                was_open = self.greeted.done()
                self._drain()
                self._over.set()
                self.lose("the edge went away" if was_open else _FAILURES.get(event, f"libzmq reports {event.name}"))

    def _drain(self) -> None:
        """Take what arrived before the connection went: the clean end may be in it."""
        while not self._socket.closed:
            received = cast("asyncio.Future[list[bytes]]", self._socket.recv_multipart(flags=zmq.NOBLOCK))
            if received.exception() is not None:  # NOBLOCK: it is done at once
                return
            self.deliver(received.result())

    def _post(self, parts: Sequence[bytes]) -> None:
        _post_now(self._socket, parts, "the edge is gone or stopped reading")

    def _dispose(self) -> None:
        if self._socket.closed:
            return
        for task in self._tasks:
            task.cancel()
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close()  # LINGER goes on in the background


class _ZmqEdgeLink(_ZmqChannel):
    """The edge's end for one device: a name in the listener's ROUTER."""

    def __init__(
        self,
        *,
        socket: _AsyncSocket,
        routing_id: bytes,
        peer: str,
        address: str,
        options: LinkOptions,
        forget: Callable[[], object],
    ) -> None:
        """``forget`` is called once, when the link ends: what the peer sends from then on is a stranger's."""
        super().__init__(peer=peer, options=options, address=address)
        self._socket = socket
        self._routing_id = routing_id
        self._forget = forget
        self._keeper = _start(self, self.keep_alive())

    def _post(self, parts: Sequence[bytes]) -> None:
        _post_now(self._socket, [self._routing_id, *parts], "the device is gone or stopped reading")

    def _dispose(self) -> None:
        self._keeper.cancel()
        self._forget()


class ZmqListener(BaseListener):
    """The edge's ROUTER."""

    def __init__(self, *, target: HostPort, options: LinkOptions) -> None:
        """Bind to ``target``.  Raises ``LinkError`` where that fails."""
        self._links: dict[bytes, _ZmqEdgeLink] = {}
        self._socket = _make_socket(zmq.ROUTER, options, ipv6=":" in target.host)
        # A message for a device that is gone is an error (EHOSTUNREACH), not silently dropped: how its end is found.
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        # A second peer that claims the routing id of a first one is ignored; it must not take over its link.
        self._socket.setsockopt(zmq.ROUTER_HANDOVER, 0)
        try:
            self._socket.bind(f"tcp://{target}")
        except zmq.ZMQError as error:
            self._socket.close(linger=0)
            raise cannot_listen(f"tcp://{target}", error.strerror) from error
        super().__init__(address=self._socket.getsockopt_string(zmq.LAST_ENDPOINT), options=options)
        self._reader = asyncio.create_task(
            _read(self._socket, lambda: self._socket.recv_multipart(copy=False), self._deliver)
        )
        self._reader.add_done_callback(self._reader_ended)

    def _stop(self) -> None:
        self._reader.cancel()
        self._socket.close()  # LINGER goes on in the background

    def _deliver(self, frames: Sequence[zmq.Frame]) -> None:
        """Take one message: the peer's routing id, then the parts that it sent."""
        routing_id, parts = frames[0].bytes, [frame.bytes for frame in frames[1:]]
        link = self._links.get(routing_id)
        if link is None:
            self._greet(routing_id, parts, frames[-1])
        else:
            link.deliver(parts)

    def _greet(self, routing_id: bytes, parts: Sequence[bytes], last: zmq.Frame) -> None:
        """Answer a peer that has no link: make it one if it says hello, else tell it that it has none."""
        if parts == [b""]:
            return  # it ends a link that is already over here
        try:
            control = decode_control(parts[1]) if len(parts) == 2 and parts[0] == b"" else None
        except ControlError as error:
            self._answer(routing_id, encode_reason(ControlType.REFUSE, f"the greeting is malformed: {error}"))
            return
        if control is None or control.type is not ControlType.HELLO or control.limits is None:
            self._answer(routing_id, encode_reason(ControlType.LOST, "the edge has no link with this peer"))
            return
        refusal = self.backlog.refusal()
        if refusal is not None:
            self._answer(routing_id, encode_reason(ControlType.REFUSE, refusal))
            return
        try:
            host = str(last.get("Peer-Address"))
        except zmq.ZMQError:
            host = ""
        link = _ZmqEdgeLink(
            socket=self._socket,
            routing_id=routing_id,
            peer=f"tcp://{host or 'unknown'}#{routing_id.hex()}",
            address=host,
            options=self._options,
            forget=lambda: self._links.pop(routing_id, None),
        )
        link.negotiate(control.limits)
        link.write_control(encode_greeting(ControlType.WELCOME, PeerLimits.of(self._options)))
        if not link.ended:
            self._links[routing_id] = link
            self.backlog.add(link)

    def _answer(self, routing_id: bytes, control: bytes) -> None:
        with contextlib.suppress(PeerGone):  # then nobody is left to tell
            _post_now(self._socket, [routing_id, b"", control], "")

    def _reader_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            for link in self.backlog.links:
                link.lose(f"the edge's reader failed: {task.exception()!r}")
            self.backlog.close()


async def connect(address: str, *, options: LinkOptions, tls: ClientTls | None) -> ZmqDeviceLink:
    """Open a link to the edge at ``address``; see ``registry.connect``.  Raises ``ValueError`` for any ``tls``."""
    _refuse_tls(tls)
    target = parse_target(address, scheme="tcp")

    async def start(candidate: HostPort) -> ZmqDeviceLink:
        return ZmqDeviceLink(target=candidate, options=options)

    return await dial(
        target,
        address=address,
        kind=stdlib_socket.SOCK_STREAM,
        start=start,
        timeout_s=options.connect_timeout_s,
        hint=_CONNECT_HINT,
    )


async def listen(address: str, *, options: LinkOptions, tls: ServerTls | None) -> ZmqListener:
    """Listen for devices at ``address``; see ``registry.listen``.  Raises ``ValueError`` for any ``tls``."""
    _refuse_tls(tls)
    return ZmqListener(target=parse_address(address, scheme="tcp"), options=options)


def _refuse_tls(tls: object) -> None:
    if tls is not None:
        raise ValueError("the zmq transport has no TLS: use transport 'quic', or pass no tls")


async def _read(
    socket: _AsyncSocket, receive: Callable[[], Awaitable[_Message]], take: Callable[[_Message], None]
) -> None:
    """``take`` every message that ``receive`` brings until ``socket`` is closed; let other tasks have their turn."""
    while not socket.closed:
        for _ in range(_MESSAGES_A_TURN):
            take(await receive())
            if socket.closed:
                return
        await asyncio.sleep(0)


def _make_socket(kind: int, options: LinkOptions, *, ipv6: bool) -> _AsyncSocket:
    """Make a socket with every option that matters set, so that no default of libzmq decides."""
    # The shared context has one I/O thread, ample for the traffic of drafts, and outlives every link's linger.
    made = zmq.asyncio.Context.instance().socket(kind)
    timeout_ms = _milliseconds(options.peer_timeout_s)
    # libzmq drops the connection of a peer that announces a longer part, before it allocates it.
    made.setsockopt(zmq.MAXMSGSIZE, max(options.max_frame_bytes, MAX_CONTROL_BYTES))
    # Above what the windows ever let wait, so a full queue means a peer that breaks them or stopped reading:
    # sending is then an error and the link is lost.  Receiving, libzmq stops reading TCP.
    queue = min(2 * options.queue_frames + _CONTROL_ALLOWANCE, MAX_COUNT)
    made.setsockopt(zmq.SNDHWM, queue)
    made.setsockopt(zmq.RCVHWM, queue)
    made.setsockopt(zmq.LINGER, _milliseconds(options.linger_s))
    # A connection that breaks stays broken: after a reconnect behind our back frames could be missing.  The obvious
    # options for it, IMMEDIATE = 1 and RECONNECT_IVL = -1, make libzmq 4.3 throw away what a closing peer had sent
    # and we had not read.  So: no IMMEDIATE, and a reconnect so late that the monitor has closed the socket before.
    made.setsockopt(zmq.IMMEDIATE, 0)
    made.setsockopt(zmq.RECONNECT_IVL, _NEVER_MS)
    made.setsockopt(zmq.CONNECT_TIMEOUT, _milliseconds(options.connect_timeout_s))
    # A peer that connects and does not speak ZMTP is dropped after this.
    made.setsockopt(zmq.HANDSHAKE_IVL, _milliseconds(options.connect_timeout_s))
    # Lets libzmq free the TCP connection of a host that vanished.  Our own keepalive is what ends the link.
    made.setsockopt(zmq.HEARTBEAT_IVL, timeout_ms)
    made.setsockopt(zmq.HEARTBEAT_TIMEOUT, timeout_ms)
    made.setsockopt(zmq.HEARTBEAT_TTL, min(2 * timeout_ms, _MAX_HEARTBEAT_TTL_MS))  # the peer drops us likewise
    made.setsockopt(zmq.TCP_KEEPALIVE, 0)  # the heartbeats above do its work, on time scales that we choose
    made.setsockopt(zmq.IPV6, int(ipv6))  # only where the address is one: else IPv4 peers have mapped addresses
    made.setsockopt(
        zmq.BACKLOG, max(_MIN_BACKLOG, options.max_links)
    )  # every device may come back at once after a restart
    return made


def _milliseconds(seconds: float) -> int:
    return math.ceil(seconds * 1000)


def _post_now(socket: _AsyncSocket, parts: Sequence[bytes], complaint: str) -> None:
    """Send without waiting: the windows keep libzmq's queue from filling.  Raises ``PeerGone``."""
    if socket.closed:
        raise PeerGone(complaint)
    # With NOBLOCK and no earlier send waiting, pyzmq's future is done when it returns.
    sent = cast("asyncio.Future[object]", socket.send_multipart(list(parts), flags=zmq.NOBLOCK))
    error = sent.exception()
    if isinstance(error, zmq.ZMQError):
        raise PeerGone(f"{complaint} ({error.strerror})") from error
    if error is not None:
        raise error


def _start(link: Channel, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Run ``work`` for ``link``; a failure of it, which is a bug, ends the link rather than leaving it hanging."""

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            link.lose(f"internal error: {task.exception()!r}")

    task = asyncio.create_task(work)
    task.add_done_callback(ended)
    return task
