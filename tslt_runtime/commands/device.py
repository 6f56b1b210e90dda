"""Run a device: draft with a small Llama, let an edge verify, print the text as it comes.

tslt device --prompt "The old house stood"
tslt device --model meta-llama/Llama-3.2-1B --edge tcp://edge.example:5757 --tokens 256
tslt device --transport quic --edge edge.example:5757 --ca certs/ca.pem --expansion 2,2,2
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import tslt_wire as tw
from tslt_runtime.commands.options import (
    QUIC_ADDRESS,
    add_common,
    expansion,
    load_table,
    set_up,
)
from tslt_runtime.evidence import KINDS
from tslt_runtime.streaming import EDGE
from tslt_wire.lists.prior import PLAIN_PRIORS
from tslt_wire.session.negotiation import OUR_EVIDENCE, our_entropy

if TYPE_CHECKING:  # it loads torch, whose threads set_up bounds first
    from tslt_runtime.drafting import DraftSettings

EVIDENCE = {"list": "list", "full": "list"} | {name: name for name in OUR_EVIDENCE if name != "list"}
"""What ``--evidence`` takes besides ``auto``, and the evidence that it means on the wire."""
DEFAULT_PROMPT = "It was a dark evening, and the old man"


def parse(argv: list[str] | None = None, *, prog: str = "tslt device", model: Path | None = None) -> argparse.Namespace:
    """Read the command line; ``model``: the draft model that is taken if none is named."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_common(parser, "draft", model)
    parser.add_argument("--edge", metavar="ADDRESS", help=f"({EDGE}; quic: {QUIC_ADDRESS})")
    parser.add_argument(
        "--ca", type=Path, metavar="FILE", help="quic: authority that signed the edge's certificate (PEM)"
    )
    parser.add_argument(
        "--timeout", type=float, default=60.0, metavar="S", help="seconds to wait for the edge (%(default)s)"
    )
    parser.add_argument("--prompt", default=DEFAULT_PROMPT, metavar="TEXT")
    parser.add_argument("--tokens", type=int, default=128, metavar="N", help="tokens to generate at most (%(default)s)")
    target = parser.add_argument_group("target", "what the output is: the edge applies these to the target's logits")
    target.add_argument("--temperature", type=float, default=0.7, metavar="T", help="0 is greedy (%(default)s)")
    target.add_argument("--top-k", type=int, default=0, metavar="K", help="0: off")
    target.add_argument("--top-p", type=float, default=1.0, metavar="P")
    draft = parser.add_argument_group("draft", "how fast it comes: the output does not depend on these")
    draft.add_argument(
        "--expansion", type=expansion, default=(1,) * 4, metavar="L|K1,K2,..", help="chain length or tree (4)"
    )
    times = f"(list, lazy: {tw.DEFAULTS.draft_temperature:g} times the target's; else the target's)"
    draft.add_argument("--draft-temperature", type=float, metavar="T", help=times)
    draft.add_argument(
        "--evidence",
        default="list",
        choices=["auto", *EVIDENCE],
        help="list: truncated distributions; full: whole ones; match, coupled: token ids alone; scalar, lazy: and one "
        "probability each, for chains; auto: a planner picks it each round, K and expansion too (%(default)s)",
    )
    draft.add_argument("--k", type=int, metavar="K", help="list at most so many tokens (no limit)")
    least = "list no token less probable than this (list, lazy; without --k: that of the default profile)"
    draft.add_argument("--min-prob", type=float, metavar="Q", help=least)
    draft.add_argument("--precision", default=tw.DEFAULTS.precision.value, choices=[p.value for p in tw.Precision])
    draft.add_argument(
        "--entropy",
        choices=["range", "zstd", "none"],
        help="coder of the lists; zstd suits whole distributions and long prompts (range; full: zstd, if it is there)",
    )
    draft.add_argument(
        "--prior", default=tw.DEFAULTS.prior, choices=PLAIN_PRIORS, help="spreads what lists leave out (%(default)s)"
    )
    draft.add_argument(
        "--table",
        type=Path,
        metavar="FILE",
        help="trained prior, if the edge has it too (examples.train_prior)",
    )
    draft.add_argument("--without-replacement", action="store_true", help="siblings are all different")
    args = parser.parse_args(argv)
    if args.entropy is None:
        # The range coder takes seconds for lists of a whole vocabulary.
        whole = "zstd" if "zstd" in our_entropy() else "none"
        args.entropy = whole if args.evidence == "full" else "range"
    chains_only = args.evidence != "auto" and KINDS[EVIDENCE[args.evidence]].chains_only
    if chains_only and max(args.expansion) > 1:
        parser.error(f"--evidence {args.evidence} is for chains: --expansion takes their length alone")
    if args.tokens < 1:
        parser.error("--tokens must be at least 1")
    theirs = ("expansion", "k", "min_prob", "draft_temperature", "precision", "without_replacement")
    if args.evidence == "auto" and any(getattr(args, name) != parser.get_default(name) for name in theirs):
        parser.error(f"--evidence auto picks {', '.join(theirs)} itself")
    if args.transport == "zmq" and args.ca:
        parser.error("--ca is for --transport quic")
    return args


