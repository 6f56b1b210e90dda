"""Command-line arguments that say who may talk: keys, lists of them, and certificates."""

from __future__ import annotations

import argparse
from pathlib import Path

from tslt_transports import AllowList, ClientTls, DeviceKeys, EdgeKeys, SecretKey, ServerTls
from tslt_transports.address import is_loopback, parse_target

from tslt_runtime.dialing import device_keys


def add_edge(parser: argparse.ArgumentParser) -> None:
    """Add those of an edge; see ``check_edge``."""
    group = parser.add_argument_group("who may talk", "without these, and on loopback alone, anybody")
    group.add_argument("--key", type=Path, metavar="FILE", help="this edge's secret key (tslt keys make)")
    listed = "devices that may talk (tslt keys add); read again when it changes, and at SIGHUP"
    group.add_argument("--allow", type=Path, metavar="FILE", help=listed)
    group.add_argument("--insecure", action="store_true", help="anybody may talk, from anywhere")
    group.add_argument("--cert", type=Path, metavar="FILE", help="quic: certificate (PEM; one of --key)")
    group.add_argument("--cert-key", type=Path, metavar="FILE", help="quic: the certificate's private key (PEM)")


def check_edge(args: argparse.Namespace) -> None:
    """Refuse what does not say who may talk at ``args.listen``; ValueError says what to do."""
    if bool(args.key) != bool(args.allow):
        raise ValueError("--key and --allow belong together: the edge's secret, and the devices that may talk")
    if args.key and args.insecure:
        raise ValueError("--insecure lets anybody talk, --allow some: say one of them")
    if bool(args.cert) != bool(args.cert_key):
        raise ValueError("--cert and --cert-key belong together; tslt certs --out certs makes both")
    if args.transport == "zmq" and args.cert:
        raise ValueError("--cert and --cert-key are for --transport quic")
    if args.transport == "quic" and not (args.cert or args.key):
        own, signed = "--key and --allow (tslt keys make)", "--cert and --cert-key (tslt certs --out certs)"
        raise ValueError(f"quic needs {own}, or {signed}")
    scheme = "quic" if args.transport == "quic" else "tcp"
    if not (args.key or args.insecure or is_loopback(args.listen, scheme=scheme)):
        raise ValueError(
            f"anybody could talk to an edge at {args.listen}: give --key and --allow (tslt keys make FILE, "
            "tslt keys add LIST LINE), or say --insecure"
        )


def edge_who(args: argparse.Namespace) -> tuple[ServerTls | None, EdgeKeys | None]:
    """What ``listen`` takes.  Raises OSError, and ValueError for files that hold something else."""
    tls = ServerTls(cert_file=args.cert, key_file=args.cert_key) if args.cert else None
    return tls, EdgeKeys(own=SecretKey.read(args.key), allowed=AllowList(args.allow)) if args.key else None


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add those of a device; see ``check_device``."""
    group = parser.add_argument_group("who may talk")
    group.add_argument("--key", type=Path, metavar="FILE", help="this device's secret key (tslt keys make)")
    group.add_argument("--edge-key", metavar="KEY", help="the edge's public line, or a file with it")
    group.add_argument("--ca", type=Path, metavar="FILE", help="quic: who signed the edge's certificate (PEM)")
    group.add_argument("--edge-cert-sha256", metavar="HEX", help="quic: the one certificate to take")


def check_device(args: argparse.Namespace) -> None:
    """Refuse what does not go together, and what is no address and no hash; ValueError says why."""
    if args.transport == "zmq" and (args.ca or args.edge_cert_sha256):
        raise ValueError("--ca and --edge-cert-sha256 are for --transport quic")
    if args.edge_key and not args.key:
        raise ValueError("an edge with a key demands one of the device, too: give --key (tslt keys make)")
    if args.transport == "zmq" and args.key and not args.edge_key:
        raise ValueError("zmq needs --edge-key beside --key: what tslt keys show prints at the edge")
    for address in args.edge or ():
        parse_target(address, scheme="quic" if args.transport == "quic" else "tcp")
    device_tls(args)


def device_who(args: argparse.Namespace) -> tuple[ClientTls | None, DeviceKeys | None]:
    """What ``connect`` takes.  Raises OSError, and ValueError for files that hold something else."""
    return device_tls(args), device_keys(args.key, args.edge_key)


def device_tls(args: argparse.Namespace) -> ClientTls | None:
    """How the command line says to check the edge's certificate; ValueError for what is no hash of one."""
    certified = args.ca or args.edge_cert_sha256
    return ClientTls(ca_file=args.ca, cert_sha256=args.edge_cert_sha256) if certified else None
