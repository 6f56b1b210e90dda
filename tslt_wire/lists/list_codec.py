"""Truncated lists as bits.

Spec section 5.1.  ``count - 1`` as a varint, the tail (if there is a prior), the ids (left out if all tokens are
listed), the code width of a log profile, the codes.  ``encode_list`` and ``decode_list`` ask the kernel where there is
one; their references define what it writes and reads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tslt_wire import checks
from tslt_wire._native import backend
from tslt_wire.coding.bits import BitReader, BitWriter, id_bits
from tslt_wire.coding.compression import check_shorter, open_compressed, shorter
from tslt_wire.coding.range_coder import Reader, Writer
from tslt_wire.coding.wide_fields import WideReader
from tslt_wire.errors import DecodeError, ErrorCode
from tslt_wire.limits import DEFAULT_FRAME_BYTES, DecodeLimits
from tslt_wire.lists.distribution import SparseDistribution
from tslt_wire.lists.kernel_lists import KERNEL_ENTROPIES, kernel_decode_list, kernel_encode_list
from tslt_wire.lists.precision import Precision
from tslt_wire.lists.profile import Profile, check_profile
from tslt_wire.lists.range_coded import ListModel

TAIL_BITS = 5
"""Bits of a list's tail: 0 to 31 32nds."""
CODE_WIDTH_BITS = 4
"""Bits of the field that says how wide log-domain codes are: the widest has 9 bits (log2/4)."""
_PACKED, _COMPRESSED = b"\0", b"\1"
"""First byte of a lone list under ``entropy="zstd"``."""


def write_list(out: BitWriter, q: SparseDistribution, profile: Profile) -> None:
    """Append one list."""
    out.varint(len(q) - 1)
    if len(q) < q.vocab_size:
        if profile.prior is not None:
            out.bits(q.tail, TAIL_BITS)
        out.ids(q.ids, id_bits(q.vocab_size))
    width = q.precision.code_bits
    if q.precision.is_log:
        width = int(q.codes.max()).bit_length()
        out.bits(width, CODE_WIDTH_BITS)
    out.codes(q.codes, width)


def read_list(data: BitReader, profile: Profile, precision: Precision, max_entries: int) -> SparseDistribution:
    """Read one list of at most ``max_entries`` tokens; DecodeError if it is none."""
    vocab_size, tail = profile.vocab_size, 0
    data.part("size")
    count = data.varint() + 1
    if count > vocab_size:
        raise DecodeError(ErrorCode.BAD_LIST, f"a list of {count} tokens does not fit a vocabulary of {vocab_size}")
    if count > max_entries:
        raise DecodeError(ErrorCode.LIMIT_EXCEEDED, f"a list of {count} tokens where {max_entries} are left to allow")
    if count == vocab_size:
        ids = np.arange(vocab_size, dtype=np.int32)
    else:
        data.part("tail")
        tail = data.bits(TAIL_BITS) if profile.prior is not None else 0
        data.part("ids")
        ids = data.ids(count, id_bits(vocab_size)).astype(np.int32)
    data.part("codes")
    width = data.bits(CODE_WIDTH_BITS) if precision.is_log else precision.code_bits
    if width > precision.code_bits:
        raise DecodeError(ErrorCode.OUT_OF_RANGE, f"codes of {precision.value} have at most {precision.code_bits} bits")
    if count * width > data.left:
        raise DecodeError(ErrorCode.TRUNCATED, f"{count} codes of {width} bits do not fit what is left")
    codes = data.codes(count, width)
    if precision.is_log and int(codes.max()).bit_length() != width:
        raise DecodeError(ErrorCode.NON_CANONICAL, "codes must be as narrow as their largest allows")
    try:
        return SparseDistribution(vocab_size, precision, ids, codes, tail, profile.prior if tail else None)
    except ValueError as error:
        raise DecodeError(ErrorCode.BAD_LIST, str(error)) from error


def encode_list(q: SparseDistribution, profile: Profile) -> bytes:
    """One list without a frame: no checksum, no precision (spec sections 3.5, 5.1 and 5.4).

    Raises ValueError if ``q`` has another vocabulary size, precision or prior than ``profile``, TypeError for other
    types, MissingPackage if a long list is to be compressed and zstandard is not there.
    """
    _check(q, profile)
    if backend == "native" and profile.entropy in KERNEL_ENTROPIES:
        return kernel_encode_list(q, profile)
    return _encode_list(q, profile)


