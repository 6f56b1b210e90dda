"""The drafts that a command measures on: from a file, or made by a pair of models that the command line names."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from tslt_benchmarks.drafting import Settings, make_drafts
from tslt_benchmarks.drafts import Drafts, load_drafts, save_drafts
from tslt_benchmarks.options import add_model_options, output_file, require_models, whole_number
from tslt_benchmarks.pairs import Models
from tslt_benchmarks.prompts import PROMPTS, read_prompts


def add_draft_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``drafts_for`` is told by the command line."""
    add_model_options(parser)
    parser.add_argument("--drafts", type=output_file, help=".npz of drafts: read if it exists, else made and written")


def add_position_options(parser: argparse.ArgumentParser, positions: int) -> None:
    """Add what ``positions_for`` is told by the command line; ``positions``: how many by default."""
    add_draft_options(parser)
    parser.add_argument("--positions", type=whole_number(1), default=positions, help="to measure on (%(default)s)")
    parser.add_argument("--seed", type=whole_number(0), default=0)


def positions_for(args: argparse.Namespace, *, console: Console) -> Drafts:
    """``drafts_for`` a command that needs positions only; ``args``: with what ``add_position_options`` added."""
    return drafts_for(args, Settings(lists=args.positions, rounds=1, seed=args.seed), console=console)


def drafts_for(
    args: argparse.Namespace,
    settings: Settings,
    *,
    console: Console,
    prompts: Path = PROMPTS,
    texts: int | None = None,
) -> Drafts:
    """Load drafts from ``args.drafts`` if that file exists; else make them, and save them there if a file is named.

    ``args``: with what ``add_draft_options`` added; ``texts``: how many prompts are used, None for all.
    SystemExit with a sentence for people if the models are not there.
    """
    path: Path | None = args.drafts
    if path is not None and path.exists():
        drafts = load_drafts(path)
        console.print(f"drafts of {path.name}, made with {drafts.meta['settings']}", highlight=False, markup=False)
        return drafts
    require_models(args.target, args.draft, instead=", or drafts with --drafts")
    console.print("running both models to make drafts ...", highlight=False)
    models = Models.load(args.target, args.draft, dtype="float32", self_check=False)
    drafts = make_drafts(models, settings, read_prompts(prompts)[:texts])
    if path is not None:
        save_drafts(drafts, path)
    return drafts
