"""The programs to copy from run, as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def output_of(program: str) -> str:
    run = subprocess.run(
        [sys.executable, "-m", f"examples.{program}"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("embed_codec", "bytes for 4 drafted tokens"),
        ("session_by_hand", "bytes up"),
        ("own_engine", "of 30 words were drafted"),
    ],
)
def test_program(program, says):
    assert says in output_of(program)


def test_the_grammar_holds():
    """By Python's own expressions: whole sentences, and nothing else before the last one."""
    text = output_of("grammar").splitlines()[0]
    who, does = "the (old )?man|the sea|the boat", " (sat down|was quiet|lay on the sand)"
    sentence = f"({who}){does}( and ({who}){does})? \\. "
    whole = text[: text.rindex(" . ") + 3]
    assert len(text.split()) >= 40
    assert re.fullmatch(f"({sentence})+", whole)


def test_the_entry_points_are_one_screen():
    for name in ("device", "edge", "demo", "train_prior"):
        assert len((ROOT / "examples" / f"{name}.py").read_text().splitlines()) <= 50
