"""How drafts fare whose vocabulary is not the target's: acceptance, bytes a token, and what is never drafted.

Whole sessions over an in-process link, one for each kind of evidence, with chains as the planner's first mode of that
kind drafts them.  The pairs are made of one with one tokenizer, in a temporary folder: outputs padded to another size,
special tokens of other names, and a draft that keeps the tokens of its tokenizer's first merges (the rows of its
embedding and output are picked accordingly, nothing is trained).

    python -m tslt_benchmarks.acceptance.vocabularies --json vocabularies.json
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from tslt_transports import LinkOptions, pair

import tslt_wire as tw
from tslt_benchmarks.acceptance.vocabulary_pairs import VocabularyPair, make_pairs
from tslt_benchmarks.options import (
    add_model_options,
    command_parser,
    output_file,
    require_models,
    whole_number,
    write_json,
    zero_or_more,
)
from tslt_benchmarks.prompts import read_prompts
from tslt_runtime.autopilot import settings_for
from tslt_runtime.device import Device
from tslt_runtime.draft_vocabulary import DraftVocabulary
from tslt_runtime.edge import edge_settings, serve_link
from tslt_runtime.edge_driver import EdgeDriver
from tslt_runtime.engines.protocol import TargetEngine, Work
from tslt_runtime.fingerprint import vocabulary_of
from tslt_runtime.loading import LoadedDraft, LoadedTarget, load_draft, load_target
from tslt_runtime.pass_plan import Place
from tslt_runtime.seeds import device_nonce, device_rng, session_secret
from tslt_runtime.streaming import hello_of
from tslt_runtime.verifiers.local import LocalVerifier
from tslt_runtime.verifiers.protocol import Reply, Request
from tslt_wire.throughput import default_modes

SCHEMA_VERSION = 1
EVIDENCE = ("list", "scalar", "match", "coupled")
CHAIN = (1, 1, 1, 1)
"""What is drafted in every round."""
_WIDTH = 130
"""Columns that the table needs."""


@dataclass(slots=True)
class Sent:
    """Tokens in the drafts that reached an edge."""

    drafted: int = 0
    drafted_outside: int = 0
    """Of them, those outside the shared set."""
    listed: int = 0
    """Entries of lists."""
    listed_outside: int = 0


class CountingVerifier(LocalVerifier):
    """A verifier that counts what devices draft and list, and what of it is outside the tokens that both have."""

    def __init__(self, engine: TargetEngine, shared: NDArray[np.bool_]) -> None:
        """``shared``: which of the target's tokens are, (V,)."""
        super().__init__(engine)
        self._shared = shared
        self.sent = Sent()

    async def answer(self, text: Place, request: Request) -> Reply:
        """See ``Verifier.answer``."""
        if isinstance(request.asked, tw.DraftReceived):
            draft, sent = request.asked.draft, self.sent
            tokens = np.asarray(draft.tree.tokens, np.int64)
            sent.drafted += len(tokens)
            sent.drafted_outside += int((~self._shared[tokens]).sum())
            for q in draft.lists.values():
                sent.listed += len(q.ids)
                sent.listed_outside += int((~self._shared[q.ids]).sum())
        return await super().answer(text, request)


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one kind of evidence."""

    acceptance: float
    """Part of the drafted tokens that the edge tested and kept."""
    tokens_per_round: float
    uplink_bytes_per_token: float
    downlink_bytes_per_token: float
    tokens: int
    sent: Sent


@dataclass(frozen=True, slots=True)
class Row:
    """A pair of models."""

    vocabulary: str
    fit: str
    """What the session found, see ``tslt_wire.Fit``."""
    vocab_size: int
    """The target's V."""
    shared: int
    """Tokens of the target that may be drafted."""
    shared_mass: float
    """What the target gives to them, mean over the places of its texts: no draft is accepted more often at a place."""
    evidence: dict[str, Figures]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is measured."""

    prompts: Sequence[str]
    tokens: int
    """Of a text, at most."""
    temperature: float
    evidence: Sequence[str]
    seed: int


@dataclass(slots=True)
class Texts:
    """What one session wrote."""

    fit: str = ""
    figures: list[Figures] = field(default_factory=list)
    written: list[tuple[list[int], list[int]]] = field(default_factory=list)
    """Tokens of each prompt, and of what came after it."""


class Meter:
    """Measures one pair of models."""

    def __init__(self, made: VocabularyPair, settings: Settings, *, self_check: bool = False) -> None:
        """``self_check``: whether the engines are compared with plain text first."""
        self._made, self._settings = made, settings
        self._target: LoadedTarget = load_target(made.target, self_check=self_check)
        self._draft: LoadedDraft = load_draft(made.draft, self_check=self_check)
        self._sampling = tw.Sampling(temperature=settings.temperature)
        self._vocabulary = DraftVocabulary(
            self._draft.tokenizer,
            vocab_size=self._draft.engine.facts.vocab_size,
            target_tokenizer=self._target.tokenizer if made.other_tokenizer else None,
        )
        self._offered = vocabulary_of(self._target.tokenizer, vocab_size=self._target.engine.facts.vocab_size)

    async def row(self) -> Row:
        """Sessions with all kinds of evidence."""
        found = {evidence: await self._session(evidence) for evidence in self._settings.evidence}
        first = found[self._settings.evidence[0]]
        return Row(
            vocabulary=self._made.name,
            fit=first.fit,
            vocab_size=len(self._made.shared),
            shared=int(self._made.shared.sum()),
            shared_mass=self.mass(first.written),
            evidence={evidence: texts.figures[0] for evidence, texts in found.items()},
        )

    def mass(self, written: Sequence[tuple[list[int], list[int]]]) -> float:
        """Mean of what the target gives to the shared tokens at each place of these texts."""
        parts: list[float] = []
        for prompt, tokens in written:
            chain = tw.TokenTree(tokens[:-1], range(-1, len(tokens) - 2))
            text = self._target.engine.open()
            (rows,) = self._target.engine.score([Work(text, prompt, chain)])
            parts += (float(tw.target_probs(row, self._sampling)[self._made.shared].sum()) for row in rows)
            text.close()
        return float(np.mean(parts))

    async def _session(self, evidence: str) -> Texts:
        settings, engine = self._settings, self._target.engine
        size = self._offered.vocab_size
        mode = next(m for m in default_modes(size, temperature=settings.temperature) if m.evidence == evidence)
        verifier = CountingVerifier(engine, self._made.shared)
        offered = edge_settings(verifier.facts, self._offered)
        mine, theirs = pair(LinkOptions())
        driver = EdgeDriver(verifier, offered, secret=session_secret(settings.seed, 0))
        serving = asyncio.create_task(serve_link(theirs, driver))
        hello = hello_of(
            self._draft.engine,
            self._draft.tokenizer,
            self._sampling,
            evidence=evidence,
            nonce=device_nonce(settings.seed),
            vocabulary=self._vocabulary,
        )
        rng = device_rng(settings.seed)
        device = Device(mine, self._draft.engine.open(), hello, rng=rng, vocabulary=self._vocabulary)
        texts, rounds = Texts(), []
        try:
            await device.open()
            texts.fit = device.session.fit.value if device.session.fit else ""
            for prompt in settings.prompts:
                await device.prompt(start := self._vocabulary.tokenizer.tokens_of(prompt))
                some = [each async for each in device.generate(settings.tokens, settings_for(mode, CHAIN))]
                texts.written.append((start, [token for each in some for token in each.tokens]))
                rounds += some
        finally:
            await device.close()
            await serving
            verifier.close()
        tokens = sum(len(each.tokens) for each in rounds)
        figures = Figures(
            acceptance=sum(len(each.accepted) for each in rounds) / max(1, sum(each.tried for each in rounds)),
            tokens_per_round=tokens / len(rounds),
            uplink_bytes_per_token=sum(each.uplink_bytes for each in rounds) / tokens,
            downlink_bytes_per_token=sum(each.downlink_bytes for each in rounds) / tokens,
            tokens=tokens,
            sent=verifier.sent,
        )
        texts.figures.append(figures)
        return texts


def measure(pairs: Sequence[VocabularyPair], settings: Settings) -> list[Row]:
    """A row for each pair, of which the first one's engines are checked: the others have its weights."""
    return [asyncio.run(Meter(made, settings, self_check=not i).row()) for i, made in enumerate(pairs)]


