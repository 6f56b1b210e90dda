"""What a user gets: a wheel and a source distribution that install and work in an empty environment with numpy alone.

The wheel of this tree is built as on a machine without a compiler, and is pure Python; the source distribution is built
and installed as pip does it, with the kernel wherever there is a compiler.  That the first lacks nothing but the kernel
is compared.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from distributions import NEEDED_BY_TESTS, PACKAGES, faults_of_source, faults_of_wheel

ROOT = Path(__file__).parents[2]
LEFT_OUT = ("examples/pair/target/model.safetensors", "tslt_wire/left_over.so", "build/left.txt", ".hidden")
"""Stand for what no source distribution carries."""
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
    left = shutil.ignore_patterns(".*", "build", "dist", "*.safetensors", "*.so", "__pycache__")
    shutil.copytree(ROOT, source, ignore=left)
    for name in LEFT_OUT:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
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


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """The folder of an environment in which nothing is; behind the first test, what a wheel has brought along."""
    folder = tmp_path_factory.mktemp("empty") / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return folder


def backend_where_installed(wheel, folder):
    """Install in an environment, numpy from the index, and check it; returns the backend that it has."""
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    pip("--python", str(python), "install", "--quiet", "--no-compile", str(wheel))
    try:
        return backend_by(python, folder)
    finally:
        pip("--python", str(python), "uninstall", "--quiet", "--yes", "tslt-wire")


def backend_by(python, folder):
    """What the check says."""
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


def test_without_a_compiler_the_wheel_is_pure_and_works_with_numpy_alone(pure_wheel, environment):
    assert not [name for name in names(pure_wheel) if name.endswith(".so")]
    assert backend_where_installed(pure_wheel, environment) == "reference"


@pytest.mark.skipif(shutil.which(os.environ.get("CC", "cc")) is None, reason="no C compiler")
def test_the_source_distribution_installs_with_the_kernel_and_works_with_numpy_alone(built_wheel, environment):
    assert [Path(name).name.split(".")[0] for name in names(built_wheel) if name.endswith(".so")] == ["_kernel"]
    assert backend_where_installed(built_wheel, environment) == "native"


@pytest.mark.skipif(shutil.which(os.environ.get("CC", "cc")) is None, reason="no C compiler")
def test_wheels_of_the_tree_and_of_the_source_distribution_differ_in_the_kernel_alone(pure_wheel, built_wheel):
    assert [Path(name).name.split(".")[0] for name in names(built_wheel) ^ names(pure_wheel)] == ["_kernel"]


@pytest.mark.parametrize("which", ["pure_wheel", "built_wheel"])
def test_wheels_have_what_they_should_and_nothing_else(which, request):
    assert faults_of_wheel(request.getfixturevalue(which)) == []


def test_the_source_distribution_has_what_its_tests_need_and_nothing_that_is_large(sdist):
    assert faults_of_source(sdist) == []
    with tarfile.open(sdist) as archive:
        assert {name.partition("/")[2] for name in archive.getnames()} & {*LEFT_OUT} == set()


def test_tests_ask_for_the_models_of_the_pair_where_they_are_skipped_without():
    """Source distributions leave them out; as the default of an option they are a name alone."""
    read = re.compile(r"(?<!model=)\bPAIR / (\"draft\"|\"target\")")
    found = [path for path in (ROOT / "tests").rglob("*.py") if read.search(path.read_text(encoding="utf-8"))]
    assert found == [], "pair_folder of tests/helpers/default_pair.py"


# ----------------------------------------------------------------------------------- what these tests notice, and how


METADATA = "tslt_wire-0.dist-info/METADATA"
GOOD_WHEEL = {
    **{f"{package}/py.typed": "" for package in PACKAGES},
    "tslt_wire/_native/_kernel.abi3.so": "",
    "tslt_wire-0.dist-info/licenses/LICENSE": "",
    "tslt_wire-0.dist-info/entry_points.txt": "[console_scripts]\ntslt = tslt_runtime.commands.main:main\n",
    METADATA: "Name: tslt-wire\nRequires-Dist: numpy>=1.26\nRequires-Dist: pyzmq>=26; extra == 'zmq'\n",
}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, None),
        ({"tests/test_x.py": ""}, "top-level"),
        ({"tslt_wire/py.typed": None}, "py.typed"),
        ({"tslt_wire-0.dist-info/licenses/LICENSE": None}, "LICENSE"),
        ({"tslt_wire-0.dist-info/entry_points.txt": None}, "tslt"),
        ({"tslt_wire/_native/_kernel.abi3.so": None}, "compiled"),
        ({"tslt_wire/_native/_kernel.abi3.so": None, "tslt_wire/_native/_kernel.cpython-311-x.so": ""}, "compiled"),
        ({"tslt_wire/_native/lists.c": ""}, "lists.c does not belong"),
        ({"tslt_runtime/draft.gguf": ""}, "draft.gguf does not belong"),
        ({METADATA: "Requires-Dist: numpy\nRequires-Dist: torch\n"}, "more than numpy"),
    ],
)
def test_what_is_wrong_with_a_wheel_is_noticed(changed, said, tmp_path):
    wheel = tmp_path / "tslt_wire-0-cp312-abi3-manylinux_2_34_x86_64.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in (GOOD_WHEEL | changed).items():
            if text is not None:
                archive.writestr(name, text)
    found = faults_of_wheel(wheel)
    assert found == [] if said is None else any(said in fault for fault in found)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, None),
        ({"README.md": None}, "README.md is missing"),
        ({"examples/pair/draft/model.safetensors": ""}, "model.safetensors does not belong"),
        ({"build/x.txt": ""}, "build/x.txt does not belong"),
        ({"tests/.cache/x": ""}, "does not belong"),
    ],
)
def test_what_is_wrong_with_a_source_distribution_is_noticed(changed, said, tmp_path):
    source = tmp_path / "tslt_wire-0.tar.gz"
    with tarfile.open(source, "w:gz") as archive:
        for name, text in (dict.fromkeys(NEEDED_BY_TESTS, "") | changed).items():
            if text is not None:
                archive.addfile(tarfile.TarInfo(f"tslt_wire-0/{name}"))
    found = faults_of_source(source)
    assert found == [] if said is None else any(said in fault for fault in found)
