"""The edge's end of ZeroMQ links: a TCP server that speaks ZMTP itself, one connection a link.

libzmq's ROUTER is not what listens here.  A client chooses its own name in a ROUTER, and one who takes the name that
libzmq would give the next client ends the process (``Assertion failed``); the parts of a message are not bounded, and
no one peer can be thrown out.  See ``docs/decisions/0028-who-may-talk.md``.

What a peer can make the edge hold: a connection that has no link yet, one command or control message; a link, what
``flow_control`` allows.  A message of a third part ends its connection at that part.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Final, cast

from tslt_transports.accepting import BaseListener, Doorstep, cannot_listen
from tslt_transports.address import HostPort, resolve, unmapped
from tslt_transports.control import (
    MAX_CONTROL_BYTES,
    ControlError,
    ControlType,
    PeerLimits,
    decode_control,
    encode_greeting,
    encode_reason,
)
from tslt_transports.flow_control import MAX_PINGS_A_SECOND, PeerGone, name_of_device
from tslt_transports.link import LinkOptions
from tslt_transports.rates import RateLimit
from tslt_transports.zeromq_channel import ZmqChannel
from tslt_transports.zmtp import (
    COMMAND,
    GREETING_BYTES,
    MORE,
    FrameDecoder,
    Mechanism,
    ZmtpError,
    ZmtpFrame,
    check_greeting,
    greeting,
    pong,
)

_MIN_BACKLOG: Final = 100
"""TCP connections that may wait to be taken, however few links there may be: every device may come back at once."""

_ACCEPTED_A_TURN: Final = 4
_TURN_S: Final = 0.004
"""TCP connections that are taken at once, and seconds until the next ones: a thousand a second.  Each costs the event
loop some 150 microseconds, whoever it is, and the devices that have a link are to have the rest of it.  The others wait
in the system's queue."""

_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_EXHAUSTED_S: Final = 1.0
"""Errors of a system that has nothing left for a connection, and seconds until another try."""

_OPENED_AT_ONCE_BYTES: Final = 64 * 1024
"""Bytes of a sealed frame that are decrypted in the event loop: .4 ms, not much more than a thread takes."""

_CONTROL_ALLOWANCE_BYTES: Final = 64 * 1024
"""Bytes beyond frames that may wait for a peer to read: pings, reports, refusals."""


class ZmqEdgeLink(ZmqChannel):
    """The edge's end for one device."""

    def __init__(self, *, connection: _Connection, options: LinkOptions, address: str, port: int) -> None:
        """``address``, ``port``: of the device, whose ``connection`` this is."""
        super().__init__(
            peer=name_of_device(connection.mechanism.identity, f"tcp://{HostPort(address, port)}"),
            options=options,
            identity=connection.mechanism.identity,
            address=address,
        )
        self._connection = connection
        self._keeper = asyncio.create_task(self.keep_alive())

    def _post(self, parts: Sequence[bytes]) -> None:
        self._connection.post(parts)

    def gone(self, reason: str) -> None:
        """The connection is no more."""
        self._over.set()
        self.lose(reason)

    def _dispose(self) -> None:
        self._keeper.cancel()
        self._connection.finish()


