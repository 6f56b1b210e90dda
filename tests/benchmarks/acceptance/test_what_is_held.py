"""The benchmark of what it gives to hold nodes: its expectations are those of the rule itself, by enumeration."""

from __future__ import annotations

import json
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import two_ends
from default_pair import pair_folder
from enumeration import Model, drafts, expansion, outcomes, target_rows
from history_engine import HistoryDraft, HistoryTarget, row_after
from tslt_benchmarks.acceptance import held_nodes
from tslt_benchmarks.speed.edge_round import LookedAt

import tslt_wire as tw
from tslt_wire.lists.prior import plain_prior
from tslt_wire.lists.truncation import TopK
from tslt_wire.verification.target_rows import DenseRow
from tslt_wire.verification.verdicts import verify_with


@pytest.mark.parametrize("least_held", held_nodes.RULES.values(), ids=held_nodes.RULES)
@pytest.mark.parametrize(
    ("shape", "replacement"), [((1, 1, 1), True), ((2, 1), True), ((2, 1), False), ((1, 2), True), ((2, 2), False)]
)
def test_expectations_are_the_rules_own(shape, replacement, least_held):
    lists = Model(3, 61).lists(truncation=TopK(2), prior=plain_prior("density", 3) if shape == (2, 1) else None)
    target = Model(3, 62).target()
    kept, rows, found, seen = 0.0, 0.0, 0.0, 0.0
    for draft, p in drafts(expansion(*shape), lists, replacement=replacement):
        probs = target_rows(draft.tree, target)
        parents = {node: probs[1 + node] for node in (-1, *range(len(draft.tree)))}
        expected = held_nodes.Expected(
            held_nodes.Drafted(draft.tree, dict(draft.lists), parents, replacement), least_held
        )
        kept, rows = kept + p * expected.kept, rows + p * expected.rows
        looked = LookedAt([DenseRow(row) for row in probs])

        def run(choices, draft=draft, looked=looked):
            looked.seen = set()
            verdict = verify_with(draft, looked, choices, least_held=least_held)
            return len(draft.tree.path(verdict.node)), len(looked.seen | {0})

        for (length, count), chance in outcomes(partial(run)):
            found, seen = found + p * chance * length, seen + p * chance * count
    assert kept == pytest.approx(found, abs=1e-12)
    assert rows == pytest.approx(seen, abs=1e-12)


def test_rows_are_those_after_the_whole_text():
    """What a text has cached of a prefix, or of a draft's nodes, is not in the way."""
    tables = two_ends.tables(12, seed=4)
    target = HistoryTarget(tables[0])
    pair = SimpleNamespace(target=SimpleNamespace(engine=target), draft_text=lambda: HistoryDraft(tables[1]))
    drafter = held_nodes.Drafter(pair, 0.7, 0.5)
    rng, make = np.random.default_rng(5), partial(tw.sparsify, truncation=TopK(4))
    for prefix in (drafter.text_after([1, 2], 6, rng), [3, 4]):
        drafted = drafter.draft(prefix, (2, 1, 2), make, rng, replacement=False)
        assert set(drafted.rows) == {-1, *drafted.tree.parents}
        for node, probs in drafted.rows.items():
            path = [drafted.tree.tokens[i] for i in (drafted.tree.path(node) if node >= 0 else ())]
            expected = tw.target_probs(row_after(tables[0], [*prefix, *path]), tw.Sampling(temperature=0.7))
            assert probs == pytest.approx(expected)
    assert target.texts == []
    assert max(len(work.tokens) for (work,) in target.passes[1:6]) == 1  # a text is read once


def test_program(tmp_path, capsys):
    folders = ["--target", str(pair_folder("target")), "--draft", str(pair_folder("draft"))]
    few = ["--places", "2", "--rounds", "1", "--repetitions", "1", "--timed-vocab", "200", "--shapes", "chain of 4"]
    held_nodes.main([*folders, *few, "--json", str(tmp_path / "held.json")])
    assert "tokens of a round" in capsys.readouterr().out
    document = json.loads((tmp_path / "held.json").read_text())
    assert {(each["pair"], each["lists"]) for each in document["kept"]} == {
        (pair, lists) for pair in ("as it is", "sharp") for lists in ("default", "64, log2/1")
    }
    for each in document["kept"]:
        assert each["tokens"]["token by token"] <= each["tokens"]["verify"] <= each["tokens"]["all held"] + 1e-9
        assert 1 < each["rows"]["token by token"] <= each["rows"]["verify"] <= each["rows"]["all held"] <= 5
    assert {each["shape"] for each in document["times"]} == {"chain of 4"}
