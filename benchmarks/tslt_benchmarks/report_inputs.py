"""What a report is made of: a pair of models and prompts, or logits that somebody recorded."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tslt_benchmarks.drafting import Settings, make_drafts
from tslt_benchmarks.drafts import Drafts, load_drafts, save_drafts
from tslt_benchmarks.model_sizes import ModelSize, size_of
from tslt_benchmarks.openai_logprobs import read_logprobs
from tslt_benchmarks.options import DRAFT, PAIR, TARGET, missing_model
from tslt_benchmarks.pairs import Models, files_hash
from tslt_benchmarks.prompts import PROMPTS, read_prompts, some_of
from tslt_benchmarks.recorded_logits import Recorded, read_arrays, some_positions
from tslt_runtime.loading import is_gguf, load_tokenizer

QUICK = Settings(lists=96, rounds=16, tokens=32)
FULL = Settings(lists=256, rounds=48, tokens=48)
MOST_PROMPTS = (12, 24)
"""Quick and full."""
WIDE_VOCABULARY = 64_000
"""Tokens from which on logits are kept in float16."""
Tell = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What sections measure on, and what is said of it."""

    line: str
    """For the page's head."""
    key: dict[str, str]
    """What figures depend on."""
    prompts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    load_models: Callable[[], Models] | None = None
    make_drafts: Callable[[Callable[[], Models], Tell], Drafts]


def add_input_options(parser: argparse.ArgumentParser, logits: Callable[[str], Path]) -> None:
    """Add what ``inputs_for`` is told; ``logits``: the type of files to read."""
    some = parser.add_argument_group("what is measured", "a pair of models, or logits that were recorded elsewhere")
    some.add_argument(
        "--target", type=Path, metavar="PATH",
        help="a folder, or a .gguf file; goes together with --draft (neither: the pair that ships)",
    )  # fmt: skip
    some.add_argument(
        "--draft", type=Path, metavar="PATH", help="a folder, or a .gguf file; goes together with --target"
    )
    some.add_argument(
        "--target-tokenizer", type=Path, metavar="PATH", help="in place of the target's own; ids for --logits"
    )
    some.add_argument(
        "--prompts", type=logits, default=PROMPTS, metavar="FILE",
        help="what texts begin with: JSON lines (prompt, text, question, turns, messages) or text",
    )  # fmt: skip
    some.add_argument(
        "--logits", type=logits, metavar="FILE",
        help=".npz or .safetensors with arrays draft and target, each of N places by V tokens of the vocabulary, or "
        "OpenAI's logprobs as .json or .jsonl",
    )  # fmt: skip


def wrong_inputs(args: argparse.Namespace) -> str:
    """A sentence for people if what ``args`` name does not go together, or models are not there; else nothing."""
    if args.logits is not None:
        return "--logits takes the place of --target and --draft" if args.target or args.draft else ""
    if (args.target is None) != (args.draft is None):
        return "--draft and --target go together"
    pair = args.target or TARGET, args.draft or DRAFT
    gone = next((source for source in pair if not source.exists() and is_gguf(source)), None)
    if gone:
        return f"no model in {gone}: name a pair with --target and --draft"
    return missing_model(*(source for source in pair if not is_gguf(source)))


def inputs_for(args: argparse.Namespace) -> Inputs:
    """What the command line names; ValueError with a sentence for people if a file is no such.

    ``args``: with what ``add_input_options`` added, in which nothing is wrong (``wrong_inputs``), and ``quick``,
    ``seed``, ``threads``.
    """
    return _of_models(args) if args.logits is None else _of_logits(args)


def _of_logits(args: argparse.Namespace) -> Inputs:
    tokenizer = load_tokenizer(args.target_tokenizer) if args.target_tokenizer else None
    if args.logits.suffix.lower() in {".json", ".jsonl"}:
        recorded: Recorded = read_logprobs(args.logits, tokenizer)
    else:
        recorded = read_arrays(args.logits)
    most = (QUICK if args.quick else FULL).lists
    drafts = some_positions(recorded.drafts, most)
    key = {"logits": f"{args.logits.name}, SHA-256 {files_hash(args.logits)}"}
    key |= _of_tokenizer(args)
    count = len(drafts.positions.draft)
    return Inputs(
        line=f"Recorded logits of {args.logits.name}: {count} places, {drafts.vocab_size:,} tokens",
        key=key,
        notes=("There are no models here: what runs them is left out.", *recorded.notes),
        make_drafts=lambda models, tell: drafts,
    )


def _of_tokenizer(args: argparse.Namespace) -> dict[str, str]:
    named: Path | None = args.target_tokenizer
    return {"target's tokenizer": f"{named.name}, SHA-256 {files_hash(named)}"} if named else {}


def _of_models(args: argparse.Namespace) -> Inputs:
    target, draft = args.target or TARGET, args.draft or DRAFT
    every = read_prompts(args.prompts)
    prompts = some_of(every, MOST_PROMPTS[not args.quick])
    of = f"{len(prompts)} of {len(every)}"
    sizes = size_of(target), size_of(draft)
    key = {
        "target": f"{target.name}: {sizes[0]}, SHA-256 {files_hash(target)}",
        "draft": f"{draft.name}: {sizes[1]}, SHA-256 {files_hash(draft)}",
        "prompts": f"{of} in {args.prompts.name}, SHA-256 {hashlib.sha256(args.prompts.read_bytes()).hexdigest()}",
    }
    key |= _of_tokenizer(args)

    def load_models() -> Models:
        return Models.load(target, draft, target_tokenizer=args.target_tokenizer, threads=args.threads)

    def drafts(models: Callable[[], Models], tell: Tell) -> Drafts:
        dtype = "float16" if models().vocab_size >= WIDE_VOCABULARY else "float32"
        plain = QUICK if args.quick else FULL
        settings = Settings(lists=plain.lists, rounds=plain.rounds, tokens=plain.tokens, dtype=dtype, seed=args.seed)
        return make_drafts(models(), settings, prompts, tell)

    return Inputs(
        line=f"{_name(draft, sizes[1])} drafts for {_name(target, sizes[0])}; {of} prompts of {args.prompts.name}",
        key=key,
        prompts=tuple(prompts),
        load_models=load_models,
        make_drafts=drafts,
    )


def _name(source: Path, size: ModelSize) -> str:
    """For people: the pair that ships has folders of common names."""
    ships = "the pair that ships, " if PAIR in source.parents else ""
    return f"{source.name} ({ships}{size.parameters / 1e6:,.1f} million parameters)"


def kept_drafts(folder: Path, key: str, make: Callable[[], Drafts]) -> Drafts:
    """Drafts that this run, stopped before, has made already; else ``make`` them, in place of other runs'."""
    path = folder / f"drafts-{key}.npz"
    if path.exists():
        return load_drafts(path)
    for old in folder.glob("drafts-*.npz"):
        old.unlink()
    drafts = make()
    part = path.with_suffix(".part")
    save_drafts(drafts, part)
    part.replace(path)
    return drafts
