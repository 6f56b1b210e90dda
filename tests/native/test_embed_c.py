"""The kernel without Python: the embedding examples with the golden vectors (``make sanitize`` changes them), and with
rounds that the reference in Python answered."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from c_kernel import CC, NATIVE, ROOT, kernel_objects

EXAMPLE = ROOT / "examples" / "embed_c"
STRICT = ["-std=c11", "-O3", "-ffp-contract=off", "-Wall", "-Wextra", "-Wpedantic", "-Wcast-qual", "-Werror"]
COMPILERS = (CC, "clang", "musl-gcc")
"""Clang is what macOS compiles with; musl is another C library of Linux."""


@pytest.fixture(scope="module", params=COMPILERS)
def programs(request, tmp_path_factory) -> Path:
    compiler = shutil.which(request.param)
    if compiler is None:
        pytest.skip(f"there is no {request.param}")
    folder = tmp_path_factory.mktemp("embed")
    kernel = kernel_objects(compiler, STRICT)
    for name in ("main", "edge"):
        command = [compiler, *STRICT, f"-I{NATIVE}", str(EXAMPLE / f"{name}.c"), *kernel, "-o", name]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def program(programs) -> Path:
    return programs / "main"


@pytest.fixture
def edge(programs) -> Path:
    return programs / "edge"


@pytest.fixture(scope="module")
def lines() -> str:
    command = [sys.executable, str(EXAMPLE / "vectors.py")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def rounds() -> str:
    command = [sys.executable, str(EXAMPLE / "rounds.py")]
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


def test_edge_answers_as_the_reference(edge, rounds):
    done = subprocess.run([edge], input=rounds, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    *kinds, last = done.stdout.splitlines()
    assert last == f"embed_c: {len(rounds.splitlines())} rounds of an edge, 0 wrong"
    ends = [list(map(int, re.findall(r"\d+", kind))) for kind in kinds]
    assert [sum(of_kind) for of_kind in ends] == [48] * 5
    # Drafts that are accepted to a leaf, and others.
    assert min(map(min, ends)) >= 5, done.stdout


def test_edge_notices_a_wrong_answer(edge, rounds):
    first = {line.split()[2]: line for line in rounds.splitlines()}.values()
    wrong = [f"{line} {int(last) ^ 1}\n" for line, _, last in (line.rpartition(" ") for line in first)]
    done = subprocess.run([edge], input="".join(wrong), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "embed_c: 5 rounds of an edge, 5 wrong")


@pytest.mark.skipif(shutil.which(CC) is None, reason="there is no C compiler")
def test_the_program_of_the_page_runs(tmp_path):
    (code,) = re.findall(r"^```c\n(.*?)^```", (ROOT / "docs" / "embedding-c.md").read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "program.c").write_text(code)
    sources = [f"-I{NATIVE}", str(tmp_path / "program.c"), *kernel_objects()]
    command = [CC, *STRICT, "-O0", *sources, "-o", str(tmp_path / "program")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = subprocess.run([tmp_path / "program"], capture_output=True, text=True, check=True).stdout
    assert "for 2 drafted tokens\nround 0, tokens" in said
