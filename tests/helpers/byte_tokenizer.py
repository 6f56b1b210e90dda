"""A real byte-level tokenizer of 298 tokens, made here: no download, no file."""

from __future__ import annotations

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers


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
