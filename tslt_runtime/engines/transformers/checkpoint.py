"""Checkpoints of ``transformers``: what is read from their folders beside the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def load_tokenizer(path_or_hub_id: str | Path) -> Any:
    """The tokenizer of a model's folder or hub id; transformers has no public type for it."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(path_or_hub_id)
