"""The demo: an edge and a device, two processes, talking ZeroMQ on loopback.

The text goes to stdout, all else to stderr; --quiet, --json, --tokens ... and what else a device takes is passed on to
the device.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tslt_runtime.commands.options import shipped
from tslt_runtime.commands.running import run_command
from tslt_runtime.loading import SUFFIX


@contextmanager
def edge_process(*arguments: str) -> Iterator[str]:
    """Run an edge on a free port; yields the address it listens on.  Raises ChildProcessError if it does not start."""
    command = [sys.executable, "-m", "tslt_runtime.commands.edge", "--listen", "tcp://127.0.0.1:0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as edge:  # noqa: S603 - this interpreter
        try:
            line = edge.stdout.readline() if edge.stdout else ""
            if " listens on " not in line:
                raise ChildProcessError(f"the edge did not start (exit status {edge.wait()})")
            yield line.split(" listens on ")[1].strip()
        finally:
            edge.terminate()


def model_of(pair: Path, name: str) -> str:
    """The model ``name`` of a pair: a folder, or a file of llama.cpp's where there is no such folder."""
    folder = pair / name
    file = folder.with_suffix(SUFFIX)
    return str(file if file.is_file() and not folder.is_dir() else folder)


def main(argv: list[str] | None = None, *, prog: str = "tslt demo", pair: Path | None = None) -> int:
    """Start an edge, run a device against it, and return the device's exit status.

    ``pair``: the folder of ``draft`` and ``target`` that is taken if none is named; a checkout's by
    default.
    """
    pair = pair or shipped()
    parser = argparse.ArgumentParser(
        prog=prog,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="all other arguments: tslt device --help",
        allow_abbrev=False,
    )
    shown = "" if pair is None else " (%(default)s)"
    parser.add_argument(
        "--pair",
        type=Path,
        default=pair,
        metavar="PATH",
        help=f"folder with draft and target in it, or draft.gguf and target.gguf{shown}",
    )
    parser.add_argument("--target", metavar="PATH", help="target model (that of the pair)")
    parser.add_argument("--model", metavar="PATH", help="draft model (that of the pair)")
    parser.add_argument("--table", metavar="FILE", help="trained prior, for both ends")
    parser.add_argument("--seed", metavar="N", help="of both ends: the same one gives the same text again")
    parser.add_argument("--llama-lib", metavar="FILE", help="llama.cpp's shared library, for both ends")
    args, others = parser.parse_known_args(argv)
    if args.pair is None and not (args.target and args.model):
        parser.error("name a pair of models: --pair PATH, or --target and --model (a checkout has examples/pair)")
    shared = {"--table": args.table, "--seed": args.seed, "--llama-lib": args.llama_lib}
    both = [word for option, value in shared.items() if value is not None for word in (option, value)]
    target = args.target or model_of(args.pair, "target")
    draft = args.model or model_of(args.pair, "draft")

    def work() -> int:
        with edge_process("--model", target, *both) as address:
            device = [sys.executable, "-m", "tslt_runtime.commands.device", "--edge", address, "--model", draft]
            return subprocess.run([*device, *both, *others], check=False).returncode  # noqa: S603 - likewise

    return run_command("demo", work)


if __name__ == "__main__":
    sys.exit(main())
