"""The kernel's side of making lists: what ``sparsify`` does, given to ``tslt_wire._native`` and taken back.

Spec section 4.  Called only where ``tslt_wire.backend`` is ``native``, with arguments that are checked already.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tslt_wire._native import kernel
from tslt_wire.limits import MAX_VOCAB_SIZE
from tslt_wire.lists.distribution import LEAST_TAIL
from tslt_wire.lists.kernel_lists import PRECISION_IDS
from tslt_wire.lists.logits import BAD_LOGITS, check_vocab_size, plain_logits
from tslt_wire.lists.precision import Precision
from tslt_wire.lists.prior import Prior
from tslt_wire.lists.truncation import Both, MinProb, TopK, TopP, Truncation

_EVERY = 0  # a top_k that is off
_Rule = tuple[int, float, float]


def _rule_of(truncation: Truncation | None) -> _Rule:
    """How many, which probability together, which alone.  By type: isinstance of an abstract class takes its time."""
    if truncation is None:
        return _EVERY, 1.0, 0.0
    if type(truncation) is TopK:
        return min(truncation.k, MAX_VOCAB_SIZE), 1.0, 0.0
    if type(truncation) is TopP:
        return _EVERY, truncation.p, 0.0
    if type(truncation) is MinProb:
        return _EVERY, 1.0, truncation.tau
    if type(truncation) is Both:
        first, second = _rule_of(truncation.first), _rule_of(truncation.second)
        counts = [rule[0] for rule in (first, second) if rule[0] != _EVERY]
        return min(counts, default=_EVERY), min(first[1], second[1]), max(first[2], second[2])
    raise TypeError(f"the kernel has no truncation {truncation!r}")


def kernel_sparsify(
    logits: Any,
    dimensions: int,
    temperature: float,
    truncation: Truncation | None,
    precision: Precision,
    prior: Prior | None,
    tail_scale: float,
) -> Any:
    """Make the list of logits (V,), or the lists of logits (N, V).

    Arrays and tensors of the CPU that are in one piece are read where they are, others are copied.
    """
    rule = _rule_of(truncation)
    truncate, number = truncation is not None, PRECISION_IDS[precision]
    made = None
    if type(logits) is np.ndarray or hasattr(logits, "__dlpack__"):
        try:
            made = kernel.sparsify(
                logits, dimensions, temperature, truncate, *rule, number, prior, tail_scale, LEAST_TAIL
            )
        except TypeError:  # not of the CPU, not in one piece, or with gradients
            made = None
    if made is None:
        logits = plain_logits(logits, dimensions)
        made = kernel.sparsify(logits, dimensions, temperature, truncate, *rule, number, prior, tail_scale, LEAST_TAIL)
    if isinstance(made, int):
        _check_vocab_size(prior, plain_logits(logits, dimensions).shape[-1])
        raise ValueError(BAD_LOGITS)
    if prior is not None and (dimensions == 1 or made):
        _check_vocab_size(prior, made.vocab_size if dimensions == 1 else made[0].vocab_size)
    return made


def _check_vocab_size(prior: Prior | None, vocab_size: int) -> None:
    if prior is not None:
        check_vocab_size(vocab_size, prior.vocab_size)
