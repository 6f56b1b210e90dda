"""Sampling settings through real sessions of the shipped pair: greedy texts are those of ``generate``."""

from __future__ import annotations

import asyncio
import copy
import logging

import pytest
import torch
from default_pair import pair_folder
from loop_harness import edge_on, generate, greedy_reference, offers, open_device
from transformers import AutoTokenizer, GenerationConfig

import tslt_wire as tw
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.engines.transformers.draft import DraftModel
from tslt_runtime.engines.transformers.generation_config import own_settings
from tslt_runtime.engines.transformers.target import TargetModel
from tslt_wire.messages.log_probs import WANTED

TEXTS = ("The old house stood", "Once upon a time", "It was a dark evening, and the old man", "She said that")
TREE = DraftSettings(expansion=(2, 2, 2), truncation=tw.TopK(2), replacement=False)
CHAIN = DraftSettings(temperature=0.0, truncation=None)
TOKENS = 20


@pytest.fixture(scope="module")
def pair():
    torch.set_num_threads(1)
    return TargetModel.load(pair_folder("target")), DraftModel.load(pair_folder("draft"))


@pytest.fixture(scope="module")
def prompts():
    tokenizer = AutoTokenizer.from_pretrained(pair_folder("target"))
    return [tokenizer(text)["input_ids"] for text in TEXTS]


def with_config(target, **settings):
    """The target, as if its ``generation_config`` said so."""
    other = copy.copy(target)
    other.own_settings = own_settings(GenerationConfig(**settings))
    return other


def reference(target, prompt, **settings):
    ids = torch.tensor([prompt])
    out = target._module.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=TOKENS, pad_token_id=0, **settings
    )
    return out[0, len(prompt) :].tolist()


@pytest.mark.parametrize("settings", [CHAIN, TREE], ids=["chain", "tree"])
def test_greedy_with_the_targets_own_penalty_is_what_generate_writes(settings, pair, prompts, tmp_path):
    target, draft = pair
    own = {"repetition_penalty": 1.05, "suppress_tokens": [5, 301]}

    async def run():
        async with edge_on("inprocess", with_config(target, do_sample=False, **own), tmp_path) as dial:
            for prompt in prompts:
                device = await open_device(await dial(), draft, sampling=tw.SamplingRequest())
                assert device.welcome.sampling == tw.Sampling(temperature=0, **own) == device.session.sampling
                await device.prompt(prompt)
                rounds = [r async for r in device.generate(TOKENS, settings)]
                await device.close()
                yield [token for r in rounds for token in r.tokens]

    async def texts():
        return [text async for text in run()]

    found = asyncio.run(texts())
    assert found == [reference(target, prompt, **own) for prompt in prompts]
    plain = [greedy_reference(target._module, prompt, TOKENS) for prompt in prompts]
    assert sum(a != b for a, b in zip(found, plain, strict=True)) >= 2  # the settings matter


@pytest.mark.parametrize(
    ("evidence", "penalty"), [("list", 1.3), ("scalar", 0.8), ("lazy", 1.3), ("match", 0.8), ("coupled", 1.3)]
)
def test_greedy_with_a_penalty_that_the_device_asks_for(evidence, penalty, pair, prompts, tmp_path):
    target, draft = pair
    sampling = tw.SamplingRequest(temperature=0.0, repetition_penalty=penalty)
    settings = DraftSettings(temperature=0.0, truncation=tw.TopK(1), evidence=evidence)
    prompt = prompts[0]

    async def run():
        async with edge_on("inprocess", target, tmp_path) as dial:
            return await generate(
                await dial(), draft, prompt, TOKENS, settings=settings, sampling=sampling, evidence=(evidence,)
            )

    assert asyncio.run(run())[0] == reference(target, prompt, repetition_penalty=penalty)


def test_suppressed_tokens_biases_and_the_end_of_text(pair, prompts, tmp_path):
    """A bias makes the end of the text all but certain; where it is ignored, or suppressed, it never comes."""
    target, draft = pair
    (end,) = target.facts.eos_tokens

    async def run(**settings):
        async with edge_on("inprocess", target, tmp_path) as dial:
            sampling = tw.SamplingRequest(temperature=1.0, logit_bias={end: 100}, **settings)
            return (await generate(await dial(), draft, prompts[0], 12, settings=TREE, sampling=sampling))[0]

    assert asyncio.run(run()) == [end]
    for settings in ({"ignore_eos": True}, {"suppress_tokens": [end]}):
        found = asyncio.run(run(**settings))
        assert len(found) >= 12
        assert end not in found


def test_what_the_targets_files_say_and_no_edge_applies_is_logged(pair, caplog):
    target = with_config(
        pair[0], temperature=0.6, top_p=0.9, no_repeat_ngram_size=3, num_beams=1, min_length=0, typical_p=0.8,
        repetition_penalty=1000.0, max_length=20, pad_token_id=0, chat_format="chatml",
    )  # fmt: skip
    with caplog.at_level(logging.WARNING, logger="tslt.edge"):
        settings = offers(target)
    assert settings.sampling == tw.Sampling(temperature=0.6, top_p=0.9)
    said = [record.getMessage() for record in caplog.records if record.name == "tslt.edge"]
    assert len(said) == 4
    for words in (
        "repetition_penalty is not applied: repetition_penalty must be in 0.01",
        "no_repeat_ngram_size = 3 is not applied",
        "typical_p = 0.8 is not applied",
        "chat_format = 'chatml' is not applied",
    ):
        assert sum(words in line for line in said) == 1, words


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({}, tw.Sampling()),
        ({"do_sample": False}, tw.Sampling(temperature=0)),
        ({"do_sample": False, "temperature": 0.6}, tw.Sampling(temperature=0)),
        ({"do_sample": True, "temperature": 0.6, "top_k": 50}, tw.Sampling(temperature=0.6, top_k=50)),
        ({"temperature": 0.6, "min_p": 0.1}, tw.Sampling(temperature=0.6, min_p=0.1)),
    ],
)
def test_the_targets_own_settings(config, wanted):
    found = own_settings(GenerationConfig(**config))
    assert found == (wanted, ())


def test_a_model_without_a_generation_config():
    assert own_settings(None) == (tw.Sampling(), ())


@pytest.mark.parametrize("evidence", ["list", "scalar", "lazy", "match"])
def test_log_probabilities_are_those_of_the_targets_rows(evidence, pair, prompts, tmp_path):
    target, draft = pair
    sampling = tw.SamplingRequest(temperature=0.8, repetition_penalty=1.2, frequency_penalty=0.3, top_p=0.95)
    prompt = prompts[1]
    settings = DraftSettings(truncation=tw.TopK(16), evidence=evidence)

    async def run():
        async with edge_on("inprocess", target, tmp_path) as dial:
            return await generate(
                await dial(),
                draft,
                prompt,
                30,
                settings=settings,
                sampling=sampling,
                evidence=(evidence,),
                extra=WANTED,
            )

    tokens, rounds = asyncio.run(run())
    told = [value for r in rounds for value in r.log_probs]
    assert len(told) == len(tokens)
    with torch.inference_mode():
        logits = target._module(torch.tensor([[*prompt, *tokens]])).logits[0, len(prompt) - 1 : -1]
    for i, (token, value) in enumerate(zip(tokens, told, strict=True)):
        text = tw.SampledText(prompt=prompt, output=tokens[:i])
        row = tw.target_rows(logits[i : i + 1], sampling.over(tw.Sampling()), text=text)[0]
        assert value == pytest.approx(float(torch.tensor(row.prob(token)).log()), abs=1 / 2048 + 1e-4)
