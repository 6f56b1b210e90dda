"""Compare what several interpreters and numpy versions make of the format: all must give the same bytes.

The interpreter that runs this comes first, with what it has: in the development environment that is the native kernel.
Then each interpreter that is named gets a throw-away environment with each numpy, and runs ``check.py`` there over the
reference.  An interpreter that does not start, or for which a numpy has no wheel, is left out, and said.  The exit
status is 0 if one environment at least was made and all agree.

    python tests/compat/run.py --python python3.11 --python python3.13 --numpy 1.26.4 --numpy newest
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CHECK = Path(__file__).resolve().parent / "check.py"
OLDEST = ("1.26.4", "2.1.0", "2.3.2")
"""The first numpy that is supported (pyproject.toml), and the first ones with wheels for Python 3.13 and 3.14."""

Report = dict[str, Any]


def starts(python: str) -> bool:
    """Whether an interpreter can make environments: on the path may be the shim of one that is not there."""
    if shutil.which(python) is None:
        return False
    done = subprocess.run([python, "-c", "import ensurepip, venv"], capture_output=True, check=False)
    return done.returncode == 0


def install(inside: Path, numpy: str) -> str:
    """Install this numpy, newest or oldest that is supported; what pip says if it cannot be had, else nothing."""
    said = ""
    for version in OLDEST if numpy == "oldest" else (numpy,):
        wanted = "numpy" if version == "newest" else f"numpy=={version}"
        command = [
            str(inside),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--upgrade",
            "--no-compile",
            "--only-binary",
            ":all:",
            wanted,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return ""
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
    return said


def report_of(python: str | Path, named: str, backend: str = "") -> Report:
    """What ``check.py`` finds; RuntimeError if it fails.  -I: the environment and the path here do not count there."""
    environment = os.environ | ({"TSLT_WIRE_BACKEND": backend} if backend else {})
    command = [str(python), "-I", str(CHECK)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise RuntimeError(f"{named}:\n{done.stderr}")
    report: Report = json.loads(done.stdout)
    digests = f"read {report['read'][:16]}, made {report['made'][:16]}"
    shown = f"Python {report['python']}, numpy {report['numpy']}, {report['backend']}"
    print(f"{shown}: {report['vectors']} vectors, {digests}", flush=True)
    return report


def reports_of(python: str, numpys: Sequence[str]) -> list[Report]:
    """One report for each numpy that can be had."""
    if not starts(python):
        print(f"{python}: left out; it does not start")
        return []
    found = []
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, "-m", "venv", folder], check=True)
        inside = Path(folder) / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        for numpy in numpys:
            said = install(inside, numpy)
            if said:
                print(f"{python} with numpy {numpy}: left out; pip says: {said}")
            else:
                found.append(report_of(inside, f"{python} with numpy {numpy}", "reference"))
    return found


def agree(own: Report, others: Sequence[Report]) -> bool:
    """Whether there are others, and all read and wrote the same."""
    kinds = {(report["vectors"], report["read"], report["made"]) for report in (own, *others)}
    print(f"{1 + len(others)} combinations, {len(kinds)} different results")
    return len(others) > 0 and len(kinds) == 1


def main(arguments: list[str]) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", action="append", help="an interpreter (default: those of 3.11 to 3.14 on the path)")
    parser.add_argument("--numpy", action="append", help="a version, oldest or newest (default: oldest and newest)")
    given = parser.parse_args(arguments)
    pythons = given.python or [name for name in (f"python3.{n}" for n in range(11, 15)) if shutil.which(name)]
    own = report_of(sys.executable, "this interpreter")
    others = [report for python in pythons for report in reports_of(python, given.numpy or ("oldest", "newest"))]
    return 0 if agree(own, others) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
