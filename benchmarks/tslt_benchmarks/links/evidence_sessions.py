"""What each kind of evidence comes to in sessions: bytes up a token, and how many drafted tokens are kept.

Whole texts over an in-process link, chains of four, whatever a frame takes besides counted, transports not.  The same
prompts and seeds for all kinds; errors are over texts.

    python -m tslt_benchmarks.links.evidence_sessions --json evidence_sessions.json
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import tslt_wire as tw
from tslt_benchmarks.links.recorded_rounds import PromptedModels
from tslt_benchmarks.options import (
    add_model_options,
    command_parser,
    output_file,
    require_models,
    whole_number,
    write_json,
    zero_or_more,
)
from tslt_benchmarks.pairs import Models
from tslt_benchmarks.prompts import read_prompts
from tslt_benchmarks.two_ends import two_ends
from tslt_runtime.autopilot import settings_for
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.seeds import device_nonce
from tslt_wire.throughput import default_modes

CHAIN = (1,) * 4
TITLES = {
    "full": "whole distributions",
    "list --k 32 --precision log2/1": "lists of 32 tokens",
    "list": "short lists, the default profile",
    "match": "token ids",
    "coupled": "token ids, and both ends draw alike",
    "scalar": "one probability a token",
    "lazy": "one probability a token, and a list where one is rejected",
}
"""By what ``tslt device --evidence`` is told."""


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of evidence at one temperature."""

    name: str
    title: str
    temperature: float
    uplink_bytes_per_token: float
    uplink_se: float
    """Standard error, over texts."""
    downlink_bytes_per_token: float
    acceptance: float
    """Part of the tokens that the edge tested and kept."""
    acceptance_se: float
    tokens: int


def settings_of(name: str, temperature: float, vocab_size: int) -> DraftSettings:
    """What a device drafts with."""
    if name.startswith("list --k"):
        precision, rule = "log2/1", tw.TopK(32)
        return DraftSettings(expansion=CHAIN, temperature=temperature, truncation=rule, precision=precision)
    modes = default_modes(vocab_size, temperature=temperature)
    return settings_for(next(mode for mode in modes if mode.evidence == name), CHAIN)


async def measure(prompted: PromptedModels, name: str, *, temperature: float, tokens: int, seed: int) -> Row:
    """A text behind each prompt."""
    models = prompted.models
    settings = settings_of(name, temperature, models.vocab_size)
    found = []
    for number, prompt in enumerate(prompted.prompts):
        hello = models.hello(tw.Sampling(temperature=temperature), nonce=device_nonce(seed + number))
        async with two_ends(
            models.target.engine,
            models.offered,
            models.draft.engine.open(),
            hello,
            seed=seed,
            number=number,
            vocabulary=models.vocabulary,
        ) as device:
            await device.prompt(prompt)
            rounds = [each async for each in device.generate(tokens, settings)]
        made, up, down, tried, kept = (
            sum(part(each) for each in rounds)
            for part in (
                lambda each: len(each.tokens),
                lambda each: each.uplink_bytes,
                lambda each: each.downlink_bytes,
                lambda each: each.tried,
                lambda each: len(each.accepted),
            )
        )
        found.append((made, up, down, tried, kept))
    made, up, down, tried, kept = np.array(found, float).T
    return Row(
        name=name,
        title=TITLES[name],
        temperature=temperature,
        uplink_bytes_per_token=float(up.sum() / made.sum()),
        uplink_se=_error(up, made),
        downlink_bytes_per_token=float(down.sum() / made.sum()),
        acceptance=float(kept.sum() / tried.sum()),
        acceptance_se=_error(kept, tried),
        tokens=int(made.sum()),
    )


def _error(over: Any, under: Any) -> float:
    """Standard error of the ratio of two sums, texts taken as independent."""
    apart = over - over.sum() / under.sum() * under
    return float(apart.std(ddof=1) * np.sqrt(len(over)) / under.sum()) if len(over) > 1 else 0.0


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(__doc__)
    add_model_options(parser)
    parser.add_argument("--texts", type=whole_number(1), default=12, help="of each kind (%(default)s)")
    parser.add_argument("--tokens", type=whole_number(1), default=64, help="of a text (%(default)s)")
    parser.add_argument("--temperature", type=zero_or_more, nargs="+", default=[0.7, 1.0], help="of the target")
    parser.add_argument("--seed", type=whole_number(0), default=0)
    parser.add_argument("--json", type=output_file, help="write all figures")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    args = arguments(argv)
    require_models(args.target, args.draft)
    models = Models.load(args.target, args.draft, dtype="float32", threads=1, self_check=False)
    prompted = PromptedModels.of(models, read_prompts()[: args.texts])
    rows = [
        asyncio.run(measure(prompted, name, temperature=temperature, tokens=args.tokens, seed=args.seed))
        for temperature in args.temperature
        for name in TITLES
    ]
    table = Table("T", "evidence", "bytes up a token", "down", "acceptance")
    for row in rows:
        up = f"{row.uplink_bytes_per_token:,.1f} \u00b1 {row.uplink_se:,.1f}"
        kept = f"{row.acceptance:.3f} \u00b1 {row.acceptance_se:.3f}"
        table.add_row(f"{row.temperature:g}", row.name, up, f"{row.downlink_bytes_per_token:.1f}", kept)
    Console().print(table)
    if args.json:
        settings = {"temperatures": args.temperature, "texts": args.texts, "tokens": args.tokens, "seed": args.seed}
        document = {"benchmark": "evidence_sessions", "settings": settings, "rows": [asdict(row) for row in rows]}
        write_json(document, args.json)


if __name__ == "__main__":
    main()
