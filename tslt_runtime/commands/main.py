"""tslt: speculative decoding split between a device and an edge, by the command.

Subcommands are entry points of the group "tslt.commands", so that any installed package may add some: each is a
function that takes its arguments, and ``prog``, and returns the exit status.
"""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import EntryPoint, entry_points

import tslt_wire as tw
from tslt_runtime.commands.running import run_command

GROUP = "tslt.commands"
"""Group of the entry points."""


def main(argv: list[str] | None = None) -> int:
    """Entry point of ``tslt``; returns the exit status."""
    found = {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}
    parser = argparse.ArgumentParser(
        prog="tslt",
        description=(__doc__ or "").partition("\n")[0].removeprefix("tslt: "),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="what a command takes: tslt COMMAND --help",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"tslt {tw.__version__} ({tw.backend})")
    parser.add_argument("command", metavar="COMMAND", help=", ".join(found) or "(none is installed)")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="what the command takes")
    args = parser.parse_args(argv)
    if args.command not in found:
        parser.error(f"there is no command {args.command!r}: {', '.join(found) or 'none is installed'}")
    return run(found[args.command], args.arguments)


def run(point: EntryPoint, arguments: list[str]) -> int:
    """Load a subcommand and run it; a package that it needs and is not installed is one line."""
    name = f"tslt {point.name}"
    return run_command(name, lambda: point.load()(arguments, prog=name))


if __name__ == "__main__":
    sys.exit(main())
