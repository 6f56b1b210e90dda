"""A checkpoint in 4 bits: with what reads it its text is its own, and without it one line says what to install."""

from __future__ import annotations

import asyncio
import importlib.util
import json

import pytest
import torch
from loop_harness import edge_on, generate, greedy_reference
from tiny_llama import tiny_draft, tiny_llama
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

import tslt_wire as tw
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.engines.protocol import EngineError
from tslt_runtime.engines.transformers.checking import check_target_model
from tslt_runtime.engines.transformers.draft import DraftModel
from tslt_runtime.engines.transformers.target import TargetModel

THERE = all(importlib.util.find_spec(name) for name in ("bitsandbytes", "accelerate"))
NF4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": "float32"}


@pytest.mark.skipif(not THERE, reason="make test-quantised installs bitsandbytes")
def test_greedy_text_of_nf4_weights_is_the_models_own(tmp_path):
    whole = tiny_llama(vocab_size=64, hidden_size=128)
    whole.save_pretrained(tmp_path / "whole")
    stored = AutoModelForCausalLM.from_pretrained(tmp_path / "whole", quantization_config=BitsAndBytesConfig(**NF4))
    stored.save_pretrained(tmp_path / "nf4")
    target = TargetModel.load(tmp_path / "nf4")
    check_target_model(target)
    assert target.facts.remarks == ()
    assert any(type(module).__name__ == "Linear4bit" for module in target._module.modules())
    draft = DraftModel(tiny_draft(whole), model_id="draft")

    async def run() -> list[int]:
        async with edge_on("inprocess", target, tmp_path) as dial:
            draws = DraftSettings(expansion=(2, 2), truncation=tw.TopK(4))
            greedy = tw.Sampling(temperature=0.0)
            return (await generate(await dial(), draft, [1, 2, 3], 60, settings=draws, sampling=greedy))[0]

    again = AutoModelForCausalLM.from_pretrained(tmp_path / "nf4")
    assert asyncio.run(run()) == greedy_reference(again, [1, 2, 3], 60)


@pytest.mark.skipif(THERE, reason="bitsandbytes is installed")
def test_what_is_missing_is_named(tmp_path):
    tiny_llama(vocab_size=64).to(torch.float32).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", **NF4}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(EngineError, match=r"quantised weights, .* pip install 'tslt-wire\[quantised\]'"):
        TargetModel.load(tmp_path)
