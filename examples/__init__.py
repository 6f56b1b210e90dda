"""Short programs to copy from, on the pair of models that ships with the repository."""

from pathlib import Path

PAIR = Path(__file__).parent / "pair"
"""The default pair (see its MODEL_CARD.md): a draft and a target with one tokenizer."""
