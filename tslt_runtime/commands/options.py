"""Command-line arguments that the device and the edge share."""

from __future__ import annotations

import argparse
import importlib
import logging
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import tslt_wire as tw
from tslt_runtime.loading import LoadOptions
from tslt_wire.messages.extensions import MOST_PADDING
from tslt_wire.messages.sampling import SETTINGS

QUIC_ADDRESS = "127.0.0.1:5757"
MODEL_NAMES = "a folder of safetensors, a .gguf file (run by llama.cpp), or a hub id"
"""What names a model."""
TRANSPORT_NEEDS = {"zmq": "zmq", "quic": "aioquic"}
"""The package without which a transport does not work."""


def shipped(name: str = "") -> Path | None:
    """The folder of the default pair, or of one of its models, in the checkout we run from or stand in; None elsewhere.

    ``name``: "draft" or "target".
    """
    for checkout in (Path(__file__).parents[2], Path.cwd()):
        pair = checkout / "examples" / "pair"
        if (pair / "draft" / "config.json").is_file():
            return pair / name
    return None


def add_common(parser: argparse.ArgumentParser, model: str, default: Path | None, *, seeded: bool = True) -> None:
    """Add the arguments both ends have; ``model`` is "draft" or "target", ``default`` the one that is taken.

    ``seeded``: whether the command takes a seed.
    """
    group = parser.add_argument_group("model")
    words = f"{model} model: {MODEL_NAMES}" + ("" if default is None else " (%(default)s)")
    # The target's may be run by a server, which says itself what it runs: see ``inference.check``.
    required = default is None and model != "target"
    group.add_argument("--model", default=default and str(default), required=required, metavar="PATH", help=words)
    if model == "draft":
        other = "the target's, where the draft model has another one: a folder, hub id, tokenizer.json or .gguf file"
        group.add_argument("--target-tokenizer", metavar="PATH", help=other)
    add_engine(group)
    link = parser.add_argument_group("link")
    link.add_argument("--transport", default="zmq", choices=list(TRANSPORT_NEEDS))
    held = "record every frame, for tslt inspect; holds all tokens, so nobody but you may read it (mode 0600)"
    link.add_argument("--capture", type=Path, metavar="FILE", help=held)
    whose = "both ends'" if model == "draft" else "the edge's"
    long = f"{whose} are multiples of N bytes long (off)"
    link.add_argument("--pad", type=up_to(MOST_PADDING, "bytes"), default=0, metavar="N", help=long)
    if seeded:
        parser.add_argument(
            "--seed", type=seed, metavar="N", help="of this end's random numbers (fresh ones each time)"
        )
    parser.add_argument("--verbose", action="store_true", help="log every device and every failure")


