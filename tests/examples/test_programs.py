"""The programs to copy from run, as they stand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("embed_codec", "bytes for 4 drafted tokens"),
        ("session_by_hand", "bytes up"),
        ("own_engine", "of 30 words were drafted"),
    ],
)
def test_program(program, says):
    run = subprocess.run(
        [sys.executable, "-m", f"examples.{program}"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert run.returncode == 0, run.stderr
    assert says in run.stdout


def test_the_entry_points_are_one_screen():
    for name in ("device", "edge", "demo", "train_prior"):
        assert len((ROOT / "examples" / f"{name}.py").read_text().splitlines()) <= 50
