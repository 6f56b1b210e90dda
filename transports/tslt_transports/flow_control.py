"""What all links share: windows of unconsumed frames, queues, counters, keepalive and the one end a link has.

A transport derives from ``Channel`` and only moves bytes.  Flow control is by consumption (see ``control``): a sender
may start a frame while fewer than ``queue_frames`` frames *and* fewer than ``queue_bytes`` bytes are sent and not
reported consumed; a receiver reports once half of either is consumed.  Why not the transport's own flow control:
libzmq counts messages, however long they are, and aioquic opens its windows as bytes arrive, not as they are read.  The
report costs a few bytes every ``queue_frames / 2`` frames.

No deadlock: with everything consumed, fewer than half of either window is unreported, so the next frame may start.  No
unbounded memory: a peer that sends past its window loses the link.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, cast

from tslt_transports.checks import check_kind
from tslt_transports.control import (
    ControlError,
    ControlType,
    PeerLimits,
    decode_control,
    encode_consumed,
    encode_ping,
)
from tslt_transports.link import ConnectError, FrameTooLarge, LinkClosed, LinkOptions
from tslt_transports.rates import RateLimit

NO_EDGE_HINT: Final = "check that a tslt edge of the same transport and version listens there and has room"
"""What to try where a link did not come to be and nothing better is known."""

_KEEPALIVES_A_TIMEOUT: Final = 4
"""Keepalives in what the peer calls a time-out: three may go missing."""


MAX_PINGS_A_SECOND: Final = 100
"""PINGs of one peer in a second: one more ends the link.  An honest peer sends one each ``heartbeat_s``."""

_MIN_KEEPALIVE_S: Final = 0.05
"""Seconds between two of our own, whatever the limits say: far from what a peer may call a flood."""


def name_of_device(identity: str, where: str) -> str:
    """What messages and logs call a device that connected from ``where``."""
    return f"{identity} at {where}" if identity else where


class PeerGone(Exception):
    """A transport could not hand something over: its peer is gone.  Never leaves the package."""


class Parting(Enum):
    """What a link still says to its peer when it ends."""

    CLEAN = "clean"
    """The clean end, behind everything sent."""

    LOSS = "loss"
    """A LOST with the reason."""

    NOTHING = "nothing"
    """The peer knows, or is not there."""


@dataclass(frozen=True, slots=True)
class _End:
    clean: bool
    reason: str


class Channel(ABC):
    """The transport-independent half of a ``Link``.  Raises ``TypeError`` for options of another kind."""

    def __init__(self, *, peer: str, options: LinkOptions, identity: str = "", address: str = "") -> None:
        """``peer`` names the other side in messages.  Needs a running event loop.

        ``identity``, ``address``: see ``Link``.
        """
        check_kind("options", options, LinkOptions)
        self._loop = asyncio.get_running_loop()
        self._peer = peer
        self._identity = identity
        self._address = address
        self._options = options
        self._end: _End | None = None
        self._released = False
        self._on_release: Callable[[], None] | None = None
        self._limit_bytes = options.max_frame_bytes
        self._window_frames = options.queue_frames
        self._window_bytes = options.queue_bytes
        self._keepalive_s = options.heartbeat_s
        self.greeted: asyncio.Future[None] = self._loop.create_future()
        """Resolved once the limits of the peer are known; fails with ``ConnectError`` if the link ends before."""

        self._send_lock = asyncio.Lock()  # fair, so that concurrent senders keep their order
        self._writable = asyncio.Event()
        self._unreported: deque[int] = deque()  # sizes of frames sent and not reported consumed
        self._unreported_bytes = 0

        self._readable = asyncio.Event()
        self._inbox: deque[bytes] = deque()
        self._inbox_bytes = 0
        self._taken_frames = 0  # consumed here and not reported yet
        self._taken_bytes = 0

        self._pings = RateLimit(MAX_PINGS_A_SECOND)
        self._last_heard_s = self._loop.time()
        self._last_sent_s = self._last_heard_s
        self._bytes_sent = self._bytes_received = self._frames_sent = self._frames_received = 0

    # ---- what an application sees (documented in ``Link``)

    @property
    def peer(self) -> str:
        """See ``Link.peer``."""
        return self._peer

    @property
    def identity(self) -> str:
        """See ``Link.identity``."""
        return self._identity

    @property
    def address(self) -> str:
        """See ``Link.address``."""
        return self._address

    @property
    def bytes_sent(self) -> int:
        """See ``Link.bytes_sent``."""
        return self._bytes_sent

    @property
    def bytes_received(self) -> int:
        """See ``Link.bytes_received``."""
        return self._bytes_received

    @property
    def frames_sent(self) -> int:
        """See ``Link.frames_sent``."""
        return self._frames_sent

    @property
    def frames_received(self) -> int:
        """See ``Link.frames_received``."""
        return self._frames_received

    async def send(self, frame: bytes) -> None:
        """See ``Link.send``."""
        if not isinstance(frame, bytes):
            raise TypeError(f"a frame is bytes, not {type(frame).__name__}")
        if not frame:
            raise ValueError("a frame is never empty")
        if len(frame) > self._limit_bytes:
            raise FrameTooLarge(size=len(frame), limit=self._limit_bytes)
        async with self._send_lock:
            while self._end is None and (
                len(self._unreported) >= self._window_frames or self._unreported_bytes >= self._window_bytes
            ):
                self._writable.clear()
                try:
                    await asyncio.wait_for(self._writable.wait(), self._options.send_timeout_s)
                except TimeoutError:
                    self.lose(f"it took no frame for {self._options.send_timeout_s:g} s (send_timeout_s)", tell=True)
            if self._end is not None:
                raise self._closed()
            try:
                self._write_frame(frame)
            except PeerGone as gone:
                self.lose(str(gone))
                raise self._closed() from gone
            self._last_sent_s = self._loop.time()
            self._unreported.append(len(frame))
            self._unreported_bytes += len(frame)
            self._frames_sent += 1
            self._bytes_sent += len(frame) + self.frame_overhead(len(frame))

    async def receive(self) -> bytes:
        """See ``Link.receive``."""
        while not self._inbox:
            if self._end is not None:
                self._release()
                raise self._closed()
            self._readable.clear()
            await self._readable.wait()
        frame = self._inbox.popleft()
        self._inbox_bytes -= len(frame)
        self._frames_received += 1
        self._bytes_received += len(frame) + self.frame_overhead(len(frame))
        self._taken_frames += 1
        self._taken_bytes += len(frame)
        # At half of a window: seldom enough to cost nothing, soon enough that the sender need not stop.
        if self._taken_frames * 2 >= self._window_frames or self._taken_bytes * 2 >= self._window_bytes:
            count, self._taken_frames, self._taken_bytes = self._taken_frames, 0, 0
            self.write_control(encode_consumed(count))
        return frame

    async def close(self) -> None:
        """See ``Link.close``."""
        self._finish(clean=True, reason="closed by this side", parting=Parting.CLEAN)
        self._inbox.clear()
        self._inbox_bytes = 0
        self._release()
        await self._flush()

    # ---- what a transport calls

    @property
    def ended(self) -> bool:
        """Whether the link is over; frames may still wait to be received."""
        return self._end is not None

    def on_release(self, call: Callable[[], None]) -> None:
        """Have ``call`` called once the link is over and the application knows, so that its place is free again."""
        self._on_release = call

    def negotiate(self, limits: PeerLimits) -> None:
        """Take the peer's limits: from here on both directions use the smaller of each."""
        self._limit_bytes = min(self._options.max_frame_bytes, limits.max_frame_bytes)
        self._window_frames = min(self._options.queue_frames, limits.queue_frames)
        self._window_bytes = min(self._options.queue_bytes, limits.queue_bytes)
        self._keepalive_s = min(self._options.heartbeat_s, limits.peer_timeout_s / _KEEPALIVES_A_TIMEOUT)
        self._keepalive_s = max(self._keepalive_s, _MIN_KEEPALIVE_S)
        self.greeted.set_result(None)

    def deliver_frame(self, frame: bytes) -> None:
        """Take a frame from the peer, or lose the link where it breaks a limit."""
        self.heard()
        if self._end is not None:
            return
        if not self.greeted.done():
            self.lose("the peer sent a frame before its greeting", tell=True)
        elif len(frame) > self._options.max_frame_bytes:
            self.lose(f"the peer sent {len(frame)} bytes, the limit is {self._options.max_frame_bytes}", tell=True)
        elif (
            len(self._inbox) + self._taken_frames >= self._window_frames
            or self._inbox_bytes + self._taken_bytes >= self._window_bytes
        ):
            self.lose("the peer sent more than its window allows", tell=True)
        else:
            self._inbox.append(frame)
            self._inbox_bytes += len(frame)
            self._readable.set()

    def deliver_control(self, data: bytes) -> None:
        """Take a control message from the peer, or lose the link where it is malformed or out of place."""
        self.heard()
        if self._end is not None:
            return
        try:
            control = decode_control(data)
        except ControlError as error:
            self.lose(f"the peer broke the transport protocol: {error}", tell=True)
            return
        match control.type:
            case ControlType.PING:
                if not self._pings.take():
                    self.lose(f"the peer sent more than {MAX_PINGS_A_SECOND} PINGs in a second", tell=True)
            case ControlType.CONSUMED if control.count <= len(self._unreported):
                for _ in range(control.count):
                    self._unreported_bytes -= self._unreported.popleft()
                self._writable.set()
            case ControlType.LOST:
                self.lose(f"the peer gave it up: {control.reason}")
            case ControlType.REFUSE if not self.greeted.done():
                self.lose(f"the edge refused: {control.reason}")
            case ControlType.WELCOME if not self.greeted.done() and control.limits is not None:
                self.negotiate(control.limits)
            case _:
                self.lose(f"the peer broke the transport protocol: {control.type.name} out of place", tell=True)

    def deliver_end(self) -> None:
        """Take the peer's clean end."""
        self.heard()
        self._finish(clean=True, reason="closed by the peer", parting=Parting.NOTHING)

    def lose(self, reason: str, *, tell: bool = False, hint: str = NO_EDGE_HINT) -> None:
        """End the link as lost; ``tell`` the peer why where it may still be there.

        ``hint`` says what to try, where the link was not open yet.
        """
        self._finish(clean=False, reason=reason, parting=Parting.LOSS if tell else Parting.NOTHING, hint=hint)

    def heard(self) -> None:
        """Note that the peer is alive."""
        self._last_heard_s = self._loop.time()

    @property
    def is_overdue(self) -> bool:
        """Whether nothing was heard for so long that a keepalive of the peer's, or the answer to ours, was due."""
        return self._loop.time() - self._last_heard_s > self._keepalive_s

    def write_control(self, data: bytes) -> None:
        """Send a control message, or lose the link."""
        if self._end is None:
            try:
                self._write_control(data)
            except PeerGone as gone:
                self.lose(str(gone))
            else:
                self._last_sent_s = self._loop.time()

    async def keep_alive(self) -> None:
        """Send keepalives and notice silence, until the link ends.  Run it as a task."""
        while self._end is None:
            interval = self._keepalive_s / 2
            slept_at = self._loop.time()
            await asyncio.sleep(interval)
            late = self._loop.time() - slept_at - interval
            if late > interval:
                # This loop was blocked, so what the peer sent meanwhile may still be unread: not the peer's silence.
                self._last_heard_s += late
            now = self._loop.time()
            if now - self._last_heard_s > self._options.peer_timeout_s:
                self.lose(f"nothing heard for {self._options.peer_timeout_s:g} s (peer_timeout_s)")
            elif now - self._last_sent_s >= self._keepalive_s and self._end is None:
                self._last_sent_s = now
                self._send_keepalive()

    # ---- what a transport provides

    @abstractmethod
    def frame_overhead(self, size: int) -> int:
        """See ``Link.frame_overhead``."""

    @abstractmethod
    def _write_frame(self, frame: bytes) -> None:
        """Hand a frame over at once.  Raises ``PeerGone``."""

    @abstractmethod
    def _write_control(self, data: bytes) -> None:
        """Hand a control message over at once.  Raises ``PeerGone``."""

    @abstractmethod
    def _hang_up(self, parting: Parting, reason: str) -> None:
        """The link has ended: say ``parting`` (``reason`` is for a loss) and let go.  Called once; must not raise."""

    async def _flush(self) -> None:
        """Wait, for ``linger_s`` at most, until what was sent has left; nothing to do where that goes on by itself."""
        return

    def _send_keepalive(self) -> None:
        self.write_control(encode_ping())

    # ---- internals

    def _finish(self, *, clean: bool, reason: str, parting: Parting, hint: str = NO_EDGE_HINT) -> None:
        if self._end is not None:
            return
        self._end = _End(clean, reason)
        if not self.greeted.done():
            self.greeted.set_exception(ConnectError(address=self._peer, reason=reason, hint=hint))
            self.greeted.exception()  # whoever waits gets it; nobody waiting is no error
        self._readable.set()
        self._writable.set()
        self._hang_up(parting, reason)

    def _closed(self) -> LinkClosed:
        """What to raise now that the link is over."""
        end = cast("_End", self._end)
        return LinkClosed(peer=self._peer, clean=end.clean, reason=end.reason)

    def _release(self) -> None:
        if not self._released:
            self._released = True
            if self._on_release is not None:
                self._on_release()
