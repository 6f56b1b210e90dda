"""What a package imports is named by its extras, not left to what another package happens to bring."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "tslt_wire": ("tslt_wire", {"zstd"}),
    "tslt_transports": ("transports/tslt_transports", {"zmq", "quic", "zstd"}),
    "tslt_runtime": (
        "tslt_runtime",
        {"transformers", "quantised", "llamacpp", "metrics", "servers", "serve", "quic", "ray"},
    ),
    "tslt_benchmarks": ("benchmarks/tslt_benchmarks", {"bench", "transformers", "llamacpp"}),
}
"""Folder and extras of each package."""
OURS = {"tslt_wire", "tslt_transports", "tslt_runtime", "tslt_benchmarks"}
NOT_NAMED = {
    "pyarrow": "a row of the encodings that is left out without it",
    "tokenizers": "the file format of transformers' own tokenizers, which always brings it",
    "huggingface_hub": "transformers' own way to the hub, which always brings it",
    "grpc": "what Ray Serve's handles raise, which always bring it",
    "cycler": "matplotlib takes colours in turn as one of these, and always brings it",
}
NORMAL = re.compile(r"[-_.]+")


def named(extras: set[str]) -> set[str]:
    """Distributions that these extras name, with those of the extras that they name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found: set[str] = set()
    left, seen = set(extras) & set(project["optional-dependencies"]), set()
    lines = list(project["dependencies"])
    while left:
        extra = left.pop()
        seen.add(extra)
        lines += project["optional-dependencies"][extra]
        for line in project["optional-dependencies"][extra]:
            if inner := re.match(r"tslt-wire\[(.*?)\]", line):
                left |= set(inner[1].split(",")) - seen
    for line in lines:
        found.add(NORMAL.sub("-", re.match(r"[\w.-]+", line)[0]).lower())
    return found


def imported(folder: Path) -> dict[str, str]:
    """Packages of others that the files of a folder import, at their top or later, and a file that does."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            found |= {name.partition(".")[0]: str(path.relative_to(ROOT)) for name in names}
    return {name: path for name, path in found.items() if name not in OURS | set(sys.stdlib_module_names)}


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_imported_is_named(package):
    folder, extras = PACKAGES[package]
    known, distributions = named(extras), packages_distributions()
    for name, path in imported(ROOT / folder).items():
        brought_by = {NORMAL.sub("-", one).lower() for one in distributions.get(name, [name])}
        assert brought_by & known or name in NOT_NAMED, f"{path} imports {name}, which no extra of {package} names"


def test_a_package_that_another_brings_is_told():
    assert "httpx" in imported(ROOT / "benchmarks" / "tslt_benchmarks")
    assert "httpx" not in named({"transformers"})
    assert "starlette" in named({"bench"})  # by the extra that it names
