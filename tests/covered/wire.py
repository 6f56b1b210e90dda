"""Lines and branches of the wire's readers that no test reaches: `python tests/covered/wire.py`.

What decodes frames, with the kernel and without it, at the same time.  What is measured stands in ``wire.ini``: more
belongs there, and a module goes in when it is whole.  Exit status 1 where a line or a branch is missing.  Tests that
only repeat others with other numbers are left out, as they take minutes where each line is watched.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = ROOT / "build" / "covered-wire"
SETTINGS: Final = ROOT / "tests" / "covered" / "wire.ini"
TESTS: Final = (
    *("tests/spec/test_vectors.py", "tests/spec/test_session_vectors.py", "tests/fuzz/test_corpus.py"),
    *("tests/coding", "tests/frames"),
)
REPEATED: Final = ("flipped", "truncated", "generator_agrees", "damaged", "come_back", "mutated", "any_bytes", "wide")
LEFT_OUT: Final = " and ".join(f"not {word}" for word in REPEATED)
COVERAGE: Final = (sys.executable, "-m", "coverage")


def main() -> int:
    """Run the tests over each backend, print what is missing; the exit status."""
    from tslt_wire._native import backend

    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    data = f"--data-file={FOLDER / 'data'}"
    runs = []
    for name in dict.fromkeys((backend, "reference")):
        watched = [*COVERAGE, "run", f"--rcfile={SETTINGS}", data, "-m", "pytest", "-p", "no:xdist"]
        command = [*watched, *TESTS, "-k", LEFT_OUT]
        with (FOLDER / f"log-{name}").open("w", encoding="utf-8") as log:
            environment = {**os.environ, "TSLT_WIRE_BACKEND": name}
            runs.append((name, subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)))
    failed = [name for name, run in runs if run.wait()]
    if failed:
        raise SystemExit(f"the tests fail: see {FOLDER / f'log-{failed[0]}'}")
    subprocess.run([*COVERAGE, "combine", "--quiet", f"--rcfile={SETTINGS}", data, str(FOLDER)], cwd=ROOT, check=True)
    done = subprocess.run([*COVERAGE, "report", f"--rcfile={SETTINGS}", data], cwd=ROOT, check=False)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
