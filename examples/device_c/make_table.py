"""A table for device.c: the largest logits of the pair's draft model after each token, seen alone behind the first one.

python examples/device_c/make_table.py draft.table "The old house stood"

Prints the tokens of the prompt, for the command line of device.c.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np

from examples import PAIR

LISTED = 64
"""Logits a row."""
BATCH = 256


def table(model: Any, listed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Ids, int32, and logits, float32, both (V, listed) and by ascending id."""
    import torch

    size = model.config.vocab_size
    ids, logits = np.empty((size, listed), np.int32), np.empty((size, listed), np.float32)
    with torch.inference_mode():
        for first in range(0, size, BATCH):
            tokens = torch.arange(first, min(size, first + BATCH))
            before = torch.full_like(tokens, model.config.bos_token_id)
            rows = model(torch.stack([before, tokens], 1)).logits[:, -1]
            values, found = rows.topk(listed)
            order = found.argsort(1)
            ids[first : first + len(tokens)] = found.gather(1, order)
            logits[first : first + len(tokens)] = values.gather(1, order)
    return ids, logits


def main(path: str, prompt: str = "The old house stood") -> None:
    """Write the table of the pair's draft model."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from tslt_runtime.fingerprint import vocabulary_of

    tokenizer: Any = AutoTokenizer.from_pretrained(PAIR / "draft")
    model = AutoModelForCausalLM.from_pretrained(PAIR / "draft").eval()
    size = model.config.vocab_size
    ids, logits = table(model, LISTED)
    texts = [tokenizer.decode([token]).encode()[:255] for token in range(size)]
    with Path(path).open("wb") as file:
        file.write(struct.pack("<II", size, LISTED) + vocabulary_of(tokenizer, vocab_size=size).fingerprint)
        file.write(ids.tobytes() + logits.tobytes() + b"".join(bytes([len(text)]) + text for text in texts))
    print(*tokenizer(prompt)["input_ids"])


if __name__ == "__main__":
    main(*sys.argv[1:])
