"""Prefix codes for the codes of long lists: lengths that fit how often each level occurs, and how a reader learns them.

Spec section 5.4.  The lengths are Huffman's, with the ties broken one way, so that a reader can tell whether a writer
kept to the rule.  No length is above ``MAX_LENGTH``, because rare levels are counted as a little less rare.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from tslt_wire.coding.range_coder import Coder
from tslt_wire.errors import DecodeError, ErrorCode

MAX_LENGTH = 14
"""With at most 481 levels, none rarer than RAREST allows, Huffman's lengths stay below this."""
RAREST = 1024
"""A level counts as at least one of so many entries."""
FIRST_LENGTH = (25, 48, 29, 6, 2, 1)
"""Weights of the length of level 0: by how much it is below min(bitlen(K), 11); the last one is for all others."""
FIRST_ALONE = 1
"""Weight of "no level but 0 has entries"."""
NEXT_LENGTH = ((1, 3, 30, 72, 12, 3, 1), (1, 1, 7, 36, 4, 1, 1))
"""Weights of a length less the last one, -3 to 3 and beyond: after a level with entries, after one without."""
NEXT_NONE = (12, 80)
"""Weight of a level without entries, after a level that has entries and after one that has none."""


def prefix_lengths(counts: Sequence[int], size: int) -> list[int]:
    """Lengths of the codes of levels that have ``counts`` entries of ``size``; 0 for those that have none.

    Also 0 for a level that is the only one.
    """
    least = -(-size // RAREST)
    levels = [level for level, count in enumerate(counts) if count]
    weights = [max(counts[level], least) for level in levels]
    order = sorted(range(len(levels)), key=weights.__getitem__)
    # Two queues, both ascending: leaves, and inner nodes in the order in which they are made.
    leaves, inner = len(levels), len(levels)
    queue = [weights[leaf] for leaf in order]
    parent = [0] * (2 * leaves - 1)
    leaf = 0
    for node in range(leaves, 2 * leaves - 1):
        total = 0
        for _ in range(2):
            if leaf < leaves and (inner == node or queue[leaf] <= queue[inner]):
                taken, leaf = leaf, leaf + 1
            else:
                taken, inner = inner, inner + 1
            parent[taken] = node
            total += queue[taken]
        queue.append(total)
    depth = [0] * (2 * leaves - 1)
    for node in range(2 * leaves - 3, -1, -1):
        depth[node] = depth[parent[node]] + 1
    lengths = [0] * len(counts)
    for i, place in enumerate(order):
        lengths[levels[place]] = depth[i]
    return lengths


@cache
def _first_weights(most: int) -> tuple[int, ...]:
    lengths = range(1, MAX_LENGTH + 1)
    return FIRST_ALONE, *(FIRST_LENGTH[most - length if 0 <= most - length < 5 else 5] for length in lengths)


@cache
def _next_weights(shortest: int, last: int, absent: bool) -> tuple[int, ...]:
    row = NEXT_LENGTH[absent]
    lengths = range(1, MAX_LENGTH + 1)
    possible = (row[min(max(length - last, -3), 3) + 3] if length >= shortest else 0 for length in lengths)
    return NEXT_NONE[absent], *possible


def code_lengths(coder: Coder, lengths: Sequence[int], size: int, max_code: int) -> list[int]:
    """Code the lengths of levels 0, 1, ... up to the highest that has entries; all 0 if that is level 0.

    ``lengths`` may be longer; a reader looks at nothing in it.
    """
    found: list[int] = []
    left = 1 << MAX_LENGTH
    most = min(size.bit_length(), 11)
    last, absent = 0, False
    while left:
        level = len(found)
        shortest = MAX_LENGTH + 1 - left.bit_length()
        if level == max_code:
            # What is left is for this level, in one piece.
            if 1 << (MAX_LENGTH - shortest) != left:
                raise DecodeError(ErrorCode.NON_CANONICAL, "the lengths of the codes leave a gap")
            return [*found, shortest]
        weights = _next_weights(shortest, last, absent) if level else _first_weights(most)
        length = coder.choose(lengths[level] if lengths else 0, weights, sum(weights))
        found.append(length)
        absent = not length
        if length:
            left -= 1 << (MAX_LENGTH - length)
            last = length
        elif level == 0:
            break
    return found
