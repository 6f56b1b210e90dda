"""llama.cpp as draft: lists against transformers over rounds of trees, commits that keep subtrees, prefixes, misuse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from default_pair import pair_folder
from engine_rounds import DraftRounds, text_with_a_tree
from gguf_models import assert_same, needs_llamacpp, tiny_gguf

import tslt_wire as tw
from tslt_runtime.engines.llamacpp.draft import LlamaDraft
from tslt_runtime.engines.protocol import ContextFull, Node
from tslt_runtime.engines.transformers.draft import DraftModel

pytestmark = needs_llamacpp
VOCAB = 300


def draft(text: DraftRounds, expansion: Sequence[int], rng: np.random.Generator, **options: Any) -> Any:
    settings = {"truncation": tw.TopK(12), "precision": "f32", **options}
    return text.draft(expansion, rng=rng, **settings)


def record(monkeypatch: pytest.MonkeyPatch, text: Any) -> list[int]:
    """Rows of every call of llama_decode for ``text`` from here on."""
    cache, rows = text._cache, []
    decode = cache._decode
    monkeypatch.setattr(cache, "_decode", lambda tokens, *rest: rows.append(len(tokens)) or decode(tokens, *rest))
    return rows


@pytest.mark.parametrize("model", ["pair", "tiny"])
def test_rows_equal_transformers_over_rounds_of_random_trees(model, pair_file, tiny):
    """Nodes in random order at random parents, several a call; then a random path, and often a drafted child."""
    rng = np.random.default_rng(1)
    ours: Any = LlamaDraft(pair_file if model == "pair" else tiny[0], kv="float32").open()
    source = (
        DraftModel.load(pair_folder("draft"), packed=False) if model == "pair" else DraftModel(tiny[1], model_id="tiny")
    )
    theirs: Any = source.open()
    rounds = 30 if model == "pair" else 120
    subtrees = 0
    prefix: list[int] = []
    for _ in range(rounds):
        if not prefix or len(prefix) > 64 - 24:
            prefix = rng.integers(0, VOCAB, int(rng.integers(1, 20))).tolist()
            for text in (ours, theirs):
                text.set_prefix(prefix)
            nodes: list[Node] = []
            fresh = True
        # Half the drafts go on behind the subtree that a commit kept.
        if fresh or rng.random() < 0.5:
            assert_same(ours.expand(()), theirs.expand(()))
            nodes = []
        for _ in range(int(rng.integers(0, 4))):
            new = [
                Node(int(rng.integers(-1, len(nodes) + i)) if len(nodes) + i else -1, int(rng.integers(0, VOCAB)))
                for i in range(int(rng.integers(1, 6)))
            ]
            assert_same(ours.expand(new), theirs.expand(new))
            nodes += new
        tree = tw.TokenTree([node.token for node in nodes], [node.parent for node in nodes])
        path = tree.path(int(rng.integers(0, len(tree)))) if len(tree) and rng.random() < 0.6 else ()
        children = tree.children(path[-1] if path else -1)
        drafted = bool(children) and rng.random() < 0.7
        token = tree.tokens[children[int(rng.integers(0, len(children)))]] if drafted else int(rng.integers(0, VOCAB))
        for text in (ours, theirs):
            text.commit(path, token)
        assert ours.prefix == theirs.prefix
        prefix = list(ours.prefix)
        nodes = list(theirs._nodes)
        subtrees += bool(nodes)
        # The child's row is not kept by anyone: where nothing was drafted as the last token, a draft starts anew.
        fresh = theirs._cached < len(theirs._prefix)
        assert fresh == (ours._cache.length < len(prefix))
    assert subtrees > rounds / 10


def test_a_drafted_child_that_is_committed_keeps_its_subtree(tiny, monkeypatch):
    shared = LlamaDraft(tiny[0], kv="float32")
    text: Any = text_with_a_tree(shared)
    passes = record(monkeypatch, text)
    text.commit((0,), 8)  # node 3 and what hangs off it stay: node 5 is node 0 now
    assert text.prefix == (1, 2, 3, 9, 8)
    (after_child,) = text.expand([Node(0, 11)])
    (after_prefix,) = text.expand([Node(-1, 12)])
    assert passes == [1, 1]
    for got, tokens in ((after_child, [1, 2, 3, 9, 8, 6, 11]), (after_prefix, [1, 2, 3, 9, 8, 12])):
        fresh = shared.open()
        fresh.set_prefix(tokens)
        assert_same(got, fresh.expand(())[0])
    text.commit((0, 1), 3)
    fresh = shared.open()
    fresh.set_prefix([1, 2, 3, 9, 8, 6, 11, 3])
    assert_same(text.expand(()), fresh.expand(()))


def test_each_level_is_one_pass_and_leaves_are_never_run(tiny, monkeypatch):
    rng = np.random.default_rng(7)
    session = DraftRounds(LlamaDraft(tiny[0]))
    session.set_prefix([1, 2, 3])
    passes = record(monkeypatch, session.text)
    tree, _ = draft(session, (2, 2, 2), rng)
    assert passes == [1, 2, 4]
    passes.clear()
    session.commit(tree.path(len(tree) - 1), 5)  # down to a leaf: leaf and correction are caught up together
    draft(session, (2,), rng)
    assert passes == [2]
    passes.clear()
    session.commit((), 6)
    draft(session, (1, 1), rng)
    assert passes == [1, 1]


def test_set_prefix_reads_only_what_is_new(tiny, monkeypatch):
    rng = np.random.default_rng(9)
    shared = LlamaDraft(tiny[0], kv="float32")
    session = DraftRounds(shared)
    session.set_prefix([0])
    passes = record(monkeypatch, session.text)
    for tokens, new in (
        ([1, 2, 3, 4, 5], [4]),
        ([1, 2, 3, 4, 5], []),
        ([1, 2, 3], []),
        ([1, 2, 9, 9], [1]),
        ([6], []),
    ):
        passes.clear()
        session.set_prefix(tokens)
        assert passes == new
        draft(session, (2, 2), rng)
        fresh = shared.open()
        fresh.set_prefix(tokens)
        assert_same(session.text.expand(()), fresh.expand(()))


def test_a_pass_that_fails_leaves_the_text_usable(tiny, monkeypatch):
    rng = np.random.default_rng(10)
    shared = LlamaDraft(tiny[0], kv="float32")
    session = DraftRounds(shared)
    session.set_prefix([1, 2, 3])
    tree, _ = draft(session, (2, 2), rng)
    session.commit(tree.path(5), 7)
    cache, left = session.text._cache, [2]
    decode = cache._decode

    def fail(*args):
        left[0] -= 1
        rows = decode(*args)
        if left[0] < 0:
            raise MemoryError
        return rows

    monkeypatch.setattr(cache, "_decode", fail)
    with pytest.raises(MemoryError):
        draft(session, (2, 2, 2), rng)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="no path"):
        session.text.commit((0,), 1)  # a failed pass leaves no nodes
    draft(session, (2, 2), rng)
    fresh = shared.open()
    fresh.set_prefix(session.prefix)
    assert_same(session.text.expand(()), fresh.expand(()))


def test_limits_and_misuse(tmp_path):
    path, _ = tiny_gguf(tmp_path, context=16)
    rng = np.random.default_rng(11)
    model = LlamaDraft(path, leaves=4)
    session = DraftRounds(model)
    with pytest.raises(ValueError, match="no prefix"):
        draft(session, (1,), rng)
    session.set_prefix(list(range(13)))
    with pytest.raises(ContextFull, match=r"17.*16"):
        draft(session, (1,) * 4, rng)
    draft(session, (5,), rng)  # leaves that are not run take no sequence
    with pytest.raises(ValueError, match="at most 511 nodes and 4 leaves"):
        draft(session, (5, 1), rng)
    tree, _ = draft(session, (1, 2, 1), rng)
    with pytest.raises(ValueError, match="path"):
        session.commit((1,), 3)
    with pytest.raises(ValueError, match="vocabulary"):
        session.commit((0,), VOCAB)
    session.commit(tree.path(4), 3)
    assert len(session.prefix) == 17
    assert session.room == -1
    with pytest.raises(ContextFull):
        session.text.expand(())
    session.text.close()
    assert session.prefix == ()


def test_nodes_that_hang_nowhere_are_refused(tiny):
    text = LlamaDraft(tiny[0]).open()
    with pytest.raises(ValueError, match="set_prefix"):
        text.expand(())
    text.set_prefix([1, 2, 3])
    with pytest.raises(ValueError, match="comes first"):
        text.expand([Node(-1, 4)])
    text.expand(())
    for parent in (0, -2):
        with pytest.raises(ValueError, match=f"parent {parent}"):
            text.expand([Node(parent, 4)])
    with pytest.raises(ValueError, match="vocabulary"):
        text.expand([Node(-1, VOCAB)])
    with pytest.raises(ValueError, match="at least one"):
        text.set_prefix([])
    text.close()
    with pytest.raises(ValueError, match="set_prefix"):
        text.expand(())