class _Connection(asyncio.Protocol):
    """One TCP connection."""

    def __init__(self, listener: ZmqListener, mechanism: Mechanism, options: LinkOptions) -> None:
        """``mechanism``: one of its own."""
        self.mechanism = mechanism
        self._listener = listener
        self._options = options
        self._transport: asyncio.Transport | None = None
        self._host, self._port = "", 0
        self._greeting = bytearray()
        self._frames = FrameDecoder()
        self._in_message = False  # an empty part came, and another one belongs to it
        self._pings = RateLimit(MAX_PINGS_A_SECOND)
        self._link: ZmqEdgeLink | None = None
        self._finishing = False
        self._timer: asyncio.TimerHandle | None = None
        self._most_unsent = options.queue_bytes + options.max_frame_bytes + _CONTROL_ALLOWANCE_BYTES

    # ---- for asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.BaseProtocol``."""
        self._transport = cast(asyncio.Transport, transport)
        host, self._port = (transport.get_extra_info("peername") or ("", 0))[:2]
        self._host = unmapped(host)
        # A frame is to leave at once.  asyncio sees to it only where a socket was made with the number of its protocol.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._listener.half_open.add(self)
        self._timer = asyncio.get_running_loop().call_later(self._options.connect_timeout_s, self._too_late)
        self._transport.write(greeting(self.mechanism.name))

    def connection_lost(self, exc: Exception | None) -> None:
        """See ``asyncio.BaseProtocol``."""
        self._transport = None
        self._settled()
        if self._link is not None:
            self._link.gone(f"the device is gone ({exc})" if exc else "the device is gone")

    def eof_received(self) -> bool:
        """See ``asyncio.Protocol``: the connection is closed."""
        return False

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        if self._finishing:
            return  # read, so that what we said last arrives, and not looked at
        try:
            self._take(data)
        except ZmtpError as error:
            self._refuse(str(error), reply=error.reply)

    def _take(self, data: bytes) -> None:
        missing = GREETING_BYTES - len(self._greeting)
        if missing:
            self._greeting += data[:missing]
            data = data[missing:]
            check_greeting(self._greeting, self.mechanism.name)
        self._take_frames(self._frames.feed(data))

    def _take_frames(self, frames: Iterator[ZmtpFrame]) -> None:
        for frame in frames:
            if not self.mechanism.ready:
                self._shake_hands(frame)
            elif self.mechanism.overhead and len(frame.body) > _OPENED_AT_ONCE_BYTES:
                self._open_elsewhere(frame, frames)
                return
            else:
                self._take_frame(self.mechanism.unseal(frame))
            if self._finishing:
                return

    def _open_elsewhere(self, frame: ZmtpFrame, rest: Iterator[ZmtpFrame]) -> None:
        """Decrypt in a thread, as the other links must go on; nothing of this one is read until it is done."""
        loop = asyncio.get_running_loop()
        self._reads(False)
        opening = loop.run_in_executor(None, self.mechanism.unseal, frame)
        opening.add_done_callback(lambda done: self._opened(done, rest))

    def _opened(self, opening: asyncio.Future[ZmtpFrame], rest: Iterator[ZmtpFrame]) -> None:
        self._reads(True)
        try:
            frame = opening.result()
            if self._transport is not None and not self._finishing:
                self._take_frame(frame)
                self._take_frames(rest)
        except ZmtpError as error:
            self._refuse(str(error), reply=error.reply)

    def _reads(self, reads: bool) -> None:
        if self._transport is not None:
            (self._transport.resume_reading if reads else self._transport.pause_reading)()

    def _shake_hands(self, frame: ZmtpFrame) -> None:
        if not frame.flags & COMMAND:
            raise ZmtpError("a message came before the end of the handshake")
        self._write(self.mechanism.take(frame.body))
        if self.mechanism.ready:
            self._frames.max_body_bytes = MAX_CONTROL_BYTES + self.mechanism.overhead

    def _take_frame(self, frame: ZmtpFrame) -> None:
        if frame.flags & COMMAND:
            if not self._pings.take():
                raise ZmtpError(f"more than {MAX_PINGS_A_SECOND} commands a second")
            answer = pong(frame.body)
            if answer is not None:
                self._require_reader()
                self._write(self.mechanism.seal(COMMAND, answer))
        elif frame.flags & MORE:
            if self._in_message or frame.body:
                raise ZmtpError("a message of several parts that is no control message")
            self._in_message = True
        else:
            parts = [b"", frame.body] if self._in_message else [frame.body]
            self._in_message = False
            if self._link is None:
                self._greet(parts)
            else:
                self._link.deliver(parts)

    # ---- a peer that has no link

    def _greet(self, parts: Sequence[bytes]) -> None:
        """Make it a link if it says hello, else tell it that it has none."""
        if parts == [b""]:
            self.finish()  # it ends a link that is already over here
            return
        try:
            control = decode_control(parts[1]) if len(parts) == 2 else None
        except ControlError as error:
            self._answer(ControlType.REFUSE, f"the greeting is malformed: {error}")
            return
        if control is None or control.type is not ControlType.HELLO or control.limits is None:
            self._answer(ControlType.LOST, "the edge has no link with this peer")
            return
        refusal = self._listener.backlog.refusal()
        if refusal is not None:
            self._answer(ControlType.REFUSE, refusal, kind="full")
            return
        self._settled()
        link = ZmqEdgeLink(connection=self, options=self._options, address=self._host, port=self._port)
        self._link = link
        self._frames.max_body_bytes = max(self._options.max_frame_bytes, MAX_CONTROL_BYTES) + self.mechanism.overhead
        link.negotiate(control.limits)
        link.write_control(encode_greeting(ControlType.WELCOME, PeerLimits.of(self._options)))
        self._listener.backlog.add(link)

    def _answer(self, message: ControlType, reason: str, *, kind: str = "protocol") -> None:
        self._listener.refused(self._host, reason, kind=kind)
        self.post([b"", encode_reason(message, reason)])
        self.finish()

    def _refuse(self, reason: str, *, reply: bytes) -> None:
        """The peer broke ZMTP, or may not talk."""
        if self._link is not None:
            self._link.lose(f"the peer broke the transport protocol: {reason}", tell=True)
            return
        self._listener.refused(self._host, reason, kind="key" if reply else "protocol")
        self._write(reply)
        self.finish()

    def _too_late(self) -> None:
        self._listener.refused(self._host, "no greeting in time", kind="silent")
        self.abort()

    def _settled(self) -> None:
        """It has a link, or is over: no place among those that have none."""
        self._listener.half_open.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # ---- for the link

    def post(self, parts: Sequence[bytes]) -> None:
        """Send a message.  Raises ``PeerGone``."""
        try:
            self._require_reader()
        except ZmtpError as error:
            raise PeerGone(str(error)) from error
        last = len(parts) - 1
        self._write(b"".join(self.mechanism.seal(MORE if i < last else 0, part) for i, part in enumerate(parts)))

    def finish(self) -> None:
        """Close the connection once what was sent has left, or ``linger_s`` is over.  Harmless when repeated."""
        transport = self._transport
        if transport is None or self._finishing:
            return
        self._finishing = True
        self._settled()
        self._listener.half_open.add(self)
        # Half of it: with a close, what the peer sent meanwhile would reset the connection, and our last word with it.
        transport.write_eof()
        self._timer = asyncio.get_running_loop().call_later(self._options.linger_s, self.abort)

    def give_way(self) -> None:
        """Close the connection at once: others want its place."""
        if not self._finishing:
            self._listener.refused(
                self._host, "too many connections without a link, and this is the oldest", kind="crowded"
            )
        self.abort()

    def abort(self) -> None:
        """Close the connection, which is there, at once."""
        cast(asyncio.Transport, self._transport).abort()

    def _require_reader(self) -> None:
        """Refuse to have more wait for a peer that does not read.  Raises ``ZmtpError``."""
        if self._transport is not None and self._transport.get_write_buffer_size() > self._most_unsent:
            raise ZmtpError("the device stopped reading")

    def _write(self, data: bytes) -> None:
        if data and self._transport is not None:
            self._transport.write(data)


