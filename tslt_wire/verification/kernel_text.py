"""What the kernel makes of the text before a draft's rows: scores in place of logits (spec section 7.2).

``adjustments`` is the reference, and defines them.  Used only where ``tslt_wire.backend`` is ``native``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tslt_wire._native import kernel
from tslt_wire.messages.sampling import Sampling

Edits = tuple[bytes, bytes]
"""Tokens, int32 ascending, and their scores, float64."""


class KernelText:
    """The tokens of a text with their counts, and settings that depend on them; the text is gone through once."""

    __slots__ = ("_seen", "_some_penalty")

    def __init__(
        self, sampling: Sampling, prompt: tuple[int, ...], output: tuple[int, ...], eos_tokens: tuple[int, ...]
    ) -> None:
        """See ``SampledText``."""
        repeats = sampling.repetition_penalty != 1
        self._some_penalty = repeats or sampling.presence_penalty != 0 or sampling.frequency_penalty != 0
        biased = sorted(sampling.logit_bias)
        never = sorted((*sampling.suppress_tokens, *(eos_tokens if sampling.ignore_eos else ())))
        self._seen = kernel.Text(
            prompt if repeats else (),
            output if self._some_penalty else (),
            sampling.repetition_penalty,
            sampling.frequency_penalty,
            sampling.presence_penalty,
            tuple(token for token, _ in biased),
            np.array([bias for _, bias in biased], np.float64),
            tuple(never),
        )

    def edits(self, logits: Any, at: int, path: tuple[int, ...]) -> Edits | None:
        """What replaces logits of row ``at`` of ``logits``, as ``KernelRow`` takes them, behind the drafted ``path``.

        None where nothing does.  ValueError for tokens that the row has not.
        """
        found = self._seen.edits(logits, at, path if self._some_penalty else ())
        if found is None:
            raise ValueError(f"settings and text must name tokens of the row, 0 to {logits.shape[-1] - 1}")
        return found if found[0] else None
