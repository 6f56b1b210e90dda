"""Several texts in one pass against each alone: logits, caches afterwards, copies of caches, and whole texts."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
import torch
from loop_harness import edge_on, generate, greedy_reference, tiny_pair
from tiny_llama import tiny_llama

import tslt_wire as tw
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.engines.protocol import ContextFull, Work
from tslt_runtime.engines.transformers.target import TargetModel
from tslt_runtime.limits import EdgeLimits

VOCAB = 128
TOLERANCE = 1e-4  # logits are around 5


def model(attention: str = "sdpa", kv_heads: int = 4, *, packed: bool = False, context: int = 512) -> TargetModel:
    module = tiny_llama(vocab_size=VOCAB, kv_heads=kv_heads, attention=attention, context=context)
    return TargetModel(module, model_id="tiny", packed=packed)


def some_work(rng: np.random.Generator, text: Any) -> Work:
    """A prompt's chunk, a chain, a tree or a single row."""
    tokens = rng.integers(0, VOCAB, int(rng.choice([1, 2, 30]))).tolist()
    nodes = int(rng.integers(0, 9))
    parents = [int(rng.integers(-1, node)) if node else -1 for node in range(nodes)]
    tree = tw.TokenTree(rng.integers(0, VOCAB, nodes).tolist(), parents)
    return Work(text, tokens, None if rng.random() < 0.2 else tree)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kv_heads", [4, 2])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_pass_over_many_texts_gives_each_its_own_logits(attention: str, kv_heads: int, packed: bool) -> None:
    rng, engine = np.random.default_rng(1), model(attention, kv_heads, packed=packed)
    together, alone = [engine.open() for _ in range(7)], [engine.open() for _ in range(7)]
    passes = []
    body = engine._body.layers[0].register_forward_pre_hook(lambda *_: passes.append(1))
    worst = 0.0
    for _ in range(12):
        work = [some_work(rng, text) for text in together]
        expected = [
            engine.score([Work(text, item.tokens, item.tree)])[0] for text, item in zip(alone, work, strict=True)
        ]
        passes.clear()
        found = engine.score(work)
        assert len(passes) == 1
        for item, other, got, want in zip(work, alone, found, expected, strict=True):
            assert (got is None) == (want is None) == (item.tree is None)
            path: tuple[int, ...] = ()
            if got is not None and want is not None and item.tree is not None:
                worst = max(worst, float((got - want).abs().max()))
                assert torch.equal(got.argmax(-1), want.argmax(-1))
                path = item.tree.path(int(rng.integers(0, len(item.tree)))) if len(item.tree) else ()
            item.text.commit(path)
            other.commit(path)
            assert item.text.length == other.length
    body.remove()
    assert worst < TOLERANCE


def test_a_model_whose_layers_take_no_attention_function_has_a_pass_a_text() -> None:
    rng, engine, plain = np.random.default_rng(1), model(), model()
    plain._ragged = False
    work = [some_work(rng, engine.open()) for _ in range(5)]
    same = [Work(plain.open(), item.tokens, item.tree) for item in work]
    for got, want in zip(engine.score(work), plain.score(same), strict=True):
        assert (got is None) == (want is None)
        assert got is None or want is None or float((got - want).abs().max()) < TOLERANCE


def test_work_that_cannot_be_done_is_refused_before_anything_is_computed() -> None:
    engine = model(context=16)
    good, bad = engine.open(), engine.open()
    for wrong, error in (([VOCAB], ValueError), ([1] * 17, ContextFull), ([], ValueError)):
        with pytest.raises(error):
            engine.score([Work(good, [1, 2], tw.TokenTree([], [])), Work(bad, wrong, tw.TokenTree([], []))])
        assert (good.length, bad.length) == (0, 0)
    assert engine.score([Work(good, [], None), Work(bad, [1], None)]) == [None, None]
    assert (good.length, bad.length) == (0, 1)


def test_a_copied_beginning_is_that_of_the_text_and_stays_so() -> None:
    engine, rng = model(), np.random.default_rng(2)
    tokens = rng.integers(0, VOCAB, 300).tolist()
    first, second, fresh = (engine.open() for _ in range(3))
    tree = tw.TokenTree([4, 5, 6], [-1, 0, -1])
    engine.score([Work(first, tokens, tree)])
    second.share(first, 280)  # more than a block of the cache
    first.truncate(0)
    engine.score([Work(first, tokens[::-1], None)])
    (got,) = engine.score([Work(second, [7, 8], tree)])
    (want,) = engine.score([Work(fresh, [*tokens[:280], 7, 8], tree)])
    assert got is not None
    assert want is not None
    assert float((got - want).abs().max()) < TOLERANCE
    with pytest.raises(ValueError, match="rows"):
        second.share(first, 301)
    with pytest.raises(ValueError, match="rows"):
        second.share(first, 10)


def test_what_facts_say_of_memory_is_what_a_cache_takes() -> None:
    for heads in (4, 2):
        engine = model(kv_heads=heads)
        text = engine.open()
        for tokens in (1, 100, 155, 1, 100):
            engine.score([Work(text, [1] * tokens, tw.TokenTree([], []))])
            assert text.cache_bytes == engine.facts.cache_bytes(text.length)


def margin(module: Any, text: list[int], other: list[int]) -> float:
    """By how much the target prefers its own next token where two texts part; 0 if they do not."""
    at = next((i for i, (a, b) in enumerate(zip(text, other, strict=True)) if a != b), None)
    if at is None:
        return 0.0
    with torch.no_grad():
        best = module(torch.tensor([text[:at]])).logits[0, -1].topk(2).values
    return float(best[0] - best[1])


@pytest.mark.parametrize("expansion", [(1, 1, 1, 1), (2, 2, 2)])
def test_greedy_texts_of_devices_that_share_passes_are_the_targets_own(expansion: Any, tmp_path: Any) -> None:
    target, draft = tiny_pair()
    rng = np.random.default_rng(3)
    prompts = [rng.integers(2, 64, int(rng.integers(1, 40))).tolist() for _ in range(8)]
    settings = DraftSettings(expansion=expansion, truncation=tw.TopK(8))

    async def run() -> Any:
        limits = EdgeLimits(chunk=16, cache_bytes=5 * target.facts.cache_bytes(1))  # not enough for all of them
        async with edge_on("inprocess", target, tmp_path, limits=limits) as dial:
            sampling = tw.Sampling(temperature=0.0)
            jobs = [
                generate(await dial(), draft, prompt, 48, settings=settings, sampling=sampling) for prompt in prompts
            ]
            return await asyncio.gather(*jobs)

    for prompt, (tokens, _) in zip(prompts, asyncio.run(run()), strict=True):
        own = greedy_reference(target._module, prompt, 48)
        assert margin(target._module, [*prompt, *own], [*prompt, *tokens]) < 1e-4