def encode_list_reference(q: SparseDistribution, profile: Profile) -> bytes:
    """Do what ``encode_list`` does without the kernel: this defines the bytes."""
    _check(q, profile)
    return _encode_list(q, profile)


def _check(q: Any, profile: Any) -> None:
    if type(profile) is not Profile:
        check_profile(profile)
    profile.check(q)
    if q.precision is not profile.precision:
        raise ValueError(f"the profile's precision is {profile.precision}, the list's {q.precision}")


def _encode_list(q: SparseDistribution, profile: Profile) -> bytes:
    if profile.entropy == "range":
        coder = Writer()
        ListModel(coder, profile, q.precision).code(q, len(q))
        return coder.finish()
    out = BitWriter()
    write_list(out, q, profile)
    packed = out.finish()
    if profile.entropy == "none":
        return packed
    compressed = shorter(lambda wide: write_list(wide, q, profile), packed, DEFAULT_FRAME_BYTES)
    return _PACKED + packed if compressed is None else _COMPRESSED + compressed


def decode_list(
    data: bytes | bytearray | memoryview, profile: Profile, *, limits: DecodeLimits | None = None
) -> SparseDistribution:
    """Inverse of ``encode_list``: equal ids, codes and weights.  DecodeError for anything but exactly one list.

    TypeError for arguments of other types, MissingPackage for a compressed list where zstandard is not there.
    """
    octets = _check_reading(data, profile, limits)
    if backend == "native" and profile.entropy in KERNEL_ENTROPIES:
        return kernel_decode_list(octets, profile, limits)
    return _decode_list(octets, profile, limits)


def decode_list_reference(
    data: bytes | bytearray | memoryview, profile: Profile, *, limits: DecodeLimits | None = None
) -> SparseDistribution:
    """Do what ``decode_list`` does without the kernel: this defines which bytes are lists."""
    return _decode_list(_check_reading(data, profile, limits), profile, limits)


def _check_reading(data: Any, profile: Any, limits: Any) -> bytes | memoryview:
    if type(profile) is not Profile:
        check_profile(profile)
    if limits is not None and not isinstance(limits, DecodeLimits):
        raise TypeError(f"limits must be DecodeLimits or None, got {limits!r}")
    return data if type(data) is bytes else checks.octets("a list", data)


def _decode_list(data: bytes | memoryview, profile: Profile, limits: DecodeLimits | None) -> SparseDistribution:
    limits = limits or DecodeLimits()
    data = memoryview(data)
    if len(data) > limits.max_frame_bytes:
        raise DecodeError(ErrorCode.LIMIT_EXCEEDED, f"{len(data)} bytes where {limits.max_frame_bytes} are allowed")
    precision = Precision(profile.precision)
    if profile.entropy == "range":
        coder = Reader(data)
        q = ListModel(coder, profile, precision).code(None, limits.max_entries)
        coder.finish()
        return q
    if profile.entropy == "zstd":
        return _read_zstd_list(data, profile, precision, limits)
    reader = BitReader(data)
    q = read_list(reader, profile, precision, limits.max_entries)
    reader.finish()
    return q


def _read_zstd_list(
    data: memoryview, profile: Profile, precision: Precision, limits: DecodeLimits
) -> SparseDistribution:
    if len(data) == 0:
        raise DecodeError(ErrorCode.TRUNCATED, "a list of a zstd session starts with a byte")
    form, rest = bytes(data[:1]), bytes(data[1:])
    if form not in (_PACKED, _COMPRESSED):
        raise DecodeError(ErrorCode.RESERVED_BITS, f"a list starts with 0 (packed) or 1 (compressed), not {form[0]}")
    reader = BitReader(rest) if form == _PACKED else open_compressed(rest, limits.max_frame_bytes)
    q = read_list(reader, profile, precision, limits.max_entries)
    reader.finish()
    if isinstance(reader, WideReader):
        check_shorter(rest, reader.packed_bytes)
    return q
