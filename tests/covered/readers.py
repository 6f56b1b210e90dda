"""Lines and branches that no test reaches, of all Python that reads a peer's bytes: `python tests/covered/readers.py`.

What is measured stands in ``readers.ini``: more belongs there where more is read.  Tests are watched by ``measure.py``
while they run, here or as a part of ``make test``; ``--report`` runs none and tells what the last run found.  Exit
status 1 where a line or a branch is missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = ROOT / "build" / "covered-readers"
"""Where each backend's run leaves what it found, in a folder with its name."""
SETTINGS: Final = ROOT / "tests" / "covered" / "readers.ini"
_BOTH: Final = ("tests/frames", "tests/lists", "tests/spec/test_vectors.py")
WATCHED: Final = {
    "reference": _BOTH,
    "native": (
        *(*_BOTH, "tests/spec/test_session_vectors.py", "tests/spec/test_step_vectors.py"),
        *("tests/coding", "tests/fuzz", "tests/messages", "tests/session", "tests/test_checks.py", "tests/transports"),
        *("tests/runtime/chat/test_template.py", "tests/runtime/operating", "tests/runtime/servers"),
        *("tests/runtime/test_busy_edges.py", "tests/runtime/test_connection.py", "tests/runtime/test_edge_driver.py"),
        *("tests/runtime/test_joint_passes.py", "tests/runtime/test_reconnecting.py", "tests/runtime/test_sessions.py"),
    ),
}
"""Tests that are watched, by backend.  Only lists and frames have code of their own in each."""
REPEATED: Final = (
    *("flipped", "truncated", "generator_agrees", "damaged", "come_back", "mutated", "any_bytes", "wide", "_law"),
    *("fuzzed", "one_encoding", "one_string", "round_trip", "changes_each_round", "noticed", "greedy_target"),
    *(
        "real_dtype",
        "another_device",
        "lossless",
        "test_probabilities",
        "fine_table",
        "table/largest",
        "every_flip",
        "on_one_path",
        "of_a_pass_for_each",
    ),
)
"""Parts of the names of tests that only repeat others with other numbers: they would take twice their time."""


def watched(test: str, backend: str) -> bool:
    """Whether the test with this id, ``tests/...::name``, is watched."""
    path, _, name = test.partition("::")
    chosen = any(path == one or path.startswith(one + "/") for one in WATCHED[backend])
    return chosen and not any(word in name for word in REPEATED)


def run(backend: str) -> None:
    """Run what is watched of one backend; SystemExit where a test fails."""
    shutil.rmtree(FOLDER / backend, ignore_errors=True)
    command = [sys.executable, "-m", "pytest", "-p", "tests.covered.measure", "-n", "2", *WATCHED[backend]]
    if subprocess.run(command, cwd=ROOT, env={**os.environ, "TSLT_WIRE_BACKEND": backend}, check=False).returncode:
        raise SystemExit(f"tests fail over the {backend} backend: nothing is said of what they reach")


def report() -> int:
    """Print what no run reached; the exit status."""
    found = [str(path) for path in sorted(FOLDER.glob("*/data.*"))]
    if not found:
        raise SystemExit("no run was watched: pytest -p tests.covered.measure")
    coverage = [sys.executable, "-m", "coverage"]
    options = [f"--rcfile={SETTINGS}", f"--data-file={FOLDER / 'all'}"]
    subprocess.run([*coverage, "combine", "--quiet", "--keep", *options, *found], cwd=ROOT, check=True)
    return subprocess.run([*coverage, "report", *options], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    if sys.argv[1:] != ["--report"]:
        for name in WATCHED:
            run(name)
    sys.exit(report())
