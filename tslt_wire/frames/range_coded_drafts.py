"""The lists and drafted tokens of a draft under one range coder.

Spec section 5.4.  Lists first, in the order of their parents, each leaning on those before; then each node's token, at
the cost that its own list gives it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

from tslt_wire.coding.range_coder import Coder, Reader, Writer
from tslt_wire.coding.weighed_ids import code_one
from tslt_wire.errors import DecodeError, ErrorCode
from tslt_wire.limits import DecodeLimits
from tslt_wire.lists.distribution import TAIL_PARTS, SparseDistribution
from tslt_wire.lists.precision import Precision
from tslt_wire.lists.profile import Profile
from tslt_wire.lists.range_coded import ListModel
from tslt_wire.lists.sibling_sampling import Siblings
from tslt_wire.messages.evidence import ListEvidence
from tslt_wire.messages.token_tree import PREFIX, TokenTree


def range_body(tree: TokenTree, evidence: ListEvidence, profile: Profile) -> bytes:
    """Everything of a draft that follows its shape; no bytes for an empty draft."""
    lists = evidence.lists
    coder = Writer()
    if lists:
        model = ListModel(coder, profile, lists[PREFIX].precision)
        for q in lists.values():
            model.code(q, len(q))
        _code_tokens(coder, lists, tree.parents, tree.tokens, evidence.with_replacement)
    return coder.finish()


def read_range_body(
    coder: Reader,
    parents: Sequence[int],
    profile: Profile,
    precision: Precision,
    replacement: bool,
    limits: DecodeLimits,
) -> tuple[dict[int, SparseDistribution], list[int]]:
    """Read the lists by parent, and the nodes' tokens; DecodeError for bytes that ``range_body`` does not write."""
    model = ListModel(coder, profile, precision)
    lists: dict[int, SparseDistribution] = {}
    left = limits.max_entries
    for parent in sorted(set(parents)):
        lists[parent] = model.code(None, left)
        left -= len(lists[parent])
    tokens = _code_tokens(coder, lists, parents, None, replacement)
    coder.finish()
    return lists, tokens


def _code_tokens(
    coder: Coder,
    lists: Mapping[int, SparseDistribution],
    parents: Sequence[int],
    tokens: Sequence[int] | None,
    replacement: bool,
) -> list[int]:
    coder.part("tokens")
    siblings = {parent: Siblings(q, replacement=replacement) for parent, q in lists.items()}
    found: list[int] = []
    for node, parent in enumerate(parents):
        rest, q = siblings[parent], lists[parent]
        if rest.empty:
            raise DecodeError(ErrorCode.BAD_TREE, f"node {parent} has more children than its list has tokens")
        token = tokens[node] if tokens is not None else 0
        rank, tail = q.rank(token), rest.tail
        outside = coder.chance(int(rank < 0), tail, TAIL_PARTS) if 0 < tail < TAIL_PARTS else tail // TAIL_PARTS
        if outside:
            token = code_one(coder, rest.outside, 0, q.vocab_size, token)
        else:
            token = int(q.ids[coder.locate(rank, [0, *accumulate(rest.weights.tolist())])])
        rest.take(token)
        found.append(token)
    return found
