"""spec/requirements.md: a row for each requirement of the specification, naming tests and vectors that exist."""

from __future__ import annotations

import ast
import fnmatch
import json
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SPEC = (ROOT / "spec" / "tslt-wire.md").read_text()
TABLE = (ROOT / "spec" / "requirements.md").read_text()
DEFINED = re.findall(r"^- `\[([A-Z]+-\d+)\]`", SPEC, re.MULTILINE)
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TABLE.splitlines()
    if re.match(r"\| [A-Z]+-\d+ \|", line)
]
MOST_UNTESTABLE = 3


@cache
def functions(path: Path) -> set[str]:
    """Names of the test functions of a file that are not skipped."""
    found = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
    skipped = ("skip", "xfail")
    return {
        node.name
        for node in found
        if node.name.startswith("test_")
        and not any(word in ast.unparse(mark) for mark in node.decorator_list for word in skipped)
    }


@cache
def vectors() -> dict[str, list[dict]]:
    """The tests of each file of vectors."""
    files = sorted((ROOT / "spec" / "vectors").glob("*.json"))
    found = {path.name: json.loads(path.read_text()).get("groups", []) for path in files if path.stem != "released"}
    return {name: [test for group in groups for test in group["tests"]] for name, groups in found.items()}


def exists(reference: str) -> bool:
    """Whether what a row names is there."""
    if "::" in reference:
        module, function = reference.split("::")
        paths = list((ROOT / "tests").rglob(f"{module}.py"))  # a name of a test file stands once in the tree
        return len(paths) == 1 and function in functions(paths[0])
    if "#" in reference:
        file, flag = reference.split("#")
        return any(flag in test["flags"] for test in vectors().get(file, []))
    return any(fnmatch.fnmatchcase(test["id"], reference) for tests in vectors().values() for test in tests)


def test_every_requirement_has_one_row_in_the_order_of_the_specification():
    assert [row[0] for row in ROWS] == DEFINED


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_what_a_row_names_is_there(row):
    assert len(row) == 3
    references = re.findall(r"`([^`]+)`", row[1])
    assert " ".join(f"`{reference}`" for reference in references) == row[1]
    assert [reference for reference in references if not exists(reference)] == []
    assert references or re.match(r"not testable: \w+", row[2])


def test_few_requirements_have_no_test():
    assert sum(not row[1] for row in ROWS) <= MOST_UNTESTABLE


@pytest.mark.parametrize(
    "reference",
    [
        "test_bits::test_nothing",
        "test_nothing::test_x",
        "frame/10/nothing",
        "frame/11/*",
        "lists.json#order-x",
        "x#order",
    ],
)
def test_this_test_notices_what_is_not_there(reference):
    assert not exists(reference)
