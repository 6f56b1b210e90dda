"""A real byte-level tokenizer of 298 tokens, made here: no download, no file."""

from __future__ import annotations

from pathlib import Path

from tiny_llama import soften, tiny_draft, tiny_llama
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast


def byte_level() -> Tokenizer:
    """A tokenizer whose tokens are single bytes and a few of two, with a special token and one that is added."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [(alphabet[i], alphabet[-1 - i]) for i in range(40)]
    tokens = [*alphabet, *(a + b for a, b in merges)]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<end>"])
    tokenizer.add_tokens([AddedToken("<added>")])
    return tokenizer


def save_byte_level_pair(folder: Path) -> Path:
    """A tiny draft and target of this tokenizer in ``folder``, which is returned."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=byte_level())
    target = soften(tiny_llama(vocab_size=298, layers=3, context=1024, seed=3), layers=1, scale=0.5)
    for name, model in (("target", target), ("draft", tiny_draft(target))):
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return folder
