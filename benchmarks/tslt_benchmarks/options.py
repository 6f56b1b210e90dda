"""What the commands share: arguments checked where they are given, the default pair's folders, JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tslt_wire as tw

PAIR = Path(__file__).resolve().parents[2] / "examples" / "pair"
"""Folder of the default pair: there in a checkout of the repository, and nowhere else."""
TARGET, DRAFT = PAIR / "target", PAIR / "draft"
"""Folders of its two models; the tokenizer is in the target's."""


def command_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser whose help starts with a module's docstring, line breaks kept."""
    return argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


# ------------------------------------------------------------------------------------------------- types of arguments


def whole_number(least: int) -> Callable[[str], int]:
    """An argument type: whole numbers from ``least`` on."""

    def parse(text: str) -> int:
        value = int(text) if text.strip().lstrip("+-").isdecimal() else None
        if value is None or value < least:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, got {text!r}")
        return value

    return parse


def _number(text: str, expected: str, *, zero: bool) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not (0 < value < float("inf") or (zero and value == 0)):
        raise argparse.ArgumentTypeError(f"expected a number {expected}, got {text!r}")
    return value


def above_zero(text: str) -> float:
    """An argument type: finite numbers above 0."""
    return _number(text, "above 0", zero=False)


def zero_or_more(text: str) -> float:
    """An argument type: finite numbers from 0 on."""
    return _number(text, "of at least 0", zero=True)


def input_file(text: str) -> Path:
    """An argument type: a file that is there."""
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"expected a file that exists, got {text!r}")
    return path


def output_file(text: str) -> Path:
    """An argument type: a file that can be written, said before hours of measuring."""
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"expected a file in a folder that exists, got {text!r}")
    return path


def prior_table(text: str) -> tw.Prior:
    """An argument type: the file of a trained table."""
    try:
        return tw.table_from_bytes(input_file(text).read_bytes())
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected the file of a trained table, got {text!r}: {error}") from error


# ------------------------------------------------------------------------------------------------------------- models


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--target`` and ``--draft``."""
    parser.add_argument(
        "--target", type=Path, default=TARGET, metavar="FOLDER", help="of the target model and its tokenizer"
    )
    parser.add_argument("--draft", type=Path, default=DRAFT, metavar="FOLDER", help="of the draft model")


def missing_model(*folders: Path) -> str:
    """A sentence for people if one of ``folders`` has no model, else nothing."""
    for folder in folders:
        if not (folder / "config.json").is_file():
            where = " (the default pair is in a checkout of the repository only)" if PAIR in folder.parents else ""
            return f"no model in {folder}{where}: name a pair with --target and --draft"
    return ""


def require_models(*folders: Path, instead: str = "") -> None:
    """SystemExit with a sentence for people if one of ``folders`` has no model; ``instead``: another way out of it."""
    if said := missing_model(*folders):
        raise SystemExit(said + instead)


# --------------------------------------------------------------------------------------------------------------- JSON


def write_json(document: dict[str, Any], path: Path) -> None:
    """Write what a command measured."""
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
