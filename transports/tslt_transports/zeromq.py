"""Links over ZeroMQ: a libzmq DEALER on the device, our own server of ZMTP on the edge (``zeromq_edge``).

Cost of a frame: the ZMTP header, 2 bytes up to 255 bytes and 9 above; with keys CURVE's 33 bytes more, which, as TLS on
QUIC, are in no counter.

Without keys it is plain text, and nobody proves anything: for loopback, and networks that both ends trust.  With keys
it is CURVE: the device has the edge's public key, the edge an allow-list, and what is not on it is refused before
anything is made for it.
"""

from __future__ import annotations

import socket as stdlib_socket
from collections.abc import Callable
from typing import Final

from tslt_transports.address import HostPort, parse_address, parse_target
from tslt_transports.allow_list import EdgeKeys
from tslt_transports.dialing import dial
from tslt_transports.keys import DeviceKeys
from tslt_transports.link import ClientTls, LinkOptions, ServerTls
from tslt_transports.zeromq_device import ZmqDeviceLink
from tslt_transports.zeromq_edge import ZmqListener
from tslt_transports.zmtp import Mechanism, Null

_CONNECT_HINT: Final = "check that the edge runs, its address and port, and firewalls between"


async def connect(
    address: str, *, options: LinkOptions, tls: ClientTls | None, keys: DeviceKeys | None
) -> ZmqDeviceLink:
    """Open a link to the edge at ``address``; see ``registry.connect``.

    Raises ``ValueError`` for any ``tls``, and for ``keys`` without the edge's.
    """
    _refuse_tls(tls)
    if keys is not None and keys.edge is None:
        raise ValueError("zmq needs the edge's public key (--edge-key, DeviceKeys.edge): it encrypts to it")
    target = parse_target(address, scheme="tcp")

    async def start(candidate: HostPort) -> ZmqDeviceLink:
        return ZmqDeviceLink(target=candidate, options=options, keys=keys)

    return await dial(
        target,
        address=address,
        kind=stdlib_socket.SOCK_STREAM,
        start=start,
        timeout_s=options.connect_timeout_s,
        hint=_CONNECT_HINT,
    )


async def listen(address: str, *, options: LinkOptions, tls: ServerTls | None, keys: EdgeKeys | None) -> ZmqListener:
    """Listen for devices at ``address``; see ``registry.listen``.  Raises ``ValueError`` for any ``tls``."""
    _refuse_tls(tls)
    target = parse_address(address, scheme="tcp")
    listener = ZmqListener(options=options, mechanism=Null if keys is None else _curve(keys))
    await listener.bind(target)
    return listener


def _curve(keys: EdgeKeys) -> Callable[[], Mechanism]:
    from tslt_transports.zmtp_curve import CurveServer

    secret, public = keys.own.agreement_secret, keys.own.public.agreement

    def name_of(key: bytes) -> str | None:
        device = keys.allowed.by_agreement(key)
        return None if device is None else device.name

    return lambda: CurveServer(secret=secret, public=public, name_of=name_of)


def _refuse_tls(tls: object) -> None:
    if tls is not None:
        raise ValueError("the zmq transport has no TLS: use keys, or transport 'quic'")
