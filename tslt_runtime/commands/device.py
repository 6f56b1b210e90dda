"""Run a device: draft with a small model, let an edge verify, print the text as it comes.

tslt device --model draft.gguf --prompt "The old house stood"
tslt device --model meta-llama/Llama-3.2-1B --edge tcp://edge.example:5757 --tokens 256
tslt device --model llama-1b.gguf --context 4096
tslt device --model draft.gguf --edge tcp://edge.example:5757 --key device.key --edge-key edge.pub
tslt device --model draft.gguf --transport quic --edge edge.example:5757 --ca certs/ca.pem --expansion 2,2,2
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

from tslt_transports.untrusted import printable

import tslt_wire as tw
from tslt_runtime.autopilot import Autopilot
from tslt_runtime.capture import Capture, capturing
from tslt_runtime.commands import connecting, who
from tslt_runtime.commands.options import (
    add_common,
    add_sampling,
    asked_sampling,
    at_least_one,
    expansion,
    load_options,
    load_table,
    read_prompt,
    set_up,
    shipped,
)
from tslt_runtime.commands.report import Output, figures_of, last_line, legend, prior_line, table
from tslt_runtime.commands.running import run_command
from tslt_runtime.connection import EdgeError, Recovery
from tslt_runtime.device import Device
from tslt_runtime.dialing import Dialer
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.evidence import KINDS
from tslt_runtime.rounds import Round, Tally
from tslt_runtime.seeds import device_nonce, device_rng
from tslt_runtime.streaming import hello_of, tokens_of
from tslt_wire.frames.kinds import Role
from tslt_wire.lists.prior import PLAIN_PRIORS
from tslt_wire.lists.truncation import Truncation
from tslt_wire.session.negotiation import OUR_EVIDENCE, our_entropy

EVIDENCE = {"list": "list", "full": "list"} | {name: name for name in OUR_EVIDENCE if name != "list"}
"""What ``--evidence`` takes besides ``auto``, and the evidence that it means on the wire."""
PLANNED = ("expansion", "k", "min_prob", "draft_temperature", "precision", "without_replacement")
"""Options that ``auto`` picks itself."""
DEFAULT_PROMPT = "It was a dark evening, and the old man"


def parse(argv: list[str] | None = None, *, prog: str = "tslt device", model: Path | None = None) -> argparse.Namespace:
    """Read the command line; ``model``: the draft model that is taken if none is named."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_common(parser, "draft", model)
    connecting.add(parser)
    text = parser.add_mutually_exclusive_group()
    text.add_argument("--prompt", default=DEFAULT_PROMPT, metavar="TEXT", help='text to go on with (ours; "-": stdin)')
    text.add_argument("--prompt-file", metavar="FILE", help='file of that text, UTF-8 ("-": stdin)')
    shown = parser.add_argument_group(
        "output",
        "The text goes to stdout as it is, all else to stderr.  The last line there is for scripts:\n"
        "demo: tokens=N rounds=N alpha=A uplink_bytes_per_token=B downlink_bytes_per_token=B",
    )
    one = shown.add_mutually_exclusive_group()
    one.add_argument("--quiet", action="store_true", help="the text alone, and errors")
    one.add_argument("--json", action="store_true", help="one JSON object on stdout: prompt, text and figures")
    told = "with --json: log_probs, each token with its log probability in the target's distribution"
    shown.add_argument("--log-probs", action="store_true", help=told)
    parser.add_argument(
        "--tokens", type=at_least_one, default=128, metavar="N", help="tokens to generate at most (%(default)s)"
    )
    add_sampling(parser, temperature=0.7)
    draft = parser.add_argument_group("draft", "how fast it comes: the output does not depend on these")
    draft.add_argument(
        "--expansion", type=expansion, default=(1,) * 4, metavar="L|K1,K2,..", help="chain length or tree (4)"
    )
    times = f"(list, lazy: {tw.DEFAULTS.draft_temperature:g} times the target's; else the target's)"
    draft.add_argument("--draft-temperature", type=float, metavar="T", help=times)
    draft.add_argument(
        "--evidence",
        choices=["auto", *EVIDENCE],
        help="list: truncated distributions; full: whole ones; match, coupled: token ids alone; scalar, lazy: and one "
        "probability each, for chains; auto: a planner picks it each round, K and expansion too, by the clock "
        "(auto; list with one of the options that auto picks, or --seed)",
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
        help="trained prior, if the edge has it too (tslt train-prior)",
    )
    draft.add_argument("--without-replacement", action="store_true", help="siblings are all different")
    args = parser.parse_args(argv)
    named = [name for name in PLANNED if getattr(args, name) != parser.get_default(name)]
    if args.evidence is None:
        # A planner goes by the clock: with one, the same seed would not give the same text again.
        args.evidence = "auto" if args.seed is None and not named else "list"
    if args.entropy is None:
        # The range coder takes seconds for lists of a whole vocabulary.
        whole = "zstd" if "zstd" in our_entropy() else "none"
        args.entropy = whole if args.evidence == "full" else "range"
    chains_only = args.evidence != "auto" and KINDS[EVIDENCE[args.evidence]].chains_only
    if chains_only and max(args.expansion) > 1:
        parser.error(f"--evidence {args.evidence} is for chains: --expansion takes their length alone")
    if args.evidence == "auto" and named:
        parser.error(f"--evidence auto picks {', '.join(PLANNED)} itself")
    if args.log_probs and not args.json:
        parser.error("--log-probs is for --json")
    try:
        check_values(args)
    except ValueError as error:
        parser.error(str(error))
    return args


