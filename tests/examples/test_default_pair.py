"""The pair that ships: it loads, fits its size, and through real sessions gives exactly the target's greedy text."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest
import torch
from default_pair import pair_folder
from loop_harness import edge_on, generate, greedy_reference
from transformers import AutoTokenizer

import tslt_wire as tw
from examples import PAIR
from tslt_runtime.device import DraftSettings
from tslt_runtime.engines.transformers.draft import DraftModel
from tslt_runtime.engines.transformers.target import TargetModel
from tslt_runtime.fingerprint import vocabulary_of

DATA = Path(__file__).parents[2] / "benchmarks" / "tslt_benchmarks" / "data"
TOKENS = 32
TEXTS = 20 if "TSLT_LAW_DRAWS" in os.environ else 8
"""`make laws` writes more."""
PROMPTS = (DATA / "prompts.txt").read_text(encoding="utf-8").split("\n")


@pytest.fixture(scope="module")
def pair():
    torch.set_num_threads(1)
    return TargetModel.load(pair_folder("target")), DraftModel.load(pair_folder("draft"))


@pytest.fixture(scope="module")
def prompts():
    tokenizer = AutoTokenizer.from_pretrained(pair_folder("target"))
    texts = [line for line in PROMPTS if line.strip() and not line.startswith("#")][:TEXTS]
    assert len(texts) == TEXTS
    return [tokenizer(text)["input_ids"] for text in texts]


@pytest.fixture(scope="module")
def wanted(pair, prompts):
    """The target's own greedy text after each prompt."""
    # The reference must run on the same kernels: packed layers round differently in the last bits.
    return [greedy_reference(pair[0]._module, prompt, TOKENS) for prompt in prompts]


def test_all_of_it_is_at_most_64_megabytes():
    assert sum(path.stat().st_size for path in PAIR.rglob("*") if path.is_file()) <= 64_000_000


def test_both_have_one_vocabulary_of_32000():
    vocabularies = [
        vocabulary_of(AutoTokenizer.from_pretrained(pair_folder(name)), vocab_size=32_000)
        for name in ("target", "draft")
    ]
    assert vocabularies[0] == vocabularies[1]


def test_the_card_says_what_was_measured():
    figures = json.loads((PAIR / "figures.json").read_text(encoding="utf-8"))
    card = (PAIR / "MODEL_CARD.md").read_text(encoding="utf-8")
    for name in ("target_loss", "draft_loss", "acceptance_t1.0", "acceptance_t0.7"):
        assert f"{figures[name]:.3f}" in card, name


@pytest.mark.parametrize(
    "settings",
    [
        DraftSettings(temperature=0.0, truncation=None),
        DraftSettings(expansion=(2, 2, 2), truncation=tw.TopK(2), replacement=False),
    ],
    ids=["chain", "tree"],
)
def test_greedy_text_is_the_targets_own(settings, pair, prompts, wanted, tmp_path):
    target, draft = pair

    async def run():
        async with edge_on("zmq", target, tmp_path) as dial:
            accepted = 0
            for prompt, text in zip(prompts, wanted, strict=True):
                tokens, rounds = await generate(
                    await dial(), draft, prompt, TOKENS, settings=settings, sampling=tw.Sampling(temperature=0.0)
                )
                assert tokens == text
                accepted += sum(len(r.accepted) for r in rounds)
            return accepted

    assert asyncio.run(run()) > 5 * TEXTS
