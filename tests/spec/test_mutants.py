"""spec/mutants.py: a vector tells a decoder with one mistake; a sample of mistakes, and the list of exceptions."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from spec import mutants
from spec.mutations import changed, mutations

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = '''
"""A docstring."""
MOST: int = 7


def taken(values: list[int], room: int) -> list[int]:
    """Another."""
    count = len(values)
    refuse_if(count > room, "limit_exceeded")
    found = values.copy()
    if found and room:
        found.append(MOST)
    return found
'''
ALL = {
    "MOST: int = 8",
    "MOST: int = 6",
    "refuse_if(not count > room, 'limit_exceeded')",
    "refuse_if(True, 'limit_exceeded')",
    "refuse_if(count >= room, 'limit_exceeded')",
    "refuse_if(count > room, 'another')",
    "found = values.copy()\nrefuse_if(count > room, 'limit_exceeded')",
    "(deleted)",
    "if not (found and room):",
    "if True:",
    "if False:",
    "if found or room:",
    "if found:",
    "if room:",
    "return changed_by_mutation(found)",
}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "spec.mutants", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_a_sample_of_mistakes_is_told_by_the_vectors():
    pytest.importorskip("zstandard")
    done = run("--sample", "30", "--seed", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("30 mutants, 30 told")


def test_every_reason_is_of_a_mutant_that_is_there():
    keys = {m.key() for m in mutations(ast.parse(mutants.SOURCE.read_text()), mutants.SKIPPED)}
    entries = json.loads(mutants.EXPLAINED.read_text())
    assert set(mutants.explained()) <= keys
    assert sum(len(entry["mutants"]) for entry in entries) == len(mutants.explained())
    assert all(entry["kind"] and entry["why"].endswith(".") for entry in entries)


def test_changes_are_made_one_at_a_time_and_taken_back():
    tree = ast.parse(PROGRAM)
    found = mutations(tree)
    assert {mutation.after for mutation in found} == ALL
    assert len({mutation.key() for mutation in found}) == len(found)
    for mutation in found:
        mutation.swap()
        assert ast.unparse(tree) != ast.unparse(ast.parse(PROGRAM))
        mutation.swap()
        assert ast.unparse(tree) == ast.unparse(ast.parse(PROGRAM))


def test_a_changed_value_is_another_one():
    for value in (True, False, 0, -1, 0.5, "a", b"a", [1], (1, 2), {"a": 1}, None, "", [], object()):
        assert changed(value) != value


def outcome(source: str, holds: "mutants.Vector") -> tuple[int, int]:
    """How many mutants of a program there are, and how many of these a vector tells."""
    program, tests = mutants.Program(source), [holds]
    costs = mutants.measured(program, tests, all_of_them=True)
    chosen = mutations(program.tree)
    found = list(mutants.outcomes(program, tests, costs, chosen, jobs=1, new_last=True))
    return len(found), sum(killer is not None for _, killer in found)


def vector(holds) -> mutants.Vector:
    return mutants.Vector("one", frozenset(), False, True, holds)


SUM = "def total(count):\n    found = 0\n    while found < count:\n        found += 1\n    return found\n"


def test_endless_loops_are_told_and_what_is_not_called_is_not(monkeypatch):
    monkeypatch.setattr(mutants, "SECONDS", 0.1)
    count, told = outcome(SUM, vector(lambda decoder: decoder["total"](3) == 3))
    survivors = {"found = 1", "found = -1"}  # it ends at 3 all the same
    assert (count, told) == (10, 10 - len(survivors))
    assert outcome(SUM, vector(lambda decoder: True)) == (count, 0)


def test_a_vector_that_the_decoder_fails_is_an_error():
    with pytest.raises(RuntimeError, match="itself fails one"):
        outcome(SUM, vector(lambda decoder: decoder["total"](3) == 4))
