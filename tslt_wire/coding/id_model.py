"""Sets of token ids under the range coder: halving the id range, with a prior that a list corrects by itself.

Spec section 5.4.  How many of the n ids of an interval lie in its lower part has a beta-binomial distribution, the
urn's, whose expectation is the prior's.  The urn is small, so the list's own ids soon outweigh the prior, whatever the
tokenizer.  Everything is a table look-up or a number that needs no model; this is what a native kernel is made of.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from math import comb

import numpy as np

from tslt_wire.coding.plain_bits import Plain
from tslt_wire.coding.range_coder import Coder
from tslt_wire.coding.weighed_ids import WeighedIds, code_one

BASE_BITS = 8
"""Ids below 2**8 are halved with a flat prior: byte tokens and special tokens, in an order that says little."""
ROOT_BALLS = 6
"""The prior's balls in the urn of a split between octaves."""
INNER_BALLS = 20
"""The prior's balls in the urn of a split inside an octave."""
MAX_URN = 32
"""Most draws from an urn; of more ids only the part of 33 that the number is in has an urn, and the rest is uniform."""
LEAF = 32
"""Sets among at most so many free ids are one uniform number: which of all such sets."""
SHARE_BITS = 12
"""The lower part's share of the prior is rounded to one of 74 numbers of 12 bits."""
URN_BITS = 16
"""The weights of an urn's outcomes sum to 2**16."""
OCTAVE_MASSES: tuple[tuple[int, ...], ...] = (
    (288, 562, 125, 25, 25, 25, 25, 25, 25, 25, 25, 25, 25),
    (231, 544, 194, 25, 25, 25, 25, 25, 25, 25, 25, 25, 25),
    (175, 525, 256, 34, 25, 25, 25, 25, 25, 25, 25, 25, 25),
    (133, 506, 284, 64, 25, 25, 25, 25, 25, 25, 25, 25, 25),
    (95, 490, 293, 97, 25, 25, 25, 25, 25, 25, 25, 25, 25),
    (67, 439, 290, 146, 48, 25, 25, 25, 25, 25, 25, 25, 25),
    (52, 351, 308, 181, 83, 25, 25, 25, 25, 25, 25, 25, 25),
    (42, 259, 304, 219, 119, 46, 25, 25, 25, 25, 25, 25, 25),
)
"""Expected part of a list's ids below 2**8, then in each octave above; by bitlen of the list's size."""
_SHARES = 1 << SHARE_BITS


class FreeIds:
    """The ids that a set can have: those below ``vocab_size`` without ``excluded`` (ascending)."""

    def __init__(self, vocab_size: int, excluded: Sequence[int] = ()) -> None:
        self.vocab_size = vocab_size
        self._excluded = excluded

    def count(self, low: int, high: int) -> int:
        """Free ids in ``[low, high)``."""
        high = min(high, self.vocab_size)
        if not self._excluded:
            return high - low
        return high - low - bisect_left(self._excluded, high) + bisect_left(self._excluded, low)

    def all(self, low: int, high: int) -> list[int]:
        """Return these ids, ascending."""
        high = min(high, self.vocab_size)
        skipped = set(self._excluded[bisect_left(self._excluded, low) : bisect_left(self._excluded, high)])
        return [token for token in range(low, high) if token not in skipped]

    def ranks(self, low: int, ids: Sequence[int]) -> list[int]:
        """How many free ids of ``low`` and above come before each of ``ids``."""
        if not self._excluded:
            return [token - low for token in ids]
        return [self.count(low, token) for token in ids]

    def nth(self, low: int, rank: int) -> int:
        """Return the free id that has ``rank`` free ids of ``low`` and above before it."""
        token = low + rank
        if not self._excluded:
            return token
        for other in self._excluded[bisect_left(self._excluded, low) :]:
            if other > token:
                break
            token += 1
        return token


def share(left: int, right: int) -> int:
    """The lower part's share of ``left + right``, in 4096ths, rounded to one of 74 values; 0 < share < 4096."""
    if left + right == 0:
        return _SHARES >> 1
    exact = (left << SHARE_BITS) // (left + right)
    smaller = min(exact, _SHARES - 1 - exact)
    if smaller >= 64:
        return exact & ~63 | 32
    rounded = 3 << smaller.bit_length() >> 2 if smaller > 1 else 1
    return rounded if smaller == exact else _SHARES - rounded


