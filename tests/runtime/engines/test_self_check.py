"""Engines against themselves at load: what differs from plain text is not used, or the model is refused."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import numpy as np
import pytest
import torch
from gguf_models import needs_llamacpp, tiny_gguf
from loop_harness import edge_on, generate, greedy_reference, open_device
from text_law import text_law, texts_of
from tiny_llama import tiny_draft, tiny_llama
from tokenizers import Tokenizer, models
from transformers import (
    BertConfig,
    BertLMHeadModel,
    BloomConfig,
    FalconConfig,
    GPT2Config,
    GPTNeoConfig,
    GPTNeoForCausalLM,
    GPTNeoXConfig,
    MixtralConfig,
    OPTConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
)
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

import tslt_wire as tw
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.edge import edge_settings
from tslt_runtime.engines.protocol import EngineError
from tslt_runtime.engines.self_check import Findings, check_draft, check_target
from tslt_runtime.engines.transformers import ragged
from tslt_runtime.engines.transformers.checking import (
    _as_configured,
    check_draft_model,
    check_length,
    check_target_model,
    windows_of,
)
from tslt_runtime.engines.transformers.draft import DraftModel
from tslt_runtime.engines.transformers.model import eos_token_ids
from tslt_runtime.engines.transformers.target import TargetModel
from tslt_runtime.engines.transformers.tree_attention import TreeRows
from tslt_runtime.loading import load_draft, load_target
from tslt_runtime.verifiers.protocol import VerifierFacts

WINDOW = 16
SMALL = {"vocab_size": 64, "hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 2}
GREEDY = tw.Sampling(temperature=0.0)
FAMILIES = {
    "gpt2": GPT2Config(vocab_size=64, n_embd=32, n_head=4, n_layer=2, n_positions=400),
    "opt": OPTConfig(**SMALL, ffn_dim=64, max_position_embeddings=400, word_embed_proj_dim=32),
    "gpt-neox": GPTNeoXConfig(**SMALL, intermediate_size=64, max_position_embeddings=400),
    "qwen3": Qwen3Config(**SMALL, intermediate_size=64, num_key_value_heads=2, head_dim=8, max_position_embeddings=400),
    "mixtral": MixtralConfig(**SMALL, intermediate_size=64, num_key_value_heads=2, num_local_experts=4),
}


def made(config: Any, attention: str = "sdpa") -> Any:
    config.initializer_range = 0.3
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()


@pytest.fixture(scope="module")
def local() -> GPTNeoForCausalLM:
    """A model of which one layer attends to the last tokens alone, by their places in the cache."""
    layers = [[["global", "local"], 1]]
    config = GPTNeoConfig(
        vocab_size=64, hidden_size=32, num_heads=4, num_layers=2, attention_types=layers, window_size=WINDOW,
        max_position_embeddings=256, eos_token_id=None, bos_token_id=None,
    )  # fmt: skip
    return made(config, "eager")


def checked(module: Any, kind: Any) -> Any:
    model = kind(module, model_id="model")
    (check_target_model if kind is TargetModel else check_draft_model)(model)
    return model


@pytest.mark.parametrize("kind", [TargetModel, DraftModel])
@pytest.mark.parametrize("family", FAMILIES)
def test_families_that_do_as_they_say(family, kind):
    assert checked(made(FAMILIES[family]), kind)._findings == Findings()


@pytest.mark.parametrize("kind", [TargetModel, DraftModel])
def test_a_local_layer_that_the_configuration_hides_takes_chains_alone(local, kind):
    facts = checked(local, kind).facts
    assert facts.most_leaves == 1
    assert "chains alone: a token tree differs by" in facts.remarks[0]


def test_its_greedy_text_is_right_and_a_tree_is_refused_where_it_is_asked_for(local, tmp_path, caplog):
    target, draft = checked(local, TargetModel), checked(local, DraftModel)
    prompt = list(range(1, 40))
    with caplog.at_level(logging.WARNING, "tslt.edge"):
        settings = edge_settings(VerifierFacts(engine=target.facts), bytes(range(32)))
    assert "chains alone" in caplog.text
    assert settings.limits.max_leaves == 1

    async def run(expansion: tuple[int, ...]) -> list[int]:
        async with edge_on("inprocess", target, tmp_path) as dial:
            draws = DraftSettings(expansion=expansion, truncation=tw.TopK(4))
            return (await generate(await dial(), draft, prompt, 60, settings=draws, sampling=GREEDY))[0]

    assert asyncio.run(run((1, 1, 1, 1))) == greedy_reference(local, prompt, 60)
    with pytest.raises(ValueError, match="trees of 1 leaves"):
        asyncio.run(run((2, 2)))


def test_its_law(local, tmp_path):
    target, draft = checked(local, TargetModel), checked(local, DraftModel)
    sampling, prompt = tw.Sampling(temperature=0.8), list(range(1, 30))

    async def run() -> Any:
        async with edge_on("inprocess", target, tmp_path) as dial:
            device = await open_device(await dial(), draft, sampling=sampling)
            return await texts_of(device, prompt, 500, DraftSettings(expansion=(1, 1, 1)), length=20)

    texts, accepted = asyncio.run(run())
    assert accepted > 20
    assert min(text_law(texts, target, prompt, sampling)) > 1e-3


def test_a_draft_model_of_chains_takes_no_tree_of_an_edge_that_would(local, tmp_path):
    target = TargetModel(tiny_llama(vocab_size=64), model_id="target")
    draft = checked(local, DraftModel)

    async def run() -> None:
        async with edge_on("inprocess", target, tmp_path) as dial:
            device = await open_device(await dial(), draft, most_leaves=draft.facts.most_leaves)
            await device.prompt([1, 2, 3])
            try:
                assert await device.round(9, DraftSettings(expansion=(1, 1, 3)))  # nothing is run behind its branches
                await device.round(9, DraftSettings(expansion=(2, 2)))
            finally:
                await device.close()

    with pytest.raises(ValueError, match=r"the draft model runs trees of 1 leaves, \(2, 2\) has more"):
        asyncio.run(run())


def test_positions_by_place_are_refused():
    with pytest.raises(EngineError, match="model is not served: a chain of tokens fails"):
        checked(made(FalconConfig(**SMALL, alibi=True)), TargetModel)
    with pytest.raises(EngineError, match=r"do not say how many tokens .* --context"):
        DraftModel(made(BloomConfig(vocab_size=64, hidden_size=32, n_head=4, n_layer=2), "eager"), model_id="model")


class WrongPositions(TargetModel):
    """Counts on where rows lie, which is right for chains."""

    def forward_texts(self, texts: Any) -> Any:
        places = [text.rows.positions[0] + np.arange(len(text.tokens)) for text in texts]
        rows = [TreeRows(place, text.rows.visible) for place, text in zip(places, texts, strict=True)]
        return super().forward_texts([text._replace(rows=own) for text, own in zip(texts, rows, strict=True)])


class WrongMasks(TargetModel):
    """Lets every row see all rows before it, siblings too, and one row that comes after."""

    def _mask(self, rows: Any, cache: Any) -> Any:
        return None


class MixesTexts(TargetModel):
    """Gives rows of the wrong text where there are several."""

    def forward_texts(self, texts: Any) -> Any:
        found = super().forward_texts(texts)
        return [row.roll(1, 0) for row in found] if len(texts) > 1 else found


class ForgetsRows(TargetModel):
    """Keeps the first rows of a tree, whatever the path is."""

    def open(self) -> Any:
        text = super().open()
        gather = text._cache.gather
        text._cache.gather = lambda past, path: gather(past, range(len(path)))
        return text


@pytest.mark.parametrize(
    ("kind", "trees", "together"),
    [(WrongPositions, False, True), (MixesTexts, True, False), (ForgetsRows, False, True)],
)
def test_engines_that_are_wrong_in_part(kind, trees, together):
    model = kind(tiny_llama(vocab_size=64), model_id="model")
    check_target_model(model)
    assert (model.facts.most_leaves > 1, model._ragged) == (trees, together)
    assert len(model.facts.remarks) == 1


def test_an_engine_that_is_wrong_altogether():
    with pytest.raises(EngineError, match=r"a chain of tokens differs by .* its configuration does not say"):
        check_target_model(WrongMasks(tiny_llama(vocab_size=64), model_id="model"))


@pytest.mark.parametrize("context", [4, 17, 18, 19, 20, 40])
def test_short_contexts(context):
    module = tiny_llama(vocab_size=64, context=context)
    assert checked(module, TargetModel)._findings == checked(module, DraftModel)._findings == Findings()


def test_half_precision_is_no_difference():
    module = tiny_llama(vocab_size=64).to(torch.bfloat16)
    assert checked(module, TargetModel)._findings == checked(module, DraftModel)._findings == Findings()


def test_how_long_the_text_is():
    windows = {"window_size": 256, "num_local_experts": 8, "sliding_window_size": 5000}
    assert windows_of(GPTNeoConfig()) == {"window_size": 256}
    assert check_length(windows, 10**6, context=2048, device="cuda") == 320
    assert check_length(windows, 10**9, context=8192, device="cpu") == 100
    assert check_length(windows, 10**9, context=8192, device="cuda") == 5032
    assert check_length({}, 10**12, context=20, device="cpu") == 20


@pytest.mark.parametrize(("context", "leaves"), [(300, 1), (200, 1024)])
def test_a_window_that_a_text_does_not_show(context, leaves):
    layers = [[["global", "local"], 1]]
    config = GPTNeoConfig(
        vocab_size=64, hidden_size=32, num_heads=4, num_layers=2, attention_types=layers, window_size=256
    )
    model = TargetModel(made(config, "eager"), model_id="model", context=context)
    model.restrict(_as_configured(model, Findings()))  # as if no difference had been seen
    assert model.facts.most_leaves == leaves
    assert [("window_size = 256" in remark) for remark in model._findings.remarks] == [True] * (leaves == 1)


@pytest.mark.parametrize("scale", [0.02, 0.3])
def test_a_model_that_sees_what_comes_is_refused(scale):
    config = BertConfig(**SMALL, intermediate_size=64, initializer_range=scale)
    config._attn_implementation = "sdpa"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = BertLMHeadModel(config).eval()
    for kind in (TargetModel, DraftModel):
        with pytest.raises(EngineError, match="is not served"):
            checked(module, kind)


def test_a_model_with_a_longer_window_is_seen_through_as_well():
    layers = [[["global", "local"], 1]]
    config = GPTNeoConfig(vocab_size=64, hidden_size=32, num_heads=4, num_layers=2, attention_types=layers)
    assert checked(made(config, "eager"), TargetModel).facts.most_leaves == 1


@needs_llamacpp
def test_llama_cpp(tmp_path):
    path, _ = tiny_gguf(tmp_path, context=128)
    for load in (load_draft, load_target):
        assert load(path).engine.facts == load(path, self_check=False).engine.facts
    target, draft = load_target(path).engine, load_draft(path).engine
    target.restrict(Findings(trees=False, together=False, remarks=("it is wrong",)))
    assert (target.facts.most_leaves, target.facts.remarks) == (1, ("it is wrong",))
    assert check_target(target) == Findings()
    assert check_draft(draft) == Findings()


def test_loading_by_name_checks(local, tmp_path, caplog):
    local.save_pretrained(tmp_path)
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(64)}, unk_token="w0"))
    PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(tmp_path)
    assert load_target(tmp_path).engine.facts.most_leaves == 1
    assert load_target(tmp_path, self_check=False).engine.facts.most_leaves > 1
    with caplog.at_level(logging.WARNING, "tslt.device"):
        assert load_draft(tmp_path).engine.facts.most_leaves == 1
    assert "chains alone" in caplog.text


@pytest.mark.parametrize(
    ("named", "ends", "said"),
    [
        (2, (2,), None),
        ([5, 2], (2, 5), None),
        (-1, (), "eos_token_id -1 is outside the vocabulary of 20 tokens: no token ends a text, only its length"),
        ([2, 20], (2,), r"eos_token_id 20 is outside the vocabulary of 20 tokens: texts end at [2]"),
        ([-1, 99, 3], (3,), r"eos_token_id -1, 99 are outside the vocabulary of 20 tokens: texts end at [3]"),
        (None, (), None),
    ],
)
def test_ends_outside_the_vocabulary(named, ends, said, tmp_path, caplog):
    module = tiny_llama(vocab_size=20, layers=1)
    module.generation_config.eos_token_id = None
    module.config.eos_token_id = named
    assert eos_token_ids(None, module.config) == (ends, () if said is None else (said,))
    module.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"eos_token_id": named}))
    (tmp_path / "generation_config.json").unlink(missing_ok=True)
    facts = TargetModel.load(tmp_path).facts
    assert facts.eos_tokens == ends
    with caplog.at_level(logging.WARNING, "tslt.edge"):
        edge_settings(VerifierFacts(engine=facts), bytes(32))
    told = [record.getMessage() for record in caplog.records if record.name == "tslt.edge"]
    assert told == ([] if said is None else [f"{facts.model}: {said}"])


def test_the_attention_function_is_what_runs():
    """The families above are checked through the pass of several texts, not beside it."""
    assert ragged.supports_ragged(made(FAMILIES["gpt2"]))
    assert TargetModel(tiny_draft(tiny_llama()), model_id="model")._ragged
