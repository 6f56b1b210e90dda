"""The kernel without Python: the embedding example with the golden vectors (``make sanitize`` changes them)."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NATIVE, EXAMPLE = ROOT / "tslt_wire" / "_native", ROOT / "examples" / "embed_c"
STRICT = [
    *("-std=c11", "-O3", "-ffp-contract=off", "-Wall", "-Wextra", "-Wpedantic", "-Wcast-qual", "-Werror"),
    f"-I{NATIVE}",
]
CC = os.environ.get("CC", "cc")
COMPILERS = (CC, "clang", "musl-gcc")
"""Clang is what macOS compiles with; musl is another C library of Linux."""


@pytest.fixture(scope="module", params=COMPILERS)
def program(request, tmp_path_factory) -> Path:
    compiler = shutil.which(request.param)
    if compiler is None:
        pytest.skip(f"there is no {request.param}")
    to = tmp_path_factory.mktemp("embed") / "embed"
    sources = [str(EXAMPLE / "main.c"), *map(str, sorted(NATIVE.glob("*.c")))]
    done = subprocess.run([compiler, *STRICT, *sources, "-o", str(to)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return to


@pytest.fixture(scope="module")
def lines() -> str:
    command = [sys.executable, str(EXAMPLE / "vectors.py")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_example_agrees_with_the_vectors(program, lines):
    done = subprocess.run([program], input=lines, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{lines.count(' valid ')} valid and {lines.count(' invalid ')} invalid vectors, 0 wrong" in done.stdout


def test_example_notices_a_wrong_vector(program, lines):
    first = next(line for line in lines.splitlines(keepends=True) if " valid " in line)
    wrong = first.rstrip("\n").rpartition(" ")[0] + " 1\n"
    done = subprocess.run([program], input=wrong, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "another list" in done.stdout


@pytest.mark.skipif(shutil.which(CC) is None, reason="there is no C compiler")
def test_the_program_of_the_page_runs(tmp_path):
    (code,) = re.findall(r"^```c\n(.*?)^```", (ROOT / "docs" / "embedding-c.md").read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "program.c").write_text(code)
    sources = [str(tmp_path / "program.c"), *map(str, sorted(NATIVE.glob("*.c")))]
    command = [CC, *STRICT, "-O0", *sources, "-o", str(tmp_path / "program")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = subprocess.run([tmp_path / "program"], capture_output=True, text=True, check=True).stdout
    assert "for 2 drafted tokens\nround 0, tokens" in said
