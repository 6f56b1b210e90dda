"""Text from tokens as they come: the same as decoding everything at once, in linear time."""

from __future__ import annotations

import json
import random

import pytest
from byte_tokenizer import byte_level
from default_pair import pair_folder
from tokenizers import Tokenizer, decoders, models
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from tslt_runtime.incremental_decoding import UNFINISHED, IncrementalDecoder

WRITTEN = "Übung 👩‍👧‍👦 macht\tden\n  Meister: 日本語 ,  a . € 🐕 :dog: don't\r\n"


def metaspace(*words):
    """A tokenizer of words with ``▁`` for a space and bytes as tokens; it drops the space before a text."""
    tokens = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *words, *(f"▁{word}" for word in words)]
    model = models.BPE({token: i for i, token in enumerate(tokens)}, [], unk_token="<unk>", byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(["<end>"])
    return tokenizer


@pytest.fixture(scope="module")
def shipped():
    return Tokenizer.from_file(str(pair_folder("draft") / "tokenizer.json"))


def pieces(decoder, tokens, size=1):
    given = [decoder.add(tokens[i : i + size]) for i in range(0, len(tokens), size)]
    return [*given, decoder.finish()]


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_random_tokens_give_the_text_of_all_at_once(shipped, size):
    rng = random.Random(size)
    own = byte_level()
    for tokenizer, low in ((own, 0), (own, 128), (shipped, 0), (shipped, 31000)):
        count = tokenizer.get_vocab_size()
        for _ in range(60):
            # Tokens of the lower ids are the bytes: as many of them as there are words, and padding of the logits.
            tokens = [rng.choice((rng.randrange(low, count + 3), rng.randrange(260))) for _ in range(50)]
            assert "".join(pieces(IncrementalDecoder(tokenizer), tokens, size)) == tokenizer.decode(tokens)


@pytest.mark.parametrize("size", [1, 2, 7])
def test_characters_over_borders_of_tokens_come_whole(shipped, size):
    for tokenizer in (shipped, byte_level()):
        tokens = tokenizer.encode(WRITTEN).ids
        given = pieces(IncrementalDecoder(tokenizer), tokens, size)
        assert "".join(given) == WRITTEN
        assert not any(UNFINISHED in piece for piece in given)
        assert len([piece for piece in given if piece]) > len(WRITTEN) / 3 / size


def test_a_prompt_is_context_and_no_text(shipped):
    rng = random.Random(0)
    for tokenizer in (shipped, byte_level(), metaspace("a", "dog", ".")):
        for _ in range(100):
            tokens = [rng.randrange(257, tokenizer.get_vocab_size()) for _ in range(20)]
            prompt = tokenizer.decode(tokens[:5])
            if prompt.endswith(UNFINISHED):
                continue
            found = "".join(pieces(IncrementalDecoder(tokenizer, tokens[:5]), tokens[5:]))
            assert prompt + found == tokenizer.decode(tokens)


def test_spaces_are_kept_where_a_decoder_drops_the_first_one():
    tokenizer = metaspace("a", "dog", ".")
    names = ["▁a", "<end>", "▁dog", "▁", "▁a", "<end>", "<end>", "▁", "▁dog", "▁."]
    given = pieces(IncrementalDecoder(tokenizer), [tokenizer.token_to_id(name) for name in names])
    assert given == ["a", "", " dog", " ", " a", "", "", " ", " dog", " .", ""]


def test_bytes_as_tokens_give_whole_characters_at_once():
    tokenizer = metaspace("a")
    ids = [tokenizer.token_to_id(f"<0x{byte:02X}>") for byte in "🐕€".encode()]
    broken, word = tokenizer.token_to_id("<0xFF>"), tokenizer.token_to_id("▁a")
    given = pieces(IncrementalDecoder(tokenizer), [word, *ids, broken, word])
    assert given == ["a", "", "", "", "🐕", "", "", "€", "", f"{UNFINISHED} a", ""]


@pytest.mark.parametrize("kind", ["backend", "transformers"])
def test_no_space_is_tidied_away(kind):
    tokenizer = byte_level()
    if kind == "transformers":
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=True)
        assert tokenizer.clean_up_tokenization_spaces
    ids = byte_level().encode("Is it , or n't ?").ids
    assert "".join(pieces(IncrementalDecoder(tokenizer), ids)) == "Is it , or n't ?"


def test_a_tokenizer_that_is_no_wrapper():
    class Old:
        all_special_ids = (0,)

        def decode(self, ids, *, clean_up_tokenization_spaces):
            assert not clean_up_tokenization_spaces
            return "".join(chr(96 + token) for token in ids)

    assert pieces(IncrementalDecoder(Old(), [1, 0]), [0, 2, 0, 3]) == ["", "b", "", "c", ""]


def test_what_is_left_of_a_character_comes_at_the_end():
    tokenizer = byte_level()
    tokens = tokenizer.encode("a🐕").ids
    assert pieces(IncrementalDecoder(tokenizer), tokens[:-1]) == ["a", *[""] * (len(tokens) - 2), UNFINISHED]


@pytest.mark.parametrize("broken", range(20))
def test_a_character_after_bytes_that_are_none_comes_whole(broken):
    tokenizer = byte_level()
    tokens = tokenizer.encode("🐕").ids
    tokens = [*tokens[:1] * broken, *tokens]
    assert "".join(pieces(IncrementalDecoder(tokenizer), tokens)) == UNFINISHED * broken + "🐕"


@pytest.mark.parametrize("what", ["text", "no characters", "special", "padding"])
def test_the_work_is_linear(what):
    """The tokens that are decoded for each one that comes do not grow with the text."""
    tokenizer = byte_level()
    (letter,), special = tokenizer.encode("a").ids, tokenizer.token_to_id("<end>")
    broken = tokenizer.encode("🐕").ids[0]
    token = {"text": letter, "no characters": broken, "special": special, "padding": 10_000}[what]

    class Counting:
        decoded = 0

        def get_added_tokens_decoder(self):
            return tokenizer.get_added_tokens_decoder()

        def id_to_token(self, token):
            return tokenizer.id_to_token(token)

        def decode(self, ids):
            self.decoded += len(ids)
            return tokenizer.decode(ids)

    counting = Counting()
    _ = pieces(IncrementalDecoder(counting), [token] * 2000)
    assert counting.decoded <= 2000 * 40


def test_the_tokenizer_of_the_pair_is_the_same_through_transformers(shipped):
    assert json.loads(shipped.to_str())["decoder"]["type"] == "ByteLevel"
    wrapped = AutoTokenizer.from_pretrained(pair_folder("draft"))
    tokens = [shipped.token_to_id("</s>"), *shipped.encode(WRITTEN).ids]
    assert "".join(pieces(IncrementalDecoder(wrapped), tokens)) == WRITTEN
