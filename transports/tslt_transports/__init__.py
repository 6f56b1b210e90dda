"""Transports for speculative-decoding frames: an in-process link, ZeroMQ and QUIC, behind one interface.

See `tslt_transports.link` for the interface. Importing this package imports neither pyzmq nor aioquic.
"""

from tslt_transports.inprocess import InProcessLink, InProcessListener, pair
from tslt_transports.link import (
    ClientTls,
    ConnectError,
    FrameTooLarge,
    Link,
    LinkClosed,
    LinkError,
    LinkOptions,
    Listener,
    ServerTls,
    Transport,
    connect,
    listen,
)

__all__ = [
    "ClientTls",
    "ConnectError",
    "FrameTooLarge",
    "InProcessLink",
    "InProcessListener",
    "Link",
    "LinkClosed",
    "LinkError",
    "LinkOptions",
    "Listener",
    "ServerTls",
    "Transport",
    "connect",
    "listen",
    "pair",
]
