"""GGUF files for tests: the shipped pair's and small random models', beside the folders that they were made from."""

from __future__ import annotations

import copy
import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from default_pair import pair_folder
from numpy.typing import NDArray
from tiny_llama import tiny_draft, tiny_llama
from transformers import LlamaForCausalLM

from tslt_runtime.commands.convert import convert

TOLERANCE = 2e-4  # of a logit; they are around 10
needs_llamacpp = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("xllamacpp", "gguf")),
    reason="xllamacpp or gguf is not installed",
)
"""Mark of a test module that runs llama.cpp."""


def pair_gguf(name: str, folder: Path, *, dtype: str = "float32") -> Path:
    """The pair's model ``name``, "target" or "draft", as a file in ``folder``."""
    path = folder / f"{name}-{dtype}.gguf"
    convert(pair_folder(name), path, dtype=dtype)
    return path


def byte_level_tokenizer(merges: list[list[str]]) -> dict[str, Any]:
    """``tokenizer.json`` of the 256 bytes, of what ``merges`` make, and of <s> as token 0."""
    from tokenizers.pre_tokenizers import ByteLevel

    texts = ["<s>", *sorted(ByteLevel.alphabet()), *("".join(pair) for pair in merges)]
    split = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "added_tokens": [
            {
                **dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False),
                **{"id": 0, "content": "<s>", "special": True},
            }
        ],
        "normalizer": None,
        "pre_tokenizer": split,
        "post_processor": None,
        "decoder": split,
        "model": {"type": "BPE", "vocab": {text: i for i, text in enumerate(texts)}, "merges": merges},
    }


def tiny_folder(folder: Path, *, vocab_size: int = 300, dtype: str = "float32", **options: Any) -> LlamaForCausalLM:
    """A random model, saved in ``folder`` in ``dtype`` with a tokenizer; the same weights are returned in float32."""
    module = tiny_llama(vocab_size=vocab_size, **options)
    saved = copy.deepcopy(module).to(getattr(torch, dtype))
    saved.save_pretrained(folder)
    module.load_state_dict(saved.state_dict())  # not module.to(...): it would round the angles, too
    tokenizer = byte_level_tokenizer([["h", "e"], ["Ġ", "t"], ["Ġt", "he"]])
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    return module


def tiny_gguf(folder: Path, **options: Any) -> tuple[Path, LlamaForCausalLM]:
    """A random model as a file in ``folder``, and what ``tiny_folder`` returns."""
    module = tiny_folder(folder, **options)
    convert(folder, folder / "tiny.gguf", dtype="float32")
    return folder / "tiny.gguf", module


def tiny_pair(folder: Path, *, context: int) -> None:
    """A small target and a draft that it often rejects, in ``folder``: "target" and "draft"."""
    module = tiny_folder(folder / "target", layers=3, seed=3, context=context)
    tiny_draft(module).save_pretrained(folder / "draft")
    shutil.copy(folder / "target" / "tokenizer.json", folder / "draft")


def assert_same(got: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    """Rows of llama.cpp and of transformers are the same, but for the order in which they add up."""
    assert got.shape == expected.shape
    assert got.dtype == np.float32
    assert float(np.abs(got - expected).max()) < TOLERANCE