@lru_cache(maxsize=1 << 13)
def urn_starts(n: int, balls: int, part: int) -> tuple[int, ...]:
    """Running sums (n + 2 of them, 0 to 2**16) of the weights of 0 to n draws of a kind, ``n`` at most 32.

    The urn starts with ``balls``, ``part`` 4096ths of them of that kind; every ball that is drawn comes back with
    another of its kind.  Weights follow from the likeliest number outwards, in integers.
    """
    kind, other = balls * part, balls * (_SHARES - part)
    mode = n * part >> SHARE_BITS
    weights = [0] * (n + 1)
    weights[mode] = 1 << 32
    for k in range(mode, n):
        up, down = (n - k) * (kind + (k << SHARE_BITS)), (k + 1) * (other + (n - k - 1 << SHARE_BITS))
        weights[k + 1] = weights[k] * up // down
    for k in range(mode - 1, -1, -1):
        up, down = (n - k) * (kind + (k << SHARE_BITS)), (k + 1) * (other + (n - k - 1 << SHARE_BITS))
        weights[k] = weights[k + 1] * down // up
    total = sum(weights)
    scaled = [max(1, (weight << URN_BITS) // total) for weight in weights]
    scaled[mode] += (1 << URN_BITS) - sum(scaled)
    return (0, *accumulate(scaled))


def code_ids(
    coder: Coder,
    ids: Sequence[int],
    count: int,
    vocab_size: int,
    excluded: Sequence[int] = (),
    weighed: WeighedIds | None = None,
) -> list[int]:
    """Code ``count`` ids, ascending, below ``vocab_size`` and not in ``excluded`` (ascending); return them.

    There must be that many free ids.  A reader looks at nothing in ``ids``.  ``weighed``: what a trained table
    expects of lists of this size, without ``excluded``; None if there is no table.
    """
    free = FreeIds(vocab_size, excluded)
    masses = OCTAVE_MASSES[min(count.bit_length(), len(OCTAVE_MASSES)) - 1] if count else ()
    found: list[int] = []
    # Intervals that wait, the lowest last: low, high, number of ids, position of the first of them in ``ids``.
    waiting = [(0, 1 << max(BASE_BITS, (vocab_size - 1).bit_length()), count, 0)]
    while waiting:
        low, high, n, at = waiting.pop()
        size = free.count(low, high)
        if n == 0:
            continue
        if n == size:
            found += free.all(low, high)
            continue
        root = low == 0 and high > 1 << BASE_BITS
        if weighed is not None and n == 1:
            found.append(code_one(coder, weighed, low, min(high, vocab_size), ids[at] if ids else 0))
            continue
        if weighed is None and not root and (n == 1 or size <= LEAF):
            found += _leaf(coder, free, low, size, n, ids[at : at + n])
            continue
        middle = (low + high) >> 1
        if middle >= vocab_size:
            waiting.append((low, middle, n, at))
            continue
        left = free.count(low, middle)
        if weighed is not None:
            border = weighed.below(middle)
            part = share(border - weighed.below(low), weighed.below(min(high, vocab_size)) - border)
        elif root:
            octave = high.bit_length() - 2 - BASE_BITS
            inside = min(high, vocab_size) - middle
            part = share(sum(masses[: octave + 1]), masses[octave + 1] * inside // middle + 1)
        else:
            part = share(left, size - left)
        k = 0 if coder.reads else bisect_left(ids, middle, at, at + n) - at
        k = _split(coder, k, n, left, size - left, ROOT_BALLS if root else INNER_BALLS, part)
        waiting.append((middle, high, n - k, at + k))
        waiting.append((low, middle, k, at))
    return found


def _split(coder: Coder, k: int, n: int, left: int, right: int, balls: int, part: int) -> int:
    """Code how many of ``n`` ids are in the lower part, which has ``left`` free ids, the upper ``right``."""
    if 2 * n > left + right:
        # More than half of the ids are listed: those that are not are fewer, and spread evenly.
        return left - _split(coder, left - k, left + right - n, left, right, balls, share(left, right))
    if n > min(left, right):
        first = max(0, n - right)
        return first + coder.uniform(k - first, min(n, left) - first + 1)
    if n <= MAX_URN:
        return coder.locate(k, urn_starts(n, balls, part))
    # The k of bucket b are those with floor(k * 33 / (n + 1)) = b.
    buckets = MAX_URN + 1
    b = coder.locate(k * buckets // (n + 1), urn_starts(MAX_URN, balls, part))
    first, end = -(-b * (n + 1) // buckets), -(-(b + 1) * (n + 1) // buckets)
    return first + coder.uniform(k - first, end - first)


def _leaf(coder: Coder, free: FreeIds, low: int, size: int, n: int, ids: Sequence[int]) -> list[int]:
    """Code ``n`` of the ``size`` free ids from ``low`` on: the number of the set, sorted by its largest ids."""
    ranks = free.ranks(low, ids)
    number = coder.uniform(sum(comb(rank, i) for i, rank in enumerate(ranks, 1)), comb(size, n))
    if coder.reads:
        ranks = []
        rank = size - 1
        for i in range(n, 0, -1):
            # With one id left its rank is the number itself; there can be many free ids then.
            rank = number if i == 1 else rank
            while comb(rank, i) > number:
                rank -= 1
            number -= comb(rank, i)
            ranks.append(rank)
            rank -= 1
        ranks.reverse()
    return [free.nth(low, rank) for rank in ranks]


def code_gaps(plain: Plain, ids: Sequence[int], count: int, vocab_size: int, excluded: Sequence[int] = ()) -> list[int]:
    """Code ``count`` ids as ``code_ids`` does, as places among the free ones, or those that are not listed.

    Not all free ids are listed.
    """
    total = vocab_size - len(excluded)
    places = _places(ids, excluded, vocab_size)
    if 2 * count <= total:
        places = plain.gaps(places, count, total)
    else:
        others = _others(places, total) if places else places
        places = _others(plain.gaps(others, total - count, total), total)
    if not excluded:
        return places
    # Where each id that is not free would stand among those that are: work for the list, not for the vocabulary.
    gone = np.asarray(excluded, dtype=np.int64) - np.arange(len(excluded))
    return list((np.asarray(places) + np.searchsorted(gone, places, side="right")).tolist())


def _places(ids: Sequence[int], excluded: Sequence[int], vocab_size: int) -> list[int]:
    """How many free ids come before each of ``ids``."""
    if not excluded or not ids:
        return list(ids)
    return list((np.asarray(ids) - np.searchsorted(np.asarray(excluded), np.asarray(ids))).tolist())


def _others(places: Sequence[int], total: int) -> list[int]:
    """All numbers below ``total`` that are not in ``places``."""
    return list(np.delete(np.arange(total), np.asarray(places, dtype=np.int64)).tolist())