def add_engine(group: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add what says how a model is run; see ``load_options``."""
    dtypes = ["auto", "float32", "bfloat16", "float16"]
    group.add_argument("--dtype", default="auto", choices=dtypes, help="auto: the model's own (%(default)s)")
    threads = "CPU threads of the model (%(default)s)"
    group.add_argument("--threads", type=at_least_one, default=1, metavar="N", help=threads)
    longest = "tokens of a text at most (what the model was trained for; .gguf: 8192 of them at most)"
    group.add_argument("--context", type=at_least_one, metavar="N", help=longest)
    group.add_argument("--torch-device", default="cpu", metavar="NAME", help="cpu, cuda, mps ... (%(default)s)")
    library = "llama.cpp's shared library for .gguf files (the installed package's)"
    without = "serve the model as it is: do not compare its trees and caches with plain text first"
    group.add_argument("--no-self-check", dest="self_check", action="store_false", help=without)
    group.add_argument("--llama-lib", type=Path, metavar="FILE", help=library)


def load_options(args: argparse.Namespace) -> LoadOptions:
    """What ``tslt_runtime.loading`` takes, of the arguments that ``add_engine`` added."""
    return LoadOptions(
        dtype=args.dtype,
        threads=args.threads,
        context=args.context,
        torch_device=args.torch_device,
        library=args.llama_lib,
        self_check=args.self_check,
    )


def add_sampling(parser: argparse.ArgumentParser, *, temperature: float | None) -> None:
    """Add the target's sampling settings; see ``asked_sampling``.  ``temperature``: the default."""
    always = "" if temperature is None else " (%(default)s, always named)"
    group = parser.add_argument_group(
        "target",
        "what the output is: the edge applies these to the target's logits.  What is not named is the target's own,\n"
        "from its generation_config, and else off",
    )
    group.add_argument("--temperature", type=float, default=temperature, metavar="T", help=f"0 is greedy{always}")
    group.add_argument("--top-k", type=int, metavar="K", help="keep the K largest scores, and their equals; 0: off")
    group.add_argument("--top-p", type=float, metavar="P", help="keep the likeliest tokens up to this share; 1: off")
    group.add_argument("--min-p", type=float, metavar="P", help="keep what has this part of the largest probability")
    repeated = "divides the scores of tokens in prompt or output; 1: off"
    group.add_argument("--repetition-penalty", type=float, metavar="R", help=repeated)
    group.add_argument("--presence-penalty", type=float, metavar="A", help="taken from those of tokens in the output")
    group.add_argument("--frequency-penalty", type=float, metavar="A", help="and this for each time that it is there")
    group.add_argument(
        "--logit-bias",
        type=bias,
        nargs="+",
        action="extend",
        metavar="ID=VALUE",
        help="added to the logit of a token, -100 to 100",
    )
    group.add_argument(
        "--suppress",
        dest="suppress_tokens",
        type=token_id,
        nargs="*",
        action="extend",
        metavar="ID",
        help="tokens that never come; none: off",
    )
    never = "whether tokens that end a text never come"
    group.add_argument("--ignore-eos", action=argparse.BooleanOptionalAction, help=never)


def asked_sampling(args: argparse.Namespace) -> tw.SamplingRequest:
    """The settings that the arguments of ``add_sampling`` name; ValueError for one that is out of range."""
    return tw.SamplingRequest(**{name: getattr(args, name) for name in SETTINGS})


def bias(text: str) -> tuple[int, float]:
    """An argument type: a token's id, "=" and a number."""
    token, _, value = text.partition("=")
    try:
        return token_id(token), float(value)
    except (ValueError, argparse.ArgumentTypeError):
        raise argparse.ArgumentTypeError(f"expected ID=VALUE like 17=-2.5, got {text!r}") from None


def token_id(text: str) -> int:
    """An argument type: a token's id."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected the id of a token, got {text!r}")
    return int(text)


def at_least_one(text: str) -> int:
    """An argument type: whole numbers from 1 on."""
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return value


def up_to(most: int, what: str, *, least: int = 0) -> Callable[[str], int]:
    """An argument type: whole numbers from ``least`` to ``most``; ``what`` they count."""

    def read(text: str) -> int:
        value = int(text) if text.isdecimal() else -1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"expected {least} to {most} {what}, got {text!r}")
        return value

    return read


def seconds(text: str) -> float:
    """An argument type: finite numbers above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number of seconds above 0, got {text!r}")
    return value


def seed(text: str) -> int:
    """An argument type: whole numbers from 0 on."""
    return 0 if text == "0" else at_least_one(text)


def read_prompt(args: argparse.Namespace) -> str:
    """The prompt that ``--prompt`` or ``--prompt-file`` names, "-" is stdin; ValueError for what is no UTF-8 text.

    The last line break of a file or of stdin is not part of it.
    """
    source = "-" if args.prompt == "-" else args.prompt_file
    if source is None:
        try:
            args.prompt.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"--prompt is no UTF-8 text: {error.reason}") from error
        return str(args.prompt)
    try:
        data = standard_input().read() if source == "-" else Path(source).read_bytes()
        return data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        where = "stdin" if source == "-" else source
        raise ValueError(f"{where} is no UTF-8 text: {error.reason} at byte {error.start}") from error


def standard_input() -> BinaryIO:
    """The bytes of stdin; ValueError if who started us closed it."""
    if sys.stdin is None:
        raise ValueError("stdin is closed: there is nothing to read from")
    return sys.stdin.buffer


def set_up(args: argparse.Namespace) -> None:
    """Quiet the libraries and bound the threads, before they are imported.

    Raises ImportError for a package that is not installed, before anything is loaded.
    """
    if hasattr(args, "transport"):
        importlib.import_module(TRANSPORT_NEEDS[args.transport])
    # Two processes on one machine: OpenMP threads that spin while they wait slow the other end down many times over.
    os.environ.setdefault("OMP_NUM_THREADS", str(args.threads))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    quiet = logging.ERROR if getattr(args, "quiet", False) else logging.WARNING
    logging.basicConfig(level=logging.INFO if args.verbose else quiet, format="%(name)s: %(message)s")
    if not args.verbose:
        logging.getLogger("quic").setLevel(logging.CRITICAL)  # what it says is said again, better, by the error itself


def read_table(path: Path) -> tw.Prior:
    """Read a trained table of any vocabulary; ValueError for a file that is none, with its path."""
    try:
        return tw.table_from_bytes(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is no table: {error}") from error


def load_table(path: Path, *, vocab_size: int) -> tw.Prior:
    """Read a trained table; ValueError for another vocabulary's, or a file that is none, with its path."""
    table = read_table(path)
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
