"""What a user gets: a wheel and a source distribution that install and work in an empty environment with numpy alone.

The wheel of this tree is built as on a machine without a compiler, and is pure Python; the source distribution is built
and installed as pip does it, with the kernel wherever there is a compiler.  That the first lacks nothing but the kernel
is compared.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("tslt_benchmarks", "tslt_runtime", "tslt_transports", "tslt_wire")
LEFT_OUT = ("examples/pair/weights", "benchmarks/results/figures.json", "tslt_wire/left_over.so", ".hidden")
"""Stand for what no source distribution carries: it would be 60 MB and more."""
CLEAN = {key: value for key, value in os.environ.items() if key not in ("TSLT_WIRE_BACKEND", "PYTHONPATH")}

pytestmark = [
    pytest.mark.skipif(shutil.which("cmake") is None, reason="a build without isolation needs cmake"),
    pytest.mark.skipif(os.environ.get("TSLT_WIRE_BACKEND") == "reference", reason="the same files as before"),
]


def pip(*arguments, **environment):
    command = [sys.executable, "-m", "pip", *arguments]
    done = subprocess.run(command, env=CLEAN | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def wheel_of(source, folder, **environment):
    pip("wheel", "--quiet", "--no-deps", "--no-build-isolation", str(source), "--wheel-dir", str(folder), **environment)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A copy of what git would carry, and nothing that was built."""
    source = tmp_path_factory.mktemp("tree") / "source"
    left = shutil.ignore_patterns(".*", "build", "dist", "pair", "results", "*.so", "__pycache__")
    shutil.copytree(ROOT, source, ignore=left)
    for name in LEFT_OUT:
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).touch()
    return source


@pytest.fixture(scope="module")
def sdist(sources, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sdist")
    code = f"from scikit_build_core.build import build_sdist; build_sdist({str(folder)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=sources, check=True, capture_output=True)
    (path,) = folder.glob("*.tar.gz")
    return path


@pytest.fixture(scope="module")
def pure_wheel(sources, tmp_path_factory):
    return wheel_of(sources, tmp_path_factory.mktemp("pure"), CC="/bin/false", CXX="/bin/false")


@pytest.fixture(scope="module")
def built_wheel(sdist, tmp_path_factory):
    """What pip makes of the source distribution where there is a compiler."""
    return wheel_of(sdist, tmp_path_factory.mktemp("built"))


def names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


def backend_where_installed(wheel, folder):
    """Install in a new environment, numpy from the index, and check it; returns the backend that it has."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    pip("--python", str(python), "install", "--quiet", "--no-compile", str(wheel))
    command = [str(python), "-I", str(ROOT / "tests" / "project" / "installed_check.py")]
    done = subprocess.run(command, cwd=folder, env=CLEAN, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    forced = subprocess.run(
        [str(python), "-I", "-c", "import tslt_wire"],
        env=CLEAN | {"TSLT_WIRE_BACKEND": "native"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (forced.returncode == 0) == (done.stdout.split() == ["native"])
    assert forced.returncode == 0 or "TSLT_WIRE_BACKEND" in forced.stderr
    return done.stdout.strip()


def test_without_a_compiler_the_wheel_is_pure_and_works_with_numpy_alone(pure_wheel, tmp_path):
    assert not [name for name in names(pure_wheel) if name.endswith(".so")]
    assert backend_where_installed(pure_wheel, tmp_path / "environment") == "reference"


@pytest.mark.skipif(shutil.which(os.environ.get("CC", "cc")) is None, reason="no C compiler")
def test_the_source_distribution_installs_with_the_kernel_and_works_with_numpy_alone(built_wheel, tmp_path):
    assert [Path(name).name.split(".")[0] for name in names(built_wheel) if name.endswith(".so")] == ["_kernel"]
    assert backend_where_installed(built_wheel, tmp_path / "environment") == "native"


@pytest.mark.skipif(shutil.which(os.environ.get("CC", "cc")) is None, reason="no C compiler")
def test_wheels_of_the_tree_and_of_the_source_distribution_differ_in_the_kernel_alone(pure_wheel, built_wheel):
    assert [Path(name).name.split(".")[0] for name in names(built_wheel) ^ names(pure_wheel)] == ["_kernel"]


def test_the_wheel_has_types_and_licence_and_no_sources_of_the_kernel(pure_wheel):
    found = names(pure_wheel)
    assert {name for name in found if name.endswith("py.typed")} == {f"{package}/py.typed" for package in PACKAGES}
    assert len([name for name in found if name.endswith("/licenses/LICENSE")]) == 1
    assert not [name for name in found if name.endswith((".c", ".h", ".cpp"))]
    assert {name.partition("/")[0] for name in found if not name.partition("/")[0].endswith(".dist-info")} == {
        *PACKAGES
    }


def test_the_source_distribution_has_what_its_tests_need(sdist):
    with tarfile.open(sdist) as archive:
        found = {name.partition("/")[2] for name in archive.getnames()}
    for wanted in (
        "LICENSE",
        "README.md",
        "CHANGELOG.md",
        "CMakeLists.txt",
        "pyproject.toml",
        "spec/tslt-wire.md",
        "spec/vectors/frames.json",
        "examples/embed_c/main.c",
        "examples/__init__.py",
        "benchmarks/tslt_benchmarks/__init__.py",
        "tests/helpers/strategies.py",
        "tests/project/installed_check.py",
        "tslt_wire/_native/tslt_wire.h",
        "transports/tslt_transports/link.py",
    ):
        assert wanted in found, wanted
    assert found & {*LEFT_OUT} == set()
