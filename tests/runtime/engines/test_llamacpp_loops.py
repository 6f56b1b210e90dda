"""llama.cpp through the real drivers, as device, as edge and as both: greedy text is the target's own, and sampled text
has the target's distribution."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from chi_square import chi_square_p
from default_pair import pair_folder
from gguf_models import needs_llamacpp, pair_gguf, tiny_folder
from loop_harness import edge_on, generate, greedy_reference, open_device
from tiny_llama import tiny_draft
from transformers import AutoTokenizer

import tslt_wire as tw
from tslt_runtime.commands.convert import convert
from tslt_runtime.device import DraftSettings
from tslt_runtime.engines.llamacpp.draft import LlamaDraft
from tslt_runtime.engines.llamacpp.target import LlamaTarget
from tslt_runtime.engines.protocol import Work
from tslt_runtime.engines.transformers.draft import DraftModel
from tslt_runtime.engines.transformers.target import TargetModel

pytestmark = needs_llamacpp
ROOT = Path(__file__).parents[3]
PROMPTS = [
    "It was a dark evening, and the old man",
    "Once upon a time there was a little girl who",
    "The ship had been at sea for three weeks when",
]
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
    prompts = [tokenizer(prompt)["input_ids"] for prompt in PROMPTS]
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

    assert asyncio.run(run()) > len(texts) * TOKENS / 8


TEXTS = 500
LAW = tw.Sampling(temperature=0.6, top_p=0.9)


def test_text_has_the_targets_distribution(tmp_path):
    """Both tokens of many short texts, sampled through real sessions with trees of a draft that is often rejected."""
    folders = [tmp_path / "target", tmp_path / "draft"]
    module = tiny_folder(folders[0], layers=3, seed=3, context=64)
    tiny_draft(module).save_pretrained(folders[1])
    shutil.copy(folders[0] / "tokenizer.json", folders[1])
    for folder in folders:
        convert(folder, folder.with_suffix(".gguf"), dtype="float32")
    target = LlamaTarget(tmp_path / "target.gguf", kv="float32")
    draft = LlamaDraft(tmp_path / "draft.gguf", kv="float32")
    settings = DraftSettings(expansion=(2, 2), truncation=tw.TopK(16), temperature=0.6)

    async def run():
        async with edge_on("inprocess", target, tmp_path) as dial:
            device = await open_device(await dial(), draft, sampling=LAW)
            found, accepted = [], 0
            for _ in range(TEXTS):
                await device.prompt([1, 2, 3])
                accepted += sum([len(r.accepted) async for r in device.generate(3, settings)])
                found.append(device.session.prefix[3:5])
            await device.close()
            return np.array(found), accepted

    def row_after(*path):
        (rows,) = target.score([Work(target.open(), (1, 2, 3, *path), tw.TokenTree([], []))])
        return tw.target_probs(rows[0], LAW)

    found, accepted = asyncio.run(run())
    assert accepted > TEXTS / 4
    firsts = np.bincount(found[:, 0], minlength=300)
    best = int(firsts.argmax())
    seconds = np.bincount(found[found[:, 0] == best, 1], minlength=300)
    assert min(chi_square_p(firsts, row_after()), chi_square_p(seconds, row_after(best))) > 1e-3


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
