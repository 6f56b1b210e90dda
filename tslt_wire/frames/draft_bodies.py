"""Drafts as bits: round, prefix, tree shape and what the evidence asks for.

Evidence ``list``: a format byte, one list a parent, drafted tokens as ranks in those lists (spec sections 6.1 and,
under the range coder, 5.4).  Evidence without lists: token ids (spec section 6.4), for ``scalar`` and ``lazy`` those of
a chain and their codes (spec section 6.6).
"""

from __future__ import annotations

import numpy as np

from tslt_wire.coding.bits import BitReader, BitWriter, id_bits
from tslt_wire.errors import DecodeError, ErrorCode
from tslt_wire.frames.range_coded_drafts import range_body, read_range_body
from tslt_wire.frames.tree_shapes import read_shape, write_shape
from tslt_wire.limits import DecodeLimits
from tslt_wire.lists.distribution import SparseDistribution
from tslt_wire.lists.list_codec import read_list, write_list
from tslt_wire.lists.precision import PRECISION_BY_WIRE_ID, Precision
from tslt_wire.lists.probability_grid import CODE_BITS, LAST
from tslt_wire.lists.profile import ENTROPY_IDS, Profile
from tslt_wire.messages.draft import Draft
from tslt_wire.messages.evidence import CodedEvidence, Evidence, LazyEvidence, ListEvidence, ScalarEvidence
from tslt_wire.messages.extensions import Extension
from tslt_wire.messages.token_tree import TokenTree

_PRECISION_MASK = 0x0F
_ENTROPY_SHIFT = 4
_ENTROPY_MASK = 0x30
_RESERVED_MASK = 0x40
_WITHOUT_REPLACEMENT = 0x80


def write_draft(out: BitWriter, draft: Draft, evidence: ListEvidence, profile: Profile) -> None:
    """Append the body of a DRAFT_LIST frame; ValueError if its lists have another vocabulary than ``profile``."""
    lists = evidence.lists
    for q in lists.values():
        profile.check(q)
    _write_prefix(out, draft)
    write_format(out, draft.precision, profile, replacement=evidence.replacement)
    write_shape(out, draft.tree)
    if profile.entropy == "range":
        out.align()
        out.raw(range_body(draft.tree, evidence, profile))
        return
    for q in lists.values():
        write_list(out, q, profile)
    for token, parent in zip(draft.tree.tokens, draft.tree.parents, strict=True):
        rank = lists[parent].rank(token)
        if lists[parent].tail:
            out.bits(int(rank < 0), 1)
        if rank < 0:
            out.bits(token, id_bits(profile.vocab_size))
        else:
            out.bits(rank, _rank_bits(lists[parent]))


