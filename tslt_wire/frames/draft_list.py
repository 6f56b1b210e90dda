"""The body of DRAFT_LIST: a format byte, one list a parent, drafted tokens as ranks in those lists.

Spec section 6.1; ``range_coded_drafts`` for what follows the shape under the range coder (section 5.4).
"""

from __future__ import annotations

from tslt_wire.coding.bits import BitReader, BitWriter, id_bits
from tslt_wire.errors import DecodeError, ErrorCode
from tslt_wire.frames.draft_head import build_draft, read_head, write_head
from tslt_wire.frames.list_format import read_format, write_format
from tslt_wire.frames.range_coded_drafts import range_body, read_range_body
from tslt_wire.frames.tree_shapes import read_shape, write_shape
from tslt_wire.limits import DecodeLimits
from tslt_wire.lists.distribution import SparseDistribution
from tslt_wire.lists.list_codec import read_list, write_list
from tslt_wire.lists.precision import Precision
from tslt_wire.lists.profile import Profile
from tslt_wire.messages.draft import Draft
from tslt_wire.messages.evidence import ListEvidence
from tslt_wire.messages.extensions import Extension
from tslt_wire.messages.token_tree import TokenTree


def write_draft_list(out: BitWriter, draft: Draft, profile: Profile) -> None:
    """Append the body; ValueError if its lists do not fit ``profile``, TypeError for evidence without lists."""
    evidence = draft.evidence
    if not isinstance(evidence, ListEvidence):
        raise TypeError(f"expected evidence with lists, got {type(evidence).__name__}")
    lists = evidence.lists
    for q in lists.values():
        profile.check(q)
    write_head(out, draft)
    write_format(out, draft.precision, profile, replacement=evidence.with_replacement)
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


def read_draft_list(
    data: BitReader, profile: Profile, limits: DecodeLimits, extensions: tuple[Extension, ...]
) -> Draft:
    """Read the body."""
    head = read_head(data)
    precision, replacement = read_format(data, profile)
    parents = read_shape(data, limits)
    if not parents and precision.wire_id:
        raise DecodeError(ErrorCode.NON_CANONICAL, "a draft without lists has precision 0")
    if profile.entropy == "range":
        data.align()
        lists, tokens = read_range_body(data.symbols(), parents, profile, precision, replacement, limits)
    else:
        lists, tokens = _read_lists(data, parents, profile, precision, limits)
    return build_draft(head, TokenTree(tokens, parents), ListEvidence(lists, replacement), extensions)


def _read_lists(
    data: BitReader, parents: tuple[int, ...], profile: Profile, precision: Precision, limits: DecodeLimits
) -> tuple[dict[int, SparseDistribution], list[int]]:
    lists: dict[int, SparseDistribution] = {}
    left = limits.max_entries
    for parent in sorted(set(parents)):
        lists[parent] = read_list(data, profile, precision, left)
        left -= len(lists[parent])
    data.part("tokens")
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
