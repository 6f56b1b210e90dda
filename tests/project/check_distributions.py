"""Checks what ``make wheels`` left in ``dist/``: contents, and wheels in new environments that have nothing else.

    python tests/project/check_distributions.py --contents dist         # contents alone
    python tests/project/check_distributions.py dist                    # and an environment with numpy alone
    python tests/project/check_distributions.py dist zmq llamacpp       # and one environment more for each extra

Run by ``make wheels`` and ``make check-wheel``; prints sizes, and what was installed beside the wheel.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "helpers"))

from distributions import MOST_BYTES, faults_of_source, faults_of_wheel  # noqa: E402

CLEAN = {key: value for key, value in os.environ.items() if key not in ("TSLT_WIRE_BACKEND", "PYTHONPATH")}


def contents(folder: Path) -> Path:
    """The wheel for this interpreter, after all in ``folder`` was looked through; SystemExit for what is wrong."""
    wheels, sources = sorted(folder.glob("*.whl")), sorted(folder.glob("*.tar.gz"))
    if not wheels or len(sources) != 1:
        raise SystemExit(f"{folder} has {len(wheels)} wheels and {len(sources)} source distributions: make wheels")
    for path in (*wheels, *sources):
        faults = faults_of_source(path) if path in sources else faults_of_wheel(path)
        if path.stat().st_size > MOST_BYTES:
            faults.append(f"{path.stat().st_size} bytes are more than {MOST_BYTES}")
        if "-linux_" in path.name:
            faults.append("its tag is no tag that can be uploaded")
        if faults:
            raise SystemExit("\n".join(f"{path.name}: {fault}" for fault in faults))
        print(f"{path.name}: {path.stat().st_size:,} bytes")
    own = f"cp{sys.version_info.major}{sys.version_info.minor}"
    fit = [path for path in wheels if f"-{own}-{own}-" in path.name or "-abi3-" in path.name]
    if not fit:
        raise SystemExit(f"no wheel in {folder} is for Python {sys.version_info.major}.{sys.version_info.minor}")
    return fit[0]


def check_installed(wheel: Path, extra: str, folder: Path) -> None:
    """Install ``wheel``, with ``extra`` if it is one, in a new environment; ``installed_check.py`` looks at it."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    named = f"{wheel.resolve()}[{extra}]" if extra else str(wheel.resolve())
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    steps = (
        [*pip, "install", "--quiet", "--no-compile", named],
        [*pip, "freeze"],
        [str(python), "-I", str(HERE / "installed_check.py"), *extra.split()],
    )
    for command in steps:
        done = subprocess.run(command, cwd=folder, env=CLEAN, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
        if command is steps[1]:
            others = [line for line in done.stdout.splitlines() if "file:" not in line]
            print(f"with {f'[{extra}]' if extra else 'no extra'}: {' '.join(others)}", flush=True)
    if done.stdout.split() != ["native"]:
        raise SystemExit(f"the backend is {done.stdout.strip()}: {wheel.name} brought no kernel")


def main() -> int:
    """Check all, and say what was there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="with the wheels and the source distribution")
    parser.add_argument("--contents", action="store_true", help="install nothing")
    parser.add_argument("extras", nargs="*", metavar="EXTRA", help="one environment more for each")
    args = parser.parse_args()
    wheel = contents(args.folder)
    for extra in () if args.contents else ("", *args.extras):
        with tempfile.TemporaryDirectory() as folder:
            check_installed(wheel, extra, Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
