"""A pair of realistic size without real weights: random ones, whose acceptance is a dial.

Both models are Llamas of their full size and take the time of one; but what attention and MLPs add to the residual
stream is multiplied by 0, so that logits depend on the last token alone: ``head @ norm(embedding[token])``.  The
draft's embedding is the target's with noise: the more, the less it is accepted.  The text is nonsense; its law is as
sharp as a language model's, and speed, bytes and passes do not ask for more.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

VOCAB = 32_000
CONTEXT = 1024
_FEATURES = 64
"""Dimensions of the embedding that say something."""
_SHARP = 5.5
"""Standard deviation of logits: an entropy of about 2.5 nat."""


@dataclass(frozen=True, slots=True)
class Size:
    """A published model's shape."""

    hidden: int
    inner: int
    layers: int
    heads: int
    key_heads: int


SIZES = {
    "68M": Size(768, 3072, 2, 12, 12),
    "160M": Size(768, 3072, 12, 12, 12),
    "1.1B": Size(2048, 5632, 22, 32, 4),
    "tiny": Size(64, 128, 2, 4, 4),
}
"""JackFram/llama-68m and llama-160m, TinyLlama-1.1B, and one for tests."""


def save_pair(folder: Path, *, draft: str, target: str, noise: float, seed: int, vocab_size: int = VOCAB) -> Path:
    """Write both models and their tokenizer of whole words; ``noise``: the dial, 0 for equal laws; the folder again."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(vocab_size, _FEATURES)).astype(np.float32)
    heads = rng.normal(size=(vocab_size, _FEATURES)).astype(np.float32)
    strayed = features + noise * rng.normal(size=features.shape).astype(np.float32)
    tokenizer = _tokenizer(vocab_size)
    for name, size, rows in (("target", target, features), ("draft", draft, strayed)):
        model = _model(SIZES[size], rows, heads, vocab_size)
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return folder


def _model(size: Size, features: Any, heads: Any, vocab_size: int) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=size.hidden,
        intermediate_size=size.inner,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.key_heads,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=None,
        pad_token_id=0,
    )
    model: Any = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        # The norm divides by the root of the mean square: of rows with unit mean square in the first few dimensions,
        # its square is features over hidden.
        scale = _SHARP / _FEATURES**0.5 * (_FEATURES / size.hidden) ** 0.5
        model.model.embed_tokens.weight.zero_()
        model.model.embed_tokens.weight[:, :_FEATURES] = torch.from_numpy(features)
        model.lm_head.weight.zero_()
        model.lm_head.weight[:, :_FEATURES] = torch.from_numpy(heads) * scale
    return model


def _tokenizer(vocab_size: int) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(vocab_size)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="w0")


def prompts(count: int, length: int, seed: int, vocab_size: int = VOCAB) -> list[str]:
    """Nonsense of ``length`` words each."""
    rng = np.random.default_rng(seed)
    return [" ".join(f"w{i}" for i in rng.integers(vocab_size, size=length)) for _ in range(count)]
