"""Truncated lists as bits.

Spec section 5.1.  ``count - 1`` as a varint, the tail (if there is a prior), the ids (left out if all tokens are
listed), the code width of a log profile, the codes.
"""

from __future__ import annotations

import numpy as np

from tslt_wire.bits import BitReader, BitWriter, id_bits
from tslt_wire.distribution import SparseDistribution
from tslt_wire.errors import DecodeError, ErrorCode
from tslt_wire.limits import DecodeLimits
from tslt_wire.list_range import ListModel
from tslt_wire.precision import Precision
from tslt_wire.profile import Profile
from tslt_wire.range_coder import Reader, Writer

TAIL_BITS = 5
"""Bits of a list's tail: 0 to 31 32nds."""
CODE_WIDTH_BITS = 4
"""Bits of the field that says how wide log-domain codes are: the widest has 9 bits (log2/4)."""


def write_list(out: BitWriter, q: SparseDistribution, profile: Profile) -> None:
    """Append one list."""
    out.varint(len(q) - 1)
    if len(q) < q.vocab_size:
        if profile.prior is not None:
            out.bits(q.tail, TAIL_BITS)
        out.array(q.ids, id_bits(q.vocab_size))
    width = q.precision.code_bits
    if q.precision.is_log:
        width = int(q.codes.max()).bit_length()
        out.bits(width, CODE_WIDTH_BITS)
    out.array(q.codes, width)


def read_list(data: BitReader, profile: Profile, precision: Precision, max_entries: int) -> SparseDistribution:
    """Read one list of at most ``max_entries`` tokens; DecodeError if it is none."""
    vocab_size, tail = profile.vocab_size, 0
    count = data.varint() + 1
    if count > vocab_size:
        raise DecodeError(ErrorCode.BAD_LIST, f"a list of {count} tokens does not fit a vocabulary of {vocab_size}")
    if count > max_entries:
        raise DecodeError(ErrorCode.LIMIT_EXCEEDED, f"a list of {count} tokens where {max_entries} are left to allow")
    if count == vocab_size:
        ids = np.arange(vocab_size, dtype=np.int32)
    else:
        tail = data.bits(TAIL_BITS) if profile.prior is not None else 0
        ids = data.array(count, id_bits(vocab_size)).astype(np.int32)
    width = data.bits(CODE_WIDTH_BITS) if precision.is_log else precision.code_bits
    if width > precision.code_bits:
        raise DecodeError(ErrorCode.OUT_OF_RANGE, f"codes of {precision.value} have at most {precision.code_bits} bits")
    if count * width > data.left:
        raise DecodeError(ErrorCode.TRUNCATED, f"{count} codes of {width} bits do not fit what is left")
    codes = data.array(count, width)
    if precision.is_log and int(codes.max()).bit_length() != width:
        raise DecodeError(ErrorCode.NON_CANONICAL, "codes must be as narrow as their largest allows")
    try:
        return SparseDistribution(vocab_size, precision, ids, codes, tail, profile.prior if tail else None)
    except ValueError as error:
        raise DecodeError(ErrorCode.BAD_LIST, str(error)) from error


def encode_list(q: SparseDistribution, profile: Profile) -> bytes:
    """One list without a frame: no checksum, no precision (spec sections 5.1 and 5.4).

    Raises ValueError if ``q`` has another vocabulary size, precision or prior than ``profile``.
    """
    profile.check(q)
    if q.precision != profile.precision:
        raise ValueError(f"the profile's precision is {profile.precision}, the list's {q.precision}")
    if profile.entropy == "range":
        coder = Writer()
        ListModel(coder, profile, q.precision).code(q, len(q))
        return coder.finish()
    out = BitWriter()
    write_list(out, q, profile)
    return out.finish()


def decode_list(
    data: bytes | bytearray | memoryview, profile: Profile, *, limits: DecodeLimits | None = None
) -> SparseDistribution:
    """Inverse of ``encode_list``: equal ids, codes and weights.  DecodeError for anything but exactly one list."""
    limits = limits or DecodeLimits()
    data = memoryview(data).cast("B")
    if len(data) > limits.max_frame_bytes:
        raise DecodeError(ErrorCode.LIMIT_EXCEEDED, f"{len(data)} bytes where {limits.max_frame_bytes} are allowed")
    precision = Precision(profile.precision)
    if profile.entropy == "range":
        coder = Reader(data)
        q = ListModel(coder, profile, precision).code(None, limits.max_entries)
        coder.finish()
        return q
    reader = BitReader(data)
    q = read_list(reader, profile, precision, limits.max_entries)
    reader.finish()
    return q
