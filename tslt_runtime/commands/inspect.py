"""Show what frames say, and the bits that each part of them takes.

tslt device --capture session.tslt; tslt inspect session.tslt
tslt inspect - < frame.bin
tslt inspect --vocab-size 32000 48010202aa5100030f00505b0c94

A capture is read with the profile that each link agreed on, one frame (a file, "-" for standard input, or hexadecimal
digits) with that of the options.  Under the range coder bits are what each part narrows the coder's interval by, which
is seldom a whole number; coder_end is what is left up to the last byte.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO

import tslt_wire as tw
from tslt_runtime.capture import MAGIC, START_BYTES, CaptureError, is_capture, read_capture
from tslt_runtime.commands.inspect_text import frame_text, summary_text
from tslt_runtime.commands.options import at_least_one, read_table, standard_input
from tslt_runtime.commands.running import FAILED, run_command
from tslt_runtime.inspection import LIMITS, Inspected, Inspector, Summary, fields_of, inspect_frame, lists_of
from tslt_wire.coding.metering import Part
from tslt_wire.frames.kinds import Role
from tslt_wire.lists.prior import PLAIN_PRIORS, plain_prior
from tslt_wire.lists.profile import ENTROPY_IDS

HEX = re.compile(r"(?:0[xX])?[0-9a-fA-F\s:]+")


def parse(argv: list[str] | None = None, *, prog: str = "tslt inspect") -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="exit status: 0 if everything could be read, else 1",
    )
    parser.add_argument("what", metavar="FILE|-|HEX", help="a capture, one frame, or the digits of one")
    parser.add_argument("--json", action="store_true", help="one JSON object a frame; after a capture, one of its sums")
    group = parser.add_argument_group("profile", "of one frame, and of links whose WELCOME is not in the capture")
    group.add_argument("--vocab-size", type=at_least_one, metavar="V", help="tokens of the vocabulary")
    own = tw.DEFAULTS
    group.add_argument("--entropy", choices=list(ENTROPY_IDS), default=own.entropy, help="(%(default)s)")
    group.add_argument("--prior", choices=PLAIN_PRIORS, help=f"({own.prior}, or the first --table)")
    group.add_argument(
        "--table",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="trained prior, also for links that agreed on it; may be given again",
    )
    return parser.parse_args(argv)


def profile_of(args: argparse.Namespace, tables: list[tw.Prior]) -> tw.Profile | None:
    """The profile that the options say; None without ``--vocab-size``.  ValueError for what does not fit together."""
    if args.vocab_size is None:
        return None
    prior: tw.Prior | None
    if tables and args.prior is None:
        prior = tables[0]
    else:
        prior = plain_prior(args.prior or tw.DEFAULTS.prior, args.vocab_size)
    return tw.Profile(vocab_size=args.vocab_size, entropy=args.entropy, prior=prior)


def opened(what: str) -> tuple[BinaryIO, str]:
    """What the command line names, as a file, and its name for messages; ValueError or OSError if there is none."""
    if what == "-":
        return standard_input(), "standard input"
    if os.path.exists(what):  # Path.exists raises for names that are too long, as many digits are
        return open(what, "rb"), what
    digits = re.sub(r"[\s:]", "", what).removeprefix("0x").removeprefix("0X")
    if not HEX.fullmatch(what) or len(digits) % 2 or not digits:
        shown = what if len(what) <= 60 else f"{what[:60]}..."
        raise ValueError(f"{shown!r} is neither a file that is there nor the hexadecimal digits of a frame")
    return BytesIO(bytes.fromhex(digits)), "these digits"


def show_capture(file: BinaryIO, name: str, start: bytes, inspector: Inspector, *, as_json: bool) -> int:
    """Show the frames of a capture, and their sums; returns the exit status.  CaptureError, at last, if it is bad."""
    damage = None
    try:
        for number, record in enumerate(read_capture(file, start=start)):
            found = inspector.look(record)
            if as_json:
                where = {"number": number, "time_s": record.time_s, "link": record.link, "sender": record.sender.value}
                print(json.dumps(where | as_object(found)))
            else:
                print(frame_text(found, number, record))
    except CaptureError as error:
        damage = CaptureError(f"{name}: {error}")
    summary = inspector.summary
    if damage is None or summary.frames:
        print(json.dumps({"summary": sums(summary)}) if as_json else summary_text(summary))
    if damage is not None:
        raise damage
    return FAILED if summary.faults else 0


def show_frame(file: BinaryIO, name: str, start: bytes, profile: tw.Profile | None, *, as_json: bool) -> int:
    """Show one frame; returns the exit status.  ValueError for bytes that are none, or that need a profile."""
    frame = start + file.read(LIMITS.max_frame_bytes + 1 - len(start))
    if not frame:
        raise ValueError(f"{name} is empty")
    found = inspect_frame(frame, profile, needs="the session's profile: --vocab-size, --entropy, --prior or --table")
    fault = found.fault
    if fault is not None and fault.code is None:
        raise ValueError(f"{name}: a frame of kind {found.kind}; {fault.message}")
    if fault is not None and not found.is_frame:
        raise ValueError(f"{name} is no capture (one starts with {MAGIC.decode()}) and no frame: {fault.message}")
    print(json.dumps(as_object(found)) if as_json else frame_text(found))
    return 0 if fault is None else FAILED


def as_object(found: Inspected) -> dict[str, Any]:
    """A frame for ``--json``; ``list`` of a part is the number of the list it belongs to, from 0."""

    def plain(parts: Sequence[Part]) -> list[dict[str, Any]]:
        rows = zip(parts, lists_of(parts), strict=True)
        return [
            {"part": part.name, "bits": part.bits} | ({} if number is None else {"list": number})
            for part, number in rows
        ]

    shown: dict[str, Any] = {"kind": found.kind, "bytes": found.size}
    if found.message is not None:
        shown["fields"] = fields_of(found.message)
    shown["parts"] = plain(found.parts)
    if found.inside:
        shown["inside"] = plain(found.inside)
    if found.fault is not None:
        shown["error"] = asdict(found.fault)
    return shown


def sums(summary: Summary) -> dict[str, Any]:
    """The sums of a capture for ``--json``."""
    return {
        "frames": summary.frames,
        "not_decoded": summary.faults,
        "links": len(summary.links),
        "seconds": summary.seconds,
        "tokens": summary.tokens,
        "bytes_per_token": {sender.value: summary.bytes_a_token(sender) for sender in Role},
        "bytes_by_sender": {sender.value: summary.bytes_by_sender[sender] for sender in Role},
        "frames_by_kind": dict(summary.frames_by_kind),
        "bytes_by_kind": dict(summary.bytes_by_kind),
        "bits_by_part": summary.bits_by_part,
        "bits_by_part_in_rounds": summary.round_bits_by_part,
    }


def main(argv: list[str] | None = None, *, prog: str = "tslt inspect") -> int:
    """Entry point; returns the exit status."""
    args = parse(argv, prog=prog)

    def work() -> int:
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        tables = [read_table(path) for path in args.table]
        profile = profile_of(args, tables)
        file, name = opened(args.what)
        with file:
            start = file.read(START_BYTES)
            if is_capture(start):
                return show_capture(file, name, start, Inspector(profile, tables), as_json=args.json)
            return show_frame(file, name, start, profile, as_json=args.json)

    return run_command("inspect", work)


if __name__ == "__main__":
    sys.exit(main())
