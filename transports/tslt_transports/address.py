"""Parse, resolve and print the addresses of edges.

An address is `host:port` or `[ipv6]:port`, with the transport's own scheme in front or without it.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass

from tslt_transports.link import ConnectError


@dataclass(frozen=True, slots=True)
class HostPort:
    """A host (name or IP address, without brackets) and a port (0..65535)."""

    host: str
    port: int

    def __str__(self) -> str:
        """Write it as an address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(address: str, *, scheme: str) -> HostPort:
    """Read `host:port`, `[ipv6]:port`, or either after `scheme` and `://`. Raises `ValueError`."""
    complaint = f"{address!r} is no address: expected host:port, [ipv6]:port or {scheme}://host:port"
    found_scheme, separator, rest = address.rpartition("://")
    if separator and found_scheme != scheme:
        raise ValueError(complaint)
    host, separator, port = rest.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:  # an IPv6 address without brackets: which colon starts the port?
        raise ValueError(complaint)
    if not separator or not host or not (port.isascii() and port.isdecimal()) or int(port) > 65_535:
        raise ValueError(complaint)
    return HostPort(host, int(port))


async def resolve(target: HostPort, *, kind: socket.SocketKind) -> list[HostPort]:
    """Return the numeric addresses of `target`, best first, none twice. Raises `ConnectError` where there are none."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(target.host, target.port, type=kind)
    except (OSError, UnicodeError) as error:
        raise ConnectError(
            address=str(target),
            reason=f"the name does not resolve ({error})",
            hint="check the host name and this machine's DNS",
        ) from error
    return list(dict.fromkeys(HostPort(str(entry[4][0]), target.port) for entry in found))
