"""Models whose vocabularies fit without being the same, through text, drivers and engines: greedy, law, acceptance."""

from __future__ import annotations

import asyncio
import os

import pytest
import torch
from fitted_ends import KINDS, fitted, greedy_text
from gguf_models import needs_llamacpp, tiny_folder
from text_law import text_law, texts_of
from tiny_llama import soften, tiny_draft, tiny_llama
from transformers import PreTrainedTokenizerFast
from word_tokenizers import words

import tslt_wire as tw
from tslt_runtime.commands.convert import convert

NOT_BY_CHANCE = 1e-4
PLAIN = [f"w{i}" for i in range(60)]
SIZE = 64
SPECIAL = ["<s>", "<eot>", "<r0>", "<r1>"]
PROMPT = "w3 w14 w15 w9"
DRAWS = int(os.environ.get("TSLT_LAW_DRAWS", "3000")) // 10
"""`make laws` draws more."""


def save(model, folder, special=SPECIAL):
    model.save_pretrained(folder)
    tokenizer = words(PLAIN, special, begin=special[0])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=special[0]).save_pretrained(folder)


def wider(model, size):
    """The model with more rows in its output: padding, with logits like any others."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model.resize_token_embeddings(size, mean_resizing=False)
        model.get_output_embeddings().weight.data[SIZE:] = model.get_output_embeddings().weight.data[: size - SIZE]
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folders of a target and of drafts of it; "wide" targets and drafts have 8 more rows."""
    found = tmp_path_factory.mktemp("fitting")
    target = soften(tiny_llama(vocab_size=SIZE, layers=3, seed=3), layers=1, scale=0.5)
    save(target, found / "target")
    save(tiny_draft(target), found / "draft")
    save(tiny_draft(target), found / "renamed", ["<begin>", "<end>", "<tool>", "<pad>"])
    save(wider(tiny_draft(target), SIZE + 8), found / "wide-draft")
    save(wider(target, SIZE + 8), found / "wide-target")
    return found


PAIRS = [("wide-target", "draft", "padded"), ("target", "wide-draft", "padded"), ("target", "renamed", "renamed")]


@pytest.mark.parametrize(("target", "draft", "fit"), PAIRS)
@pytest.mark.parametrize("settings", [KINDS["tree"], None])
def test_greedy_output_is_the_targets_own(folder, target, draft, fit, settings):
    _, found, wanted, seen, session = asyncio.run(greedy_text(folder / target, folder / draft, PROMPT, settings))
    assert session.fit.value == fit
    assert found == wanted
    assert max(seen.drafted) < (len(PLAIN) if fit == "renamed" else SIZE)


# With padding each kind once: test_vocabularies.py has all of them with either padded, on tables.
PADDED = {"list": 0, "scalar": 0, "coupled": 0, "tree": 1, "full": 1, "lazy": 1, "match": 1}
LAWS = [(*PAIRS[2], kind) for kind in KINDS] + [(*PAIRS[which], kind) for kind, which in PADDED.items()]


@pytest.mark.parametrize(("target", "draft", "fit", "kind"), LAWS)
def test_texts_are_distributed_as_the_targets(folder, target, draft, fit, kind):
    sampling = tw.Sampling(temperature=0.9)

    async def run():
        async with fitted(folder / target, folder / draft, sampling=sampling) as (text, seen, engine):
            tokens = [60, 3, 14, 15, 9]
            texts, accepted = await texts_of(text.device, tokens, DRAWS, KINDS[kind], length=10)
            return texts, accepted, seen, text_law(texts, engine, tokens, sampling)

    texts, accepted, seen, law = asyncio.run(run())
    assert max(seen.drafted | seen.listed) < (len(PLAIN) if fit == "renamed" else SIZE)
    assert accepted > DRAWS / 10
    assert max(token for text in texts for token in text) >= (SIZE if target == "wide-target" else len(PLAIN))
    assert min(law) > NOT_BY_CHANCE


@needs_llamacpp
@pytest.mark.parametrize("draft_is_a_file", [True, False])
def test_a_file_beside_a_folder(tmp_path, draft_is_a_file):
    """llama.cpp's draft of a target of transformers, and the other way round, of different sizes."""
    module = tiny_folder(tmp_path / "target", layers=3, seed=3, vocab_size=300)
    small = tiny_draft(soften(module, layers=1, scale=0.5))
    module.save_pretrained(tmp_path / "target")
    small.resize_token_embeddings(320, mean_resizing=False)
    small.save_pretrained(tmp_path / "draft")
    (tmp_path / "draft" / "tokenizer.json").write_text((tmp_path / "target" / "tokenizer.json").read_text())
    file = tmp_path / "draft.gguf"
    if draft_is_a_file:
        convert(tmp_path / "draft", file, dtype="float32")
    draft = file if draft_is_a_file else tmp_path / "draft"
    settings = KINDS["list"]
    _, found, wanted, seen, session = asyncio.run(greedy_text(tmp_path / "target", draft, "the hut", settings))
    assert session.fit is tw.Fit.PADDED
    assert found == wanted
    assert max(seen.drafted) < 300
