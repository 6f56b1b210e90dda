"""Packed linear layers against plain ones, tying included; vocabulary fingerprints."""

from __future__ import annotations

import hashlib
import struct

import pytest
import torch
from tiny_llama import tiny_llama
from tokenizers import Tokenizer, models
from torch import nn
from transformers import PreTrainedTokenizerFast

from tslt_runtime.engines.transformers.packed import PackedLinear, pack_linear_layers, packing_available
from tslt_runtime.fingerprint import (
    VocabularyMismatch,
    tokenizer_fingerprint,
    vocabulary_of,
)

needs_packing = pytest.mark.skipif(not packing_available(torch.float32), reason="this torch cannot pack weights")


@needs_packing
@pytest.mark.parametrize("rows", [1, 2, 15, 40])
@pytest.mark.parametrize("bias", [True, False])
def test_packed_layer_equals_the_plain_one(rows: int, bias: bool) -> None:
    linear = nn.Linear(24, 50, bias=bias)
    x = torch.randn(1, rows, 24)
    with torch.inference_mode():
        torch.testing.assert_close(PackedLinear(linear)(x), linear(x), atol=1e-5, rtol=1e-5)
        if packing_available(torch.bfloat16):
            half = linear.to(torch.bfloat16)
            assert torch.equal(PackedLinear(half)(x.bfloat16()), half(x.bfloat16()))


@needs_packing
@pytest.mark.parametrize("tied", [True, False])
def test_packing_a_model_keeps_its_logits_and_its_embedding(tied: bool) -> None:
    model = tiny_llama(tied=tied, layers=2)
    ids = torch.tensor([[1, 2, 3, 4]])
    embedding = model.get_input_embeddings().weight
    with torch.inference_mode():
        before, weights = model(ids).logits, embedding.clone()
        assert pack_linear_layers(model) == 2 * 7 + 1
        torch.testing.assert_close(model(ids).logits, before, atol=1e-4, rtol=1e-4)
    assert model.get_input_embeddings().weight is embedding
    assert torch.equal(embedding, weights)
    assert pack_linear_layers(model) == 0


def test_subclasses_and_unsupported_dtypes_stay() -> None:
    class Special(nn.Linear):  # type: ignore[misc]
        pass

    model = nn.Sequential(Special(4, 4), nn.Linear(4, 4, dtype=torch.float64))
    assert pack_linear_layers(model) == 0


def test_packing_is_a_no_op_where_the_operators_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert pack_linear_layers(tiny_llama()) == 0


class Words(dict[str, int]):
    """The smallest thing with a vocabulary."""

    def get_vocab(self) -> dict[str, int]:
        return dict(self)

    def tokens_of(self, text: str) -> list[int]:
        return [self["<s>"]] if "<s>" in self else []

    def is_silent(self, token: int) -> bool:
        return any(token == own and text.startswith("<") for text, own in self.items())


def fast_tokenizer(vocab: dict[str, int]) -> PreTrainedTokenizerFast:
    unknown = next(iter(vocab))
    backend = Tokenizer(models.WordLevel(vocab=vocab, unk_token=unknown))
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token=unknown)


def test_fingerprint_follows_its_definition() -> None:
    data = b"tslt-wire vocabulary 1\n"
    for token_id, token in ((0, b"a"), (1, "é".encode()), (7, b"")):
        data += struct.pack("<II", token_id, len(token)) + token
    assert tokenizer_fingerprint(Words({"é": 1, "": 7, "a": 0})) == hashlib.sha256(data).digest()


def test_fingerprint_depends_on_the_vocabulary_alone(tmp_path: object) -> None:
    vocab = {"<unk>": 0, "a": 1, "b": 2, "ab": 3}
    one = fast_tokenizer(vocab)
    one.add_special_tokens({"additional_special_tokens": ["<go>"]})
    one.save_pretrained(f"{tmp_path}/tok")
    again = PreTrainedTokenizerFast.from_pretrained(f"{tmp_path}/tok")
    everything = Words({"<go>": 4, **dict(reversed(vocab.items()))})
    assert tokenizer_fingerprint(one) == tokenizer_fingerprint(again) == tokenizer_fingerprint(everything)
    assert tokenizer_fingerprint(one.backend_tokenizer) == tokenizer_fingerprint(one)
    different = [
        Words(vocab),
        Words({**everything, "<go>": 5}),
        Words({**everything, "a": 2, "b": 1}),
        Words({**everything, "c": 5}),
    ]
    prints = {tokenizer_fingerprint(words) for words in different}
    assert len(prints) == 4
    assert tokenizer_fingerprint(one) not in prints


def test_lone_surrogates_hash_and_bad_vocabularies_do_not() -> None:
    assert len(tokenizer_fingerprint(Words({"\ud800": 0}))) == 32
    for bad in (Words(), Words(a=-1), Words(a=1 << 32)):
        with pytest.raises(VocabularyMismatch):
            tokenizer_fingerprint(bad)


def test_padding_may_exceed_the_tokenizer() -> None:
    words = Words(a=0, b=1, c=2)
    narrow, padded = vocabulary_of(words, vocab_size=3), vocabulary_of(words, vocab_size=64)
    assert padded.vocab_size == 64
    assert narrow.fingerprint == padded.fingerprint
    assert (narrow.others, padded.others[:2], len(padded.others)) == ((), ((3, ""), (4, "")), 61)
    with pytest.raises(VocabularyMismatch, match="id 2"):
        vocabulary_of(words, vocab_size=2)


def test_the_fingerprint_of_ordinary_tokens_leaves_out_special_ones() -> None:
    words = Words({"<s>": 0, "a": 1, "é": 2, "<pad>": 3})
    found = vocabulary_of(words)
    data = b"tslt-wire ordinary tokens 1\n"
    for token_id, token in ((1, b"a"), (2, "é".encode())):
        data += struct.pack("<II", token_id, len(token)) + token
    assert found.ordinary == hashlib.sha256(data).digest()
    assert (found.others, found.begins, found.vocab_size) == (((0, "<s>"), (3, "<pad>")), (0,), 4)
    renamed = vocabulary_of(Words({"<s>": 0, "a": 1, "é": 2, "<eom>": 3, "<more>": 4}))
    assert renamed.ordinary == found.ordinary
    assert renamed.fingerprint != found.fingerprint
    assert vocabulary_of(Words({**words, "b": 4})).ordinary != found.ordinary
    with pytest.raises(VocabularyMismatch, match="no token with a text"):
        vocabulary_of(Words({"<s>": 0}))
