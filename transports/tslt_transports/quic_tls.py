"""What a QUIC connection is made with: protocol, windows, and the certificates of either end, checked before use.

RFC 9001: TLS 1.3, with ALPN.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import ssl
from pathlib import Path
from typing import Final

from aioquic.quic.configuration import QuicConfiguration
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import NameOID

from tslt_transports.allow_list import EdgeKeys
from tslt_transports.keys import DeviceKeys, SecretKey
from tslt_transports.link import ClientTls, ConnectError, LinkError, LinkOptions, ServerTls
from tslt_transports.quic_bounds import REORDER_WINDOW_BYTES

ALPN: Final = "tslt/1"
"""The application protocol that both ends must name."""

_DATAGRAM_BYTES: Final = 1200
"""Bytes of a UDP payload: what every path must carry.  More would need path MTU discovery, which aioquic has not."""


PIN_HINT: Final = "compare --edge-key or --edge-cert-sha256 with what the edge has"
"""What to try where an edge is another one than was asked for."""

_OWN_YEARS: Final = 10
_DAYS_A_YEAR: Final = 365
_CLOCK_SLACK: Final = datetime.timedelta(hours=1)


def client_configuration(
    options: LinkOptions, tls: ClientTls | None, *, keys: DeviceKeys | None, host: str, address: str
) -> QuicConfiguration:
    """A device's, for the edge at ``host``.

    Where the edge is known by its key or by the hash of its certificate and nothing else is asked for, no authority
    is: ``mistaken_edge`` must be asked once the handshake is complete.

    Raises ``ConnectError``, which names ``address``, where the CA file cannot be used: aioquic would find out only in
    the middle of a handshake.
    """
    configuration = _configure(options, is_client=True)
    pinned = keys is not None and keys.edge is not None
    if (tls is None and pinned) or (tls is not None and tls.cert_sha256 is not None):
        configuration.verify_mode = ssl.CERT_NONE
    tls = tls or ClientTls()
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


def mistaken_edge(certificate: bytes, tls: ClientTls | None, keys: DeviceKeys | None) -> str | None:
    """Why the edge that has proven ``certificate`` (DER) is not the one that is meant, None if it is."""
    if tls is not None and tls.cert_sha256 is not None:
        found = hashlib.sha256(certificate).hexdigest()
        if not hmac.compare_digest(found, tls.cert_sha256.replace(":", "").lower()):
            return f"the edge's certificate is another one than the one asked for (its SHA-256 is {found})"
    parsed = x509.load_der_x509_certificate(certificate)
    if keys is not None and keys.edge is not None:
        key = parsed.public_key()
        if not isinstance(key, Ed25519PublicKey) or key.public_bytes_raw() != keys.edge.signing:
            return f"the edge's certificate is not of the key of {keys.edge.name}"
    now = datetime.datetime.now(datetime.UTC)
    if not parsed.not_valid_before_utc <= now <= parsed.not_valid_after_utc:
        return f"the edge's certificate is valid until {parsed.not_valid_after_utc:%Y-%m-%d}: expired, or not yet valid"
    return None


def own_certificate(key: SecretKey) -> tuple[x509.Certificate, Ed25519PrivateKey]:
    """A certificate of an edge's own key, signed by itself: devices know the key and ask for no authority."""
    private = Ed25519PrivateKey.from_private_bytes(key.signing_secret)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, key.name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SLACK)
        .not_valid_after(now + datetime.timedelta(days=_OWN_YEARS * _DAYS_A_YEAR))
    )
    return builder.sign(private, None), private


def server_configuration(options: LinkOptions, tls: ServerTls | None, keys: EdgeKeys | None) -> QuicConfiguration:
    """An edge's, with the certificate of ``tls`` or else of its own key.

    Raises ``LinkError`` where the files cannot be used, or the key is not the certificate's; ``ValueError`` where there
    is neither.
    """
    configuration = _configure(options, is_client=False)
    if tls is None:
        if keys is None:
            raise ValueError(
                "quic needs tls=ServerTls(...) (python -m tslt_transports.devcert --out DIR makes one), or keys"
            )
        configuration.certificate, configuration.private_key = own_certificate(keys.own)
        return configuration
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
