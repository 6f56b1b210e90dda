"""Compare what several interpreters and numpy versions make of the format: all must give the same bytes.

Each interpreter that is named gets a throw-away environment with each numpy, and runs ``check.py`` there.  A numpy that
has no wheel for an interpreter is left out, and said.  The exit status is 0 if at least two ran and all agree.

    python tests/compat/run.py --python python3.11 --python python3.13 --numpy 1.26.4 --numpy newest
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

CHECK = Path(__file__).resolve().parent / "check.py"


def environment(python: str, numpy: str, folder: Path) -> Path | None:
    """The interpreter of a new environment in ``folder``; None if this numpy cannot be had for it."""
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    inside = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    wanted = "numpy" if numpy == "newest" else f"numpy=={numpy}"
    install = [str(inside), "-m", "pip", "install", "--quiet", "--only-binary", ":all:", wanted]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{python} with numpy {numpy}: left out; pip says: {done.stderr.strip().splitlines()[-1]}")
        return None
    return inside


def checked(python: str, numpy: str) -> dict[str, Any] | None:
    """The report of one combination, None if it cannot be had; RuntimeError if the check fails."""
    with tempfile.TemporaryDirectory() as folder:
        inside = environment(python, numpy, Path(folder))
        if inside is None:
            return None
        # -I: what this process has in its environment or on its path is of no concern there.
        done = subprocess.run([str(inside), "-I", str(CHECK)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{python} with numpy {numpy}:\n{done.stderr}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def main(arguments: list[str]) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", action="append", help="an interpreter (default: those of 3.11 to 3.14 on the path)")
    parser.add_argument("--numpy", action="append", help="a version, or newest (default: 1.26.4 and newest)")
    given = parser.parse_args(arguments)
    pythons = given.python or [name for name in (f"python3.{n}" for n in range(11, 15)) if shutil.which(name)]
    found = []
    for python in pythons:
        for numpy in given.numpy or ["1.26.4", "newest"]:
            report = checked(python, numpy)
            if report:
                found.append(report)
                digests = f"read {report['read'][:16]}, made {report['made'][:16]}"
                print(f"Python {report['python']}, numpy {report['numpy']}: {report['vectors']} vectors, {digests}")
    kinds = {(report["vectors"], report["read"], report["made"]) for report in found}
    print(f"{len(found)} combinations, {len(kinds)} different results")
    return 0 if len(found) > 1 and len(kinds) == 1 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
