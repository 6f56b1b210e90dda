"""An edge over llama.cpp's own server, which really runs: greedy text is the target's, sampled text has its law."""

from __future__ import annotations

import asyncio
import json
import os

import pytest
from gguf_models import byte_level_tokenizer, needs_llamacpp, tiny_folder, tiny_pair
from llama_servers import llama_server
from loop_harness import edge_on, generate, greedy_reference, open_device
from text_law import text_law, texts_of

import tslt_wire as tw
from tslt_runtime.commands.convert import convert
from tslt_runtime.device import DraftSettings
from tslt_runtime.engines.llamacpp.draft import LlamaDraft
from tslt_runtime.engines.llamacpp.target import LlamaTarget
from tslt_runtime.engines.protocol import EngineError
from tslt_runtime.loading import load_described
from tslt_runtime.verifiers.servers.loading import load_llama_server
from tslt_wire.session.negotiation import OUR_EVIDENCE

pytestmark = needs_llamacpp
PROMPT = [1, 2, 3]
TREE = (2, 1)
DRAWS, LENGTH = int(os.environ.get("TSLT_LAW_DRAWS", "300")), 25
"""Tokens that are drawn in each way; `make test-llama-server` draws more."""
PLAIN = tw.Sampling(temperature=0.6, top_p=0.9)
FEW = tw.Sampling(temperature=0.8, top_k=24, top_p=0.95, min_p=0.02)
WAYS = {
    "match": (PLAIN, DraftSettings(expansion=TREE, evidence="match", temperature=0.6)),
    "scalar": (PLAIN, DraftSettings(expansion=(1, 1), evidence="scalar", truncation=None, temperature=0.6)),
    "list": (FEW, DraftSettings(expansion=TREE, truncation=tw.TopK(16), temperature=0.8)),
    "coupled": (FEW, DraftSettings(expansion=TREE, truncation=None, evidence="coupled", temperature=0.8)),
    "lazy": (FEW, DraftSettings(expansion=(1, 1), evidence="lazy", truncation=tw.TopK(16), temperature=0.8)),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    tiny_pair(folder, context=128)
    for name in ("target", "draft"):
        convert(folder / name, folder / f"{name}.gguf", dtype="float32")
    return folder


@pytest.fixture(scope="module")
def served(models):
    with llama_server(models / "target.gguf") as url:
        yield url


def verifier_of(url, models):
    return load_llama_server(url, load_described, model=str(models / "target.gguf"))[0]


@pytest.mark.parametrize("evidence", WAYS)
def test_greedy_text_is_the_targets_own(evidence, served, models, tmp_path):
    verifier, draft = verifier_of(served, models), LlamaDraft(models / "draft.gguf")
    settings = WAYS[evidence][1]

    async def run():
        async with edge_on("inprocess", None, tmp_path, verifier=verifier) as dial:
            return await generate(
                await dial(),
                draft,
                PROMPT,
                24,
                settings=settings,
                evidence=(settings.evidence,),
                sampling=tw.Sampling(temperature=0.0),
            )

    tokens, _ = asyncio.run(run())
    from transformers import AutoModelForCausalLM

    assert tokens == greedy_reference(AutoModelForCausalLM.from_pretrained(models / "target"), PROMPT, 24)


@pytest.mark.parametrize("evidence", WAYS)
def test_text_has_the_targets_distribution(evidence, served, models, tmp_path):
    verifier, draft = verifier_of(served, models), LlamaDraft(models / "draft.gguf")
    sampling, settings = WAYS[evidence]

    async def run():
        async with edge_on("inprocess", None, tmp_path, verifier=verifier) as dial:
            device = await open_device(await dial(), draft, sampling=sampling, evidence=(evidence,))
            return await texts_of(device, PROMPT, DRAWS, settings, length=LENGTH)

    texts, accepted = asyncio.run(run())
    assert accepted > DRAWS / 16
    assert min(text_law(texts, LlamaTarget(models / "target.gguf"), PROMPT, sampling)) > 1e-3


def test_evidence_is_offered_as_settings_allow(served, models, tmp_path):
    draft = LlamaDraft(models / "draft.gguf")

    async def offered(sampling):
        async with edge_on("inprocess", None, tmp_path, verifier=verifier_of(served, models)) as dial:
            device = await open_device(await dial(), draft, sampling=sampling, evidence=OUR_EVIDENCE)
            await device.close()
            return device.session.welcome.evidence

    assert set(asyncio.run(offered(PLAIN))) == {"scalar", "match"}
    assert "list" in asyncio.run(offered(FEW))
    with pytest.raises(Exception, match="repetition_penalty"):
        asyncio.run(offered(tw.Sampling(repetition_penalty=1.2)))


def test_another_model_is_noticed(served, models, tmp_path):
    (tmp_path / "other").mkdir()
    tiny_folder(tmp_path / "other", layers=1, seed=1)
    other = byte_level_tokenizer([["o", "l"], ["ol", "d"]])
    (tmp_path / "other" / "tokenizer.json").write_text(json.dumps(other), encoding="utf-8")
    with pytest.raises(EngineError, match="name the model that it runs"):
        load_llama_server(served, load_described, model=str(tmp_path / "other"))
