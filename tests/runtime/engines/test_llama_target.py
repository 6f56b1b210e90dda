"""Tree logits against one token at a time; commits and prefixes against a fresh model on the same tokens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from engine_rounds import TargetRounds
from numpy.typing import NDArray
from tiny_llama import tiny_llama
from transformers import LlamaForCausalLM

import tslt_wire as tw
from tslt_runtime.engines.protocol import ContextFull, EngineError, Work
from tslt_runtime.engines.transformers.target import TargetModel

VOCAB = 128
TOLERANCE = 1e-4  # logits are around 5


def module(attention: str = "sdpa", kv_heads: int = 4, **options: Any) -> LlamaForCausalLM:
    return tiny_llama(vocab_size=VOCAB, kv_heads=kv_heads, attention=attention, **options)


def session(attention: str = "sdpa", kv_heads: int = 4, *, packed: bool = False) -> TargetRounds:
    return TargetRounds(TargetModel(module(attention, kv_heads), model_id="tiny", packed=packed))


def reference(model: LlamaForCausalLM, tokens: list[int]) -> NDArray[np.float32]:
    """Return the logits after ``tokens``, fed one at a time through a cache of transformers' own."""
    cache = None
    with torch.no_grad():
        for token in tokens:
            output = model(torch.tensor([[token]]), past_key_values=cache, use_cache=True)
            cache = output.past_key_values
    logits: NDArray[np.float32] = output.logits[0, -1].numpy()
    return logits


def random_tree(rng: np.random.Generator, nodes: int) -> tw.TokenTree:
    """Return a tree of random shape, in a random topological order."""
    parents = [int(rng.integers(-1, node)) if node else -1 for node in range(nodes)]
    return tw.TokenTree(rng.integers(0, VOCAB, nodes).tolist(), parents)


def random_path(rng: np.random.Generator, tree: tw.TokenTree) -> tuple[int, ...]:
    return tree.path(int(rng.integers(0, len(tree)))) if len(tree) and rng.random() < 0.8 else ()


def expanded(rng: np.random.Generator, expansion: tuple[int, ...]) -> tw.TokenTree:
    parents: list[int] = []
    level = [-1]
    for count in expansion:
        first = len(parents)
        parents += [parent for parent in level for _ in range(count)]
        level = list(range(first, len(parents)))
    return tw.TokenTree(rng.integers(0, VOCAB, len(parents)).tolist(), parents)


def record(monkeypatch: pytest.MonkeyPatch, method: str, note: Callable[[Sequence[int]], Any]) -> list[Any]:
    """Let ``note(tokens)`` of every call of a pass land in the list returned."""
    notes: list[Any] = []
    original = getattr(TargetModel, method)

    def noted(self: TargetModel, tokens: Sequence[int], *args: Any, **options: Any) -> Any:
        notes.append(note(tokens))
        return original(self, tokens, *args, **options)

    monkeypatch.setattr(TargetModel, method, noted)
    return notes


def trees(rng: np.random.Generator) -> list[tw.TokenTree]:
    shapes = [expanded(rng, (1,) * 6), expanded(rng, (2, 2, 2)), expanded(rng, (4,)), tw.TokenTree([], [])]
    return shapes + [random_tree(rng, nodes) for nodes in (1, 5, 12, 20)]


