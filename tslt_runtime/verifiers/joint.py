"""Drafts in flight that are verified together: their trees as one, and the rows of each.

The tree of a draft that follows hangs off the leaf that the draft before it goes on from (spec section 6.10), so that
one pass makes the rows of all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tslt_wire as tw
from tslt_runtime.engines.protocol import EngineFacts
from tslt_wire.messages.draft import check_whole
from tslt_wire.messages.token_tree import PREFIX


@dataclass(frozen=True, slots=True)
class Part:
    """One draft's part of a joint tree."""

    prefix: tuple[int, ...]
    """The tokens before it: those of the drafts before it as if they were accepted whole."""
    tree: tw.TokenTree
    rows: tuple[int, ...]
    """Which rows are its own, of those after the prefix and after every node of the joint tree."""


def joined(
    prefix: tuple[int, ...], drafts: Sequence[tw.Draft], facts: EngineFacts, most_nodes: int
) -> tuple[tw.TokenTree, list[Part]]:
    """One tree of ``drafts``, each of which continues the one before it, the first one ``prefix``; and their parts.

    The first draft is in it, whatever its size.  The others are until one cannot follow, or with it the tree has more
    than ``most_nodes``, or more leaves or a longer path than ``facts`` allow.
    """
    tree, hangs_off, parts = tw.TokenTree([], []), PREFIX, list[Part]()
    for draft in drafts:
        start = len(tree)
        parents = tuple(hangs_off if parent == PREFIX else start + parent for parent in draft.tree.parents)
        longer = tw.TokenTree.trusted((*tree.tokens, *draft.tree.tokens), (*tree.parents, *parents))
        deep = len(prefix) + max(draft.tree.depths, default=0) > facts.context
        if parts and (deep or len(longer) > most_nodes or longer.leaves > facts.most_leaves):
            break
        tree = longer
        parts.append(Part(prefix, draft.tree, (1 + hangs_off, *range(1 + start, 1 + len(tree)))))
        try:
            check_whole(draft)
        except ValueError:
            break  # nothing can follow it, as its session will find
        if not draft.goes_on:
            break
        hangs_off, prefix = start + draft.whole[-1], (*prefix, *draft.whole_tokens)
    return tree, parts