def read_draft(data: BitReader, profile: Profile, limits: DecodeLimits, extensions: tuple[Extension, ...]) -> Draft:
    """Read the body of a DRAFT_LIST frame."""
    prefix = _read_prefix(data)
    precision, replacement = read_format(data, profile)
    parents = read_shape(data, limits)
    if not parents and precision.wire_id:
        raise DecodeError(ErrorCode.NON_CANONICAL, "a draft without lists has precision 0")
    if profile.entropy == "range":
        data.align()
        body = data.raw(data.left // 8)
        lists, tokens = read_range_body(body, parents, profile, precision, replacement, limits)
    else:
        lists, tokens = _read_lists(data, parents, profile, precision, limits)
    return _draft(prefix, TokenTree(tokens, parents), ListEvidence(lists, replacement), extensions)


def write_id_draft(out: BitWriter, draft: Draft, profile: Profile) -> None:
    """Append the body of a frame whose evidence has no lists."""
    _write_prefix(out, draft)
    write_shape(out, draft.tree)
    out.array(np.array(draft.tree.tokens, dtype=np.int64), id_bits(profile.vocab_size))


def read_id_draft(
    data: BitReader, evidence: Evidence, profile: Profile, limits: DecodeLimits, extensions: tuple[Extension, ...]
) -> Draft:
    """Read the body of a frame with ``evidence``, which has no lists."""
    prefix = _read_prefix(data)
    parents = read_shape(data, limits)
    tokens = data.array(len(parents), id_bits(profile.vocab_size)).tolist()
    if max(tokens, default=0) >= profile.vocab_size:
        raise DecodeError(ErrorCode.OUT_OF_RANGE, f"token {max(tokens)} in a vocabulary of {profile.vocab_size}")
    return _draft(prefix, TokenTree(tokens, parents), evidence, extensions)


def write_coded_draft(out: BitWriter, draft: Draft, evidence: CodedEvidence, profile: Profile) -> None:
    """Append the body of a DRAFT_SCALAR or DRAFT_LAZY frame."""
    _write_prefix(out, draft)
    out.varint(len(draft.tree))
    out.array(np.array(draft.tree.tokens, dtype=np.int64), id_bits(profile.vocab_size))
    out.array(np.array(evidence.codes, dtype=np.int64), CODE_BITS)


def read_coded_draft(
    data: BitReader,
    evidence: type[ScalarEvidence | LazyEvidence],
    profile: Profile,
    limits: DecodeLimits,
    extensions: tuple[Extension, ...],
) -> Draft:
    """Read the body of a DRAFT_SCALAR or DRAFT_LAZY frame, a chain of tokens and codes."""
    prefix, count = _read_prefix(data), data.varint()
    most = min(limits.max_nodes, limits.max_depth)
    if count > most:
        raise DecodeError(ErrorCode.LIMIT_EXCEEDED, f"a chain of {count} nodes where {most} are allowed")
    tokens = data.array(count, id_bits(profile.vocab_size)).tolist()
    if max(tokens, default=0) >= profile.vocab_size:
        raise DecodeError(ErrorCode.OUT_OF_RANGE, f"token {max(tokens)} in a vocabulary of {profile.vocab_size}")
    codes = data.array(count, CODE_BITS).tolist()
    if max(codes, default=0) > LAST:
        raise DecodeError(ErrorCode.OUT_OF_RANGE, f"codes of drafted tokens are at most {LAST}, got {max(codes)}")
    return _draft(prefix, TokenTree.chain(tokens), evidence(tuple(codes)), extensions)


def _write_prefix(out: BitWriter, draft: Draft) -> None:
    out.varint(draft.round)
    out.varint(draft.prefix_length)
    out.bits(draft.prefix_hash, 16)


def _read_prefix(data: BitReader) -> tuple[int, int, int]:
    return data.varint(), data.varint(), data.bits(16)


def _draft(
    prefix: tuple[int, int, int], tree: TokenTree, evidence: Evidence, extensions: tuple[Extension, ...]
) -> Draft:
    round_, length, hash_ = prefix
    try:
        return Draft(
            round=round_,
            prefix_length=length,
            prefix_hash=hash_,
            tree=tree,
            evidence=evidence,
            extensions=extensions,
        )
    except ValueError as error:
        raise DecodeError(ErrorCode.BAD_TREE, str(error)) from error


def _read_lists(
    data: BitReader, parents: tuple[int, ...], profile: Profile, precision: Precision, limits: DecodeLimits
) -> tuple[dict[int, SparseDistribution], list[int]]:
    lists: dict[int, SparseDistribution] = {}
    left = limits.max_entries
    for parent in sorted(set(parents)):
        lists[parent] = read_list(data, profile, precision, left)
        left -= len(lists[parent])
    tokens = [_read_token(data, lists[parent]) for parent in parents]
    return lists, tokens


def _read_token(data: BitReader, q: SparseDistribution) -> int:
    if q.tail and data.bits(1):
        token = data.bits(id_bits(q.vocab_size))
        if token >= q.vocab_size or q.rank(token) >= 0:
            raise DecodeError(ErrorCode.OUT_OF_RANGE, f"token {token} is not in the tail of its list")
        return token
    rank = data.bits(_rank_bits(q))
    if rank >= len(q):
        raise DecodeError(ErrorCode.OUT_OF_RANGE, f"rank {rank} in a list of {len(q)} tokens")
    return int(q.ids[rank])


def _rank_bits(q: SparseDistribution) -> int:
    return (len(q) - 1).bit_length()


def write_format(out: BitWriter, precision: Precision | None, profile: Profile, *, replacement: bool = True) -> None:
    """Append the byte that says how lists are written: precision, entropy coder and how siblings were sampled."""
    number = precision.wire_id if precision else 0
    without = 0 if replacement else _WITHOUT_REPLACEMENT
    out.bits(number | ENTROPY_IDS[profile.entropy] << _ENTROPY_SHIFT | without, 8)


def read_format(data: BitReader, profile: Profile, *, replacement: bool = False) -> tuple[Precision, bool]:
    """Read the format byte: precision, and whether siblings were sampled with replacement.

    ``replacement``: that bit is reserved.  DecodeError.
    """
    fmt = data.bits(8)
    if fmt & (_RESERVED_MASK | _WITHOUT_REPLACEMENT if replacement else _RESERVED_MASK):
        raise DecodeError(ErrorCode.RESERVED_BITS, "reserved bits of the format byte must be 0")
    precision = PRECISION_BY_WIRE_ID.get(fmt & _PRECISION_MASK)
    if precision is None:
        raise DecodeError(ErrorCode.OUT_OF_RANGE, f"unknown precision {fmt & _PRECISION_MASK}")
    if (fmt & _ENTROPY_MASK) >> _ENTROPY_SHIFT != ENTROPY_IDS[profile.entropy]:
        raise DecodeError(ErrorCode.OUT_OF_RANGE, f"the entropy coder is not the negotiated one, {profile.entropy}")
    return precision, not fmt & _WITHOUT_REPLACEMENT
