"""One pass over rows of several texts of any length: a row attends to the cache of its own text, and to no other.

All rows lie side by side in one sequence, so that embeddings, linear layers and norms see one large batch; only
attention goes text by text, each over its own preallocated cache.  Nothing is padded, and no text waits for a longer
one.  It is an attention function that ``transformers`` calls by its name, so that the model's own code runs unchanged.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AttentionInterface, PretrainedConfig

from tslt_runtime.engines.transformers.kv_cache import TreeCache

NAME = "tslt_ragged"
"""What ``transformers`` knows the function by; it makes no mask for names that it does not know."""


@dataclass(frozen=True, slots=True)
class TextRows:
    """The rows of one text in a pass."""

    cache: TreeCache
    """Gets the keys and values of these rows."""
    start: int
    """Number of the text's first row in the pass."""
    stop: int
    """Number behind its last one."""
    mask: torch.Tensor | None
    """(1, 1, rows, cached + rows), as the attention that runs inside takes it; None: every row sees everything."""


class Ragged:
    """What the attention function is told of a pass."""

    def __init__(self, texts: Sequence[TextRows], attention: str) -> None:
        """``attention``: "sdpa" or "eager", what runs for each text."""
        self.texts = texts
        self._attention = attention

    def inner(self, module: torch.nn.Module) -> Any:
        """The attention function for one text; the eager one stands beside each model's layers."""
        if self._attention == "eager":
            return sys.modules[type(module).__module__].eager_attention_forward
        return AttentionInterface()[self._attention]


def supports_ragged(module: Any) -> bool:
    """Whether a model's layers look their attention function up by name and hand it what it is to be told."""
    return bool(getattr(module, "_supports_attention_backend", False))


@contextmanager
def ragged_attention(config: PretrainedConfig) -> Iterator[None]:
    """Let the layers of the model with this configuration take the function, as long as this lasts."""
    before = config._attn_implementation
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before


def _attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    tslt_ragged: Ragged,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """``query``, ``key``, ``value``: (1, heads, rows of all texts, head size); returns (1, rows, heads, head size)."""
    inner = tslt_ragged.inner(module)
    found = []
    for text in tslt_ragged.texts:
        own = (2, text.start, text.stop - text.start)
        keys, values = text.cache.update(key.narrow(*own), value.narrow(*own), module.layer_idx)
        out, _ = inner(module, query.narrow(*own), keys, values, text.mask, **options)
        found.append(out)
    return found[0] if len(found) == 1 else torch.cat(found, dim=1), None


AttentionInterface.register(NAME, _attend)
