"""Parse, resolve and print the addresses of edges.

An address is ``host:port`` or ``[ipv6]:port``, with the transport's own scheme in front or without it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from dataclasses import dataclass
from typing import Final

from tslt_transports.checks import check_kind
from tslt_transports.link import ConnectError

MAX_PORT: Final = 65_535
"""The highest port: ports have 16 bits."""


@dataclass(frozen=True, slots=True)
class HostPort:
    """A host (name or IP address, without brackets) and a port (0..65535)."""

    host: str
    port: int

    def __str__(self) -> str:
        """Write it as an address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def unmapped(host: str) -> str:
    """A numeric ``host`` as its owner writes it: a socket for both families calls 192.0.2.1 ``::ffff:192.0.2.1``."""
    return host.removeprefix("::ffff:") if "." in host else host


def parse_address(address: str, *, scheme: str) -> HostPort:
    """Read ``host:port``, ``[ipv6]:port``, or either after ``scheme`` and ``://``.  Raises ``ValueError``."""
    check_kind("address", address, str)
    complaint = f"{address!r} is no address: expected host:port, [ipv6]:port or {scheme}://host:port"
    found_scheme, separator, rest = address.rpartition("://")
    if separator and found_scheme != scheme:
        raise ValueError(complaint)
    host, separator, port = rest.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise ValueError(complaint) from None
    elif any(character.isspace() or not character.isprintable() for character in host) or ":" in host:
        raise ValueError(complaint)
    if not separator or not host or not (port.isascii() and port.isdecimal()) or int(port) > MAX_PORT:
        raise ValueError(complaint)
    return HostPort(host, int(port))


def parse_target(address: str, *, scheme: str) -> HostPort:
    """``parse_address`` of something to dial: ``ValueError`` for port 0 as well, which only a listener can have."""
    target = parse_address(address, scheme=scheme)
    if target.port == 0:
        raise ValueError(f"{address!r} has port 0, at which nobody can be dialed: give the edge's port")
    return target


def is_loopback(address: str, *, scheme: str) -> bool:
    """Whether only this machine can reach a listener at ``address``.  Raises ``ValueError`` for what is no address."""
    host = parse_address(address, scheme=scheme).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def resolve(target: HostPort, *, kind: socket.SocketKind) -> list[HostPort]:
    """The numeric addresses of ``target``, best first, none twice.  Raises ``ConnectError`` where there are none."""
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
