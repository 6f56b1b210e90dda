"""Programs in the README and on the pages run; the version is said once; the core needs what it says.

Names and links: test_docs.py.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

import tslt_wire as tw
from tslt_runtime import streaming

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = {
    page.relative_to(ROOT).as_posix(): blocks
    for page in PAGES
    if (blocks := re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE))
}
"""Python on each page; its blocks go on from one another."""
SAYS = {
    "docs/embedding.md": " nodes in ",
    "docs/engines.md": "",
    "docs/inspecting.md": "",
    "docs/links.md": "bytes up",
}
"""What the program of each page says, but for those that need an edge."""
NEED_AN_EDGE = {"README.md", "docs/index.md"}
"""Their programs are those of a docstring, which run in tests/runtime/test_text_of_commands.py."""


def test_every_page_with_a_program_is_known():
    assert {*BLOCKS} == {*SAYS} | NEED_AN_EDGE


@pytest.mark.parametrize("page", SAYS)
def test_the_program_of_a_page_runs(page, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    exec(compile("\n".join(BLOCKS[page]), page, "exec"), {"__name__": "__main__"})  # noqa: S102
    assert SAYS[page] in capsys.readouterr().out


def lines_of(code):
    lines = [line.partition("  #")[0] for line in code.splitlines()]
    return [line for line in lines if line.strip() and not line.startswith("#")]


def test_the_readmes_program_is_ten_lines():
    assert len(lines_of(BLOCKS["README.md"][0])) <= 10


def test_the_streaming_programs_are_those_that_run_in_their_own_test():
    programs = re.findall(r"\n\n((?: {4}.*\n|\n(?= {4}))+)", streaming.__doc__)
    own = [lines_of(textwrap.dedent(program)) for program in programs]
    assert own == [lines_of(block) for block in BLOCKS["docs/index.md"]]
    assert own[:1] == [lines_of(block) for block in BLOCKS["README.md"]]


def test_version_is_said_once():
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{tw.__version__}"' in pyproject
    assert f"## {tw.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_core_imports_nothing_but_numpy_and_the_standard_library():
    import subprocess
    import sys

    code = (
        "import sys; import numpy; before = set(sys.modules); import tslt_wire; "
        "extra = {m.split('.')[0] for m in set(sys.modules) - before} - set(sys.stdlib_module_names); "
        "assert extra <= {'tslt_wire', 'numpy'}, extra"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
