"""Bounds on what a peer can make aioquic buffer, and the peer's certificate: what depends on aioquic's insides.

aioquic (1.2 to 1.7) has no setting for either of these: it lets a peer open 128 streams of each kind, and it doubles a
stream's window whenever a byte arrives in its second half, even if everything before that byte is missing, so a few
small packets make its reassembly buffer as large as the sender likes.
"""

from __future__ import annotations

from types import MethodType
from typing import Final, cast

from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicFrameType
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.quic.stream import QuicStream
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tslt_transports.link import LinkError

REORDER_WINDOW_BYTES: Final = 1024 * 1024
"""Bytes that may arrive ahead of a gap: what a peer can make us buffer below the windows of ``flow_control``.  1 MiB a
round trip is 80 Mbit/s at 100 ms."""

_MAX_FRAME_CAPACITY: Final = 1 + 8 + 8  # type, stream id, limit


def bound_receiver(quic: QuicConnection, *, peer_streams: int) -> None:
    """Let the peer open ``peer_streams`` bidirectional streams and no others, each with a window of fixed size.

    Call it before the connection has seen a packet.  Raises ``LinkError`` where aioquic has moved what this needs: no
    bound must never pass for one.
    """
    needed = (
        "_local_max_streams_bidi",
        "_local_max_streams_uni",
        "_write_stream_limits",
        "_on_max_stream_data_delivery",
    )
    missing = [name for name in needed if not hasattr(quic, name)]
    if missing:
        raise LinkError(f"this release of aioquic cannot be bounded (it has no {', '.join(missing)}): use another one")
    for limit, value in ((quic._local_max_streams_bidi, peer_streams), (quic._local_max_streams_uni, 0)):
        limit.value = limit.sent = value
    quic._write_stream_limits = MethodType(_write_stream_limits, quic)  # type: ignore[method-assign]


def check_retries(server: object) -> None:
    """Raise ``LinkError`` where aioquic has moved what says whether its server asks for a retry."""
    if not hasattr(server, "_retry"):  # which aioquic sets once, for all that come
        raise LinkError("this release of aioquic cannot be told when to ask for a retry: use another one")


def peer_certificate(quic: QuicConnection) -> bytes:
    """The certificate, in DER, that the peer has proven to have in the handshake, which is complete.

    Raises ``LinkError`` where aioquic has moved it.
    """
    certificate = getattr(getattr(quic, "tls", None), "_peer_certificate", None)
    if not isinstance(certificate, x509.Certificate):
        raise LinkError("this release of aioquic does not tell the peer's certificate: use another one")
    return certificate.public_bytes(Encoding.DER)


def _write_stream_limits(quic: QuicConnection, builder: QuicPacketBuilder, space: object, stream: QuicStream) -> None:
    """Announce a window of fixed size from the first byte that is missing, in steps of a quarter of it."""
    reach = stream.receiver.starting_offset() + REORDER_WINDOW_BYTES
    if reach - stream.max_stream_data_local >= REORDER_WINDOW_BYTES // 4:
        stream.max_stream_data_local = reach
    if stream.max_stream_data_local_sent != stream.max_stream_data_local:
        frame = builder.start_frame(
            QuicFrameType.MAX_STREAM_DATA,
            capacity=_MAX_FRAME_CAPACITY,
            handler=quic._on_max_stream_data_delivery,
            handler_args=(stream,),
        )
        frame.push_uint_var(cast("int", stream.stream_id))  # None is for the streams of the handshake alone
        frame.push_uint_var(stream.max_stream_data_local)
        stream.max_stream_data_local_sent = stream.max_stream_data_local
