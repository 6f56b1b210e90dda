"""What a wheel and a source distribution have to carry, and what not.  The standard library alone."""

from __future__ import annotations

import re
import tarfile
import zipfile
from email.parser import BytesParser
from pathlib import Path, PurePosixPath

PACKAGES = ("tslt_benchmarks", "tslt_runtime", "tslt_transports", "tslt_wire")
COMPILED = (".so", ".pyd")
MODELS = (".safetensors", ".gguf")
NEEDED_BY_TESTS = (
    "CHANGELOG.md",
    "CMakeLists.txt",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "benchmarks/results/best_evidence.json",
    "benchmarks/tslt_benchmarks/__init__.py",
    "constraints.txt",
    "docs/architecture.md",
    "examples/__init__.py",
    "examples/embed_c/main.c",
    "examples/pair/MODEL_CARD.md",
    "examples/pair/figures.json",
    "pyproject.toml",
    "spec/tslt-wire.md",
    "spec/vectors/frames.json",
    "tests/helpers/strategies.py",
    "tests/project/installed_check.py",
    "transports/tslt_transports/link.py",
    "tslt_wire/_native/binding.cpp",
    "tslt_wire/_native/tslt_wire.h",
)
MOST_BYTES = 8_000_000
"""Of a distribution that is uploaded: a model, an environment or a build that got into one is more."""


def kernel_suffixes(wheel: Path) -> tuple[str, ...]:
    """How the kernel's file of this wheel may end, by the wheel's name; none if it is pure Python."""
    _, _, python, abi, platform = wheel.stem.split("-")
    if platform == "any":
        return ()
    if "win" in platform.partition("_")[0]:
        return (".pyd",)
    return (".abi3.so",) if abi == "abi3" else (f".cpython-{python.removeprefix('cp')}-",)


def faults_of_wheel(wheel: Path) -> list[str]:
    """What is wrong with the contents of a wheel, a sentence each."""
    with zipfile.ZipFile(wheel) as archive:
        names = sorted(name for name in archive.namelist() if not name.endswith("/"))
        texts = {PurePosixPath(name).name: archive.read(name) for name in names if ".dist-info/" in name}
    found = []
    tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    if tops != {*PACKAGES}:
        found.append(f"top-level names are {sorted(tops)}")
    typed = {name for name in names if name.endswith("py.typed")}
    if typed != {f"{package}/py.typed" for package in PACKAGES}:
        found.append(f"py.typed is in {sorted(typed)}")
    if len([name for name in names if name.endswith(".dist-info/licenses/LICENSE")]) != 1:
        found.append("there is not one LICENSE")
    if b"tslt = tslt_runtime.commands.main:main" not in texts.get("entry_points.txt", b""):
        found.append("there is no command tslt")
    kernels, wanted = [name for name in names if name.endswith(COMPILED)], kernel_suffixes(wheel)
    if len(kernels) != bool(wanted) or not all(
        kernel.startswith("tslt_wire/_native/_kernel") and any(suffix in kernel for suffix in wanted)
        for kernel in kernels
    ):
        found.append(f"compiled files are {kernels}, and the name says {wanted or 'none'}")
    unwanted = (".c", ".h", ".cpp", *MODELS)
    found += [
        f"{name} does not belong there" for name in names if name.endswith(unwanted) or "tests" in name.split("/")
    ]
    needs = BytesParser().parsebytes(texts.get("METADATA", b"")).get_all("Requires-Dist") or []
    if [need for need in needs if "extra ==" not in need and not re.match(r"numpy\b", need)]:
        found.append(f"it needs more than numpy: {needs}")
    return found


def faults_of_source(source: Path) -> list[str]:
    """What is wrong with the contents of a source distribution, a sentence each."""
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    found = [f"{name} is missing" for name in NEEDED_BY_TESTS if name not in names]
    for name in sorted(names):
        parts = name.split("/")
        built = parts[0] in ("build", "dist") or "__pycache__" in parts or name.endswith(COMPILED)
        if built or name.endswith(MODELS) or any(part.startswith(".") for part in parts):
            found.append(f"{name} does not belong there")
    return found