def table(rows: Sequence[Row]) -> Table:
    """A row a pair, acceptance and bytes both ways a token for each kind of evidence."""
    out = Table(title="acceptance, bytes a token", title_justify="left")
    out.add_column("vocabulary")
    for name in ("may be drafted", "their mass", *rows[0].evidence, "drafted", "outside"):
        out.add_column(name, justify="right")
    for row in rows:
        cells = (
            f"{each.acceptance:.3f}, {each.uplink_bytes_per_token + each.downlink_bytes_per_token:.1f}"
            for each in row.evidence.values()
        )
        drafted = sum(each.sent.drafted for each in row.evidence.values())
        outside = sum(each.sent.drafted_outside for each in row.evidence.values())
        of = f"{row.shared:,} of {row.vocab_size:,}"
        out.add_row(row.vocabulary, of, f"{row.shared_mass:.4f}", *cells, f"{drafted:,}", f"{outside:,}")
    return out


def outside_line(rows: Sequence[Row]) -> str:
    """What was drafted and listed that the two vocabularies do not share."""
    sent = [each.sent for row in rows for each in row.evidence.values()]
    return (
        f"outside the shared tokens: {sum(s.drafted_outside for s in sent)} of {sum(s.drafted for s in sent):,} "
        f"drafted, {sum(s.listed_outside for s in sent)} of {sum(s.listed for s in sent):,} listed"
    )


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(__doc__)
    add_model_options(parser)
    parser.add_argument("--evidence", nargs="+", default=list(EVIDENCE), choices=EVIDENCE, help="(%(default)s)")
    parser.add_argument("--prompts", type=whole_number(1), default=8, help="of those that ship (%(default)s)")
    parser.add_argument("--tokens", type=whole_number(1), default=40, help="of a text, at most (%(default)s)")
    parser.add_argument("--temperature", type=zero_or_more, default=0.7, help="of the target (%(default)s)")
    parser.add_argument(
        "--merges", type=whole_number(1), nargs="+", help="of other tokenizers (a half and a 16th of the pair's)"
    )
    parser.add_argument("--seed", type=whole_number(0), default=0, help="of both ends")
    parser.add_argument("--json", type=output_file, help="write all figures")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, write JSON."""
    args = arguments(argv)
    require_models(args.target, args.draft)
    console = Console(width=_WIDTH)
    settings = Settings(
        prompts=read_prompts()[: args.prompts],
        tokens=args.tokens,
        temperature=args.temperature,
        evidence=args.evidence,
        seed=args.seed,
    )
    with tempfile.TemporaryDirectory() as folder:
        try:
            pairs = make_pairs(args.target, args.draft, Path(folder), merges=args.merges or ())
        except ValueError as error:
            raise SystemExit(str(error)) from error
        rows = measure(pairs, settings)
    console.print(table(rows))
    console.print(outside_line(rows), highlight=False)
    if args.json is not None:
        document: dict[str, Any] = {
            "benchmark": "vocabularies",
            "schema": SCHEMA_VERSION,
            "settings": {
                "prompts": len(settings.prompts),
                "tokens": settings.tokens,
                "temperature": settings.temperature,
                "seed": settings.seed,
                "expansion": CHAIN,
            },
            "rows": [asdict(row) for row in rows],
        }
        write_json(document, args.json)


if __name__ == "__main__":
    main()