def assert_close(got: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    assert float(np.abs(got - expected).max()) < TOLERANCE
    assert int(got.argmax()) == int(expected.argmax())


@pytest.mark.parametrize("kv_heads", [4, 2])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_tree_logits_equal_one_token_at_a_time(attention: str, kv_heads: int) -> None:
    rng = np.random.default_rng(1)
    model = module(attention, kv_heads)
    target = TargetRounds(TargetModel(model, model_id="tiny"))
    for tree in trees(rng):
        prefix = rng.integers(0, VOCAB, int(rng.integers(1, 20))).tolist()
        target.set_prefix(prefix)
        logits = target.score(tree)
        assert logits.shape == (1 + len(tree), VOCAB)
        assert logits.dtype == np.float32
        for node in range(-1, len(tree)):
            path = [tree.tokens[i] for i in tree.path(node)] if node >= 0 else []
            assert_close(logits[1 + node], reference(model, prefix + path))


@pytest.mark.parametrize("kv_heads", [4, 2])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("packed", [False, True])
def test_commits_leave_what_a_fresh_session_would_compute(attention: str, kv_heads: int, packed: bool) -> None:
    rng = np.random.default_rng(2)
    shared = TargetModel(module(attention, kv_heads), model_id="tiny", packed=packed)
    target, fresh = TargetRounds(shared), TargetRounds(shared)
    tokens = [1, 7, 7, 90]
    target.set_prefix(tokens)
    for _ in range(30):
        tree = random_tree(rng, int(rng.integers(0, 12)))
        logits = target.score(tree)
        fresh = TargetRounds(shared)
        fresh.set_prefix(tokens)
        expected = fresh.score(tree)
        assert float(np.abs(logits - expected).max()) < TOLERANCE
        assert np.array_equal(logits.argmax(-1), expected.argmax(-1))
        path, token = random_path(rng, tree), int(rng.integers(0, VOCAB))
        target.commit(path, token)
        tokens += [*(tree.tokens[node] for node in path), token]
        assert target.prefix == tuple(tokens)
    assert len(target.prefix) == len(tokens)


def test_committing_computes_nothing_and_scoring_never_the_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    target = session()
    target.set_prefix(rng.integers(0, VOCAB, 50).tolist())
    passes = record(monkeypatch, "forward_texts", lambda texts: [len(text.tokens) for text in texts])
    for _ in range(10):
        tree = expanded(rng, (2, 2))
        target.score(tree)
        target.commit(random_path(rng, tree), 5)
    assert passes == [[7]] * 10


def test_scoring_twice_replaces_the_tree() -> None:
    rng = np.random.default_rng(4)
    target = session()
    target.set_prefix([1, 2, 3])
    tree = expanded(rng, (2, 2))
    first = target.score(tree)
    target.score(expanded(rng, (3, 1, 1)))
    assert np.array_equal(target.score(tree), first)


def test_plain_decoding_by_empty_trees_and_by_bare_commits() -> None:
    model = module()
    target = TargetRounds(TargetModel(model, model_id="tiny"))
    tokens = [1, 2, 3]
    target.set_prefix(tokens)
    for _ in range(5):
        logits = target.score(tw.TokenTree([], []))
        assert_close(logits[0], reference(model, tokens))
        tokens.append(int(logits[0].argmax()))
        target.commit((), tokens[-1])
    for token in (9, 8, 7):  # tokens from elsewhere, without a pass
        target.commit((), token)
        tokens.append(token)
    tree = tw.TokenTree([4, 5, 6], [-1, 0, -1])
    logits = target.score(tree)
    assert_close(logits[0], reference(model, tokens))
    assert_close(logits[2], reference(model, [*tokens, 4, 5]))
    target.commit((0, 1), 3)
    assert_close(target.score(tree)[0], reference(model, [*tokens, 4, 5, 3]))


def test_set_prefix_reads_only_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    model = module()
    target = TargetRounds(TargetModel(model, model_id="tiny"))
    reads = record(
        monkeypatch, "forward_texts", lambda texts: [t for text in texts if not text.keep for t in text.tokens]
    )
    tree = tw.TokenTree([4, 5], [-1, 0])

    def check(tokens: list[int], new: list[int]) -> None:
        reads.clear()
        target.set_prefix(tokens)
        assert [token for read in reads for token in read] == new
        logits = target.score(tree)
        assert_close(logits[0], reference(model, tokens))
        assert_close(logits[2], reference(model, [*tokens, 4, 5]))

    check([1, 2, 3, 4, 5], [1, 2, 3, 4])
    check([1, 2, 3, 4, 5], [])  # identical
    check([1, 2, 3], [])  # shorter
    check([1, 2, 9, 9], [9])  # shares two
    check([1, 2, 9, 9, 8, 7], [8])  # longer: the row of the root is kept
    check([6], [])
    check([3, 1, 2], [3, 1])
    target.commit((0,), 11)
    check([3, 1, 2, 4, 11, 12], [11])  # resynchronised onto what the commit had


def test_long_prompts_are_read_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TargetRounds, "chunk", 16)
    rng = np.random.default_rng(5)
    for attention in ("sdpa", "eager"):
        model = module(attention)
        target = TargetRounds(TargetModel(model, model_id="tiny"))
        prompt = rng.integers(0, VOCAB, 77).tolist()
        target.set_prefix(prompt)
        assert_close(target.score(tw.TokenTree([3], [-1]))[1], reference(model, [*prompt, 3]))
        for token in range(40):
            target.commit((), token)
        assert_close(target.score(tw.TokenTree([], []))[0], reference(model, prompt + list(range(40))))


