"""The device's end of a ZeroMQ link: libzmq, a DEALER socket of its own.

Cost of keepalive: a PING is 5 bytes, sent each way after ``heartbeat_s`` without other traffic (2.5 bytes/s by
default), and a ZMTP heartbeat of 9 + 7 bytes every ``peer_timeout_s``, which only makes libzmq let go of the TCP
connection.
"""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Coroutine, Sequence
from typing import Any, Final, cast

import zmq
import zmq.asyncio

from tslt_transports.address import HostPort
from tslt_transports.control import MAX_CONTROL_BYTES, ControlType, PeerLimits, encode_greeting
from tslt_transports.flow_control import NO_EDGE_HINT, Channel, PeerGone
from tslt_transports.keys import DEMANDED_HINT, NO_KEYS_HINT, NOT_ALLOWED_HINT, PIN_HINT, DeviceKeys
from tslt_transports.link import MAX_COUNT, LinkOptions
from tslt_transports.zeromq_channel import ZmqChannel
from tslt_transports.zmtp import CURVE_OVERHEAD_BYTES

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
}

_MAX_HEARTBEAT_TTL_MS: Final = 6_553_500
"""Milliseconds.  The longest that ZMTP can say in its 16 bits of 0.1 s."""

_AsyncSocket = zmq.asyncio.Socket


class ZmqDeviceLink(ZmqChannel):
    """The device's end: a DEALER socket of its own."""

    def __init__(self, *, target: HostPort, options: LinkOptions, keys: DeviceKeys | None) -> None:
        """Start to connect to the numeric ``target``; ``greeted`` says how it went."""
        edge = keys.edge if keys else None
        super().__init__(
            peer=f"tcp://{target}", options=options, identity=edge.name if edge else "", address=target.host
        )
        self._has_keys = keys is not None
        self._socket = _make_socket(options, ipv6=":" in target.host)
        if keys is not None and edge is not None:
            self._socket.setsockopt(zmq.CURVE_SERVERKEY, edge.agreement)
            self._socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.own.public.agreement)
            self._socket.setsockopt(zmq.CURVE_SECRETKEY, keys.own.agreement_secret)
        self._monitor = self._socket.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_CLOSED | zmq.EVENT_CONNECT_RETRIED
            | zmq.EVENT_DISCONNECTED
            | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
            | zmq.EVENT_HANDSHAKE_FAILED_AUTH
        )  # fmt: skip
        self._next: asyncio.Future[list[bytes]] | None = None  # what the reader waits for, or has and not delivered
        self._tasks = [
            _start(self, self._watch()),
            _start(self, self._read()),
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
                while self._next is not None and self._next.done():
                    await asyncio.sleep(0)  # the reader has been given a message: it comes before those in the socket
                self._drain()
                self._over.set()
                if self.greeted.done():
                    self.lose("the edge went away")
                else:
                    reason, hint = self._failure(event, int.from_bytes(parts[0][2:6], sys.byteorder))
                    self.lose(reason, hint=hint)

    def _failure(self, event: zmq.Event, value: int) -> tuple[str, str]:
        """Why there is no connection, and what to try; ``value``: what libzmq reports beside the ``event``."""
        if event is zmq.Event.HANDSHAKE_FAILED_AUTH:
            return "the edge refused this device's key: it is not on its allow-list", NOT_ALLOWED_HINT
        if event is zmq.Event.HANDSHAKE_FAILED_PROTOCOL and value == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH:
            if self._has_keys:
                return "the edge there has no keys, and this device wants it to prove its own", NO_KEYS_HINT
            return "the edge demands a key (CURVE), and this device has none", DEMANDED_HINT
        if self._has_keys and event in (zmq.Event.DISCONNECTED, zmq.Event.HANDSHAKE_FAILED_NO_DETAIL):
            return "something answered and hung up: it has not the key that this device was given for it", PIN_HINT
        return _FAILURES.get(event, f"libzmq reports {event.name}"), NO_EDGE_HINT

    async def _read(self) -> None:
        """Take every message until the socket is closed; let other tasks have their turn."""
        while True:
            for _ in range(_MESSAGES_A_TURN):
                self._next = cast("asyncio.Future[list[bytes]]", self._socket.recv_multipart())
                parts = await self._next
                self._next = None
                self.deliver(parts)
                if self._socket.closed:
                    return
            await asyncio.sleep(0)

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


def _make_socket(options: LinkOptions, *, ipv6: bool) -> _AsyncSocket:
    """Make a socket with every option that matters set, so that no default of libzmq decides."""
    # The shared context has one I/O thread, ample for the traffic of drafts, and outlives every link's linger.
    made = zmq.asyncio.Context.instance().socket(zmq.DEALER)
    timeout_ms = _milliseconds(options.peer_timeout_s)
    # libzmq drops the connection of a peer that announces a longer part, before it allocates it.
    made.setsockopt(zmq.MAXMSGSIZE, max(options.max_frame_bytes, MAX_CONTROL_BYTES) + CURVE_OVERHEAD_BYTES)
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
    return made


def _milliseconds(seconds: float) -> int:
    return math.ceil(seconds * 1000)


def _post_now(socket: _AsyncSocket, parts: Sequence[bytes], complaint: str) -> None:
    """Send without waiting: the windows keep libzmq's queue from filling.  Raises ``PeerGone``."""
    # With NOBLOCK and no earlier send waiting, pyzmq's future is done when it returns.
    sent = cast("asyncio.Future[object]", socket.send_multipart(list(parts), flags=zmq.NOBLOCK))
    error = sent.exception()
    if error is not None:
        raise PeerGone(f"{complaint} ({error})") from error


def _start(link: Channel, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Run ``work`` for ``link``; a failure of it, which is a bug, ends the link rather than leaving it hanging."""

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            link.lose(f"internal error: {task.exception()!r}")

    task = asyncio.create_task(work)
    task.add_done_callback(ended)
    return task
