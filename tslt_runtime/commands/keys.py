"""Keys of devices and edges, and lists of who may talk.

tslt keys make device.key --name kitchen     a new secret file; prints the public line
tslt keys show device.key                    the public line again
tslt keys add devices.txt "kitchen tslt-key-1 ..."
tslt keys list devices.txt                   names and fingerprints
tslt keys remove devices.txt kitchen
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tslt_transports import PublicKey, SecretKey
from tslt_transports.allow_list import allow, disallow, read_allowed

from tslt_runtime.commands.running import run_command


def parse(argv: list[str] | None = None, *, prog: str = "tslt keys") -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    make = what.add_parser("make", help="make a secret file that only you can read; never replaces one")
    make.add_argument("file", type=Path, metavar="FILE")
    make.add_argument("--name", metavar="NAME", help="what logs call its holder (the file's name without its ending)")
    show = what.add_parser("show", help="print the public line of a secret file: what others need")
    show.add_argument("file", type=Path, metavar="FILE")
    fingerprint = what.add_parser("fingerprint", help="what two people compare over the telephone")
    fingerprint.add_argument("key", metavar="KEY", help="a secret file, a file with a public line, or the line itself")
    listed = what.add_parser("list", help="names and fingerprints of an allow-list")
    added = what.add_parser("add", help="let a device talk; the list is made if it is not there")
    removed = what.add_parser("remove", help="no longer let it talk: it is refused at its next connect")
    for one in (listed, added, removed):
        one.add_argument("list", type=Path, metavar="LIST")
    added.add_argument("key", metavar="KEY", help="a public line, or a file with one")
    removed.add_argument("name", metavar="NAME")
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    """Do what is asked, and print what it gives."""
    match args.what:
        case "make":
            key = SecretKey.make(args.name or args.file.stem)
            key.write(args.file)
            print(key.public.line)
        case "show":
            print(SecretKey.read(args.file).public.line)
        case "fingerprint":
            print(_either(args.key).fingerprint)
        case "list":
            for device in read_allowed(args.list):
                print(f"{device.name} {device.fingerprint}")
        case "add":
            device = PublicKey.read(args.key)
            allow(args.list, device)
            print(f"{device.name} {device.fingerprint}")
        case "remove":
            disallow(args.list, args.name)


def _either(key: str) -> PublicKey:
    """The public key of a secret file, or of what ``PublicKey.read`` reads."""
    try:
        return PublicKey.read(key)
    except ValueError as error:
        if "secret key" not in str(error):
            raise
        return SecretKey.read(key).public


def main(argv: list[str] | None = None, *, prog: str = "tslt keys") -> int:
    """Entry point; returns the exit status."""
    args = parse(argv, prog=prog)
    return run_command("keys", lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
