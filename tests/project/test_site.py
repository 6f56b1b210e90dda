"""The site, without building it: the reference has every public name, the picture of states is that of the table.

``make docs`` builds it, with every warning an error: links, anchors, pages that nobody can find.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
import state_diagram
import tslt_transports
from github_lists import indented

import tslt_wire as tw
from tslt_wire import throughput
from tslt_wire.frames.kinds import Kind
from tslt_wire.session.states import State

ROOT = Path(__file__).parents[2]
RUNTIME = ROOT / "tslt_runtime"
SHOWN = Counter(
    name
    for page in (ROOT / "docs" / "reference").glob("*.md")
    for name in re.findall(r"^::: ([\w.]+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
)
"""What the reference pages show, and how often."""
INSIDE = {
    "chat.sandbox",
    "engines.llamacpp.context",
    "engines.llamacpp.lanes",
    "engines.llamacpp.library",
    "engines.llamacpp.tree_cache",
    "engines.llamacpp.vocabulary",
    "engines.text_rules",
    "engines.transformers.kv_cache",
    "engines.transformers.packed",
    "engines.transformers.ragged",
    "engines.transformers.tree_attention",
    "pass_plan",
    "pass_times",
    "scored_text",
    "worker",
}
"""Modules of the runtime that are nobody else's business; commands are for the command line."""


def modules_of_the_runtime() -> set[str]:
    found = {
        path.relative_to(RUNTIME).with_suffix("").as_posix().replace("/", ".")
        for path in RUNTIME.rglob("*.py")
        if path.name != "__init__.py" and path.parent.name != "commands"
    }
    assert found >= INSIDE
    return found - INSIDE


@pytest.mark.parametrize("package", [tw, throughput, tslt_transports], ids=lambda package: package.__name__)
def test_every_public_name_is_on_a_reference_page(package):
    wanted = [f"{package.__name__}.{name}" for name in package.__all__]
    assert {name: SHOWN[name] for name in wanted} == dict.fromkeys(wanted, 1)


def test_every_public_module_of_the_runtime_is_on_a_reference_page():
    """With all classes and functions in it: those have docstrings, and what has one is shown."""
    wanted = modules_of_the_runtime()
    assert {name: SHOWN[f"tslt_runtime.{name}"] for name in wanted} == dict.fromkeys(wanted, 1)


def test_the_picture_of_states_is_that_of_the_table():
    assert state_diagram.OUT.read_text(encoding="utf-8") == state_diagram.picture(), "python docs/make/state_diagram.py"


@pytest.mark.parametrize(
    ("state", "kind", "after"),
    [
        (State.READY, Kind.DRAFT_LIST, State.OPEN),  # an arrow that has no place
        (State.START, Kind.BYE, State.FAILED),  # an end that is not reached from everywhere alike
    ],
)
def test_the_picture_notices_another_table(state, kind, after, monkeypatch):
    monkeypatch.setitem(state_diagram.TRANSITIONS, (state, kind), after)
    with pytest.raises(ValueError, match=r"differ in|alike"):
        state_diagram.picture()


AS_ON_GITHUB = """Text:
- a
  more
  1. b

         code

  in a
- c
- d

> - quoted
>   more
"""
FOR_PYTHON_MARKDOWN = """Text:

- a
    more

    1. b

            code

    in a

- c
- d

> - quoted
>   more
"""


def test_lists_are_read_as_on_github():
    assert indented(AS_ON_GITHUB) == FOR_PYTHON_MARKDOWN
