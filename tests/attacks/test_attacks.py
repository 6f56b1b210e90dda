"""Every attack in short; `make attacks` runs them for ten minutes each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SCRIPTS = sorted(path.stem for path in HERE.glob("[!t]*.py") if "stage.main(" in path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_it_holds(name):
    done = subprocess.run(
        [sys.executable, str(HERE / f"{name}.py"), "--seconds", "1"],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verdict: holds" in done.stdout


def test_there_are_attacks():
    assert {"names", "parts", "hellos", "deaf", "pings", "refused", "silent"} <= set(SCRIPTS)
