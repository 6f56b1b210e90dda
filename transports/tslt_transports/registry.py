"""The transports by name: ``connect`` and ``listen`` look one up, load its module and let it do the work.

A transport of one's own is a row of ``_MODULES`` and a module with these two functions.  Nothing is imported before it
is asked for, so neither pyzmq nor aioquic is needed by who does not use it.
"""

from __future__ import annotations

import importlib
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol, cast

from tslt_transports.allow_list import EdgeKeys
from tslt_transports.checks import check_kind
from tslt_transports.keys import DeviceKeys
from tslt_transports.link import ClientTls, Link, LinkError, LinkOptions, Listener, ServerTls


class Transport(StrEnum):
    """The transports that ``connect`` and ``listen`` know."""

    ZMQ = "zmq"
    """ZeroMQ over TCP: CURVE with keys; without them plain text, for networks both ends trust."""

    QUIC = "quic"
    """QUIC: TLS 1.3, the edge's certificate is verified."""


class _Module(Protocol):
    """What the module of a transport offers; see the functions below."""

    async def connect(
        self, address: str, *, options: LinkOptions, tls: ClientTls | None, keys: DeviceKeys | None
    ) -> Link: ...

    async def listen(
        self, address: str, *, options: LinkOptions, tls: ServerTls | None, keys: EdgeKeys | None
    ) -> Listener: ...


_MODULES: Final = {Transport.ZMQ: "tslt_transports.zeromq", Transport.QUIC: "tslt_transports.quic"}
"""The module of each transport; the name of the transport is also the extra that installs what it needs."""

_DEFAULT_OPTIONS: Final = LinkOptions()


async def connect(
    transport: Transport | str,
    address: str,
    *,
    options: LinkOptions = _DEFAULT_OPTIONS,
    tls: ClientTls | None = None,
    keys: DeviceKeys | None = None,
) -> Link:
    """Open a link from a device to the edge at ``address`` ("tcp://host:port" for zmq, "host:port" for quic).

    ``keys``: the device's, where the edge demands one; with them an edge that demands none is refused.

    Raises ``ConnectError`` within about ``options.connect_timeout_s`` seconds where there is no edge, it refuses, or
    the file of ``tls`` cannot be used; ``LinkError`` where the transport's library is not installed; ``ValueError`` for
    an unknown transport, a malformed address, port 0, ``tls`` with zmq, or ``keys`` without the edge's with zmq;
    ``TypeError`` for arguments of another kind.
    """
    module = _load(transport)
    _check(address, options)
    check_kind("tls", tls, ClientTls, type(None))
    check_kind("keys", keys, DeviceKeys, type(None))
    return await module.connect(address, options=options, tls=tls, keys=keys)


async def listen(
    transport: Transport | str,
    address: str,
    *,
    options: LinkOptions = _DEFAULT_OPTIONS,
    tls: ServerTls | None = None,
    keys: EdgeKeys | None = None,
) -> Listener:
    """Listen for devices at ``address``; port 0 binds a free one, and ``Listener.address`` says which.

    ``keys``: the edge's, and the devices that may talk; None: anybody may.  With quic and without ``tls`` the edge
    shows a certificate of its key, made on the spot, which devices know by ``DeviceKeys.edge``.

    Raises ``LinkError`` where the address cannot be bound, the files of ``tls`` cannot be used or the transport's
    library is not installed; ``ValueError`` for an unknown transport, a malformed address, ``tls`` with zmq, or neither
    ``tls`` nor ``keys`` with quic; ``TypeError`` for an argument of another kind.
    """
    module = _load(transport)
    _check(address, options)
    check_kind("tls", tls, ServerTls, type(None))
    check_kind("keys", keys, EdgeKeys, type(None))
    return await module.listen(address, options=options, tls=tls, keys=keys)


def _check(address: object, options: object) -> None:
    check_kind("address", address, str)
    check_kind("options", options, LinkOptions)


def _load(name: Transport | str) -> _Module:
    check_kind("transport", name, str)
    try:
        transport = Transport(name)
    except ValueError:
        known = " or ".join(repr(one.value) for one in Transport)
        raise ValueError(f"unknown transport {name!r}: expected {known}") from None
    try:
        return cast(_Module, importlib.import_module(_MODULES[transport]))
    except ImportError as error:
        hint = f"pip install 'tslt-wire[{transport}]'"
        raise LinkError(f"the {transport} transport cannot be imported ({error}): {hint}") from error


if TYPE_CHECKING:  # that the modules of the table keep the protocol
    import tslt_transports.quic as _quic
    import tslt_transports.zeromq as _zeromq

    _CHECKED: tuple[_Module, ...] = (_quic, _zeromq)
