"""What a QUIC connection is made with: protocol, windows, and the certificates of either end, checked before use.

RFC 9001: TLS 1.3, with ALPN.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from aioquic.quic.configuration import QuicConfiguration
from cryptography import x509

from tslt_transports.link import ClientTls, ConnectError, LinkError, LinkOptions, ServerTls
from tslt_transports.quic_bounds import REORDER_WINDOW_BYTES

ALPN: Final = "tslt/1"
"""The application protocol that both ends must name."""

_DATAGRAM_BYTES: Final = 1200
"""Bytes of a UDP payload: what every path must carry.  More would need path MTU discovery, which aioquic has not."""


def client_configuration(options: LinkOptions, tls: ClientTls, *, host: str, address: str) -> QuicConfiguration:
    """A device's, for the edge at ``host``.

    Raises ``ConnectError``, which names ``address``, where the CA file cannot be used: aioquic would find out only in
    the middle of a handshake.
    """
    configuration = _configure(options, is_client=True)
    configuration.server_name = tls.server_name or host
    if tls.ca_file is not None:
        try:
            x509.load_pem_x509_certificates(Path(tls.ca_file).read_bytes())
        except (OSError, ValueError) as error:
            raise ConnectError(
                address=address,
                reason=f"the CA file {tls.ca_file} is unusable ({error})",
                hint="give a PEM certificate file",
            ) from error
        configuration.load_verify_locations(cafile=str(tls.ca_file))
    return configuration


def server_configuration(options: LinkOptions, tls: ServerTls) -> QuicConfiguration:
    """An edge's.  Raises ``LinkError`` where the files cannot be used, or the key is not the certificate's."""
    configuration = _configure(options, is_client=False)
    unusable = f"cannot use the certificate {tls.cert_file} with the key {tls.key_file}"
    try:
        configuration.load_cert_chain(tls.cert_file, tls.key_file)
    except (OSError, ValueError, IndexError, TypeError) as error:
        raise LinkError(f"{unusable}: {error}") from error
    certificate, key = configuration.certificate, configuration.private_key
    if certificate is None or key is None or certificate.public_key() != key.public_key():
        raise LinkError(f"{unusable}: the key is not the certificate's")
    return configuration


def _configure(options: LinkOptions, *, is_client: bool) -> QuicConfiguration:
    return QuicConfiguration(
        is_client=is_client,
        alpn_protocols=[ALPN],
        idle_timeout=options.peer_timeout_s,
        max_data=REORDER_WINDOW_BYTES,
        max_stream_data=REORDER_WINDOW_BYTES,
        max_datagram_size=_DATAGRAM_BYTES,
    )
