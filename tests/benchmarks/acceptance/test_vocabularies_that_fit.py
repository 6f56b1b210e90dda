"""Drafts whose vocabulary is not the target's: what they are made of, and what their sessions draft."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from tiny_llama import soften, tiny_draft, tiny_llama
from trained_tokenizers import byte_pairs
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
from tslt_benchmarks.acceptance import vocabularies
from tslt_benchmarks.acceptance.vocabulary_pairs import MORE_ROWS, make_pairs
from word_tokenizers import words

from tslt_runtime.fingerprint import vocabulary_of
from tslt_runtime.loading import load_tokenizer
from tslt_runtime.other_tokenizer import map_between

SIZE, MERGES = 500, 120
TEXT = "The device drafts, the edge verifies"


def save(model, folder, tokenizer, **special):
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders of a target and its draft, with a byte-pair tokenizer of 242 merges."""
    folder = tmp_path_factory.mktemp("pair")
    target = soften(tiny_llama(vocab_size=SIZE, layers=3, seed=3), layers=1, scale=0.4)
    for name, model in (("target", target), ("draft", tiny_draft(target))):
        save(model, folder / name, byte_pairs(SIZE), bos_token="<|begin|>", eos_token="<|end|>")
    return folder / "target", folder / "draft"


@pytest.fixture(scope="module")
def pairs(models, tmp_path_factory):
    found = make_pairs(*models, tmp_path_factory.mktemp("made"), merges=[MERGES])
    return {pair.name: pair for pair in found}


def test_a_shorter_tokenizer_is_that_of_its_merges(models, pairs):
    other = pairs[f"{MERGES} merges"]
    own, shorter = load_tokenizer(models[1]), load_tokenizer(other.draft)
    assert len(shorter.get_vocab()) == SIZE - (242 - MERGES)
    assert shorter.text_of(shorter.tokens_of(TEXT)) == own.text_of(own.tokens_of(TEXT))
    assert len(shorter.tokens_of(TEXT)) > len(own.tokens_of(TEXT))
    assert shorter.tokens_of("") == [shorter.get_vocab()["<|begin|>"]]
    assert shorter.get_vocab()["<|end|>"] != own.get_vocab()["<|end|>"]


def test_its_draft_gives_the_tokens_that_it_kept_the_drafts_own_logits(models, pairs):
    other = pairs[f"{MERGES} merges"]
    ours, theirs = load_tokenizer(models[1]).get_vocab(), load_tokenizer(other.draft).get_vocab()
    names = [name for name in list(theirs)[:40] if name in ours]
    draft, made = (AutoModelForCausalLM.from_pretrained(folder) for folder in (models[1], other.draft))
    with torch.inference_mode():
        wanted = draft(torch.tensor([[ours[name] for name in names]])).logits[0][:, [ours[name] for name in theirs]]
        found = made(torch.tensor([[theirs[name] for name in names]])).logits[0][:, list(theirs.values())]
    torch.testing.assert_close(found, wanted)
    assert made.config.vocab_size == len(theirs)


def test_the_shared_tokens_are_those_of_the_map(models, pairs):
    other = pairs[f"{MERGES} merges"]
    target, draft = load_tokenizer(models[0]), load_tokenizer(other.draft)
    size = len(draft.get_vocab())
    found = map_between(target, draft, vocab_size=SIZE, draft_size=size)
    assert found.ids.tolist() == np.flatnonzero(other.shared).tolist()
    assert found.ids.tolist() != found.sources.tolist()
    assert other.shared.sum() == size - 2


def test_other_names_are_other_special_tokens(models, pairs):
    own, renamed = (vocabulary_of(load_tokenizer(folder)) for folder in (models[1], pairs["renamed"].draft))
    assert own.fingerprint != renamed.fingerprint
    assert (own.ordinary, own.begins) == (renamed.ordinary, renamed.begins)
    assert pairs["renamed"].shared.sum() == SIZE - 2


def test_program(models, tmp_path, capsys):
    argv = ["--target", str(models[0]), "--draft", str(models[1]), "--prompts", "2", "--tokens", "12"]
    vocabularies.main([*argv, "--merges", str(MERGES), "--json", str(tmp_path / "v.json")])
    assert "outside the shared tokens: 0 of" in " ".join(capsys.readouterr().out.split())
    document = json.loads((tmp_path / "v.json").read_text())
    assert document["schema"] == vocabularies.SCHEMA_VERSION
    rows = {row["vocabulary"]: row for row in document["rows"]}
    fits = {name: row["fit"] for name, row in rows.items()}
    assert (fits["same"], fits["renamed"], fits["padded draft"], fits["padded target"]) == (
        "same",
        "renamed",
        "padded",
        "padded",
    )
    assert rows["padded target"]["vocab_size"] == SIZE + MORE_ROWS
    assert rows["same"]["shared_mass"] == pytest.approx(1)
    assert rows["padded target"]["shared_mass"] < 1 > rows[f"{MERGES} merges"]["shared_mass"]
    for row in rows.values():
        assert set(row["evidence"]) == set(vocabularies.EVIDENCE)
        for figures in row["evidence"].values():
            assert figures["sent"]["drafted"] > 0 == figures["sent"]["drafted_outside"]
            assert figures["uplink_bytes_per_token"] > 0 < figures["tokens"]
        assert row["evidence"]["list"]["sent"]["listed"] > 0 == row["evidence"]["list"]["sent"]["listed_outside"]


def test_what_is_outside_the_shared_tokens_is_counted(pairs):
    same, renamed = pairs["same"], pairs["renamed"]
    shared = np.zeros_like(renamed.shared)
    wrong = vocabularies.VocabularyPair("wrong", same.target, same.draft, shared)
    settings = vocabularies.Settings(prompts=[TEXT], tokens=8, temperature=0.7, evidence=["list"], seed=0)
    sent = vocabularies.measure([wrong], settings)[0].evidence["list"].sent
    assert sent.drafted_outside == sent.drafted > 0
    assert sent.listed_outside == sent.listed > 0


def test_a_pair_that_cannot_be_made_into_others_is_said(models, tmp_path):
    save(tiny_llama(vocab_size=SIZE, layers=1, seed=1), tmp_path / "words", words(["a", "b"]))
    with pytest.raises(ValueError, match="expected a byte-pair tokenizer in"):
        make_pairs(models[0], tmp_path / "words", tmp_path)
    save(tiny_llama(vocab_size=SIZE, layers=1, seed=1), tmp_path / "fewer", byte_pairs(SIZE - 1))
    with pytest.raises(SystemExit, match="expected one tokenizer and outputs of one size"):
        vocabularies.main(["--target", str(models[0]), "--draft", str(tmp_path / "fewer")])
