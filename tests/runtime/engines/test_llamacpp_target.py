"""llama.cpp as target: rows against transformers over rounds of random trees, commits, limits, misuse."""

from __future__ import annotations

import numpy as np
import pytest
from default_pair import pair_folder
from engine_rounds import TargetRounds
from gguf_models import assert_same, needs_llamacpp, tiny_gguf

import tslt_wire as tw
from tslt_runtime.edge import edge_settings
from tslt_runtime.engines.llamacpp import lanes, tree_cache
from tslt_runtime.engines.llamacpp.context import decode
from tslt_runtime.engines.llamacpp.target import LlamaTarget
from tslt_runtime.engines.protocol import ContextFull, Work
from tslt_runtime.engines.transformers.target import TargetModel
from tslt_runtime.verifiers.protocol import VerifierFacts

pytestmark = needs_llamacpp
VOCAB = 300


def random_tree(rng: np.random.Generator, nodes: int, vocab: int) -> tw.TokenTree:
    """A tree of random shape, in a random topological order."""
    parents = [int(rng.integers(-1, node)) if node else -1 for node in range(nodes)]
    return tw.TokenTree(rng.integers(0, vocab, nodes).tolist(), parents)


def random_path(rng: np.random.Generator, tree: tw.TokenTree) -> tuple[int, ...]:
    return tree.path(int(rng.integers(0, len(tree)))) if len(tree) and rng.random() < 0.8 else ()


def rounds_of_both(ours: TargetRounds, theirs: TargetRounds, vocab: int, count: int, limit: int) -> None:
    """Random trees and accepted paths over ``count`` rounds; starts over where the context is nearly full."""
    rng = np.random.default_rng(1)
    tokens: list[int] = []
    leaves = 0
    for _ in range(count):
        if not tokens or len(tokens) > limit - 24:
            tokens = rng.integers(0, vocab, int(rng.integers(1, 20))).tolist()
            for text in (ours, theirs):
                text.set_prefix(tokens)
        chain = rng.random() < 0.3
        nodes = int(rng.integers(0, 20))
        tree = tw.TokenTree.chain([*range(nodes)]) if chain else random_tree(rng, nodes, vocab)
        leaves = max(leaves, len(tree) - len({*tree.parents} - {-1}))
        assert_same(ours.score(tree), theirs.score(tree))
        path, token = random_path(rng, tree), int(rng.integers(0, vocab))
        for text in (ours, theirs):
            text.commit(path, token)
        tokens += [*(tree.tokens[node] for node in path), token]
        assert ours.prefix == tuple(tokens)
    assert leaves > 6


def test_rows_of_random_trees_equal_transformers_on_the_pair(pair_file):
    ours = TargetRounds(LlamaTarget(pair_file, kv="float32"))
    theirs = TargetRounds(TargetModel.load(pair_folder("draft"), packed=False))
    rounds_of_both(ours, theirs, vocab=32_000, count=40, limit=1024)


def test_rows_of_random_trees_equal_transformers_with_grouped_keys(tiny):
    path, module = tiny
    ours = TargetRounds(LlamaTarget(path, kv="float32"))
    rounds_of_both(ours, TargetRounds(TargetModel(module, model_id="tiny")), vocab=VOCAB, count=200, limit=64)


def test_commits_leave_what_a_fresh_text_would_compute(tiny):
    rng = np.random.default_rng(2)
    shared = LlamaTarget(tiny[0], kv="float32")
    target = TargetRounds(shared)
    tokens = [1, 7, 7, 90]
    target.set_prefix(tokens)
    for _ in range(12):
        tree = random_tree(rng, int(rng.integers(0, 12)), VOCAB)
        fresh = TargetRounds(shared)
        fresh.set_prefix(tokens)
        assert_same(target.score(tree), fresh.score(tree))
        fresh.text.close()
        path, token = random_path(rng, tree)[:3], int(rng.integers(0, VOCAB))
        target.commit(path, token)
        tokens += [*(tree.tokens[node] for node in path), token]


def test_a_pass_reads_new_tokens_and_the_tree_and_nothing_else(tiny, monkeypatch):
    target = TargetRounds(LlamaTarget(tiny[0]))
    target.set_prefix([*range(20)])
    rows: list[int] = []
    for module in (lanes, tree_cache):
        monkeypatch.setattr(
            module,
            "decode",
            lambda model, handle, tokens, *rest: rows.append(len(tokens)) or decode(model, handle, tokens, *rest),
        )
    tree = tw.TokenTree([3, 4, 5, 6], [-1, -1, 0, 0])
    for path in ((0, 3), (1,), ()):
        target.score(tree)
        target.commit(path, 9)
    target.set_prefix([*target.prefix, 8, 8])
    target.score(tree)
    assert rows == [5, 5, 5, 2, 5]
    target.score(tree)  # again: the last token's row is made again
    assert rows[5:] == [5]


