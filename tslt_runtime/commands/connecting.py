"""Command-line arguments that say which edge a device talks to, and in whose tokens; what sessions take of them."""

from __future__ import annotations

import argparse
from typing import Any

import tslt_wire as tw
from tslt_runtime.ahead import MOST_AHEAD
from tslt_runtime.commands import who
from tslt_runtime.commands.options import QUIC_ADDRESS, seconds, up_to
from tslt_runtime.connection import PATIENCE_S
from tslt_runtime.draft_vocabulary import DraftVocabulary
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.streaming import EDGE
from tslt_runtime.tokenizer import Tokenizer
from tslt_wire.messages.flight import MOST_WINDOW

SEEDED_CHAIN = (1,) * 4
"""What a device drafts that has a seed: a planner goes by the clock, and the same seed would not give the same text."""


def add(parser: argparse.ArgumentParser) -> None:
    """Add what says which edge; ``options.add_common`` has whose tokens."""
    several = f"said more than once: the next one takes over where one is gone ({EDGE}; quic: {QUIC_ADDRESS})"
    parser.add_argument("--edge", action="append", metavar="ADDRESS", help=several)
    who.add_device(parser)
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=60.0,
        metavar="S",
        help="seconds to wait for the edge, until it is there and for each answer (%(default)s)",
    )
    parser.add_argument(
        "--patience",
        type=seconds,
        default=PATIENCE_S,
        metavar="S",
        help="seconds without an edge after which the text is given up (%(default)s)",
    )
    parser.add_argument(
        "--ahead",
        type=up_to(MOST_AHEAD, "tokens"),
        default=0,
        metavar="N",
        help="while a verdict is awaited, draft up to N tokens for those that are likely (%(default)s)",
    )
    parser.add_argument(
        "--window",
        type=up_to(MOST_WINDOW, "drafts", least=1),
        default=1,
        metavar="N",
        help="send up to N drafts before the first of them is answered, where the edge takes as many (%(default)s)",
    )


def edges(args: argparse.Namespace) -> str | list[str]:
    """The addresses that were named, or the usual one."""
    return args.edge or (QUIC_ADDRESS if args.transport == "quic" else EDGE)


def target_tokenizer(args: argparse.Namespace) -> Tokenizer | None:
    """The target's tokenizer, where the command line names it; EngineError for what is none."""
    from tslt_runtime.loading import load_tokenizer

    return load_tokenizer(args.target_tokenizer) if args.target_tokenizer else None


def device_vocabulary(args: argparse.Namespace, tokenizer: Tokenizer, *, vocab_size: int) -> DraftVocabulary:
    """The draft model's tokens, and the target's where the command line names their tokenizer."""
    return DraftVocabulary(tokenizer, vocab_size=vocab_size, target_tokenizer=target_tokenizer(args))


def connect_options(args: argparse.Namespace) -> dict[str, Any]:
    """What ``TextDevice.connect`` takes.  Raises OSError, and ValueError for files that hold something else."""
    tls, _ = who.device_who(args)
    return {
        "edge": edges(args),
        "transport": args.transport,
        "tls": tls,
        "key": args.key,
        "edge_key": args.edge_key,
        "timeout_s": args.timeout,
        "patience_s": args.patience,
        "padding": args.pad,
        "ahead": args.ahead,
        "window": args.window,
    }


def seeded_settings(sampling: tw.SamplingRequest) -> DraftSettings:
    """How to draft what a seed is to give again."""
    temperature = 1.0 if sampling.temperature is None else sampling.temperature
    return DraftSettings(
        expansion=SEEDED_CHAIN,
        temperature=tw.DEFAULTS.draft_temperature * (temperature or 1.0),
        truncation=tw.DEFAULTS.truncation if temperature else tw.TopK(1),
        precision=tw.DEFAULTS.precision,
    )
