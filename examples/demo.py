"""The demo: an edge and a device, two processes, talking ZeroMQ on loopback.

python -m examples.demo [arguments of examples.device]
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


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
    arguments = sys.argv[1:] if argv is None else argv
    with edge_process() as address:
        device = [sys.executable, "-m", "examples.device", "--edge", address, *arguments]
        return subprocess.run(device, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
