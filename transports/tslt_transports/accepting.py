"""What all listeners share: an edge's links, how many there are, and those that wait to be accepted."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque

from tslt_transports.checks import check_kind
from tslt_transports.flow_control import Channel
from tslt_transports.link import Link, LinkClosed, LinkError, LinkOptions


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
        self._address = address
        self._options = options

    @property
    def address(self) -> str:
        """See ``Listener.address``."""
        return self._address

    async def accept(self) -> Link:
        """See ``Listener.accept``."""
        return await self.backlog.accept()

    async def close(self) -> None:
        """See ``Listener.close``."""
        self.backlog.close()
        await asyncio.gather(*(link.close() for link in self.backlog.links))
        self._stop()

    @abstractmethod
    def _stop(self) -> None:
        """Let go of the socket: every link is closed.  Harmless when repeated."""


def cannot_listen(address: object, reason: object) -> LinkError:
    """The error of an ``address`` that cannot be bound, for ``reason``."""
    return LinkError(f"cannot listen at {address}: {reason}; is the port in use, or the host not this machine?")