def test_texts_do_not_see_each_other(tiny):
    engine = LlamaTarget(tiny[0], kv="float32")
    tree = tw.TokenTree([4, 5, 6], [-1, 0, -1])
    alone = []
    for n in range(3):
        text = TargetRounds(engine)
        text.set_prefix([1, n, n + 1])
        alone.append(text.score(tree))
    texts = [engine.open() for _ in range(3)]
    together = engine.score([Work(text, (1, n, n + 1), tree) for n, text in enumerate(texts)])
    for got, expected in zip(together, alone, strict=True):
        assert np.array_equal(got, expected)


def test_chains_of_many_texts_are_one_call_and_equal_those_of_each_alone(tiny, monkeypatch):
    rng = np.random.default_rng(7)
    together, alone = LlamaTarget(tiny[0], kv="float32"), LlamaTarget(tiny[0], kv="float32")
    texts = [(together.open(), alone.open()) for _ in range(lanes.MOST_LANES + 3)]  # two contexts
    calls: list[int] = []
    for round_ in range(6):
        kinds = rng.integers(0, 3, len(texts)) if round_ else np.zeros(len(texts))
        work = []
        for (ours, theirs), kind in zip(texts, kinds, strict=True):
            tokens = rng.integers(0, VOCAB, int(rng.integers(1, 6))).tolist()
            tree = None if kind == 2 else tw.TokenTree.chain(rng.integers(0, VOCAB, int(rng.integers(0, 5))).tolist())
            work.append((Work(ours, tokens, tree), Work(theirs, tokens, tree)))
        expected = [alone.score([theirs])[0] for _, theirs in work]
        with monkeypatch.context() as patch:
            patch.setattr(lanes, "decode", lambda *rest: calls.append(1) or decode(*rest))
            found = together.score([ours for ours, _ in work])
        for (ours, theirs), got, want in zip(work, found, expected, strict=True):
            assert (got is None) == (want is None) == (ours.tree is None)
            path = range(int(rng.integers(0, len(ours.tree) + 1))) if ours.tree is not None else ()
            if got is not None:
                assert_same(got, want)
            for item in (ours, theirs):
                item.text.commit(path)
            assert ours.text.length == theirs.text.length
        closed, _ = texts[round_]
        closed.close()  # its lane goes to the next one
        texts[round_] = (together.open(), alone.open())
    assert len(calls) == 6 * 2


