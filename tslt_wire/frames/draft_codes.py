"""The bodies of DRAFT_SCALAR and DRAFT_LAZY: a chain of token ids, and the code of each one's probability.

Spec section 6.6.
"""

from __future__ import annotations

import numpy as np

from tslt_wire.coding.bits import BitReader, BitWriter
from tslt_wire.errors import DecodeError, ErrorCode
from tslt_wire.frames.draft_head import build_draft, read_head, write_head
from tslt_wire.frames.token_ids import read_ids, write_ids
from tslt_wire.limits import DecodeLimits
from tslt_wire.lists.probability_grid import CODE_BITS, LAST
from tslt_wire.lists.profile import Profile
from tslt_wire.messages.draft import Draft
from tslt_wire.messages.evidence import CodedEvidence, LazyEvidence, ScalarEvidence
from tslt_wire.messages.extensions import Extension
from tslt_wire.messages.token_tree import TokenTree


def write_draft_codes(out: BitWriter, draft: Draft, profile: Profile) -> None:
    """Append the body; ValueError for a token outside the vocabulary, TypeError for evidence without codes."""
    if not isinstance(draft.evidence, CodedEvidence):
        raise TypeError(f"expected evidence with codes, got {type(draft.evidence).__name__}")
    write_head(out, draft)
    out.varint(len(draft.tree))
    write_ids(out, draft.tree.tokens, profile)
    out.array(np.array(draft.evidence.codes, dtype=np.int64), CODE_BITS)


def read_draft_codes(
    evidence: type[ScalarEvidence | LazyEvidence],
    data: BitReader,
    profile: Profile,
    limits: DecodeLimits,
    extensions: tuple[Extension, ...],
) -> Draft:
    """Read the body of a draft with that kind of evidence."""
    head = read_head(data)
    data.part("tree")
    count = data.varint()
    most = min(limits.max_nodes, limits.max_depth)
    if count > most:
        raise DecodeError(ErrorCode.LIMIT_EXCEEDED, f"a chain of {count} nodes where {most} are allowed")
    data.part("tokens")
    tokens = read_ids(data, count, profile)
    data.part("codes")
    codes = data.array(count, CODE_BITS).tolist()
    if max(codes, default=0) > LAST:
        raise DecodeError(ErrorCode.OUT_OF_RANGE, f"codes of drafted tokens are at most {LAST}, got {max(codes)}")
    return build_draft(head, TokenTree.chain(tokens), evidence(tuple(codes)), extensions)
