"""Fuzz what reads bytes from a peer, guided by coverage (atheris), and keep the inputs that reach something new.

    python -m tests.fuzz.run --seconds 600 --keep 300
    python -m tests.fuzz.run frames crash-0123

A crash is written to a file ``crash-...``; the second form runs such a file once.  ``--keep`` puts what was found into
the corpus: the shortest inputs that together reach all that is reached, at most so many a target.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests.fuzz import corpus
from tests.fuzz.reached import reached
from tests.fuzz.targets import TARGETS


def minimal(name: str, inputs: Iterable[bytes], most: int) -> list[bytes]:
    """The shortest ``inputs`` that each reach a line that those before did not."""
    kept: list[bytes] = []
    seen: set[tuple[str, int, int]] = set()
    for data in sorted(set(inputs), key=len):
        lines = reached(name, data)
        if not lines <= seen:
            seen |= lines
            kept.append(data)
    return kept[:most]


def fuzz(name: str, seconds: int, seed: int, keep: int) -> int:
    """Fuzz one target; the fuzzer's exit status."""
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        for number, data in enumerate([*TARGETS[name][1](), *corpus.read(name)]):
            (folder / f"{number:05}").write_bytes(data)
        command = [sys.executable, "-m", "tests.fuzz.guided", name, str(folder), str(seconds), str(seed)]
        status = subprocess.run(command, check=False).returncode
        if status == 0 and keep:
            corpus.write(name, minimal(name, (file.read_bytes() for file in folder.iterdir()), keep))
    return status


def main(argv: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", nargs="?", choices=TARGETS, help="(all, one after the other)")
    parser.add_argument("file", nargs="?", type=Path, help="an input to run once")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="(%(default)s)")
    parser.add_argument("--keep", type=int, default=0, metavar="N", help="inputs of a corpus; 0: as it is")
    args = parser.parse_args(argv)
    if args.file:
        TARGETS[args.target][0](args.file.read_bytes())
        return 0
    names = [args.target] if args.target else list(TARGETS)
    failed = [name for name in names if fuzz(name, args.seconds, args.seed, args.keep)]
    print(f"fuzz: {len(names)} targets of {args.seconds} s each; failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
