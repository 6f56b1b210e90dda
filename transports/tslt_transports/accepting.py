"""What all listeners share: an edge's links, how many there are, and those that wait to be accepted."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Iterator
from typing import Final, Generic, Protocol, TypeVar

from tslt_transports.checks import check_kind
from tslt_transports.flow_control import Channel
from tslt_transports.link import Link, LinkClosed, LinkError, LinkOptions
from tslt_transports.rates import LimitedLog
from tslt_transports.untrusted import printable

log = logging.getLogger("tslt.link")

_MIN_HALF_OPEN: Final = 64
"""Connections without a link that an edge holds at least, however few links it may have: handshakes take a while."""


class _Connection(Protocol):
    def abort(self) -> None:
        """Close it at once."""

    def give_way(self) -> None:
        """Likewise, and note that it was for others."""


_Held = TypeVar("_Held", bound=_Connection)


class Doorstep(Generic[_Held]):
    """Connections that have no link: a bounded number, and the oldest goes first.

    So a flood takes nobody's place for longer than the flood needs to come round, and who is honest and quick gets in.
    """

    def __init__(self, *, most: int) -> None:
        """``most``: connections, ``_MIN_HALF_OPEN`` at least."""
        self.most = max(_MIN_HALF_OPEN, most)
        """Connections that it holds."""
        self._held: dict[_Held, None] = {}
        self._empty = asyncio.Event()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._held)

    def __iter__(self) -> Iterator[_Held]:
        """The oldest first; they may go meanwhile."""
        return iter(list(self._held))

    def add(self, connection: _Held) -> None:
        """Take one, which may be there already."""
        self._held[connection] = None
        if len(self._held) > self.most:
            oldest = next(iter(self._held))
            self.discard(oldest)
            oldest.give_way()

    def discard(self, connection: _Held) -> None:
        """Let go of one, which may be gone already."""
        self._held.pop(connection, None)
        if not self._held:
            self._empty.set()

    async def emptied(self, *, timeout_s: float) -> None:
        """Wait until none is left; what is left after ``timeout_s`` seconds is aborted."""
        self._empty.clear()
        if self._held:
            try:
                await asyncio.wait_for(self._empty.wait(), timeout_s)
            except TimeoutError:
                for connection in self:
                    connection.abort()


class Backlog:
    """An edge's links: how many there are, and those that wait to be accepted."""

    def __init__(self, *, address: str, options: LinkOptions) -> None:
        """``address`` names the listener in messages."""
        check_kind("options", options, LinkOptions)
        self._address = address
        self._max_links = options.max_links
        self._links: set[Channel] = set()
        self._waiting: deque[Channel] = deque()
        self._changed = asyncio.Event()
        self._closed = False

    @property
    def links(self) -> list[Channel]:
        """All links that hold a place."""
        return list(self._links)

    def refusal(self) -> str | None:
        """Why a new link cannot be taken, None if it can."""
        if self._closed:
            return "the edge is shutting down"
        if len(self._links) >= self._max_links:
            return f"the edge already has {len(self._links)} links (max_links); try later or another edge"
        return None

    def add(self, link: Channel) -> None:
        """Take a new link: it holds a place until it is over and its application knows."""
        self._links.add(link)
        link.on_release(lambda: self._links.discard(link))
        self._waiting.append(link)
        self._changed.set()

    async def accept(self) -> Channel:
        """See ``Listener.accept``."""
        while not self._waiting:
            if self._closed:
                raise LinkClosed(peer=self._address, clean=True, reason="this listener is closed")
            self._changed.clear()
            await self._changed.wait()
        return self._waiting.popleft()

    def close(self) -> None:
        """Take and hand out no more links."""
        self._closed = True
        self._waiting.clear()
        self._changed.set()


class BaseListener(ABC):
    """The transport-independent half of a ``Listener``.  Raises ``TypeError`` for options of another kind."""

    def __init__(self, *, address: str, options: LinkOptions) -> None:
        """``address`` is where it listens, in the form that ``connect`` takes, as far as it is known yet."""
        self.backlog = Backlog(address=address, options=options)
        self.refusals: Counter[str] = Counter()
        """How often a stranger was refused, for metrics, by kind of reason: "key" (missing, unknown or unproven),
        "full", "silent" (no greeting in time), "crowded" (gave way to others), "protocol"."""
        self._log = LimitedLog(log)
        self._address = address
        self._options = options

    @property
    def address(self) -> str:
        """See ``Listener.address``."""
        return self._address

    async def accept(self) -> Link:
        """See ``Listener.accept``."""
        return await self.backlog.accept()

    def refused(self, host: str, reason: str, *, kind: str = "protocol") -> None:
        """Note that a stranger at ``host`` was refused."""
        self.refusals[kind] += 1
        self._log.warning("%s: refused: %s", host or "unknown", printable(reason))

    async def close(self) -> None:
        """See ``Listener.close``."""
        self.backlog.close()
        await asyncio.gather(*(link.close() for link in self.backlog.links))
        await self._stop()

    @abstractmethod
    async def _stop(self) -> None:
        """Let go of the socket: every link is closed.  Harmless when repeated."""


def cannot_listen(address: object, reason: object) -> LinkError:
    """The error of an ``address`` that cannot be bound, for ``reason``."""
    return LinkError(f"cannot listen at {address}: {reason}; is the port in use, or the host not this machine?")
