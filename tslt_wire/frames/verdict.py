"""The bodies of VERDICT and VERDICT_WHOLE.

Spec sections 6.2 and 6.10.
"""

from __future__ import annotations

from tslt_wire.coding.bits import BitReader, BitWriter, id_bits
from tslt_wire.frames.token_ids import check_id
from tslt_wire.limits import DecodeLimits
from tslt_wire.lists.profile import Profile
from tslt_wire.messages.answers import Verdict, Whole
from tslt_wire.messages.extensions import Extension


def write_verdict(out: BitWriter, verdict: Verdict, profile: Profile) -> None:
    """Append the body; ValueError for a token outside the vocabulary."""
    out.varint(verdict.round)
    out.varint(verdict.node + 1)
    profile.check_token(verdict.token)
    out.bits(verdict.token, id_bits(profile.vocab_size))
    out.bits(verdict.end, 1)


def read_verdict(data: BitReader, profile: Profile, limits: DecodeLimits, extensions: tuple[Extension, ...]) -> Verdict:
    """Read the body."""
    data.part("round")
    round_ = data.varint()
    data.part("node")
    node = data.varint() - 1
    data.part("token")
    token = check_id(data.bits(id_bits(profile.vocab_size)), profile)
    data.part("end")
    return Verdict(round=round_, node=node, token=token, end=bool(data.bits(1)), extensions=extensions)


def write_whole(out: BitWriter, whole: Whole, profile: Profile) -> None:
    """Append the body of VERDICT_WHOLE."""
    out.varint(whole.round)


def read_whole(data: BitReader, profile: Profile, limits: DecodeLimits, extensions: tuple[Extension, ...]) -> Whole:
    """Read the body of VERDICT_WHOLE."""
    data.part("round")
    return Whole(round=data.varint(), extensions=extensions)
