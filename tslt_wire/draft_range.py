"""The lists and drafted tokens of a draft under one range coder.

Spec section 5.4.  Lists first, in the order of their parents, each leaning on those before; then each node's token, at
the cost that its own list gives it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

from tslt_wire.distribution import SparseDistribution
from tslt_wire.errors import DecodeError, ErrorCode
from tslt_wire.limits import DecodeLimits
from tslt_wire.list_range import ListModel
from tslt_wire.messages import Draft
from tslt_wire.precision import Precision
from tslt_wire.range_coder import Coder, Reader, Writer


def range_body(draft: Draft, vocab_size: int) -> bytes:
    """Everything of ``draft`` that follows its shape; no bytes for an empty draft."""
    lists = draft.evidence.lists
    coder = Writer()
    if draft.precision is not None:
        model = ListModel(coder, vocab_size, draft.precision)
        for q in lists.values():
            model.code(q, len(q))
        _code_tokens(coder, lists, draft.tree.parents, draft.tree.tokens, draft.evidence.replacement)
    return coder.finish()


def read_range_body(
    data: bytes,
    parents: Sequence[int],
    vocab_size: int,
    precision: Precision,
    replacement: bool,
    limits: DecodeLimits,
) -> tuple[dict[int, SparseDistribution], list[int]]:
    """Read the lists by parent, and the nodes' tokens; DecodeError for bytes that ``range_body`` does not write."""
    coder = Reader(data)
    model = ListModel(coder, vocab_size, precision)
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
    left = {parent: q.weights.tolist() for parent, q in lists.items()}
    sums = {parent: [0, *accumulate(weights)] for parent, weights in left.items()}
    found: list[int] = []
    for node, parent in enumerate(parents):
        starts, weights = sums[parent], left[parent]
        total = starts[-1]
        if total == 0:
            raise DecodeError(ErrorCode.BAD_TREE, f"node {parent} has more children than its list has tokens")
        rank = lists[parent].rank(tokens[node]) if tokens is not None else 0
        rank = coder.locate(rank, starts)
        found.append(int(lists[parent].ids[rank]))
        if not replacement:
            weights[rank] = 0
            sums[parent] = [0, *accumulate(weights)]
    return found
