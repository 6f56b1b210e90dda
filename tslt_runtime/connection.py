"""A device's way to its edge: a link, and another one where it breaks.

The caller sees a pause.  What was open goes on as it was (spec section 7.8): nothing is drafted or drawn anew, so that
the text that comes out is the target's whatever becomes of links and edges.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from tslt_transports.link import Link, LinkClosed, LinkError
from tslt_transports.untrusted import printable

import tslt_wire as tw
from tslt_wire import checks
from tslt_wire.messages.token_sample import Sample, sample_told

log = logging.getLogger("tslt.device")

FIRST_PAUSE_S = 0.05
"""Seconds before the first attempt at another link, twice as many before each one after it: at most ``MOST_PAUSE_S``.
Each is shortened by chance, by half at most: devices that lost the same edge do not come back in step."""
MOST_PAUSE_S = 5.0
PATIENCE_S = 30.0
"""Seconds that a caller waits for an edge to come back, unless told otherwise."""
PASSING = frozenset(
    {tw.ErrorCode.OVERLOADED, tw.ErrorCode.INTERNAL, tw.ErrorCode.UNKNOWN_SESSION, tw.ErrorCode.GOING_AWAY}
)
"""Errors of an edge after which it, or another one, may take the text up again."""


class EdgeError(Exception):
    """The edge refused, vanished or stayed silent; the message says which and what to try."""

    code: int | None = None
    """The number of the ERROR that it sent (``tw.ErrorCode``); None if it sent none."""
    retry_after_s: float | None = None
    """Seconds after which it takes this device again; None if it does not say."""
    tokens: Sample = ()
    """Some of its tokens, if it refused the device's vocabulary and told them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What a device does where its link breaks."""

    dial: Callable[[int], Awaitable[Link]]
    """Opens a link; called with the number of attempts since the last answer: to the same edge at 0, then to the next
    one, say.  LinkError where there is none."""
    patience_s: float = PATIENCE_S
    """Seconds without an answer after which the caller gets an EdgeError; the next call tries again."""

    def __post_init__(self) -> None:
        """Raise TypeError or ValueError for what cannot be called, or no number of seconds."""
        if not callable(self.dial):
            raise TypeError(f"dial must be a function that opens a link, got {self.dial!r}")
        object.__setattr__(self, "patience_s", checks.number("patience_s", self.patience_s, 0, None))


class _Broken(EdgeError):
    """This link gives no answer any more; another one may."""


def _final(message: str, why: EdgeError) -> EdgeError:
    """The error that a caller gets."""
    found = EdgeError(message)
    found.code, found.retry_after_s = why.code, why.retry_after_s
    return found


