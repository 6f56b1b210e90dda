"""The demo: an edge and a device, two processes, talking ZeroMQ on loopback.

python -m examples.demo [arguments of examples.device]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from examples import PAIR


@contextmanager
def edge_process(*arguments: str) -> Iterator[str]:
    """Run ``python -m examples.edge`` on a free port; yields the address it listens on."""
    command = [sys.executable, "-m", "examples.edge", "--listen", "tcp://127.0.0.1:0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as edge:
        try:
            line = edge.stdout.readline() if edge.stdout else ""
            if " listens on " not in line:
                raise RuntimeError(f"the edge did not start (exit status {edge.wait()})")
            yield line.split(" listens on ")[1].strip()
        finally:
            edge.terminate()


def main(argv: list[str] | None = None) -> int:
    """Start an edge, run a device against it, and return the device's exit status."""
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=__doc__, add_help=False)
    parser.add_argument("--target", default=str(PAIR / "target"), metavar="PATH", help="target model (%(default)s)")
    parser.add_argument("--table", metavar="FILE", help="trained prior, for both ends")
    args, arguments = parser.parse_known_args(argv)
    table = ("--table", args.table) if args.table else ()
    try:
        with edge_process("--model", args.target, *table) as address:
            device = [sys.executable, "-m", "examples.device", "--edge", address, *table, *arguments]
            return subprocess.run(device, check=False).returncode
    except RuntimeError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
