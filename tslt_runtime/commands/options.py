"""Command-line arguments that the device and the edge share."""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path

import tslt_wire as tw

QUIC_ADDRESS = "127.0.0.1:5757"


def add_common(parser: argparse.ArgumentParser, model: str, default: Path | None) -> None:
    """Add the arguments both ends have; ``model`` is "draft" or "target", ``default`` the one that is taken."""
    group = parser.add_argument_group("model")
    words = f"{model} model: a folder or a hub id" + ("" if default is None else " (%(default)s)")
    group.add_argument(
        "--model", default=default and str(default), required=default is None, metavar="PATH", help=words
    )
    group.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    group.add_argument("--threads", type=int, default=1, metavar="N", help="CPU threads of the model (%(default)s)")
    group.add_argument("--torch-device", default="cpu", metavar="NAME", help="cpu, cuda, mps ... (%(default)s)")
    link = parser.add_argument_group("link")
    link.add_argument("--transport", default="zmq", choices=["zmq", "quic"])
    parser.add_argument("--seed", type=int, metavar="N", help="of this end's random numbers (fresh ones each time)")
    parser.add_argument("--verbose", action="store_true", help="log every device and every failure")


def set_up(args: argparse.Namespace) -> None:
    """Quiet the libraries and bound the threads, before torch is imported."""
    # Two processes on one machine: OpenMP threads that spin while they wait slow the other end down many times over.
    os.environ.setdefault("OMP_NUM_THREADS", str(args.threads))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    logging.basicConfig(level=logging.INFO if args.verbose else logging.WARNING, format="%(name)s: %(message)s")
    if not args.verbose:
        logging.getLogger("quic").setLevel(logging.CRITICAL)  # what it says is said again, better, by the error itself
    import torch
    from transformers.utils import logging as transformers_logging

    torch.set_num_threads(args.threads)
    transformers_logging.disable_progress_bar()


def load_table(path: Path, *, vocab_size: int) -> tw.Prior:
    """Read a trained table; ValueError for another vocabulary's, or a file that is none, with its path."""
    try:
        table = tw.table_from_bytes(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is no table: {error}") from error
    if table.vocab_size != vocab_size:
        raise ValueError(f"{path} is a table for {table.vocab_size} tokens, the model has {vocab_size}")
    return table


def expansion(text: str) -> tuple[int, ...]:
    """Parse "4" (a chain of four) or "2,2,2" (an expansion configuration)."""
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or any(number < 1 for number in numbers):
        raise argparse.ArgumentTypeError(f"expected a chain length like 4 or a tree like 2,2,2, got {text!r}")
    return (1,) * numbers[0] if len(numbers) == 1 else numbers
