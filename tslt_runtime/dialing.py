"""Reach an edge that may not be there yet: a device that was started first waits for it."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from tslt_transports import ClientTls, ConnectError, DeviceKeys, Link, LinkOptions, PublicKey, SecretKey, connect

log = logging.getLogger("tslt.device")

ATTEMPT_S = 5.0
"""Seconds of one attempt: several round trips over a bad link."""
PAUSE_S = 0.2
"""Seconds between two attempts where the first one failed at once."""
ABSENT = ("no answer", "nobody answered")
"""What the reason of a ConnectError says where nobody listens; all else does not change by waiting."""


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


async def reach(
    transport: str, address: str, *, tls: ClientTls | None = None, keys: DeviceKeys | None = None, timeout_s: float
) -> Link:
    """A link to the edge at ``address``, which has ``timeout_s`` seconds to come up.

    Raises ConnectError after that, and at once for what waiting does not mend: a name that does not resolve, a
    certificate that is not trusted.  Else see ``tslt_transports.connect``.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + timeout_s
    said = False
    while True:
        attempt = max(0.1, min(ATTEMPT_S, deadline - clock()))
        try:
            return await connect(transport, address, options=LinkOptions(connect_timeout_s=attempt), tls=tls, keys=keys)
        except ConnectError as error:
            if clock() + PAUSE_S >= deadline or not any(word in error.reason.lower() for word in ABSENT):
                raise
        if not said:
            log.warning("no edge at %s yet: waiting for it, %g s at most", address, timeout_s)
            said = True
        await asyncio.sleep(PAUSE_S)
