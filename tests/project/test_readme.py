"""The README is true: its example runs, its commands and files exist."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

import tslt_wire as tw

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_embedding_example_runs_and_is_lossless_to_the_eye():
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    table = np.random.default_rng(0).normal(size=(8, 32000)) * 3

    def draft_logits(tokens):
        return table[sum(tokens) % 8]

    def target_probs(prefix, tree):
        paths = [[tree.tokens[n] for n in tree.path(node)] for node in range(-1, len(tree))]
        return tw.target_probs(np.stack([draft_logits([*prefix, *path]) for path in paths]), tw.Sampling())

    prefix = [1, 2, 3]
    names = {"draft_logits": draft_logits, "target_probs": target_probs, "prefix": prefix}
    exec(compile(code, "README.md", "exec"), names)  # noqa: S102
    assert prefix[:3] == [1, 2, 3]
    assert len(prefix) == 3 + len(names["verdict"].tokens(names["draft"].tree))
    assert len([line for line in code.splitlines() if line.strip()]) <= 16


def test_every_file_the_readme_links_to_exists():
    targets = re.findall(r"\]\(([^)#:]+)\)", README)
    assert len(targets) > 5
    for target in targets:
        assert (ROOT / target).exists(), target


def test_every_module_the_readme_runs_exists():
    modules = set(re.findall(r"python -m ([\w.]+)", README))
    assert modules
    for module in modules:
        path = module.replace(".", "/")
        files = [f"{path}.py", f"{path}/__main__.py"]
        assert any((ROOT / source / file).exists() for source in ("", "transports", "benchmarks") for file in files), (
            module
        )


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


def test_modules_stay_below_500_lines():
    one_file_on_purpose = ROOT / "spec" / "reference_decoder.py"
    for folder in ("tslt_wire", "tslt_runtime", "transports", "examples", "benchmarks", "spec", "tests"):
        for path in set((ROOT / folder).rglob("*.py")) - {one_file_on_purpose}:
            assert len(path.read_text(encoding="utf-8").splitlines()) <= 500, path
