"""Speculative greedy decoding, device and edge in one loop, against the target's own ``generate()``."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from engine_rounds import DraftRounds, TargetRounds
from tiny_llama import soften, tiny_draft, tiny_llama
from transformers import LlamaForCausalLM

import tslt_wire as tw
from tslt_runtime.engines.transformers.draft import DraftModel
from tslt_runtime.engines.transformers.target import TargetModel

PROMPTS, NEW_TOKENS = 10, 48


def greedy(
    target: TargetRounds, draft: DraftRounds, prompt: list[int], expansion: Sequence[int], rng: np.random.Generator
) -> tuple[list[int], int]:
    """Return ``NEW_TOKENS`` new tokens and the number of rounds they took."""
    target.set_prefix(prompt)
    draft.set_prefix(prompt)
    rounds = 0
    while len(target.prefix) < len(prompt) + NEW_TOKENS:
        tree, _ = draft.draft(
            expansion, temperature=0.7, truncation=tw.TopK(8), precision="log2/2", rng=rng, replacement=False
        )
        best = target.score(tree).argmax(-1)
        node, path = -1, []
        while True:
            wanted = int(best[1 + node])
            match = next((child for child in tree.children(node) if tree.tokens[child] == wanted), None)
            if match is None:
                break
            path.append(match)
            node = match
        for session in (target, draft):
            session.commit(path, wanted)
        assert target.prefix == draft.prefix
        rounds += 1
    return list(target.prefix[len(prompt) : len(prompt) + NEW_TOKENS]), rounds


def target_module(attention: str, kv_heads: int) -> LlamaForCausalLM:
    """Return a new copy of the target: equal arguments, equal weights (packing changes a module in place)."""
    return soften(tiny_llama(vocab_size=300, layers=3, kv_heads=kv_heads, attention=attention), layers=1, scale=0.1)


@functools.cache
def generated(attention: str, kv_heads: int) -> list[tuple[list[int], list[int]]]:
    """Return PROMPTS prompts and what the target's own ``generate()`` makes of each."""
    rng = np.random.default_rng(0)
    module = target_module(attention, kv_heads)
    texts = []
    for _ in range(PROMPTS):
        prompt = rng.integers(0, 300, int(rng.integers(1, 24))).tolist()
        ids = torch.tensor([prompt])
        output = module.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=NEW_TOKENS)
        texts.append((prompt, output[0, len(prompt) :].tolist()))
    return texts


@pytest.mark.parametrize(("attention", "kv_heads", "packed"), [("sdpa", 2, True), ("eager", 4, False)])
@pytest.mark.parametrize("expansion", [(1, 1, 1, 1), (2, 2, 2)], ids=["chain", "tree"])
def test_output_is_the_targets_own(attention: str, kv_heads: int, packed: bool, expansion: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    module = target_module(attention, kv_heads)
    draft_module = tiny_draft(module)
    target = TargetRounds(TargetModel(module, model_id="target", packed=packed))
    draft = DraftRounds(DraftModel(draft_module, model_id="draft", packed=packed))
    total = 0
    for prompt, wanted in generated(attention, kv_heads):
        tokens, rounds = greedy(target, draft, prompt, expansion, rng)
        assert tokens == wanted
        total += rounds
    # Otherwise no path worth keeping was ever accepted, and the test proves little.
    assert PROMPTS * NEW_TOKENS / total > 1.5
