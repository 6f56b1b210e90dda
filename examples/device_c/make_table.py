"""A table for device.c: the largest logits of the pair's draft model after each token, seen alone behind the first one.

python examples/device_c/make_table.py draft.table "The old house stood"

Prints the tokens of the prompt, for the command line of device.c, and on its standard error how far it is: a minute.
"""

from __future__ import annotations

import argparse
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np

from examples import PAIR

LISTED = 64
"""Logits a row."""
BATCH = 256
SAYS_EVERY = 20
"""Batches between two lines about how far it is."""


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
            if first // BATCH % SAYS_EVERY == 0:
                print(f"make_table: {first + len(tokens):,} of {size:,} rows", file=sys.stderr, flush=True)
    return ids, logits


def main(argv: list[str] | None = None) -> int:
    """Write the table of the pair's draft model; the exit status."""
    parser = argparse.ArgumentParser(prog="make_table.py", description=main.__doc__)
    parser.add_argument("table", type=Path, help="the file to write")
    parser.add_argument("prompt", nargs="?", default="The old house stood", help="whose tokens are printed")
    given = parser.parse_args(argv)
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from tslt_runtime.fingerprint import vocabulary_of

    tokenizer: Any = AutoTokenizer.from_pretrained(PAIR / "draft")
    prompt = tokenizer(given.prompt)["input_ids"]
    try:
        file = given.table.open("wb")
    except OSError as error:
        parser.error(f"{given.table} cannot be written: {error.strerror}")
    with file:
        model = AutoModelForCausalLM.from_pretrained(PAIR / "draft").eval()
        size = model.config.vocab_size
        ids, logits = table(model, LISTED)
        texts = [tokenizer.decode([token]).encode()[:255] for token in range(size)]
        file.write(struct.pack("<II", size, LISTED) + vocabulary_of(tokenizer, vocab_size=size).fingerprint)
        file.write(ids.tobytes() + logits.tobytes() + b"".join(bytes([len(text)]) + text for text in texts))
    print(*prompt)
    return 0


if __name__ == "__main__":
    sys.exit(main())
