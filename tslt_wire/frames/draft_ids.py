"""The bodies of DRAFT_MATCH and DRAFT_COUPLED: a tree of token ids, and nothing besides.

Spec section 6.4.
"""

from __future__ import annotations

from tslt_wire.coding.bits import BitReader, BitWriter
from tslt_wire.frames.draft_head import build_draft, read_head, write_head
from tslt_wire.frames.token_ids import read_ids, write_ids
from tslt_wire.frames.tree_shapes import read_shape, write_shape
from tslt_wire.limits import DecodeLimits
from tslt_wire.lists.profile import Profile
from tslt_wire.messages.draft import Draft
from tslt_wire.messages.evidence import CoupledEvidence, MatchEvidence
from tslt_wire.messages.extensions import Extension
from tslt_wire.messages.token_tree import TokenTree


def write_draft_ids(out: BitWriter, draft: Draft, profile: Profile) -> None:
    """Append the body; ValueError for a token outside the vocabulary."""
    write_head(out, draft)
    write_shape(out, draft.tree)
    write_ids(out, draft.tree.tokens, profile)


def read_draft_ids(
    evidence: MatchEvidence | CoupledEvidence,
    data: BitReader,
    profile: Profile,
    limits: DecodeLimits,
    extensions: tuple[Extension, ...],
) -> Draft:
    """Read the body of a draft with ``evidence``."""
    head, parents = read_head(data), read_shape(data, limits)
    data.part("tokens")
    tokens = read_ids(data, len(parents), profile)
    return build_draft(head, TokenTree(tokens, parents), evidence, extensions)
