"""The kernel without Python: the embedding example with the golden vectors, and changed ones under sanitizers."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NATIVE, EXAMPLE = ROOT / "tslt_wire" / "_native", ROOT / "examples" / "embed_c"
STRICT = ["-std=c11", "-ffp-contract=off", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{NATIVE}"]
SANITIZE = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
CC = shutil.which(os.environ.get("CC", "cc"))

pytestmark = pytest.mark.skipif(CC is None, reason="there is no C compiler")


def built(source: Path, to: Path, *flags: str) -> Path:
    sources = [str(source), *map(str, sorted(NATIVE.glob("*.c")))]
    done = subprocess.run([CC, *STRICT, *flags, *sources, "-o", str(to)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return to


def has_sanitizers(folder: Path) -> bool:
    (folder / "empty.c").write_text("int main(void) { return 0; }\n")
    command = [CC, *SANITIZE, str(folder / "empty.c"), "-o", str(folder / "empty")]
    done = subprocess.run(command, capture_output=True, check=False)
    return done.returncode == 0 and subprocess.run([folder / "empty"], check=False).returncode == 0


@pytest.fixture(scope="module")
def lines() -> str:
    command = [sys.executable, str(EXAMPLE / "vectors.py")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def run(program: Path, lines: str, *arguments: str) -> str:
    done = subprocess.run([program, *arguments], input=lines, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_example_agrees_with_the_vectors(lines, tmp_path):
    out = run(built(EXAMPLE / "main.c", tmp_path / "embed", "-O3"), lines)
    assert f"{lines.count(' valid ')} valid and {lines.count(' invalid ')} invalid vectors, 0 wrong" in out


def test_example_notices_a_wrong_vector(lines, tmp_path):
    first = next(line for line in lines.splitlines(keepends=True) if " valid " in line)
    program = built(EXAMPLE / "main.c", tmp_path / "embed", "-O1")
    wrong = first.rstrip("\n").rpartition(" ")[0] + " 1\n"
    done = subprocess.run([program], input=wrong, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "another list" in done.stdout


def test_changed_vectors_under_sanitizers(lines, tmp_path):
    if not has_sanitizers(tmp_path):
        pytest.skip("this compiler has no sanitizers")
    assert ", 0 wrong" in run(built(EXAMPLE / "main.c", tmp_path / "embed", *SANITIZE), lines)
    fuzz = built(ROOT / "tests" / "native" / "fuzz.c", tmp_path / "fuzz", *SANITIZE)
    assert ", 0 wrong" in run(fuzz, lines, "7", "10")
