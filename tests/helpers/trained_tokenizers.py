"""Two tokenizers of different kinds, trained here on the project's own pages, and a draft for a target of the other."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tiny_llama import tiny_draft
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import LlamaForCausalLM

from tslt_runtime.token_map import TokenMap

ROOT = Path(__file__).resolve().parents[2]


def _pages() -> list[str]:
    return [(ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in ("evidence", "glossary", "sampling")]


def _with_start(tokenizer: Tokenizer, start: str) -> Tokenizer:
    known = [(start, tokenizer.token_to_id(start))]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{start} $A", special_tokens=known)
    return tokenizer


def byte_pairs(size: int = 500) -> Tokenizer:
    """Byte-level BPE as of GPT-2 and Llama 3, texts begin with <|begin|>."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|begin|>", "<|end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=alphabet, special_tokens=special, show_progress=False
    )
    tokenizer.train_from_iterator(_pages(), trainer)
    return _with_start(tokenizer, "<|begin|>")


def sentence_pieces(size: int = 600) -> Tokenizer:
    """BPE with spaces as U+2581 and bytes for what is rare, as of Llama 2; texts begin with <s>."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    numbers = [f"<0x{byte:02X}>" for byte in range(256)]
    special = ["<unk>", "<s>", "</s>"]
    words = [word for page in _pages() for word in page.replace("\n", " ").split(" ") if word.isascii()]
    trainer = trainers.BpeTrainer(vocab_size=size - 256, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(words, trainer)
    parts = json.loads(tokenizer.to_str())
    known = parts["model"]["vocab"]
    known |= {number: len(known) + i for i, number in enumerate(numbers)}
    tokenizer = Tokenizer.from_str(json.dumps(parts))
    return _with_start(tokenizer, "<s>")


def translated(target: LlamaForCausalLM, token_map: TokenMap, size: int) -> LlamaForCausalLM:
    """The draft of ``target`` for another tokenizer: it knows shared tokens as the target does, by its own ids."""
    draft = tiny_draft(target)
    shared, own = torch.from_numpy(token_map.ids).long(), torch.from_numpy(token_map.sources).long()
    rows = [
        layer.weight.data[shared].clone() for layer in (draft.get_input_embeddings(), draft.get_output_embeddings())
    ]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        draft.resize_token_embeddings(size, mean_resizing=False)
        for layer, kept in zip((draft.get_input_embeddings(), draft.get_output_embeddings()), rows, strict=True):
            layer.weight.data.normal_(0, 0.3)
            layer.weight.data[own] = kept
    return draft
