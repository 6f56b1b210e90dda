"""Logits to truncated distributions: temperature, truncation, precision, tail.

Spec section 4; paper section 3.2 (TSLT).  ``sparsify`` asks the kernel where there is one; ``sparsify_reference``
defines what it makes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from tslt_wire import checks
from tslt_wire._native import backend
from tslt_wire.lists.distribution import LEAST_TAIL, TAIL_PARTS, TAIL_SCALE, SparseDistribution
from tslt_wire.lists.kernel_sparsify import kernel_sparsify
from tslt_wire.lists.logits import BAD_LOGITS, check_vocab_size, plain_logits
from tslt_wire.lists.precision import Precision, masses_of, precision_of, quantise, weights_of
from tslt_wire.lists.prior import Prior, check_prior
from tslt_wire.lists.truncation import TopK, Truncation, check_truncation, keep


def sparsify(
    logits: Any,
    *,
    temperature: float = 1.0,
    truncation: Truncation | None = None,
    precision: Precision | str = Precision.LOG2_2,
    prior: Prior | None = None,
    tail_scale: float = TAIL_SCALE,
) -> SparseDistribution:
    """Truncate and quantise a draft model's logits: temperature, truncation, precision, in this order.

    Paper section 3.2 (TSLT), spec section 4.  ``logits``: real (V,), -inf for impossible tokens; an array, a tensor in
    the CPU's memory or a sequence of numbers.  ``temperature`` 0 keeps the most probable token alone.  ``truncation``
    None keeps all.  A token more than 30 octaves (20.8 nat) less probable than the most probable one has weight 0 and
    is left out.

    With a ``prior`` a list that leaves out at least ``LEAST_TAIL`` of the probability gets ``tail_scale`` (0 to 1) of
    that as its tail; 0 gives no tails, which is better where the target is much sharper than the draft (``TailScale``
    finds out).  Raises ValueError for NaN, +inf, all -inf, a bad shape, a prior of another vocabulary or a number out
    of range, TypeError for an argument of another type or memory that is not the CPU's.
    """
    settings = _checked(temperature, truncation, precision, prior, tail_scale)
    if backend == "native":
        q: SparseDistribution = kernel_sparsify(logits, 1, *settings)
        return q
    return _one_row(plain_logits(logits, 1), *settings)


def sparsify_batch(
    logits: Any,
    *,
    temperature: float = 1.0,
    truncation: Truncation | None = None,
    precision: Precision | str = Precision.LOG2_2,
    prior: Prior | None = None,
    tail_scale: float = TAIL_SCALE,
) -> list[SparseDistribution]:
    """Sparsify each row of ``logits``, real (N, V), as ``sparsify`` does; all nodes of a tree's level in one call."""
    settings = _checked(temperature, truncation, precision, prior, tail_scale)
    if backend == "native":
        lists: list[SparseDistribution] = kernel_sparsify(logits, 2, *settings)
        return lists
    return [_one_row(row, *settings) for row in plain_logits(logits, 2)]


def sparsify_reference(
    logits: Any,
    *,
    temperature: float = 1.0,
    truncation: Truncation | None = None,
    precision: Precision | str = Precision.LOG2_2,
    prior: Prior | None = None,
    tail_scale: float = TAIL_SCALE,
) -> SparseDistribution:
    """Do what ``sparsify`` does without the kernel: this defines the result."""
    return _one_row(plain_logits(logits, 1), *_checked(temperature, truncation, precision, prior, tail_scale))


def sparsify_batch_reference(
    logits: Any,
    *,
    temperature: float = 1.0,
    truncation: Truncation | None = None,
    precision: Precision | str = Precision.LOG2_2,
    prior: Prior | None = None,
    tail_scale: float = TAIL_SCALE,
) -> list[SparseDistribution]:
    """Do what ``sparsify_batch`` does without the kernel."""
    settings = _checked(temperature, truncation, precision, prior, tail_scale)
    return [_one_row(row, *settings) for row in plain_logits(logits, 2)]


_Settings = tuple[float, Truncation | None, Precision, Prior | None, float]


def _checked(temperature: Any, truncation: Any, precision: Any, prior: Any, tail_scale: Any) -> _Settings:
    # What nearly all calls give passes without a call: a list is made in the time of twenty of these.
    return (
        temperature
        if type(temperature) is float and 0 <= temperature < math.inf
        else checks.number("temperature", temperature, 0, None),
        None if truncation is None else check_truncation(truncation),
        precision if type(precision) is Precision else precision_of(precision),
        None if prior is None else check_prior(prior),
        tail_scale
        if type(tail_scale) is float and 0 <= tail_scale <= 1
        else checks.number("tail_scale", tail_scale, 0, 1),
    )


def _one_row(
    logits: npt.NDArray[Any],
    temperature: float,
    truncation: Truncation | None,
    precision: Precision,
    prior: Prior | None,
    tail_scale: float,
) -> SparseDistribution:
    values = logits.astype(np.float64)
    if prior is not None:
        check_vocab_size(len(values), prior.vocab_size)
    top = values.max()
    if not np.isfinite(top):
        raise ValueError(BAD_LOGITS)
    if temperature == 0:
        ids = np.array([values.argmax()], dtype=np.int32)
        return SparseDistribution(len(values), precision, ids, np.zeros(1, np.uint32))
    with np.errstate(over="ignore", under="ignore"):
        shifted = (values - top) / temperature
    outside = 0.0
    if truncation is None:
        ids = np.arange(len(values), dtype=np.int32)
    else:
        # Integers, so that every machine keeps the same tokens: exp() and the order of a float sum are not the same.
        # A mere number of tokens needs none.
        masses = None if prior is None and isinstance(truncation, TopK) else masses_of(shifted)
        ids = keep(values if masses is None else masses, truncation, order=values).astype(np.int32)
        outside = 0.0 if masses is None else 1 - int(masses[ids].sum()) / int(masses.sum())
    codes = quantise(precision, shifted[ids])
    sampled = weights_of(precision, codes) > 0
    tail = 0
    if prior is not None and outside >= LEAST_TAIL and sampled.sum() < len(values):
        tail = min(int(outside * tail_scale * TAIL_PARTS + 0.5), TAIL_PARTS - 1)
    return SparseDistribution(
        len(values),
        precision,
        ids[sampled],
        codes[sampled],
        tail=tail,
        prior=prior if tail else None,
        left_out=outside if prior is not None else 0.0,
    )