def test_an_interrupted_pass_leaves_the_session_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TargetRounds, "chunk", 8)
    model = module()
    target = TargetRounds(TargetModel(model, model_id="tiny"))
    tokens = list(range(1, 31))
    tree = tw.TokenTree([4, 5, 6], [-1, 0, -1])
    last = model.model.layers[-1]

    def read_and_score() -> None:
        target.set_prefix(tokens)
        target.score(tree)

    # How many passes succeed before one fails in the last layer, when the first layer has its rows already.
    for passes_before in range(5):
        target.set_prefix([0])
        left = [passes_before]

        def fail(*_: object, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise MemoryError

        handle = last.register_forward_pre_hook(fail)
        with pytest.raises(MemoryError):
            read_and_score()
        handle.remove()
        assert_close(target.score(tree)[2], reference(model, [*tokens, 4, 5]))


def test_context_limit() -> None:
    target = TargetRounds(TargetModel(module(context=16), model_id="tiny"))
    with pytest.raises(ContextFull, match=r"17.*16") as caught:
        target.set_prefix(list(range(17)))
    assert (caught.value.needed, caught.value.limit) == (17, 16)
    target.set_prefix(list(range(13)))
    wide = tw.TokenTree([1] * 9, [-1] * 9)
    assert target.score(wide).shape == (10, VOCAB)  # rows are not positions
    target.score(tw.TokenTree.chain([1, 2, 3]))
    with pytest.raises(ContextFull):
        target.score(tw.TokenTree.chain([1, 2, 3, 4]))
    with pytest.raises(ContextFull):
        target.commit((0, 1, 2), 5)  # nothing can follow it
    target.commit((0, 1), 5)
    assert target.score(tw.TokenTree([], [])).shape == (1, VOCAB)


def test_misuse_is_refused_and_changes_nothing() -> None:
    target = session()
    tree = tw.TokenTree([4, 5, 6], [-1, 0, -1])
    with pytest.raises(ValueError, match="no prefix"):
        target.score(tree)
    with pytest.raises(ValueError, match="at least one"):
        target.set_prefix([])
    for token in (-1, VOCAB):
        with pytest.raises(ValueError, match="vocabulary"):
            target.set_prefix([1, token])
    target.set_prefix([1, 2])
    first = target.score(tree)
    with pytest.raises(ValueError, match="vocabulary"):
        target.score(tw.TokenTree([VOCAB], [-1]))
    target.commit((0, 1), 9)
    assert target.prefix == (1, 2, 4, 5, 9)
    target.set_prefix([1, 2])
    assert float(np.abs(target.score(tree) - first).max()) < TOLERANCE


def test_the_cache_takes_no_path_that_is_none() -> None:
    engine = TargetModel(module(), model_id="tiny")
    text = engine.open()
    with pytest.raises(ValueError, match="path"):
        text.commit((0,))  # nothing scored
    with pytest.raises(ValueError, match="a token"):
        engine.score([Work(text, (), tw.TokenTree([], []))])
    engine.score([Work(text, (1, 2), tw.TokenTree([4, 5, 6], [-1, 0, -1]))])
    for path in [(1,), (0, 2), (2, 1), (3,), (-1,), (0, 0)]:
        with pytest.raises(ValueError, match="path"):
            text.commit(path)
    text.commit((0, 1))
    assert text.length == 4
    assert text.cache_bytes > 0
    text.close()
    assert (text.length, text.cache_bytes) == (0, 0)


def test_sessions_share_a_model_between_threads() -> None:
    shared = TargetModel(module(), model_id="tiny")
    prompts = [[1, n, n + 1] for n in range(4)]
    tree = tw.TokenTree([4, 5, 6], [-1, 0, -1])
    results: dict[int, list[NDArray[np.float32]]] = {}

    def run(index: int) -> list[NDArray[np.float32]]:
        mine = TargetRounds(shared)
        mine.set_prefix(prompts[index])
        rounds = []
        for _ in range(8):
            rounds.append(mine.score(tree))
            mine.commit((0, 1), index)
        return rounds

    threads = [threading.Thread(target=lambda i=i: results.__setitem__(i, run(i))) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index in range(4):
        for got, alone in zip(results[index], run(index), strict=True):
            assert np.array_equal(got, alone)


def test_load_from_a_directory(tmp_path: object) -> None:
    folder = f"{tmp_path}/my-tiny"
    original = tiny_llama(vocab_size=VOCAB, tied=True, eos_token_id=[5, 2])
    original.save_pretrained(folder)
    tokens, tree = [1, 2, 3], tw.TokenTree([4], [-1])
    for packed in (True, False):
        for attention in ("sdpa", "eager"):
            model = TargetModel.load(folder, packed=packed, attention=attention, local_files_only=True)
            assert (model.vocab_size, model.model_id, model.eos_token_ids) == (VOCAB, "my-tiny", (2, 5))
            assert model.context_limit == 512
            target = TargetRounds(model)
            target.set_prefix(tokens)
            assert_close(target.score(tree)[1], reference(original, [1, 2, 3, 4]))
    half = TargetModel.load(folder, dtype="bfloat16", model_id="other", local_files_only=True)
    target = TargetRounds(half)
    target.set_prefix(tokens)
    assert half.model_id == "other"
    assert target.score(tree).dtype == np.float32
    with pytest.raises(ValueError, match="dtype"):
        TargetModel.load(folder, dtype="int3")
    with pytest.raises(ValueError, match="attention"):
        TargetModel.load(folder, attention="flash_attention_2")


@pytest.mark.parametrize(("eos", "expected"), [(None, ()), (7, (7,)), ([9, 3, 9], (3, 9))])
def test_eos_ids_come_in_three_forms(eos: int | list[int] | None, expected: tuple[int, ...]) -> None:
    assert TargetModel(tiny_llama(eos_token_id=eos), model_id="tiny").eos_token_ids == expected


def test_models_that_would_be_served_wrongly_are_refused() -> None:
    sliding = module()
    sliding.config.layer_types = ["full_attention", "sliding_attention", "full_attention"]
    rope = module()
    rope.config.rope_parameters = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    flash = module()
    flash.config._attn_implementation = "flex_attention"
    for broken, match in ((sliding, "sliding_attention"), (rope, "dynamic"), (flash, "flex_attention")):
        with pytest.raises(EngineError, match=match):
            TargetModel(broken, model_id="tiny")
