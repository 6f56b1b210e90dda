"""llama.cpp through the real drivers, as device, as edge and as both: greedy text is the target's own, and sampled text
has the target's distribution."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from default_pair import pair_folder
from gguf_models import needs_llamacpp, pair_gguf, tiny_pair
from loop_harness import edge_on, generate, greedy_reference, open_device
from text_law import text_law, texts_of
from transformers import AutoTokenizer
from tslt_benchmarks.prompts import PROMPTS, read_prompts

import tslt_wire as tw
from tslt_runtime.commands.convert import convert
from tslt_runtime.device import DraftSettings
from tslt_runtime.engines.llamacpp.draft import LlamaDraft
from tslt_runtime.engines.llamacpp.target import LlamaTarget
from tslt_runtime.engines.transformers.draft import DraftModel
from tslt_runtime.engines.transformers.target import TargetModel

pytestmark = needs_llamacpp
ROOT = Path(__file__).parents[3]
TEXTS = 20 if "TSLT_LAW_DRAWS" in os.environ else 6
"""`make laws` writes more."""
TOKENS = 24


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    return {
        "transformers": (TargetModel.load(pair_folder("target"), packed=False), DraftModel.load(pair_folder("draft"))),
        "llamacpp": (
            LlamaTarget(pair_gguf("target", folder), kv="float32"),
            LlamaDraft(pair_gguf("draft", folder), kv="float32"),
        ),
    }


@pytest.fixture(scope="module")
def texts(engines):
    """(prompt, the target's own greedy text), in tokens."""
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(pair_folder("target"))
    prompts = [tokenizer(prompt)["input_ids"][:16] for prompt in read_prompts(PROMPTS)[:TEXTS]]
    return [(prompt, greedy_reference(engines["transformers"][0]._module, prompt, TOKENS)) for prompt in prompts]


@pytest.mark.parametrize(
    "settings",
    [
        DraftSettings(temperature=0.0, truncation=None),
        DraftSettings(expansion=(2, 2, 2), truncation=tw.TopK(2), replacement=False),
        DraftSettings(evidence="match", truncation=tw.TopK(8)),
    ],
    ids=["chain", "tree", "match"],
)
@pytest.mark.parametrize(
    ("edge", "device"), [("transformers", "llamacpp"), ("llamacpp", "transformers"), ("llamacpp", "llamacpp")]
)
def test_greedy_text_is_the_targets_own(edge, device, settings, engines, texts, tmp_path):
    target, draft = engines[edge][0], engines[device][1]

    async def run():
        async with edge_on("inprocess", target, tmp_path) as dial:
            accepted = 0
            for prompt, text in texts:
                tokens, rounds = await generate(
                    await dial(),
                    draft,
                    prompt,
                    TOKENS,
                    settings=settings,
                    evidence=("list", "match"),
                    sampling=tw.Sampling(temperature=0.0),
                )
                assert tokens == text
                accepted += sum(len(r.accepted) for r in rounds)
            return accepted

    assert len(texts) == TEXTS
    assert asyncio.run(run()) > len(texts) * TOKENS / 8


LAW = tw.Sampling(temperature=0.6, top_p=0.9)
DRAWS = int(os.environ.get("TSLT_LAW_DRAWS", "1500"))
"""Tokens that are drawn in each shape of drafts."""
LENGTH = 25
"""Tokens of each text of theirs, unless it ends."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A small target and a draft that is often rejected."""
    folder = tmp_path_factory.mktemp("tiny")
    tiny_pair(folder, context=64)
    for name in ("target", "draft"):
        convert(folder / name, folder / f"{name}.gguf", dtype="float32")
    return LlamaTarget(folder / "target.gguf"), LlamaDraft(folder / "draft.gguf")


@pytest.mark.parametrize("expansion", [(1, 1, 1, 1), (2, 2, 2)], ids=["chain", "tree"])
def test_text_has_the_targets_distribution(expansion, tiny, tmp_path):
    target, draft = tiny
    settings = DraftSettings(expansion=expansion, truncation=tw.TopK(16), temperature=0.6)

    async def run():
        async with edge_on("inprocess", target, tmp_path) as dial:
            device = await open_device(await dial(), draft, sampling=LAW)
            return await texts_of(device, [1, 2, 3], DRAWS, settings, length=LENGTH)

    texts, accepted = asyncio.run(run())
    assert accepted > DRAWS / 8
    assert sum(map(len, texts)) == DRAWS
    assert min(text_law(texts, target, [1, 2, 3], LAW)) > 1e-3


def test_ends_of_text_are_the_same(engines):
    facts = [engines[name][0].facts for name in ("transformers", "llamacpp")]
    assert facts[0].eos_tokens == facts[1].eos_tokens == (1,)
    assert (facts[0].vocab_size, facts[0].context) == (facts[1].vocab_size, facts[1].context)
    assert facts[0].dtype == facts[1].dtype == "float32"


@pytest.mark.parametrize(
    "module",
    [
        "tslt_runtime.engines.llamacpp.draft, tslt_runtime.engines.llamacpp.target, tslt_runtime.edge",
        "tslt_runtime.commands.convert, tslt_runtime.device",
    ],
)
def test_torch_is_not_imported(module):
    code = f"import sys, {module}; sys.exit(bool({{'torch', 'transformers'}} & {{*sys.modules}}))"
    paths = f"import sys; sys.path[:0] = {[str(ROOT), str(ROOT / 'transports')]!r}; "
    assert subprocess.run([sys.executable, "-c", paths + code], check=False).returncode == 0
