"""The kernel's side of lists: what ``sparsify`` and ``list_codec`` do, given to ``tslt_wire._native`` and taken back.

Spec sections 4 and 5.  Called only where ``tslt_wire.backend`` is ``native``, with arguments that are checked already.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from tslt_wire._native import backend, kernel
from tslt_wire.errors import DecodeError, ErrorCode
from tslt_wire.limits import MAX_VOCAB_SIZE, DecodeLimits
from tslt_wire.lists.distribution import LEAST_TAIL, SparseDistribution
from tslt_wire.lists.logits import BAD_LOGITS, check_vocab_size, plain_logits
from tslt_wire.lists.precision import Precision
from tslt_wire.lists.prior import Prior
from tslt_wire.lists.profile import ENTROPY_IDS, Profile
from tslt_wire.lists.truncation import Both, MinProb, TopK, TopP, Truncation

KERNEL_ENTROPIES = ("none", "range")
"""Entropy coders the kernel has; under ``zstd`` frames and lists are the reference's."""
PRECISION_IDS: dict[str, int] = {precision: precision.wire_id for precision in Precision}
"""By name too: a Precision is a string."""
Limits = tuple[int, int, int, int, int, int]
"""Bytes, nodes, leaves, depth, entries, extensions."""

_WORDS = {
    ErrorCode.TRUNCATED: "the bytes end before their content does",
    ErrorCode.TRAILING_BYTES: "bytes follow the content",
    ErrorCode.BAD_CHECKSUM: "the frame was damaged on its way, or is not exactly one frame",
    ErrorCode.UNKNOWN_KIND: "the frame kind is not known",
    ErrorCode.RESERVED_BITS: "reserved and padding bits must be 0",
    ErrorCode.NON_CANONICAL: "no encoder writes these bytes: what they mean has another encoding",
    ErrorCode.LIMIT_EXCEEDED: "more than the limits allow",
    ErrorCode.OUT_OF_RANGE: "a value its field does not allow",
    ErrorCode.BAD_TREE: "the parents are no tree, or siblings that must differ are equal",
    ErrorCode.BAD_LIST: "the list is no distribution",
    ErrorCode.UNKNOWN_CRITICAL_EXTENSION: "an extension must be understood and is not",
}
_MOST = 1 << 62
"""Limits above this are the same to the kernel: nothing is so large."""

if backend == "native":
    # The kernel makes lists by itself: putting them together here takes as long again as reading one (1.4 us).
    kernel.configure(
        SparseDistribution, np.frombuffer, np.dtype(np.int32), np.dtype(np.uint32), np.dtype(np.int64), tuple(Precision)
    )


def kernel_limits(limits: DecodeLimits | None) -> Limits:
    """Return limits as the kernel takes them; the defaults for None."""
    if limits is None:
        return _DEFAULT_LIMITS
    return (
        min(limits.max_frame_bytes, _MOST),
        min(limits.max_nodes, _MOST),
        min(limits.max_leaves, _MOST),
        min(limits.max_depth, _MOST),
        min(limits.max_entries, _MOST),
        min(limits.max_extensions, _MOST),
    )


_DEFAULT_LIMITS = kernel_limits(DecodeLimits())
_TABLES: WeakKeyDictionary[Prior, kernel.PriorTables] = WeakKeyDictionary()


def kernel_tables(prior: Prior | None) -> kernel.PriorTables | None:
    """Return the running sums of a prior as the kernel takes them, made once for each prior."""
    if prior is None:
        return None
    found = _TABLES.get(prior)
    if found is None:
        found = _TABLES[prior] = kernel.PriorTables(*prior.running_sums())
    return found


def refused(code: int) -> Exception:
    """Return what to raise for an error code of the kernel."""
    if code == kernel.NO_MEMORY:
        return MemoryError()
    if code < 0:
        return ValueError("the kernel cannot encode this")
    return DecodeError(ErrorCode(code), _WORDS[ErrorCode(code)])


def kernel_encode_list(q: SparseDistribution, profile: Profile) -> bytes:
    """Write a lone list that belongs to ``profile``."""
    data = kernel.encode_list(
        q, q.vocab_size, PRECISION_IDS[q.precision], ENTROPY_IDS[profile.entropy], kernel_tables(profile.prior)
    )
    if isinstance(data, int):
        raise refused(data)
    return data


def kernel_decode_list(data: bytes | memoryview, profile: Profile, limits: DecodeLimits | None) -> SparseDistribution:
    """Read a lone list."""
    bounds = _DEFAULT_LIMITS if limits is None else kernel_limits(limits)
    q = kernel.decode_list(
        data,
        profile.vocab_size,
        PRECISION_IDS[profile.precision],
        ENTROPY_IDS[profile.entropy],
        None if profile.prior is None else kernel_tables(profile.prior),
        profile.prior,
        bounds[0],
        bounds[4],
    )
    if isinstance(q, int):
        raise refused(q)
    return q  # type: ignore[no-any-return]


# ------------------------------------------------------------------------------------------------------------- sparsify

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
        if made == kernel.NO_MEMORY:
            raise MemoryError
        _check_vocab_size(prior, plain_logits(logits, dimensions).shape[-1])
        raise ValueError(BAD_LOGITS)
    if prior is not None and (dimensions == 1 or made):
        _check_vocab_size(prior, made.vocab_size if dimensions == 1 else made[0].vocab_size)
    return made


def _check_vocab_size(prior: Prior | None, vocab_size: int) -> None:
    if prior is not None:
        check_vocab_size(vocab_size, prior.vocab_size)
