"""Drafts with another tokenizer than their target's: what both have is drafted, the text is the target's own."""

from __future__ import annotations

import asyncio
import io
import logging
import os
from contextlib import redirect_stderr, redirect_stdout
from types import SimpleNamespace

import pytest
from fitted_ends import KINDS, fitted, greedy_text
from text_law import text_law, texts_of
from tiny_llama import soften, tiny_llama
from trained_tokenizers import byte_pairs, sentence_pieces, translated
from transformers import PreTrainedTokenizerFast
from word_tokenizers import words

import tslt_wire as tw
from tslt_runtime.commands import device as device_command
from tslt_runtime.connection import EdgeError
from tslt_runtime.draft_vocabulary import DraftVocabulary
from tslt_runtime.engines.protocol import EngineError
from tslt_runtime.fingerprint import VocabularyMismatch
from tslt_runtime.loading import load_tokenizer
from tslt_runtime.other_tokenizer import map_between, reading_between
from tslt_runtime.tokenizer import tokenizer_of

NOT_BY_CHANCE = 1e-4
PROMPT = "The device drafts, the edge verifies"
DRAWS = int(os.environ.get("TSLT_LAW_DRAWS", "3000")) // 10
"""`make laws` draws more."""
SAMPLING = tw.Sampling(temperature=0.5)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Two tokenizers, and for each a target with it and a draft with the other one, in folders."""
    folder = tmp_path_factory.mktemp("tokenizers")
    both = {"bytes": byte_pairs(), "pieces": sentence_pieces()}
    found = {}
    for name, tokenizer in both.items():
        other = both["pieces" if name == "bytes" else "bytes"]
        sizes = tokenizer.get_vocab_size() + 8, other.get_vocab_size() + 4  # both are padded
        token_map = map_between(
            tokenizer_of(tokenizer), tokenizer_of(other), vocab_size=sizes[0] - 8, draft_size=sizes[1]
        )
        target = soften(tiny_llama(vocab_size=sizes[0], layers=3, seed=3), layers=1, scale=0.4)
        draft = translated(target, token_map, sizes[1])
        for role, model, its in (("target", target, tokenizer), ("draft", draft, other)):
            model.save_pretrained(folder / name / role)
            PreTrainedTokenizerFast(tokenizer_object=its).save_pretrained(folder / name / role)
        found[name] = SimpleNamespace(
            target=folder / name / "target", draft=folder / name / "draft", map=token_map, tokenizer=tokenizer
        )
    return found


def theirs(pair):
    return {"target_tokenizer": load_tokenizer(pair.target)}


@pytest.mark.parametrize(("name", "settings"), [("bytes", KINDS["list"]), ("bytes", None), ("pieces", KINDS["tree"])])
def test_greedy_output_is_the_targets_own(pairs, name, settings):
    pair = pairs[name]
    work = greedy_text(pair.target, pair.draft, PROMPT, settings, tokens=50, **theirs(pair))
    prompt, found, wanted, seen, session = asyncio.run(work)
    assert prompt == pair.tokenizer.encode(PROMPT).ids
    assert found == wanted
    assert session.hello.token_map == pair.map.fingerprint
    assert seen.drafted | seen.listed <= set(pair.map.ids.tolist())


@pytest.mark.parametrize(("name", "kind"), [*(("bytes", kind) for kind in KINDS), ("pieces", "list")])
def test_texts_are_distributed_as_the_targets(pairs, name, kind):
    pair = pairs[name]
    tokens = pair.tokenizer.encode(PROMPT).ids

    async def run():
        async with fitted(pair.target, pair.draft, sampling=SAMPLING, **theirs(pair)) as (text, seen, engine):
            texts, accepted = await texts_of(text.device, tokens, DRAWS, KINDS[kind], length=10)
            return texts, accepted, seen, text_law(texts, engine, tokens, SAMPLING)

    texts, accepted, seen, law = asyncio.run(run())
    shared = set(pair.map.ids.tolist())
    assert seen.drafted | seen.listed <= shared
    assert seen.tails == 0
    assert accepted > DRAWS / 200
    assert {token for text in texts for token in text} - shared
    assert min(law) > NOT_BY_CHANCE


@pytest.mark.parametrize("name", ["bytes", "pieces"])
def test_a_map_matches_texts(pairs, name):
    pair = pairs[name]
    target, other = pair.tokenizer, PreTrainedTokenizerFast.from_pretrained(pair.draft)
    assert len(pair.map.ids) > 250
    for ours, own in zip(pair.map.ids.tolist(), pair.map.sources.tolist(), strict=True):
        same = [tokenizer.id_to_token(token) for tokenizer, token in ((target, ours), (other.backend_tokenizer, own))]
        plain = [text.replace("Ġ", " ").replace("▁", " ").replace("Ċ", "\n") for text in same]
        assert plain[0] == plain[1] or plain[1 if name == "bytes" else 0].startswith("<0x"), same
    begins = [target.encode("").ids[0], other("")["input_ids"][0]]
    assert pair.map.read[begins[0]] == begins[1]
    assert not set(begins[:1]) & set(pair.map.ids.tolist())


@pytest.mark.parametrize("name", ["bytes", "pieces"])
@pytest.mark.parametrize("text", ["The device drafts", "carries 猫 speculative\n  é naïve lists.", " two  spaces"])
def test_what_the_draft_reads_is_the_text(pairs, name, text):
    pair = pairs[name]
    target, draft = load_tokenizer(pair.target), load_tokenizer(pair.draft)
    read, reading = [], reading_between(target, draft)
    run = []
    for token in [*target.tokens_of(text), None]:
        if token is not None and pair.map.read[token] < 0:
            run.append(token)
            continue
        read += reading(run) if run else []
        run = []
        read += [] if token is None else [int(pair.map.read[token])]
    assert draft.text_of(read).strip() == target.text_of(target.tokens_of(text)).strip()


def test_the_targets_tokenizer_from_each_kind_of_file(pairs, tmp_path):
    folder = pairs["bytes"].target
    for source in (folder, folder / "tokenizer.json"):
        assert load_tokenizer(source).tokens_of(PROMPT) == pairs["bytes"].tokenizer.encode(PROMPT).ids
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(EngineError, match=r"is no tokenizer\.json"):
        load_tokenizer(tmp_path / "tokenizer.json")


def test_another_tokenizer_than_the_edges_is_refused(pairs):
    async def run():
        pair = pairs["bytes"]
        async with fitted(pair.target, pair.draft, target_tokenizer=words(["a", "e"])):
            pass

    with pytest.raises(EdgeError, match="fingerprint"):
        asyncio.run(run())


def test_tokenizers_with_nothing_in_common_are_refused():
    with pytest.raises(VocabularyMismatch, match="no token in common"):
        DraftVocabulary(words(["x", "y"]), vocab_size=2, target_tokenizer=words(["a", "b"]))


def test_the_targets_own_tokenizer_needs_no_map_and_begins_texts(pairs, caplog):
    plain, special = ["a", "b"], ["<s>", "<pad>"]
    own, target = words(plain, special), words(plain, special, begin="<s>")
    found = DraftVocabulary(own, vocab_size=6, target_tokenizer=target)
    assert (found.token_map, found.facts.vocab_size, found.facts.begins) == (None, 6, (2,))
    assert found.tokenizer.tokens_of("b") == [2, 1]


def test_both_ends_name_the_map(pairs, caplog):
    caplog.set_level(logging.INFO, logger="tslt")
    pair = pairs["pieces"]
    asyncio.run(greedy_text(pair.target, pair.draft, PROMPT, KINDS["match"], tokens=3, **theirs(pair)))
    said = [record.getMessage() for record in caplog.records]
    size, never = pair.map.vocab_size + 8, pair.map.vocab_size + 8 - len(pair.map.ids)
    assert any(f"drafts by the token map {pair.map.fingerprint[:8].hex()}" in line for line in said)
    assert any(
        line.startswith(f"other tokenizer: {never} of {size} tokens are never drafted: 0 '<unk>'") for line in said
    )


def test_the_command_line_takes_the_targets_tokenizer(pairs):
    pair = pairs["bytes"]
    missing = str(pair.target / "none.json")
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = device_command.main(["--model", str(pair.draft), "--target-tokenizer", missing, "--prompt", "x"])
    assert status == 1
    assert "is no tokenizer.json" in err.getvalue()
