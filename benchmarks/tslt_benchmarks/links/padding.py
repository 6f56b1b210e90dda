"""What padding costs, and what sizes tell without it and with it: bytes a token, and bits of a frame's length.

Texts of the default pair, whole sessions in one process, with handshake, prompt and rounds; each frame is then padded
to multiples of so many bytes.  A length tells as many bits as its distribution has entropy, of those frames that the
end sends in a round.

    tslt bench padding
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from tslt_transports import Link, LinkOptions, pair

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
from tslt_wire.frames.padding import padded
from tslt_wire.throughput import default_modes

MULTIPLES = (1, 16, 32, 64, 128, 256)
"""1: as they are."""
CHAIN = (1,) * 4
LIMITS = {"max_frame_bytes": 1 << 22, "max_extensions": 16}
IN_ROUNDS = 2
"""Frames of each end before the rounds: HELLO and PROMPT, or WELCOME."""


class Listening:
    """A link that keeps what is sent over it."""

    def __init__(self, link: Link) -> None:
        """``link``: what carries the frames."""
        self._link = link
        self.sent: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        """All else is the link's."""
        return getattr(self._link, name)

    async def send(self, frame: bytes) -> None:
        """See ``Link.send``."""
        self.sent.append(frame)
        await self._link.send(frame)


@dataclass(slots=True)
class Texts:
    """The frames of texts with one kind of evidence."""

    evidence: str
    tokens: int = 0
    uplink: list[bytes] = field(default_factory=list)
    downlink: list[bytes] = field(default_factory=list)
    in_rounds: list[bytes] = field(default_factory=list)
    """Of ``uplink``, those that are sent in rounds."""


async def write(
    prompted: PromptedModels, evidence: str, *, texts: int, tokens: int, temperature: float, seed: int
) -> Texts:
    """Whole sessions, one a text."""
    found, models = Texts(evidence), prompted.models
    mode = next(mode for mode in default_modes() if mode.evidence == evidence)
    for number in range(texts):
        mine, theirs = map(Listening, pair(LinkOptions()))
        hello = models.hello(tw.Sampling(temperature=temperature))
        async with two_ends(
            models.target.engine,
            models.offered,
            models.draft.engine.open(),
            hello,
            links=(mine, theirs),
            seed=seed,
            number=number,
            vocabulary=models.vocabulary,
        ) as device:
            await device.prompt(prompted.prompts[number % len(prompted.prompts)])
            async for round_ in device.generate(tokens, settings_for(mode, CHAIN)):
                found.tokens += len(round_.tokens)
            found.in_rounds += mine.sent[IN_ROUNDS:]
        found.uplink += mine.sent
        found.downlink += theirs.sent
    return found


def entropy(sizes: Sequence[int]) -> float:
    """Bits that a size tells."""
    parts = np.array(list(Counter(sizes).values())) / len(sizes)
    return float(-(parts * np.log2(parts)).sum()) + 0.0


def figures(texts: Texts) -> list[dict[str, Any]]:
    """A row for each multiple."""

    def sizes(frames: Sequence[bytes], multiple: int) -> list[int]:
        return [len(padded(frame, multiple, **LIMITS)) for frame in frames]

    rows = []
    for multiple in MULTIPLES:
        up, down = (sum(sizes(frames, multiple)) / texts.tokens for frames in (texts.uplink, texts.downlink))
        told = sizes(texts.in_rounds, multiple)
        rows.append(
            {
                "evidence": texts.evidence,
                "multiple": multiple,
                "uplink_bytes_per_token": round(up, 2),
                "downlink_bytes_per_token": round(down, 2),
                "sizes": len(set(told)),
                "bits": round(entropy(told), 2),
            }
        )
    return rows


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(__doc__)
    add_model_options(parser)
    parser.add_argument("--evidence", nargs="+", default=["list", "match", "scalar"], metavar="KIND")
    parser.add_argument("--texts", type=whole_number(1), default=8, help="of each kind (%(default)s)")
    parser.add_argument("--tokens", type=whole_number(1), default=64, help="of a text (%(default)s)")
    parser.add_argument("--temperature", type=zero_or_more, default=0.7)
    parser.add_argument("--seed", type=whole_number(0), default=0)
    parser.add_argument("--json", type=output_file, help="write all figures")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Write texts, pad their frames, print."""
    args = arguments(argv)
    require_models(args.target, args.draft)
    loaded = Models.load(args.target, args.draft, dtype="float32", self_check=False)
    models = PromptedModels.of(loaded, read_prompts())
    options = {"texts": args.texts, "tokens": args.tokens, "temperature": args.temperature, "seed": args.seed}
    rows = [row for kind in args.evidence for row in figures(asyncio.run(write(models, kind, **options)))]
    table = Table("evidence", "multiples of", "uplink bytes/token", "downlink bytes/token", "sizes of drafts", "bits")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table)
    if args.json:
        write_json({"settings": options, "figures": rows}, args.json)
    cells = " ".join(f"{row['multiple']}={row['uplink_bytes_per_token']}" for row in rows[: len(MULTIPLES)])
    print(f"padding: {rows[0]['evidence']} {cells}")


if __name__ == "__main__":
    main()