async def run(args: argparse.Namespace) -> None:  # noqa: PLR0915 - one step after the other
    """Load the draft, connect, generate, report."""
    from rich.console import Console
    from tslt_transports import ClientTls, connect
    from tslt_transports.untrusted import printable

    from tslt_runtime.autopilot import Autopilot
    from tslt_runtime.commands.report import Stream, Tally, against_full, last_line, legend, prior_line, table
    from tslt_runtime.device import Device
    from tslt_runtime.engines.transformers.checkpoint import load_tokenizer
    from tslt_runtime.engines.transformers.draft import DraftModel
    from tslt_runtime.fingerprint import vocabulary_of
    from tslt_runtime.seeds import device_rng
    from tslt_runtime.timing import WANTED

    sampling = tw.Sampling(temperature=args.temperature, top_k=args.top_k, top_p=args.top_p)
    settings = draft_settings(args)
    model = DraftModel.load(args.model, dtype=args.dtype, device=args.torch_device)
    tokenizer = load_tokenizer(args.model)
    vocabulary = vocabulary_of(tokenizer, vocab_size=model.vocab_size)
    prompt = tokenizer(args.prompt)["input_ids"]
    tls = ClientTls(ca_file=args.ca) if args.transport == "quic" else None
    address = args.edge or (QUIC_ADDRESS if args.transport == "quic" else EDGE)
    tables = [load_table(args.table, vocab_size=model.vocab_size)] if args.table else []
    link = await connect(args.transport, address, tls=tls)
    hello = tw.Hello(
        vocab_size=vocabulary.vocab_size,
        tokenizer=vocabulary.fingerprint,
        model=model.model_id,
        sampling=sampling,
        evidence=tuple(dict.fromkeys((EVIDENCE.get(args.evidence, "list"), *OUR_EVIDENCE))),
        entropy=tuple(dict.fromkeys((args.entropy, "none"))),
        priors=tuple(dict.fromkeys((*(table.name for table in tables), args.prior, "none"))),
        extra=WANTED,
    )
    device = Device(link, model.open(), hello, rng=device_rng(args.seed), reply_timeout_s=args.timeout, tables=tables)
    console, tally = Console(), Tally()
    try:
        welcome = await device.open()
        console.print(
            f"draft model: {model.model_id}, here; target model: {printable(welcome.model)}, at {link.peer}",
            style="dim",
            highlight=False,
            markup=False,
        )
        if welcome.prior != hello.priors[0]:
            without = f"the edge has not the prior {hello.priors[0]}: {welcome.prior} instead"
            console.print(without, style="dim", highlight=False)
        console.print(legend())
        await device.prompt(prompt)
        handshake = link.bytes_sent + link.bytes_received
        console.print(args.prompt, end="", highlight=False, markup=False)
        stream = Stream(console, tokenizer, prompt)
        pilot = Autopilot(device) if args.evidence == "auto" else None
        started = time.perf_counter()
        async for round_ in pilot.generate(args.tokens) if pilot else device.generate(args.tokens, settings):
            tally.rounds.append(round_)
            tally.wall_s = time.perf_counter() - started
            stream.add(round_)
        stream.finish()
        if tally.tokens < args.tokens and device.session.state is tw.State.IDLE:
            console.print("\n(stopped: the context window is full)", style="dim", end="")
    finally:
        console.print()
        await device.close()
    evidence = pilot.evidence_line() if pilot else settings.evidence
    full = () if pilot else against_full(tally, model.vocab_size, settings.expansion)
    console.print(table(tally, handshake, evidence=evidence, prior=prior_line(device), full=full))
    if pilot:
        console.print(pilot.planner.explain(), highlight=False, markup=False)
    print(last_line(tally), flush=True)


def draft_settings(args: argparse.Namespace) -> DraftSettings:
    """How to draft, from the command line; greedy targets are drafted for greedily.  ``auto`` does not ask for it."""
    from tslt_runtime.drafting import DraftSettings
    from tslt_wire.lists.truncation import Truncation

    default = tw.DEFAULTS if args.evidence in ("list", "lazy") else None
    truncation: Truncation | None = None if args.k is None else tw.TopK(args.k)
    if default and truncation is None:
        truncation = default.truncation
    temperature = args.draft_temperature
    if temperature is None:
        temperature = args.temperature * (default.draft_temperature if default else 1)
    replacement = not args.without_replacement
    widest = max(args.expansion)
    if args.temperature == 0 and widest > 1:
        # The target will take one child: the most probable ones, all different, are the best bets.
        truncation, temperature, replacement = tw.TopK(widest), 1.0, False
    if args.min_prob is not None:
        least = tw.MinProb(args.min_prob)
        truncation = least if truncation in (None, tw.DEFAULTS.truncation) else truncation & least
    return DraftSettings(
        expansion=args.expansion,
        temperature=temperature,
        truncation=truncation,
        precision=args.precision,
        replacement=replacement,
        evidence=EVIDENCE.get(args.evidence, "list"),
    )


def main(argv: list[str] | None = None, *, prog: str = "tslt device", model: Path | None = None) -> int:
    """Entry point; returns the exit status.  ``prog``, ``model``: see ``parse``."""
    args = parse(argv, prog=prog, model=model)
    set_up(args)
    from tslt_transports.link import LinkError

    from tslt_runtime.device import EdgeError
    from tslt_runtime.engines.protocol import EngineError
    from tslt_runtime.fingerprint import VocabularyMismatch

    try:
        asyncio.run(run(args))
    except (EdgeError, LinkError, EngineError, VocabularyMismatch, tw.ProtocolError, OSError, ValueError) as error:
        print(f"device: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
