"""The format byte: how the lists of a frame are written.

Spec section 6.1.  Precision, entropy coder, and how siblings were sampled.
"""

from __future__ import annotations

from tslt_wire.coding.bits import BitReader, BitWriter
from tslt_wire.errors import DecodeError, ErrorCode
from tslt_wire.lists.precision import PRECISION_BY_WIRE_ID, Precision
from tslt_wire.lists.profile import ENTROPY_IDS, Profile

_PRECISION_MASK = 0x0F
_ENTROPY_SHIFT = 4
_ENTROPY_MASK = 0x30
_RESERVED_MASK = 0x40
_WITHOUT_REPLACEMENT = 0x80


def write_format(out: BitWriter, precision: Precision | None, profile: Profile, *, replacement: bool = True) -> None:
    """Append the byte that says how lists are written: precision, entropy coder and how siblings were sampled."""
    number = precision.wire_id if precision else 0
    without = 0 if replacement else _WITHOUT_REPLACEMENT
    out.bits(number | ENTROPY_IDS[profile.entropy] << _ENTROPY_SHIFT | without, 8)


def read_format(data: BitReader, profile: Profile, *, replacement: bool = False) -> tuple[Precision, bool]:
    """Read the format byte: precision, and whether siblings were sampled with replacement.

    ``replacement``: that bit is reserved.  DecodeError.
    """
    data.part("format")
    fmt = data.bits(8)
    if fmt & (_RESERVED_MASK | _WITHOUT_REPLACEMENT if replacement else _RESERVED_MASK):
        raise DecodeError(ErrorCode.RESERVED_BITS, "reserved bits of the format byte must be 0")
    precision = PRECISION_BY_WIRE_ID.get(fmt & _PRECISION_MASK)
    if precision is None:
        raise DecodeError(ErrorCode.OUT_OF_RANGE, f"unknown precision {fmt & _PRECISION_MASK}")
    if (fmt & _ENTROPY_MASK) >> _ENTROPY_SHIFT != ENTROPY_IDS[profile.entropy]:
        raise DecodeError(ErrorCode.OUT_OF_RANGE, f"the entropy coder is not the negotiated one, {profile.entropy}")
    return precision, not fmt & _WITHOUT_REPLACEMENT
