"""The bodies of ERROR and BYE.

Spec sections 7.5 and 7.6.
"""

from __future__ import annotations

from tslt_wire.coding.bits import BitReader, BitWriter
from tslt_wire.coding.control_map import pack
from tslt_wire.errors import DecodeError, ErrorCode
from tslt_wire.frames.control_fields import build, read_fields
from tslt_wire.limits import DecodeLimits
from tslt_wire.lists.profile import Profile
from tslt_wire.messages.endings import Bye, ErrorMessage
from tslt_wire.messages.extensions import Extension


def write_error(out: BitWriter, error: ErrorMessage, profile: Profile) -> None:
    """Append the body of ERROR."""
    out.raw(pack({"code": error.code, "message": error.message}))


def read_error(
    data: BitReader, profile: Profile, limits: DecodeLimits, extensions: tuple[Extension, ...]
) -> ErrorMessage:
    """Read the body of ERROR."""
    data.part("fields")
    found, extra = read_fields(data.raw(data.left // 8), {"code": int, "message": str}, limits)
    if extra:
        raise DecodeError(ErrorCode.BAD_CONTROL, f"an error has no field {sorted(extra)[0]!r}")
    return build(ErrorMessage, **found, extensions=extensions)


def write_bye(out: BitWriter, bye: Bye, profile: Profile) -> None:
    """Append nothing: BYE has no body."""


def read_bye(data: BitReader, profile: Profile, limits: DecodeLimits, extensions: tuple[Extension, ...]) -> Bye:
    """Read no body."""
    return Bye(extensions=extensions)
