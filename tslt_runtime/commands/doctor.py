"""Look at what stands between this device and an edge, in one screen: link, keys, versions, models, rates, the plan.

tslt doctor --edge tcp://edge.example:5757 --model draft.gguf
tslt doctor --edge edge.example:5757 --transport quic --key device.key --edge-key edge.pub --json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path

import tslt_wire as tw
from tslt_runtime.checkup import Checkup, closing, compare, measure, reach, screen, shake_hands
from tslt_runtime.commands import connecting, who
from tslt_runtime.commands.device import DEFAULT_PROMPT
from tslt_runtime.commands.options import (
    QUIC_ADDRESS,
    add_common,
    add_sampling,
    asked_sampling,
    at_least_one,
    load_options,
    seconds,
    set_up,
    shipped,
)
from tslt_runtime.commands.running import FAILED, run_command
from tslt_runtime.device import Device
from tslt_runtime.dialing import Dialer
from tslt_runtime.engines.protocol import EngineError
from tslt_runtime.seeds import device_nonce, device_rng
from tslt_runtime.streaming import EDGE, hello_of, tokens_of


def parse(argv: list[str] | None = None, *, prog: str = "tslt doctor", model: Path | None = None) -> argparse.Namespace:
    """Read the command line; ``model``: the draft model that is taken if none is named."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_common(parser, "draft", model)
    parser.add_argument("--edge", nargs=1, metavar="ADDRESS", help=f"{EDGE}; quic: {QUIC_ADDRESS}")
    who.add_device(parser)
    wait = "seconds to wait for the edge, and for each answer (%(default)s)"
    parser.add_argument("--timeout", type=seconds, default=10.0, metavar="S", help=wait)
    add_sampling(parser, temperature=0.7)
    parser.add_argument(
        "--prompt", default=DEFAULT_PROMPT, metavar="TEXT", help="text that the rounds go on with (ours)"
    )
    parser.add_argument(
        "--tokens", type=at_least_one, default=64, metavar="N", help="tokens of the rounds (%(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout: findings and figures")
    args = parser.parse_args(argv)
    try:
        who.check_device(args)
        asked_sampling(args)
    except ValueError as error:
        parser.error(str(error))
    return args


async def run(args: argparse.Namespace) -> Checkup:
    """Go step by step as far as it goes."""
    from tslt_runtime.loading import load_draft

    found, loaded = Checkup(), None
    tls, keys = who.device_who(args)
    try:
        loaded = load_draft(args.model, **load_options(args))  # an edge does not wait for a HELLO for as long
    except (EngineError, OSError, ValueError) as error:
        found.note("draft", str(error), good=False)
    dialer = Dialer(args.transport, connecting.edges(args), tls=tls, keys=keys)
    link = await reach(found, dialer, args.timeout, with_key=keys is not None)
    if link is None:
        return found
    if loaded is None:
        await link.close()
        return found
    draft, tokenizer = loaded
    vocabulary = connecting.device_vocabulary(args, tokenizer, vocab_size=draft.facts.vocab_size)
    device = Device(
        link,
        draft.open(),
        hello_of(draft, tokenizer, asked_sampling(args), nonce=device_nonce(args.seed), vocabulary=vocabulary),
        rng=device_rng(args.seed),
        reply_timeout_s=args.timeout,
        vocabulary=vocabulary,
        most_leaves=draft.facts.most_leaves,
    )
    async with closing(device):
        if await shake_hands(found, device) is not None:
            compare(found, draft.facts, device, vocabulary.token_map)
            await measure(found, device, tokens_of(vocabulary.tokenizer, args.prompt), args.tokens)
    return found


def main(argv: list[str] | None = None, *, prog: str = "tslt doctor", model: Path | None = None) -> int:
    """Entry point; returns the exit status: 1 if a device would not get its text."""
    args = parse(argv, prog=prog, model=model or shipped("draft"))

    def work() -> int:
        set_up(args)
        found = asyncio.run(run(args))
        if args.json:
            told = {"good": found.good, "tslt": tw.__version__, "findings": [asdict(one) for one in found.findings]}
            print(json.dumps({**told, **found.figures}, ensure_ascii=False), flush=True)
        else:
            screen(found, print)
        return 0 if found.good else FAILED

    return run_command("doctor", work)


if __name__ == "__main__":
    sys.exit(main())
