"""Transports for speculative-decoding frames: in-process links, ZeroMQ and QUIC, behind one interface.

See ``tslt_transports.link`` for the interface.  Importing this package imports neither pyzmq nor aioquic.
"""

from tslt_transports.allow_list import AllowList, EdgeKeys
from tslt_transports.emulated import EmulatedLink, Line, Network, VirtualClock, emulated_pair
from tslt_transports.inprocess import InProcessLink, InProcessListener, pair
from tslt_transports.keys import DeviceKeys, PublicKey, SecretKey
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
)
from tslt_transports.registry import Transport, connect, listen

__all__ = [
    "AllowList",
    "ClientTls",
    "ConnectError",
    "DeviceKeys",
    "EdgeKeys",
    "EmulatedLink",
    "FrameTooLarge",
    "InProcessLink",
    "InProcessListener",
    "Line",
    "Link",
    "LinkClosed",
    "LinkError",
    "LinkOptions",
    "Listener",
    "Network",
    "PublicKey",
    "SecretKey",
    "ServerTls",
    "Transport",
    "VirtualClock",
    "connect",
    "emulated_pair",
    "listen",
    "pair",
]
