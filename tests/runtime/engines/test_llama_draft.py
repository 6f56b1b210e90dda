"""Draft sessions: distributions against one token at a time, over rounds with random accepted paths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from engine_rounds import DraftRounds, text_with_a_tree
from tiny_llama import tiny_llama

import tslt_wire as tw
from tslt_runtime.engines.protocol import ContextFull, Node
from tslt_runtime.engines.transformers.draft import DraftModel
from tslt_wire.lists.sibling_sampling import sample_children

VOCAB = 128
EXPANSIONS = [(1,) * 4, (2, 2, 2), (1,), (3,), (4, 1, 1), (1, 3), (3, 2, 1, 2)]


Round = tuple[tw.TokenTree, dict[int, tw.SparseDistribution]]


def model(attention: str = "sdpa", kv_heads: int = 4, *, context: int = 512) -> DraftModel:
    module = tiny_llama(vocab_size=VOCAB, layers=2, kv_heads=kv_heads, attention=attention, context=context)
    return DraftModel(module, model_id="tiny")


def draft(session: DraftRounds, expansion: tuple[int, ...], rng: np.random.Generator, **options: Any) -> Round:
    settings: dict[str, Any] = {
        "temperature": 1.0,
        "truncation": tw.TopK(12),
        "precision": "f32",
        "replacement": True,
        **options,
    }
    return session.draft(expansion, rng=rng, **settings)


def record(monkeypatch: pytest.MonkeyPatch, method: str, note: Callable[[Sequence[int]], Any]) -> list[Any]:
    """Let ``note(tokens)`` of every call of a pass land in the list returned."""
    notes: list[Any] = []
    original = getattr(DraftModel, method)

    def noted(self: DraftModel, tokens: Sequence[int], *args: Any, **options: Any) -> Any:
        notes.append(note(tokens))
        return original(self, tokens, *args, **options)

    monkeypatch.setattr(DraftModel, method, noted)
    return notes


def expected_list(shared: DraftModel, tokens: list[int]) -> tw.SparseDistribution:
    """Return what the model says after ``tokens``, computed from nothing in one plain pass."""
    with torch.no_grad():
        logits = shared._call(torch.tensor([tokens])).logits[0, -1].numpy()
    return tw.sparsify(logits, temperature=1.0, truncation=tw.TopK(12), precision="f32")


def assert_same_list(got: tw.SparseDistribution, expected: tw.SparseDistribution) -> None:
    assert got.ids.tolist() == expected.ids.tolist()
    assert float(np.abs(got.probs - expected.probs).max()) < 1e-4


@pytest.mark.parametrize("kv_heads", [4, 2])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_lists_equal_a_plain_pass_over_many_rounds(attention: str, kv_heads: int) -> None:
    rng = np.random.default_rng(1)
    shared = model(attention, kv_heads)
    session = DraftRounds(shared)
    tokens = [1, 7, 7, 90]
    session.set_prefix(tokens)
    for round_ in range(40):
        expansion = EXPANSIONS[round_ % len(EXPANSIONS)]
        tree, lists = draft(session, expansion, rng, replacement=bool(round_ % 2))
        assert tuple(lists) == (-1, *(node for node in range(len(tree)) if tree.children(node)))
        for node, q in lists.items():
            path = [tree.tokens[i] for i in tree.path(node)] if node >= 0 else []
            assert_same_list(q, expected_list(shared, tokens + path))
        path_nodes = tree.path(int(rng.integers(0, len(tree)))) if rng.random() < 0.8 else ()
        token = int(rng.integers(0, VOCAB))
        session.commit(path_nodes, token)
        tokens += [*(tree.tokens[node] for node in path_nodes), token]
        assert session.prefix == tuple(tokens)


def test_trees_are_breadth_first_and_children_come_from_their_parents_list() -> None:
    rng = np.random.default_rng(2)
    session = DraftRounds(model())
    session.set_prefix([1, 2, 3])
    tree, lists = draft(session, (3, 2, 2), rng)
    assert tree.parents == (-1, -1, -1, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8)
    for parent, q in lists.items():
        assert {tree.tokens[child] for child in tree.children(parent)} <= set(q.ids.tolist())
    chain, _ = draft(session, (1,) * 5, rng)
    assert chain.parents == (-1, 0, 1, 2, 3)


def test_short_lists_give_fewer_children_without_replacement() -> None:
    rng = np.random.default_rng(3)
    session = DraftRounds(model())
    session.set_prefix([1, 2, 3])
    tree, lists = draft(session, (4, 4), rng, truncation=tw.TopK(2), replacement=False)
    assert tree.parents == (-1, -1, 0, 0, 1, 1)
    assert set(lists) == {-1, 0, 1}
    for parent in lists:
        siblings = [tree.tokens[child] for child in tree.children(parent)]
        assert len(set(siblings)) == len(siblings)
    greedy, lists = draft(session, (3, 2), rng, temperature=0.0, replacement=False)
    assert greedy.parents == (-1, 0)
    assert [q.ids.tolist() for q in lists.values()] == [[token] for token in greedy.tokens]
    session.commit((0, 1), 5)
    draft(session, (2, 2), rng)


def test_children_are_drawn_from_exactly_the_list() -> None:
    rng = np.random.default_rng(4)
    session = DraftRounds(model())
    session.set_prefix([1, 2, 3])
    counts = np.zeros(VOCAB)
    tree, lists = draft(session, (4000,), rng, truncation=tw.TopK(6), temperature=2.0)
    np.add.at(counts, list(tree.tokens), 1)
    q = lists[-1]
    assert counts.sum() == counts[q.ids].sum() == 4000
    expected = 4000 * q.probs
    chi_square = float(((counts[q.ids] - expected) ** 2 / expected).sum())
    assert chi_square < 25  # 5 degrees of freedom: 1 in 7,000


@pytest.mark.parametrize("replacement", [True, False])
def test_children_are_sent_as_they_were_sampled(replacement: bool) -> None:
    """In that order, equal ones included: sorted or thinned out they would have another distribution."""
    session = DraftRounds(model())
    session.set_prefix([1, 2, 3])
    tree, lists = draft(session, (9,), np.random.default_rng(4), truncation=tw.TopK(12), replacement=replacement)
    expected = sample_children(lists[-1], 9, np.random.default_rng(4), replacement=replacement)
    assert list(tree.tokens) == expected != sorted(expected)
    assert (len(set(expected)) < 9) == replacement


def test_drafting_twice_replaces_the_tree() -> None:
    session = DraftRounds(model())
    session.set_prefix([1, 2, 3])
    tree, lists = draft(session, (2, 2), np.random.default_rng(5))
    draft(session, (3, 1, 1), np.random.default_rng(6))
    again, lists_again = draft(session, (2, 2), np.random.default_rng(5))
    assert again.tokens == tree.tokens
    for node, q in lists.items():
        assert_same_list(lists_again[node], q)


def test_each_level_is_one_pass_and_leaves_are_never_run(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    session = DraftRounds(model())
    session.set_prefix([1, 2, 3])
    passes = record(monkeypatch, "forward", len)
    tree, _ = draft(session, (2, 2, 2), rng)
    assert passes == [1, 2, 4]
    passes.clear()
    session.commit(tree.path(len(tree) - 1), 5)  # down to a leaf: leaf and correction are caught up together
    tree, _ = draft(session, (2,), rng)
    assert passes == [2]
    passes.clear()
    session.commit((), 6)
    draft(session, (1, 1), rng)
    assert passes == [1, 1]


def test_empty_expansion_and_bare_commits() -> None:
    rng = np.random.default_rng(8)
    shared = model()
    session = DraftRounds(shared)
    session.set_prefix([1, 2, 3])
    tree, lists = session.draft((), rng=rng)
    assert len(tree) == 0
    assert lists == {}
    session.commit((), 4)
    session.commit((), 5)
    _, lists = draft(session, (1,), rng)
    assert_same_list(lists[-1], expected_list(shared, [1, 2, 3, 4, 5]))


def test_set_prefix_reads_only_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(9)
    shared = model()
    session = DraftRounds(shared)
    reads = record(monkeypatch, "prefill", list)
    for tokens, new in (
        ([1, 2, 3, 4, 5], [1, 2, 3, 4]),
        ([1, 2, 3, 4, 5], []),
        ([1, 2, 3], []),
        ([1, 2, 9, 9], [9]),
        ([6], []),
    ):
        reads.clear()
        session.set_prefix(tokens)
        assert [token for read in reads for token in read] == new
        tree, lists = draft(session, (2, 2), rng)
        for node, q in lists.items():
            path = [tree.tokens[i] for i in tree.path(node)] if node >= 0 else []
            assert_same_list(q, expected_list(shared, tokens + path))


def test_an_interrupted_draft_leaves_the_session_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(10)
    shared = model()
    session = DraftRounds(shared)
    session.set_prefix([1, 2, 3])
    tree, _ = draft(session, (2, 2), rng)
    session.commit(tree.path(5), 7)
    left = [2]

    def fail(*_: object) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise MemoryError

    handle = shared._module.get_submodule("model.layers.1").register_forward_pre_hook(fail)
    with pytest.raises(MemoryError):
        draft(session, (2, 2, 2), rng)
    handle.remove()
    _, lists = draft(session, (2, 2), rng)
    assert_same_list(lists[-1], expected_list(shared, list(session.prefix)))


def test_limits_and_misuse() -> None:
    rng = np.random.default_rng(11)
    session = DraftRounds(model(context=16))
    with pytest.raises(ValueError, match="no prefix"):
        draft(session, (1,), rng)
    session.set_prefix(list(range(13)))
    for expansion in ((0,), (2, 0), (1, -1)):
        with pytest.raises(ValueError, match="at least 1"):
            draft(session, expansion, rng)
    with pytest.raises(ContextFull, match=r"17.*16"):
        draft(session, (1,) * 4, rng)
    tree, _ = draft(session, (1, 2, 1), rng)
    with pytest.raises(ValueError, match="path"):
        session.commit((1,), 3)
    with pytest.raises(ValueError, match="vocabulary"):
        session.commit((0,), VOCAB)
    session.commit(tree.path(4), 3)
    assert len(session.prefix) == 17
    assert session.room == -1


def test_a_drafted_child_that_is_committed_keeps_its_subtree(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = model()
    text: Any = text_with_a_tree(shared)
    passes = record(monkeypatch, "forward", len)
    text.commit((0,), 8)  # node 3 and what hangs off it stay: node 5 is node 0 now
    assert text.prefix == (1, 2, 3, 9, 8)
    (after_child,) = text.expand([Node(0, 11)])
    (after_prefix,) = text.expand([Node(-1, 12)])
    assert passes == [1, 1]
    for logits, tokens in ((after_child, [1, 2, 3, 9, 8, 6, 11]), (after_prefix, [1, 2, 3, 9, 8, 12])):
        assert_same_list(tw.sparsify(logits, truncation=tw.TopK(12), precision="f32"), expected_list(shared, tokens))
    text.commit((0, 1), 3)
    (row,) = text.expand(())
    expected = expected_list(shared, [1, 2, 3, 9, 8, 6, 11, 3])
    assert_same_list(tw.sparsify(row, truncation=tw.TopK(12), precision="f32"), expected)


def test_nodes_that_hang_nowhere_are_refused() -> None:
    text = model().open()
    with pytest.raises(ValueError, match="set_prefix"):
        text.expand(())
    text.set_prefix([1, 2, 3])
    with pytest.raises(ValueError, match="comes first"):
        text.expand([Node(-1, 4)])
    text.expand(())
    with pytest.raises(ValueError, match="parent 0"):
        text.expand([Node(0, 4)])
    with pytest.raises(ValueError, match="vocabulary"):
        text.expand([Node(-1, VOCAB)])
    text.close()
    with pytest.raises(ValueError, match="set_prefix"):
        text.expand(())
