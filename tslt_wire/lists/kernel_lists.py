"""The kernel's side of lists: what ``list_codec`` does, given to ``tslt_wire._native`` and taken back.

Spec section 5.  Called only where ``tslt_wire.backend`` is ``native``, with arguments that are checked already.
"""

from __future__ import annotations

from typing import TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from tslt_wire._native import backend, kernel
from tslt_wire.errors import DecodeError, ErrorCode
from tslt_wire.limits import DecodeLimits
from tslt_wire.lists.distribution import SparseDistribution
from tslt_wire.lists.precision import Precision
from tslt_wire.lists.prior import Prior
from tslt_wire.lists.profile import ENTROPY_IDS, Profile

KERNEL_ENTROPIES = ("none", "range")
"""Entropy coders the kernel has; under ``zstd`` frames and lists are the reference's."""
PRECISION_IDS: dict[str, int] = {precision: precision.wire_id for precision in Precision}
"""By name too: a Precision is a string."""
Limits = tuple[int, int, int, int, int, int]
"""Bytes, nodes, leaves, depth, entries, extensions."""

_Made = TypeVar("_Made")
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


def taken(made: _Made | int) -> _Made:
    """Return what the kernel made; DecodeError where it is the code of a mistake in what was given."""
    if isinstance(made, int):
        raise DecodeError(ErrorCode(made), _WORDS[ErrorCode(made)])
    return made


def kernel_encode_list(q: SparseDistribution, profile: Profile) -> bytes:
    """Write a lone list that belongs to ``profile``."""
    return taken(
        kernel.encode_list(
            q, q.vocab_size, PRECISION_IDS[q.precision], ENTROPY_IDS[profile.entropy], kernel_tables(profile.prior)
        )
    )


def kernel_decode_list(data: bytes | memoryview, profile: Profile, limits: DecodeLimits | None) -> SparseDistribution:
    """Read a lone list."""
    bounds = _DEFAULT_LIMITS if limits is None else kernel_limits(limits)
    q: SparseDistribution | int = kernel.decode_list(
        data,
        profile.vocab_size,
        PRECISION_IDS[profile.precision],
        ENTROPY_IDS[profile.entropy],
        None if profile.prior is None else kernel_tables(profile.prior),
        profile.prior,
        bounds[0],
        bounds[4],
    )
    return taken(q)
