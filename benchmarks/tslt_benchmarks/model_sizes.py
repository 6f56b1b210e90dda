"""How large a model is, told by its files alone: no weights are read."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from tslt_runtime.loading import is_gguf

EMBEDDING = "embed_tokens"
"""In the names of weights that no pass multiplies with."""
GGUF_EMBEDDING = "token_embd.weight"
"""The same of a GGUF file; a row a token."""


@dataclass(frozen=True, slots=True)
class ModelSize:
    """Of one model."""

    parameters: int
    vocab_size: int

    def __str__(self) -> str:
        """For people."""
        return f"{self.parameters:,} parameters, {self.vocab_size:,} tokens"


def size_of(source: Path) -> ModelSize:
    """Of a folder of safetensors or a GGUF file; OSError, KeyError or ValueError for what is neither."""
    if is_gguf(source):
        from gguf import GGUFReader

        shapes = {tensor.name: [int(n) for n in tensor.shape] for tensor in GGUFReader(source).tensors}
        return ModelSize(sum(map(math.prod, shapes.values())), shapes[GGUF_EMBEDDING][-1])
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    vocab_size = config.get("vocab_size") or config["text_config"]["vocab_size"]
    return ModelSize(sum(map(math.prod, _shapes(source).values())), int(vocab_size))


def multiplied(folder: Path) -> int:
    """Weights of a folder's model that a pass multiplies with: all but the embedding's."""
    return sum(math.prod(shape) for name, shape in _shapes(folder).items() if EMBEDDING not in name)


def _shapes(folder: Path) -> dict[str, list[int]]:
    from safetensors import safe_open

    found = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="np") as opened:
            for name in opened.keys():  # noqa: SIM118 - no mapping
                found[name] = opened.get_slice(name).get_shape()
    if not found:
        raise FileNotFoundError(f"{folder} has no safetensors")
    return found
