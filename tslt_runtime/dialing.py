"""Reach an edge that may not be there yet: a device that was started first waits for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from tslt_transports import ClientTls, ConnectError, DeviceKeys, Link, LinkOptions, PublicKey, SecretKey, connect

log = logging.getLogger("tslt.device")

ATTEMPT_S = 5.0
"""Seconds of one attempt: several round trips over a bad link."""
PAUSE_S = 0.2
"""Seconds between two attempts where the first one failed at once."""
PASSES = ("no answer", "nobody answered", "nothing heard", "(max_links)")
"""What the reason of a ConnectError says where nobody listens, or has a place yet; all else does not change by
waiting."""


def device_keys(key: SecretKey | str | Path | None, edge_key: PublicKey | str | Path | None) -> DeviceKeys | None:
    """What ``connect`` takes, of keys or the files that hold them; None for none.

    ``edge_key``: the edge's, which may also be the public line itself.  Raises OSError, and ValueError for a file
    without a key, and for ``edge_key`` alone: an edge that has keys demands one.
    """
    if key is None:
        if edge_key is not None:
            raise ValueError("an edge with a key demands one of the device, too: give key as well (tslt keys make)")
        return None
    own = key if isinstance(key, SecretKey) else SecretKey.read(key)
    edge = edge_key if isinstance(edge_key, PublicKey | None) else PublicKey.read(edge_key)
    return DeviceKeys(own=own, edge=edge)


class Dialer:
    """Opens links to the edges of a device, of which each can take over from the others."""

    def __init__(
        self,
        transport: str,
        edges: str | Sequence[str],
        *,
        tls: ClientTls | None = None,
        keys: DeviceKeys | None = None,
        options: LinkOptions | None = None,
    ) -> None:
        """``edges``: their addresses, best first; else see ``tslt_transports.connect``.  ValueError for
        none.
        """
        self.edges = (edges,) if isinstance(edges, str) else tuple(edges)
        if not self.edges:
            raise ValueError("the address of an edge is needed")
        self._connect = partial(connect, transport, tls=tls, keys=keys)
        self._options = options or LinkOptions(connect_timeout_s=ATTEMPT_S)
        self.wrap: Callable[[Link], Link] = lambda link: link
        """What every link is put into."""
        self._at = self._start = 0

    async def __call__(self, attempt: int) -> Link:
        """A link to the edge of the last one, at ``attempt`` 0, or to those after it in turn; LinkError."""
        if attempt == 0:
            self._start = self._at
        return await self._to(self._start + attempt, self._options.connect_timeout_s)

    async def reach(self, timeout_s: float) -> Link:
        """The first link, to the first edge that is there; they have ``timeout_s`` seconds to come up.

        Raises ConnectError after that, and at once for what waiting does not mend, unless there is another edge to
        try: a name that does not resolve, a certificate that is not trusted.
        """
        clock = asyncio.get_running_loop().time
        deadline, number = clock() + timeout_s, 0
        while True:
            try:
                return await self._to(number, max(0.1, min(self._options.connect_timeout_s, deadline - clock())))
            except ConnectError as error:
                mends = any(word in error.reason.lower() for word in PASSES) or len(self.edges) > 1
                if clock() + PAUSE_S >= deadline or not mends:
                    raise
            if number == 0:
                log.warning("no edge at %s yet: waiting for it, %g s at most", self.edges[0], timeout_s)
            number += 1
            await asyncio.sleep(PAUSE_S)

    async def _to(self, number: int, timeout_s: float) -> Link:
        at = number % len(self.edges)
        link = await self._connect(self.edges[at], options=replace(self._options, connect_timeout_s=timeout_s))
        self._at = at
        return self.wrap(link)


async def reach(
    transport: str, address: str, *, tls: ClientTls | None = None, keys: DeviceKeys | None = None, timeout_s: float
) -> Link:
    """A link to the edge at ``address``; see ``Dialer.reach``."""
    return await Dialer(transport, address, tls=tls, keys=keys).reach(timeout_s)