def check_values(args: argparse.Namespace) -> None:
    """Raise ValueError for values that no model could be run with; the model's own limits are seen once it is there."""
    who.check_device(args)
    asked_sampling(args)
    draft_settings(args)


async def run(args: argparse.Namespace, capture: Capture | None = None) -> None:
    """Load the draft, connect, generate, report."""
    from tslt_runtime.loading import load_draft

    prompt = read_prompt(args)
    settings = draft_settings(args)
    draft, tokenizer = load_draft(args.model, **load_options(args))
    facts = draft.facts
    vocabulary = connecting.device_vocabulary(args, tokenizer, vocab_size=facts.vocab_size)
    ids = tokens_of(vocabulary.tokenizer, prompt)
    tables = [load_table(args.table, vocab_size=facts.vocab_size)] if args.table else []
    hello = hello_of(
        draft,
        tokenizer,
        asked_sampling(args),
        evidence=EVIDENCE.get(args.evidence, "list"),
        entropy=args.entropy,
        priors=(*(table.name for table in tables), args.prior),
        log_probs=args.log_probs,
        padding=args.pad,
        nonce=device_nonce(args.seed),
        vocabulary=vocabulary,
    )
    tls, keys = who.device_who(args)
    dialer = Dialer(args.transport, connecting.edges(args), tls=tls, keys=keys)
    if capture:
        dialer.wrap = partial(capture.link, end=Role.DEVICE)
    link = await dialer.reach(args.timeout)
    device = Device(
        link,
        draft.open(),
        hello,
        rng=device_rng(args.seed),
        reply_timeout_s=args.timeout,
        tables=tables,
        recovery=Recovery(dial=dialer, patience_s=args.patience),
        vocabulary=vocabulary,
        most_leaves=facts.most_leaves,
        ahead=args.ahead,
        window=args.window,
    )
    say = nothing if args.quiet or args.json else partial(print, file=sys.stderr, flush=True)
    output, tally = Output(vocabulary.tokenizer, ids, silent=args.json), Tally()
    try:
        welcome = await device.open()
        say(f"draft model: {facts.model}, here; target model: {printable(welcome.model)}, at {link.peer}")
        if welcome.prior != hello.priors[0]:
            say(f"the edge has not the prior {hello.priors[0]}: {welcome.prior} instead")
        say(f"sampling: {in_words(welcome.sampling)}")
        if output.coloured:
            say(legend())
        await device.prompt(ids)
        handshake = link.bytes_sent + link.bytes_received
        output.write(prompt)
        pilot = Autopilot(device) if args.evidence == "auto" else None
        rounds = pilot.generate(args.tokens) if pilot else device.generate(args.tokens, settings)
        broken = await write(rounds, output, tally)
        stopped_by = "error" if broken else why_it_stopped(device, tally.tokens, args.tokens)
        if stopped_by == "context full":
            say("stopped: the context window is full")
    finally:
        await device.close()
    evidence = pilot.evidence_line() if pilot else settings.evidence
    figures = figures_of(tally, handshake, vocab_size=welcome.vocab_size, evidence=evidence, prior=prior_line(device))
    if args.json:
        found = {"prompt": prompt, "text": output.text, "stopped_by": stopped_by, **figures, **told_of(tally)}
        print(json.dumps(found, ensure_ascii=False), flush=True)
    if broken is not None:
        raise broken
    say(table(figures))
    if pilot:
        say(pilot.planner.explain())
    say(last_line(tally))


def told_of(tally: Tally) -> dict[str, list[tuple[int, float]]]:
    """What ``--log-probs`` adds: pairs of a token and its log probability."""
    rounds = [zip(round_.tokens, round_.log_probs, strict=True) for round_ in tally.rounds if round_.log_probs]
    return {"log_probs": [pair for pairs in rounds for pair in pairs]} if rounds else {}


def in_words(sampling: tw.Sampling) -> str:
    """The settings in force, for people."""
    found = []
    for name, value in sampling.in_force().items():
        shown = f"of {len(value)} tokens" if isinstance(value, tuple) else "on" if value is True else f"{value:g}"
        found.append(f"{name} {shown}")
    return ", ".join(found) or "as the target's logits are"


def why_it_stopped(device: Device, tokens: int, wanted: int) -> str:
    """What ended a text that has ``tokens`` of ``wanted`` tokens."""
    if device.session.state is tw.State.ENDED:
        return "end of text"
    return "context full" if tokens < wanted else "tokens"


async def write(rounds: AsyncIterator[Round], output: Output, tally: Tally) -> EdgeError | None:
    """Show ``rounds`` as they come, and count them; returns the error that ended them, what came before it is good."""
    started = time.perf_counter()
    try:
        async for round_ in rounds:
            tally.rounds.append(round_)
            tally.wall_s = time.perf_counter() - started
            output.add(round_)
    except EdgeError as error:
        return error
    finally:
        output.finish()
    return None


def nothing(*_: object) -> None:
    """Say nothing."""


def draft_settings(args: argparse.Namespace) -> DraftSettings:
    """How to draft, from the command line; greedy targets are drafted for greedily.  ``auto`` does not ask for it."""
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
    """Entry point; returns the exit status.  ``prog``, ``model``: see ``parse``; a checkout has models of its own."""
    args = parse(argv, prog=prog, model=model or shipped("draft"))

    def work() -> None:
        with capturing(args.capture) as capture:
            set_up(args)
            asyncio.run(run(args, capture))

    return run_command("device", work)


if __name__ == "__main__":
    sys.exit(main())
