"""Lines and branches of the kernel that nothing reaches, by gcov: `python tests/covered/kernel.py`.

The files are those that read bytes from a peer; the kernel is built without optimisation in a folder of its own, and
reads the vectors, changed vectors, and what ``tests/native/refusals.c`` adds; then the tests of the device run over it.
Exit status 1: something is missing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
NATIVE: Final = Path("tslt_wire/_native")
FOLDER: Final = ROOT / "build" / "covered"
READERS: Final = (
    *("bits.c", "bits.h", "context.c", "context.h", "drafts.c", "ids.c", "levels.c", "lists.c", "narrow.h", "plain.c"),
    *("prefix.c", "range.c", "range.h", "seen.c", "tables.c", "tokens.c", "trees.c", "weights.c", "weights.h"),
    *(f"device_{name}.c" for name in ("control", "draft", "frames", "handshake", "hash", "hello", "link", "memory")),
    *(f"device_{name}.c" for name in ("names", "queue", "receive", "round", "send", "states")),
)
"""What reads bytes from a peer, or works on what was read of them."""
VECTORS, CONVERSATIONS = "examples/embed_c/vectors.py", "tests/native/device_conversations.py"
PROGRAMS: Final = (
    ("examples/embed_c/main.c", VECTORS, ()),
    ("tests/native/fuzz.c", VECTORS, ("1", "50")),
    ("tests/native/refusals.c", VECTORS, ()),
    ("tests/native/fuzz_device.c", CONVERSATIONS, ("1", "20")),
)
"""Each, and what prints what it reads from its standard input."""
DEVICE: Final = tuple(
    f"tests/native/test_c_{name}.py" for name in ("callers", "device", "drafting", "hello", "hostile_edge", "refusals")
)
"""Tests that call the device as a shared library, from Python."""
FLAGS: Final = ("-std=c11", "-g", "-O0", "-fPIC", "-ffp-contract=off", "--coverage", f"-I{NATIVE}")
WRAP: Final = "-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc"
"""How a program comes between the kernel and its memory."""

Place = tuple[str, int, int]
"""A file's name, a line, and a branch or -1 for the line itself."""


def build_and_run(compiler: str) -> None:
    """Build the kernel and run the programs; CalledProcessError where one finds something wrong."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    objects = []
    for source in sorted((ROOT / NATIVE).glob("*.c")):
        objects.append(str(FOLDER / f"{source.stem}.o"))
        _run(compiler, *FLAGS, "-c", str(NATIVE / source.name), "-o", objects[-1])
    given = {script: _run(sys.executable, script) for script in (VECTORS, CONVERSATIONS)}
    for source, script, arguments in PROGRAMS:
        program = str(FOLDER / Path(source).stem)
        wrapped = [WRAP] if "__wrap_malloc" in (ROOT / source).read_text(encoding="utf-8") else []
        _run(compiler, *FLAGS, source, *objects, *wrapped, "-lm", "-o", program)
        print(_run(program, *arguments, given=given[script]).strip(), flush=True)
    built = str(FOLDER / "libtslt_device.so")
    _run(compiler, *FLAGS, "-shared", *objects, "-o", built)
    tests = _run(sys.executable, "-m", "pytest", "-q", *DEVICE, TSLT_C_DEVICE=built)
    print(tests.strip().splitlines()[-1], flush=True)


def never_reached(gcov: str) -> tuple[int, list[Place]]:
    """How many lines and branches there are, and those that nothing reached; inline functions count once."""
    times: Counter[Place] = Counter()
    for data in sorted(FOLDER.glob("*.gcda")):
        found = json.loads(_run(gcov, "--branch-probabilities", "--json-format", "--stdout", str(data)))
        for file in found["files"]:
            name = Path(file["file"]).name
            if Path(file["file"]).parent.name != NATIVE.name or name not in READERS:
                continue
            for line in file["lines"]:
                times[name, line["line_number"], -1] += line["count"]
                for i, branch in enumerate(line["branches"]):
                    times[name, line["line_number"], i] += branch["count"]
    unseen = set(READERS) - {name for name, _, _ in times}
    if unseen:
        raise SystemExit(f"{gcov} knows of no line in {', '.join(sorted(unseen))}: is it {gcov} of the same compiler?")
    return len(times), sorted(place for place, count in times.items() if not count)


def _run(*command: str, given: str | None = None, **environment: str) -> str:
    told = os.environ | environment
    done = subprocess.run(command, cwd=ROOT, input=given, capture_output=True, text=True, check=False, env=told)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


def main() -> int:
    """Print what is missing; the exit status."""
    compiler, gcov = os.environ.get("CC", "cc"), os.environ.get("GCOV", "gcov")
    if shutil.which(compiler) is None or shutil.which(gcov) is None:
        print(f"coverage: the kernel is left out; there is no {compiler} or no {gcov} here")
        return 0
    build_and_run(compiler)
    places, missing = never_reached(gcov)
    for name, line, branch in missing:
        text = (ROOT / NATIVE / name).read_text(encoding="utf-8").splitlines()[line - 1].strip()
        print(f"{NATIVE / name}:{line}: {'never' if branch < 0 else f'branch {branch} never'}: {text}")
    print(f"coverage: {places:,} lines and branches of the kernel's readers, {len(missing)} missing")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