class ZmqListener(BaseListener):
    """The edge's TCP socket and the connections on it."""

    def __init__(self, *, options: LinkOptions, mechanism: Callable[[], Mechanism]) -> None:
        """A listener that is not bound yet; ``mechanism`` makes that of a new connection."""
        super().__init__(address="tcp", options=options)
        self.half_open = Doorstep[_Connection](most=options.max_links)
        """Connections that have no link, or none any more."""
        self._mechanism = mechanism
        self._door: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None

    async def bind(self, target: HostPort) -> None:
        """Start to listen.  Raises ``LinkError`` where that fails."""
        host = target.host
        if host == "*":
            host = "0.0.0.0"  # noqa: S104 - what the star says
        numeric = (await resolve(HostPort(host, target.port), kind=socket.SOCK_STREAM))[0]
        try:
            both = numeric.host == "::" and socket.has_dualstack_ipv6()
            family = socket.AF_INET6 if ":" in numeric.host else socket.AF_INET
            backlog = max(_MIN_BACKLOG, self._options.max_links)
            door = socket.create_server(
                (numeric.host, numeric.port), family=family, backlog=backlog, dualstack_ipv6=both
            )
        except OSError as error:
            raise cannot_listen(f"tcp://{target}", error.strerror or error) from error
        door.setblocking(False)
        found = door.getsockname()
        self._address = f"tcp://{HostPort(found[0], found[1])}"
        self._door, self._accepting = door, asyncio.create_task(self._accept(door))

    async def _accept(self, door: socket.socket) -> None:
        """Take connections.  Not by asyncio's server, which takes all that come as fast as they come."""
        loop = asyncio.get_running_loop()
        while True:
            for _ in range(_ACCEPTED_A_TURN):
                try:
                    connection, _ = await loop.sock_accept(door)
                    await loop.connect_accepted_socket(
                        lambda: _Connection(self, self._mechanism(), self._options), connection
                    )
                except OSError as error:
                    self._log.warning("a connection cannot be taken: %s", error)
                    await asyncio.sleep(_EXHAUSTED_S if error.errno in _EXHAUSTED else 0)
            await asyncio.sleep(_TURN_S)

    async def _stop(self) -> None:
        if self._door is not None and self._accepting is not None:
            # At once: who waited for the listener's end may end the event loop with it.
            self._accepting.cancel()
            asyncio.get_running_loop().remove_reader(self._door)
            self._door.close()
            self._door = self._accepting = None
        for connection in self.half_open:
            connection.finish()
        await self.half_open.emptied(timeout_s=self._options.linger_s)
