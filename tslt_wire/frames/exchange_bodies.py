"""The bodies of frames between a draft and its last answer: VERDICT_PROPOSALS, MORE, ASK_LIST and LIST.

Spec sections 6.7 and 6.8.
"""

from __future__ import annotations

import numpy as np

from tslt_wire.coding.bits import BitReader, BitWriter, id_bits
from tslt_wire.coding.range_coder import Reader, Writer
from tslt_wire.errors import DecodeError, ErrorCode
from tslt_wire.frames.draft_bodies import read_format, write_format
from tslt_wire.limits import DecodeLimits
from tslt_wire.lists.list_codec import read_list, write_list
from tslt_wire.lists.probability_grid import BELOW, CODE_BITS
from tslt_wire.lists.profile import Profile
from tslt_wire.lists.range_coded import ListModel
from tslt_wire.messages.answers import AskList, Proposal, Proposals
from tslt_wire.messages.extensions import Extension
from tslt_wire.messages.follow_ups import ListReply, More

COUNT_BITS = 8
"""Bits of ``count - 1`` of proposals."""

Extensions = tuple[Extension, ...]


def write_proposals(out: BitWriter, message: Proposals, profile: Profile) -> None:
    """Append the body of VERDICT_PROPOSALS; ValueError for a token outside the vocabulary."""
    tokens = np.array([proposal.token for proposal in message.proposals])
    profile.check_token(int(tokens.max()))
    out.varint(message.round)
    out.varint(message.node + 1)
    out.varint(message.batch)
    out.bits(len(tokens) - 1, COUNT_BITS)
    out.array(tokens, id_bits(profile.vocab_size))
    out.array(np.array([proposal.code for proposal in message.proposals]), CODE_BITS)
    out.array(np.array([proposal.up for proposal in message.proposals]), 1)


def read_proposals(data: BitReader, profile: Profile, extensions: Extensions) -> Proposals:
    """Read the body of VERDICT_PROPOSALS."""
    round_, node, batch, count = data.varint(), data.varint() - 1, data.varint(), data.bits(COUNT_BITS) + 1
    tokens = data.array(count, id_bits(profile.vocab_size))
    if int(tokens.max()) >= profile.vocab_size:
        raise DecodeError(ErrorCode.OUT_OF_RANGE, f"token {int(tokens.max())} in a vocabulary of {profile.vocab_size}")
    codes, ups = data.array(count, CODE_BITS), data.array(count, 1).astype(bool)
    if bool((ups & ((codes == 0) | (codes == BELOW))).any()):
        raise DecodeError(ErrorCode.OUT_OF_RANGE, "code 0 and the code of nothing have no next larger number")
    columns = zip(tokens.tolist(), codes.tolist(), ups.tolist(), strict=True)
    proposals = tuple(Proposal(token, code, up) for token, code, up in columns)
    return Proposals(round=round_, node=node, proposals=proposals, batch=batch, extensions=extensions)


def write_more(out: BitWriter, message: More) -> None:
    """Append the body of MORE."""
    out.varint(message.round)
    out.varint(message.batch - 1)


def read_more(data: BitReader, extensions: Extensions) -> More:
    """Read the body of MORE."""
    return More(round=data.varint(), batch=data.varint() + 1, extensions=extensions)


def write_ask(out: BitWriter, message: AskList) -> None:
    """Append the body of ASK_LIST."""
    out.varint(message.round)
    out.varint(message.node + 1)


def read_ask(data: BitReader, extensions: Extensions) -> AskList:
    """Read the body of ASK_LIST."""
    return AskList(round=data.varint(), node=data.varint() - 1, extensions=extensions)


def write_reply(out: BitWriter, message: ListReply, profile: Profile) -> None:
    """Append the body of LIST; ValueError for a list that does not fit ``profile``."""
    q = message.q
    profile.check(q)
    out.varint(message.round)
    write_format(out, q.precision, profile)
    if profile.entropy != "range":
        write_list(out, q, profile)
        return
    coder = Writer()
    ListModel(coder, profile, q.precision).code(q, len(q))
    out.raw(coder.finish())


def read_reply(data: BitReader, profile: Profile, limits: DecodeLimits, extensions: Extensions) -> ListReply:
    """Read the body of LIST."""
    round_ = data.varint()
    precision, _ = read_format(data, profile, replacement=True)
    if profile.entropy == "range":
        coder = Reader(data.raw(data.left // 8))
        q = ListModel(coder, profile, precision).code(None, limits.max_entries)
        coder.finish()
    else:
        q = read_list(data, profile, precision, limits.max_entries)
    return ListReply(round=round_, q=q, extensions=extensions)
