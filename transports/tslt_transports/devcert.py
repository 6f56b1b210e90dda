"""Make a certificate authority and an edge certificate for development.

``python -m tslt_transports.devcert --out DIR`` writes ``ca.pem`` (for devices: ``ClientTls.ca_file``), ``cert.pem`` and
``key.pem`` (for the edge: ``ServerTls``).  The authority's key is thrown away, so nothing else can ever be signed with
it.  Not for production: nothing can be revoked.
"""

from __future__ import annotations

import argparse
import datetime
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tslt_transports.checks import check_whole

DEFAULT_HOSTS: Final = ("localhost", "127.0.0.1", "::1")
"""What the certificate is for where nothing else is asked for."""

DEFAULT_DAYS: Final = 30
"""Days of validity: long enough for development, too short to end up in production."""

MAX_DAYS: Final = 3650
"""Most days of validity: ten years, which is no development any more."""

_CLOCK_SLACK: Final = datetime.timedelta(hours=1)
"""How long before now a certificate is valid: the clock of a device may be behind."""

_NAME_BYTES: Final = 4
"""Random bytes in an authority's name, so that those of two runs are never taken for one another."""

_OWNER_ONLY: Final = 0o600
"""Mode of the key file: its owner reads and writes, nobody else does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DevCertificates:
    """The files that were written."""

    ca_file: Path
    cert_file: Path
    key_file: Path


def make_dev_certificates(
    out: str | Path, *, hosts: Sequence[str] = DEFAULT_HOSTS, days: int = DEFAULT_DAYS
) -> DevCertificates:
    """Write a new authority, and a certificate of it for ``hosts``, into the folder ``out``.

    ``hosts``: names and IP addresses, at least one; ``days``: days of validity.
    Existing files of these names are replaced.  Raises ``OSError``, ``ValueError`` for no hosts or no days, and
    ``TypeError`` for one string as ``hosts``.
    """
    if isinstance(hosts, str):
        raise TypeError(f"hosts must be a sequence of names, not one string ({hosts!r})")
    if not hosts or not all(hosts):
        raise ValueError("a certificate needs at least one host, and no empty one")
    check_whole("days", days, low=1, high=MAX_DAYS)
    directory = Path(out)
    directory.mkdir(parents=True, exist_ok=True)
    ca_key, edge_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = _name(f"tslt development authority {os.urandom(_NAME_BYTES).hex()}")
    ca = (
        _builder(ca_name, ca_name, ca_key.public_key(), days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    edge = (
        _builder(_name("tslt development edge"), ca_name, edge_key.public_key(), days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    files = DevCertificates(
        ca_file=directory / "ca.pem", cert_file=directory / "cert.pem", key_file=directory / "key.pem"
    )
    files.ca_file.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    files.cert_file.write_bytes(edge.public_bytes(serialization.Encoding.PEM))
    _write_private(
        files.key_file,
        edge_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
    return files


def main(arguments: Sequence[str] | None = None, *, prog: str = "python -m tslt_transports.devcert") -> int:
    """Run the command line; return the exit status.  ``prog``: what the command is called."""
    parser = argparse.ArgumentParser(prog=prog, description="Development certificates.")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="where to write the three files")
    parser.add_argument("--host", action="append", metavar="NAME", help="name or IP address; repeat for more")
    parser.add_argument("--days", type=int, default=DEFAULT_DAYS, help=f"validity in days (default {DEFAULT_DAYS})")
    options = parser.parse_args(arguments)
    try:
        files = make_dev_certificates(options.out, hosts=options.host or DEFAULT_HOSTS, days=options.days)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(f"edge:   tslt edge --transport quic --cert {files.cert_file} --cert-key {files.key_file}")
    print(f"device: tslt device --transport quic --ca {files.ca_file}")
    return 0


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SLACK)
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write_private(path: Path, data: bytes) -> None:
    """Write ``data`` so that only its owner can read it, from the first byte on."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY), "wb") as file:
        file.write(data)


if __name__ == "__main__":
    raise SystemExit(main())
