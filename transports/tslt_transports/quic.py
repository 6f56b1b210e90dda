"""Links over QUIC: TLS 1.3, one connection and one bidirectional stream a link, opened by the device.

Frames are delimited as ``framing`` says, 1 to 4 bytes each.  The clean end of a link is the end of the stream, which
the other side answers with the end of its own, whereupon the first closes the connection with code 0; every other end
of the connection is a loss.  Refusals and losses travel as the code and reason of CONNECTION_CLOSE.

Who may talk: TLS proves the edge, by an authority, by the hash of its certificate or by its key; ``proof`` the device.

Cost of keepalive: after ``heartbeat_s`` in which it sent nothing the device sends a QUIC PING, a UDP datagram of about
30 bytes that the edge acknowledges with another, which also keeps a NAT's binding open.  The connection's idle timeout
is the smaller ``peer_timeout_s`` of the two ends: how a killed peer is noticed, on either side.

Backpressure is the windows of ``flow_control``.  aioquic's own windows double as bytes *arrive*, read or not, and its
reassembly buffer grows to the furthest offset seen, so a hostile peer could grow it without end: see ``quic_bounds``.
"""

from __future__ import annotations

import asyncio
import socket as stdlib_socket
from typing import Final

from aioquic.quic.connection import QuicConnection

from tslt_transports.address import HostPort, parse_address, parse_target
from tslt_transports.allow_list import EdgeKeys
from tslt_transports.dialing import dial
from tslt_transports.keys import DeviceKeys
from tslt_transports.link import ClientTls, ConnectError, LinkOptions, ServerTls
from tslt_transports.quic_bounds import bound_receiver
from tslt_transports.quic_device import DeviceEndpoint
from tslt_transports.quic_edge import QuicListener
from tslt_transports.quic_endpoint import QuicLink
from tslt_transports.quic_tls import client_configuration, server_configuration

_CONNECT_HINT: Final = "check that the edge runs and speaks QUIC, its address and port, and that UDP passes"


async def connect(address: str, *, options: LinkOptions, tls: ClientTls | None, keys: DeviceKeys | None) -> QuicLink:
    """Open a link to the edge at ``address``; see ``registry.connect``.

    Neither ``tls`` nor the edge's key among ``keys``: the public authorities.
    """
    target = parse_target(address, scheme="quic")
    configuration = client_configuration(options, tls, keys=keys, host=target.host, address=address)
    edge = keys.edge.name if keys and keys.edge else configuration.server_name or target.host

    async def start(candidate: HostPort) -> QuicLink:
        quic = QuicConnection(configuration=configuration)
        bound_receiver(quic, peer_streams=0)
        try:
            # A connected socket: the kernel then reports a refusal (ICMP), and drops datagrams from elsewhere.
            transport, endpoint = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: DeviceEndpoint(quic, options=options, target=candidate, tls=tls, keys=keys, edge=edge),
                remote_addr=(candidate.host, candidate.port),
            )
        except OSError as error:
            raise ConnectError(address=address, reason=str(error), hint=_CONNECT_HINT) from error
        endpoint.connect(transport.get_extra_info("peername"))
        return endpoint.link

    return await dial(
        target,
        address=address,
        kind=stdlib_socket.SOCK_DGRAM,
        start=start,
        timeout_s=options.connect_timeout_s,
        hint=_CONNECT_HINT,
    )


async def listen(address: str, *, options: LinkOptions, tls: ServerTls | None, keys: EdgeKeys | None) -> QuicListener:
    """Listen for devices at ``address``; see ``registry.listen``.  Raises ``ValueError`` without ``tls`` and keys."""
    configuration = server_configuration(options, tls, keys)
    target = parse_address(address, scheme="quic")
    listener = QuicListener(options=options, keys=keys)
    await listener.bind(target, configuration)
    return listener