def test_lanes_take_no_more_memory_than_there_is(tiny):
    one = LlamaTarget(tiny[0]).facts.cache_bytes(1)
    for given, count in ((None, lanes.MOST_LANES), (3 * one, 3), (one // 2, 1)):
        assert LlamaTarget(tiny[0], cache_bytes=given).free_lanes().count == count


def test_what_facts_say_of_memory_is_what_a_cache_takes(tiny):
    for kv, width in (("float32", 4), ("float16", 2)):
        facts = LlamaTarget(tiny[0], kv=kv).facts
        assert facts.token_bytes == 3 * 2 * 2 * 8 * width  # layers, keys and values, heads, head size
        assert facts.cache_bytes(1) == facts.cache_bytes(64) == 64 * facts.token_bytes


def test_a_text_moves_from_its_lane_to_a_context_of_its_own_and_can_be_copied_back(tiny):
    engine = LlamaTarget(tiny[0], kv="float32")
    text, copy, fresh = engine.open(), engine.open(), engine.open()
    other = engine.open()
    engine.score([Work(other, (9, 9), None), Work(text, (1, 2, 3, 4, 5), None)])  # the second lane
    copy.share(text, 3)
    tree = tw.TokenTree([4, 5, 6], [-1, 0, -1])
    (rows,) = engine.score([Work(text, (6,), tree)])
    (again,) = engine.score([Work(fresh, (1, 2, 3, 4, 5, 6), tree)])
    assert_same(rows, again)
    text.commit((0, 1))
    back = engine.open()
    back.share(text, 8)
    (after,) = engine.score([Work(back, (7,), tw.TokenTree.chain([3]))])
    assert_same(after, engine.score([Work(text, (7,), tw.TokenTree.chain([3]))])[0])
    (shared,) = engine.score([Work(copy, (4,), tw.TokenTree([], []))])
    engine.score([Work(fresh, (), None)])
    fresh.truncate(0)
    assert_same(shared, engine.score([Work(fresh, (1, 2, 3, 4), tw.TokenTree([], []))])[0])
    assert (text.length, back.length, copy.length) == (9, 9, 4)


def test_long_prompts_are_read_in_pieces(pair_file):
    rng = np.random.default_rng(5)
    prompt = rng.integers(0, 32_000, 900).tolist()
    tree = tw.TokenTree([3, 4], [-1, -1])
    text = LlamaTarget(pair_file, kv="float32").open()
    engine = text._model
    (rows,) = engine.score([Work(text, prompt, tree)])  # more than one call can take
    (none,) = engine.score([Work(text, [5] * 100, None)])
    theirs = TargetRounds(TargetModel.load(pair_folder("draft"), packed=False))
    theirs.set_prefix(prompt)
    assert_same(rows, theirs.score(tree))
    assert none is None
    assert text.length == 1000


def test_context_limit(tmp_path):
    path, _ = tiny_gguf(tmp_path, context=16)
    engine = LlamaTarget(path)
    assert engine.facts.context == 16
    target = TargetRounds(engine)
    with pytest.raises(ContextFull, match=r"17.*16"):
        target.set_prefix(list(range(17)))
    target.set_prefix(list(range(13)))
    wide = tw.TokenTree([1] * 60, [-1] * 60)
    assert target.score(wide).shape == (61, VOCAB)  # rows are not positions
    target.score(tw.TokenTree.chain([1, 2, 3]))
    with pytest.raises(ContextFull):
        target.score(tw.TokenTree.chain([1, 2, 3, 4]))
    target.score(tw.TokenTree.chain([1, 2, 3]))
    target.commit((0, 1), 5)
    assert target.score(tw.TokenTree([], [])).shape == (1, VOCAB)


@pytest.mark.parametrize(
    ("leaves", "tree"),
    [(3, tw.TokenTree([4] * 4, [-1] * 4)), (64, tw.TokenTree([4] * 520, [-1, *range(519)]))],
    ids=["leaves", "nodes"],
)
def test_too_many_leaves_or_nodes_are_an_error_before_anything_is_computed(leaves, tree, pair_file, monkeypatch):
    engine = LlamaTarget(pair_file, leaves=leaves)
    assert (engine.facts.most_leaves, engine.facts.most_nodes) == (leaves, 511)
    text = engine.open()
    engine.score([Work(text, (1, 2), tw.TokenTree([4, 5, 6, 7], [-1, -1, -1, 0]))])
    with monkeypatch.context() as patch:
        patch.setattr(text._cache, "_decode", lambda *_: pytest.fail("it was computed"))
        with pytest.raises(ValueError, match=f"at most 511 nodes and {leaves} leaves"):
            engine.score([Work(text, (3,), tree)])
    assert text.length == 2
    (rows,) = engine.score([Work(text, (3,), tw.TokenTree.chain([1] * 30))])
    assert rows.shape == (31, 32_000)


def test_an_edge_offers_no_more_leaves_than_the_engine_has(tiny):
    facts = LlamaTarget(tiny[0], leaves=3).facts
    limits = edge_settings(VerifierFacts(engine=facts), bytes(32)).limits
    assert (limits.max_nodes, limits.max_leaves) == (511, 3)


def test_misuse_is_refused_and_changes_nothing(tiny):
    engine = LlamaTarget(tiny[0])
    target, tree = TargetRounds(engine), tw.TokenTree([4, 5, 6], [-1, 0, -1])
    target.set_prefix([1, 2])
    first = target.score(tree)
    with pytest.raises(ValueError, match="vocabulary"):
        target.score(tw.TokenTree([VOCAB], [-1]))
    target.commit((0, 1), 9)
    target.set_prefix([1, 2])
    assert_same(target.score(tree), first)
    text = engine.open()
    with pytest.raises(ValueError, match="path"):
        text.commit((0,))  # nothing scored
    with pytest.raises(ValueError, match="a token"):
        engine.score([Work(text, (), tw.TokenTree([], []))])
    engine.score([Work(text, (1, 2), tree)])
    for path in [(1,), (0, 2), (2, 1), (3,), (-1,), (0, 0)]:
        with pytest.raises(ValueError, match="path"):
            text.commit(path)
    with pytest.raises(ValueError, match="length"):
        text.truncate(3)
    text.commit((0, 1))
    assert text.length == 4
    text.close()
    assert text.length == 0


def test_a_pass_that_fails_leaves_the_text_usable(tiny, monkeypatch):
    engine = LlamaTarget(tiny[0], kv="float32")
    target, tree = TargetRounds(engine), tw.TokenTree([4, 5, 6], [-1, 0, -1])
    target.set_prefix([1, 2, 3])
    first = target.score(tree)
    cache = target.text._text._cache
    decode = cache._decode

    def fail(*args):
        decode(*args)
        raise MemoryError

    monkeypatch.setattr(cache, "_decode", fail)
    with pytest.raises(MemoryError):
        target.score(tree)
    monkeypatch.undo()
    assert_same(target.score(tree), first)
    monkeypatch.setattr(TargetRounds, "chunk", 8)
    target.set_prefix([*range(40)])
    fresh = TargetRounds(engine)
    fresh.set_prefix([*range(40)])
    assert_same(target.score(tree), fresh.score(tree))
