"""The native backend: the kernel of tslt_wire/_native behind the functions that the reference has.

The same bytes, and the same error codes, as ``list_codec``, ``codec`` and ``distribution``.  What no kernel should do
(handshakes, prompts, arguments that are no numbers) goes to the reference.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tslt_wire import _kernel
from tslt_wire.distribution import SparseDistribution
from tslt_wire.errors import DecodeError, ErrorCode
from tslt_wire.limits import DecodeLimits
from tslt_wire.precision import Precision
from tslt_wire.prior import Prior
from tslt_wire.profile import ENTROPY_IDS, Profile

_PRECISIONS = tuple(Precision)
_PRECISION_IDS = {precision: precision.wire_id for precision in Precision}
_DEFAULT_LIMITS = DecodeLimits()
_WORDS = {
    ErrorCode.TRUNCATED: "the bytes end before their content does",
    ErrorCode.TRAILING_BYTES: "bytes follow the content",
    ErrorCode.BAD_CHECKSUM: "the frame was damaged on its way",
    ErrorCode.UNKNOWN_KIND: "the frame kind is not known",
    ErrorCode.RESERVED_BITS: "reserved and padding bits must be 0",
    ErrorCode.NON_CANONICAL: "no encoder writes these bytes: what they mean has another encoding",
    ErrorCode.LIMIT_EXCEEDED: "more than the limits allow",
    ErrorCode.OUT_OF_RANGE: "a value its field does not allow",
    ErrorCode.BAD_TREE: "the parents are no tree, or siblings that must differ are equal",
    ErrorCode.BAD_LIST: "the list is no distribution",
    ErrorCode.UNKNOWN_CRITICAL_EXTENSION: "an extension must be understood and is not",
}

_kernel.configure(
    SparseDistribution, np.frombuffer, np.dtype(np.int32), np.dtype(np.uint32), np.dtype(np.int64), _PRECISIONS
)


def _tables(prior: Prior | None) -> _kernel.PriorTables | None:
    """The running sums of a prior as the kernel takes them, made once for each prior."""
    if prior is None:
        return None
    found = prior.__dict__.get("_kernel_tables")
    if found is None:
        rows = prior._starts
        found = prior.__dict__["_kernel_tables"] = _kernel.PriorTables(prior._tail_starts, rows)
    return found  # type: ignore[no-any-return]


def _refused(code: int) -> Exception:
    if code == _kernel.NO_MEMORY:
        return MemoryError()
    if code < 0:
        return ValueError("the kernel cannot encode this")
    return DecodeError(ErrorCode(code), _WORDS[ErrorCode(code)])


def encode_list(q: SparseDistribution, profile: Profile) -> bytes:
    """See ``list_codec.encode_list``."""
    profile.check(q)
    if q.precision is not profile.precision:
        raise ValueError(f"the profile's precision is {profile.precision}, the list's {q.precision}")
    data = _kernel.encode_list(
        q, q.vocab_size, _PRECISION_IDS[q.precision], ENTROPY_IDS[profile.entropy], _tables(profile.prior)
    )
    if type(data) is int:
        raise _refused(data)
    return data


def decode_list(
    data: bytes | bytearray | memoryview, profile: Profile, *, limits: DecodeLimits | None = None
) -> SparseDistribution:
    """See ``list_codec.decode_list``."""
    limits = limits or _DEFAULT_LIMITS
    q = _kernel.decode_list(
        data,
        profile.vocab_size,
        _PRECISION_IDS[profile.precision],  # type: ignore[index]  # the profile has made it a Precision
        ENTROPY_IDS[profile.entropy],
        _tables(profile.prior),
        profile.prior,
        limits.max_frame_bytes,
        limits.max_entries,
    )
    if type(q) is int:
        raise _refused(q)
    return q


def unused() -> Any:
    """Placeholder."""