class Connection:
    """Carries the frames of a session over one link after another.  For one task at a time."""

    def __init__(
        self, link: Link, session: tw.DeviceSession, *, reply_timeout_s: float, recovery: Recovery | None = None
    ) -> None:
        """``reply_timeout_s``: seconds to wait for an answer; ``recovery``: None ends with the link.

        TypeError or ValueError for others.
        """
        self.reply_timeout_s = checks.number("reply_timeout_s", reply_timeout_s, 0, None, above_low=True)
        if recovery is not None and not isinstance(recovery, Recovery):
            raise TypeError(f"recovery must be a Recovery or None, got {recovery!r}")
        self.reconnects = 0
        """Links that took the place of a broken one."""
        self._link = link
        self._session = session
        self._recovery = recovery
        self._events: deque[tw.Event] = deque()
        self._sending = asyncio.Lock()  # frames of two tasks go in the order in which they were queued
        self._may_repeat = False  # whether what is unanswered was sent over this link
        self._before = (0, 0)  # bytes sent and received over earlier links
        self._broken: _Broken | None = None
        self._deadline: float | None = None  # of the patience; None: the last exchange had its answer
        self._attempts = 0  # since then
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def peer(self) -> str:
        """The edge, for messages."""
        return self._link.peer

    @property
    def bytes_sent(self) -> int:
        """Bytes of all links so far; see ``Link.bytes_sent``."""
        return self._before[0] + self._link.bytes_sent

    @property
    def bytes_received(self) -> int:
        """Likewise."""
        return self._before[1] + self._link.bytes_received

    @property
    def may_go_on(self) -> bool:
        """Whether the session goes on with the next exchange, though this link gives no answer any more."""
        return self._broken is not None

    async def exchange(self) -> tw.Event:
        """Send what is queued and return the next event; EdgeError if there is none."""
        while True:
            try:
                if self._broken is not None:
                    raise self._broken
                await self._send_queued()
                event = await self._next_event()
            except _Broken as broken:
                await self._recover(broken)
                continue
            self._deadline, self._attempts = None, 0
            return event

    async def flush(self) -> None:
        """Send what is queued; EdgeError if that cannot be."""
        try:
            await self._send_queued()
        except _Broken as broken:
            if self._recovery is None:
                raise _final(str(broken), broken) from broken
            self._broken = broken  # the next exchange mends it, and sends what is missing

    async def again(self) -> None:
        """Send what is not answered once more: the first answer did not come."""
        if self._broken is None and self._may_repeat:  # what a new link needs is queued
            try:
                for frame in tuple(self._session.unanswered):
                    await self._send(frame)
            except _Broken as broken:
                await self._recover(broken)

    async def push(self) -> None:
        """Send what is queued while another task waits in ``exchange``: that one finds out where the link is broken."""
        with suppress(_Broken):
            await self._send_queued()

    async def mend(self) -> None:
        """Go on over another link, as this one ``may_go_on``; EdgeError as for ``exchange``."""
        await self._recover(cast("_Broken", self._broken))

    async def close(self) -> None:
        """Send what is queued, goodbye say, and close the link."""
        with suppress(_Broken):  # if it went first, there is nobody left to say goodbye to
            await self._send_queued()
        await self._link.close()
        await asyncio.gather(*self._closing, return_exceptions=True)

    # ------------------------------------------------------------------------------------------------ the link there is

    async def _next_event(self) -> tw.Event:
        try:
            async with asyncio.timeout(self.reply_timeout_s):
                while not self._events:
                    self._events.extend(self._session.receive_data(await self._link.receive()))
        except TimeoutError:
            waited = f"did not answer within {self.reply_timeout_s:g} s"
            raise _Broken(
                f"the edge at {self.peer} {waited}; the text so far is good; the next round asks again"
            ) from None
        except LinkClosed as closed:
            raise _Broken(f"{closed}; the text so far is good; start again when the edge is back") from closed
        except (tw.DecodeError, tw.RemoteProtocolError) as error:
            with suppress(_Broken):
                await self._send_queued()
            raise EdgeError(f"the edge at {self.peer} broke the protocol: {printable(str(error))}") from error
        event = self._events.popleft()
        if isinstance(event, tw.PeerFailed):
            raise self._refused(event.error)
        if isinstance(event, tw.PeerClosed):
            raise _Broken(f"the edge at {self.peer} ended the session; the text so far is good")
        return event

    def _refused(self, error: tw.ErrorMessage) -> EdgeError:
        passing = error.retry_after_s is not None or (self._session.welcome is not None and error.code in PASSING)
        said = f"the edge at {self.peer} refused: {printable(error.message) or error.name}"
        refused = (_Broken if passing else EdgeError)(said)
        refused.code, refused.retry_after_s = error.code, error.retry_after_s
        refused.tokens = sample_told(error.extensions)
        return refused

    async def _send_queued(self) -> None:
        async with self._sending:
            while frame := self._session.data_to_send():
                self._may_repeat = True
                await self._send(frame)

    async def _send(self, frame: bytes) -> None:
        try:
            async with asyncio.timeout(self.reply_timeout_s):
                await self._link.send(frame)
        except TimeoutError:
            raise _Broken(f"the edge at {self.peer} takes no frames; the text so far is good") from None
        except LinkClosed as closed:
            await self._hear_why()
            raise _Broken(f"{closed}; the text so far is good; start again when the edge is back") from closed

    async def _hear_why(self) -> None:
        """Raise what the edge said before it closed the link, if it said something."""
        with suppress(LinkClosed, tw.DecodeError, tw.RemoteProtocolError):
            while True:
                for event in self._session.receive_data(await self._link.receive()):
                    if isinstance(event, tw.PeerFailed):
                        raise self._refused(event.error)

    # ---------------------------------------------------------------------------------------------------- the next link

    async def _recover(self, broken: _Broken) -> None:
        """Go on over another link; EdgeError if none came to be in time."""
        recovery, why = self._recovery, broken
        if recovery is None:
            raise _final(str(broken), broken) from broken
        if self._deadline is None:
            log.warning("%s; trying for %g s to go on", broken, recovery.patience_s)
            self._deadline = time.monotonic() + recovery.patience_s
        self._broken = broken
        while True:
            pause = min(MOST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(self._attempts, 10)) * (0.5 + random.random() / 2)
            pause += why.retry_after_s or 0.0
            left = self._deadline - time.monotonic() - pause
            if left <= 0:
                self._deadline, self._attempts = None, 0
                last = "" if why is broken else f": {why}"
                raise _final(f"{broken}; tried to go on for {recovery.patience_s:g} s{last}", why) from broken
            await asyncio.sleep(pause)
            attempt, self._attempts = self._attempts, self._attempts + 1
            try:
                async with asyncio.timeout(min(left, self.reply_timeout_s)):
                    await self._begin_anew(await recovery.dial(attempt))
            except _Broken as error:
                why = error
            except (LinkError, TimeoutError, EdgeError) as error:
                why = _Broken(str(error) or "no answer")
            else:
                self._broken, self._may_repeat = None, False
                return
            log.info("attempt %d to go on failed: %s", attempt + 1, why)

    async def _begin_anew(self, link: Link) -> None:
        """Shake hands over ``link``; what is to be sent next is queued then."""
        self._before = (self.bytes_sent, self.bytes_received)
        closing = asyncio.create_task(self._link.close())  # what it lingers for is of no use any more
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        self._link = link
        new = self._session.welcome is None
        self._events.clear()
        self._session.reconnect()
        await self._send_queued()
        event = await self._next_event()
        self.reconnects += 1
        if isinstance(event, tw.Resumed):
            how = "goes on as it was" if event.welcome.resumed else "goes on with other random numbers"
            log.warning("the session %s at %s, which held %d tokens of the text", how, link.peer, event.kept)
        elif new:
            self._events.append(event)  # what the caller still waits for
