"""The benchmark of edges runs, and measures what it says; nothing here depends on how fast the machine is."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from tslt_benchmarks.speed import edge_round, made_up_rounds, round_memory

import tslt_wire as tw

QUICK = ["--quick", "--rounds", "2", "--repetitions", "1"]
EXACT = [name for name in made_up_rounds.SETTINGS if name != "penalties"]
"""transformers has no presence and frequency penalties."""


def run(argv, capsys) -> str:
    if tw.backend == "native":
        edge_round.main(argv)
    else:
        with pytest.raises(SystemExit, match="reference backend"):
            edge_round.main(argv)
    return capsys.readouterr().out.strip().splitlines()[-1]


def test_program(tmp_path, capsys):
    files = ["--json", str(tmp_path / "e.json"), "--markdown", str(tmp_path / "e.md")]
    last = run([*QUICK, "--vocab-size", "400", *files], capsys)
    assert last.startswith("edge_round: V=400 chain-of-4, over softmax at worst: plain=")
    result = json.loads((tmp_path / "e.json").read_text())
    assert (result["benchmark"], result["schema"]) == ("edge_round", edge_round.SCHEMA_VERSION)
    assert result["settings"]["sampling"]["top-p"] == {"temperature": 0.7, "top_p": 0.9}
    found = {(case["shape"], case["setting"], case["evidence"]): case for case in result["cases"]}
    shapes = {"chain of 4": 6, "<2,2,2>": 4}
    assert len(found) == len(result["cases"]) == 2 * sum(shapes.values())
    lines = (tmp_path / "e.md").read_text().splitlines()
    assert [line.split(" | ")[0] for line in lines[:4]] == ["| V", "|---|---|---|---|", "| 400", "| 400"]
    assert [line.split("`")[1] for line in lines[7:]] == list(made_up_rounds.EVIDENCE)
    for (shape, _, evidence), case in found.items():
        names = {"tslt", *edge_round.YARDSTICKS} | ({"race"} if evidence == "coupled" else set())
        assert set(case["milliseconds"]) == names
        assert all(value > 0 for value in case["milliseconds"].values())
        assert ("softmax, without race" in case["ratios"]) == (evidence == "coupled")
        assert 1 <= case["rows"] <= 1 + len(made_up_rounds.SHAPES[shape])


def test_rows_of_ones_own(tmp_path, capsys):
    own = np.random.default_rng(0).normal(size=(7, 300)) * 3
    np.save(tmp_path / "rows.npy", own)
    args = edge_round.arguments(["--logits", str(tmp_path / "rows.npy")])
    assert (args.vocab_size, args.shapes) == ([300], tuple(made_up_rounds.SHAPES))
    rows = round_memory.rows_for(300, "chain of 4", 1, args.logits)
    np.testing.assert_array_equal(rows.target, own[[5, 6, 0, 1, 2]].astype(np.float32))
    cases = edge_round.measure(300, "chain of 4", ["plain"], rounds=1, repetitions=1, own=args.logits)
    assert [case.evidence for case in cases] == list(made_up_rounds.EVIDENCE)
    np.save(tmp_path / "wrong.npy", np.zeros(5))
    with pytest.raises(SystemExit):
        edge_round.arguments(["--logits", str(tmp_path / "wrong.npy")])
    assert "must be real (N, V), got float64 (5,)" in capsys.readouterr().err


@pytest.mark.parametrize("shape", made_up_rounds.SHAPES)
def test_only_the_rows_on_the_path_are_looked_at(shape):
    """With lists also those behind a token that may still be kept: each behind one that was looked at."""
    rows = round_memory.rows_for(500, shape, 1, None)
    for evidence in made_up_rounds.evidence_for(shape):
        round_ = made_up_rounds.make_round(rows, evidence, shape)
        for setting, sampling in made_up_rounds.SETTINGS.items():
            answer = round_.answer(round_.target_rows(round_.rows.target, sampling), round_.generator())
            path = [0, *(1 + node for node in round_.draft.tree.path(answer.node))]
            looked = edge_round.looked_at(round_, round_.rows.target, setting)
            if isinstance(round_.draft.evidence, tw.ListEvidence):
                parents = round_.draft.tree.parents
                assert set(path) <= set(looked)
                assert {1 + parents[row - 1] for row in looked if row} <= set(looked)
            else:
                assert looked == path


@pytest.mark.parametrize("setting", EXACT)
def test_transformers_does_the_same(setting):
    rows, sampling = made_up_rounds.made_up_rows(400, 4, 0), made_up_rounds.SETTINGS[setting]
    theirs = edge_round.processors(sampling)(None, torch.from_numpy(rows.target)).softmax(-1).numpy()
    ours = [row.dense() for row in tw.target_rows(rows.target, sampling)]
    np.testing.assert_allclose(theirs, ours, atol=1e-5)


def test_made_up_rows_are_like_a_language_models():
    common, entropies = [], []
    for seed in range(12):
        rows = made_up_rounds.made_up_rows(8000, 4, seed)
        p, q = (tw.target_rows(some, tw.Sampling(temperature=0.7)) for some in (rows.target, rows.draft))
        common += [np.minimum(a.dense(), b.dense()).sum() for a, b in zip(p, q, strict=True)]
        for row in tw.target_rows(rows.target, tw.Sampling()):
            kept = row.dense()[row.dense() > 0]
            entropies.append(-(kept * np.log(kept)).sum())
    assert 0.6 < np.mean(common) < 0.8
    assert min(entropies) < 0.5 < np.median(entropies) < 4 < max(entropies)


def test_memory_is_that_of_a_row():
    vocab_size = 200_000
    found = round_memory.peaks(vocab_size, "chain of 4", settings=["plain"])
    if not found:
        pytest.skip("peaks cannot be read here")
    assert set(found) == {(evidence, "plain") for evidence in made_up_rounds.EVIDENCE}
    row = 8 * vocab_size
    # The kernel keeps sums of blocks alone; the reference writes rows out, and what it does with them.
    least, most = (0, 0.5) if tw.backend == "native" else (0.5, 60)
    assert all(least * row <= peak < most * row for peak in found.values())
