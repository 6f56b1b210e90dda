"""The benchmark of engines runs, and measures the same work in each; nothing here depends on how fast they are."""

from __future__ import annotations

import json

import pytest
from gguf_models import needs_llamacpp, tiny_folder
from tslt_benchmarks.speed import engines

pytestmark = needs_llamacpp


def test_program(tmp_path, capsys):
    for name in ("target", "draft"):
        tiny_folder(tmp_path / name)
    argv = ["--target", str(tmp_path / "target"), "--draft", str(tmp_path / "draft"), "--rounds", "2"]
    engines.main([*argv, "--json", str(tmp_path / "e.json")])
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last.startswith("engines: draft, chain of four: transformers 1.00 x, ")
    result = json.loads((tmp_path / "e.json").read_text())
    works = [(t["work"], tuple(t["expansion"]), t["contender"]) for t in result["timings"]]
    assert len(works) == len({*works}) == 3 * (len(engines.DRAFTS) + len(engines.TREES))
    assert all(t["milliseconds"] > 0 for t in result["timings"])
    # A process without torch is smaller, whatever the machine.
    size = {start["contender"]: start["megabytes"] for start in result["starts"]}
    assert size["llama.cpp float32"] < size["transformers"]


@pytest.mark.parametrize(("expansion", "rows"), [((1,) * 4, [1, 1, 1, 1]), ((2, 2, 2), [1, 2, 4]), ((3,), [1])])
def test_a_round_of_a_draft_runs_all_but_the_leaves(expansion, rows, tmp_path, monkeypatch):
    tiny_folder(tmp_path)
    engine = engines.load(engines.BASELINE, "draft", tmp_path)
    opened = engine.open()
    monkeypatch.setattr(engine, "open", lambda: opened)
    found = []
    expand = opened.expand
    monkeypatch.setattr(opened, "expand", lambda nodes: found.append(len(nodes) or 1) or expand(nodes))
    work = engines.drafting(engine, expansion)
    work(0)
    work(1)
    assert found == rows * 2
    assert len(opened.prefix) == engines.PROMPT + 2 * len(expansion)


def test_a_round_of_a_target_grows_by_the_token_and_a_path(tmp_path, monkeypatch):
    tiny_folder(tmp_path)
    engine = engines.load(engines.BASELINE, "target", tmp_path)
    opened = engine.open()
    monkeypatch.setattr(engine, "open", lambda: opened)
    work = engines.scoring(engine, (2, 2))
    work(0)
    work(1)
    assert opened.length == engines.PROMPT + 2 * 3
