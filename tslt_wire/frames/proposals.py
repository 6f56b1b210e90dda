"""The bodies of VERDICT_PROPOSALS and MORE: tokens that the edge proposes, and the request for others.

Spec section 6.7.
"""

from __future__ import annotations

import numpy as np

from tslt_wire.coding.bits import BitReader, BitWriter
from tslt_wire.errors import DecodeError, ErrorCode
from tslt_wire.frames.token_ids import read_ids, write_ids
from tslt_wire.limits import DecodeLimits
from tslt_wire.lists.probability_grid import BELOW, CODE_BITS
from tslt_wire.lists.profile import Profile
from tslt_wire.messages.answers import Proposal, Proposals
from tslt_wire.messages.extensions import Extension
from tslt_wire.messages.fields import U32
from tslt_wire.messages.follow_ups import More

COUNT_BITS = 8
"""Bits of ``count - 1`` of proposals."""


def write_proposals(out: BitWriter, message: Proposals, profile: Profile) -> None:
    """Append the body of VERDICT_PROPOSALS; ValueError for a token outside the vocabulary."""
    out.varint(message.round)
    out.varint(message.node + 1)
    out.varint(message.batch)
    out.bits(len(message.proposals) - 1, COUNT_BITS)
    write_ids(out, [proposal.token for proposal in message.proposals], profile)
    out.array(np.array([proposal.code for proposal in message.proposals]), CODE_BITS)
    out.array(np.array([proposal.up for proposal in message.proposals]), 1)


def read_proposals(
    data: BitReader, profile: Profile, limits: DecodeLimits, extensions: tuple[Extension, ...]
) -> Proposals:
    """Read the body of VERDICT_PROPOSALS."""
    data.part("round")
    round_ = data.varint()
    data.part("node")
    node = data.varint() - 1
    data.part("batch")
    batch = data.varint()
    data.part("count")
    count = data.bits(COUNT_BITS) + 1
    data.part("tokens")
    tokens = read_ids(data, count, profile)
    data.part("codes")
    codes = data.array(count, CODE_BITS)
    data.part("ups")
    ups = data.array(count, 1).astype(bool)
    if bool((ups & ((codes == 0) | (codes == BELOW))).any()):
        raise DecodeError(ErrorCode.OUT_OF_RANGE, "code 0 and the code of nothing have no next larger number")
    columns = zip(tokens, codes.tolist(), ups.tolist(), strict=True)
    proposals = tuple(Proposal(token, code, up) for token, code, up in columns)
    return Proposals(round=round_, node=node, proposals=proposals, batch=batch, extensions=extensions)


def write_more(out: BitWriter, message: More, profile: Profile) -> None:
    """Append the body of MORE."""
    out.varint(message.round)
    out.varint(message.batch - 1)


def read_more(data: BitReader, profile: Profile, limits: DecodeLimits, extensions: tuple[Extension, ...]) -> More:
    """Read the body of MORE."""
    data.part("round")
    round_ = data.varint()
    data.part("batch")
    batch = data.varint() + 1
    if batch > U32:
        raise DecodeError(ErrorCode.OUT_OF_RANGE, f"there is no batch {batch}")
    return More(round=round_, batch=batch, extensions=extensions)
