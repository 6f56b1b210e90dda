"""The README's program runs; the version is said once; the core needs what it says.  Names: test_docs.py."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import numpy as np

import tslt_wire as tw
from tslt_runtime import streaming

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_embedding_example_runs_and_is_lossless_to_the_eye():
    _, code = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    table = np.random.default_rng(0).normal(size=(8, 32000)) * 3

    def draft_logits(tokens):
        return table[sum(tokens) % 8]

    def target_logits(prefix, tree):
        paths = [[tree.tokens[n] for n in tree.path(node)] for node in range(-1, len(tree))]
        return np.stack([draft_logits([*prefix, *path]) for path in paths])

    prefix = [1, 2, 3]
    names = {"draft_logits": draft_logits, "target_logits": target_logits, "prefix": prefix}
    exec(compile(code, "README.md", "exec"), names)  # noqa: S102
    assert prefix[:3] == [1, 2, 3]
    assert len(prefix) == 3 + len(names["verdict"].tokens(names["draft"].tree))
    assert len([line for line in code.splitlines() if line.strip()]) <= 16


def test_the_streaming_example_is_the_one_that_runs_in_its_own_test():
    code, _ = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    program = re.search(r"\n\n( {4}from .*?)\n\nAnd with asyncio", streaming.__doc__, re.DOTALL)
    assert textwrap.dedent(program[1]).strip() == code.strip()


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
