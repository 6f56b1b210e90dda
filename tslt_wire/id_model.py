"""Sets of token ids under the range coder: halving the id range, with a density prior that a list corrects by itself.

Spec section 5.4.  Ids of BPE vocabularies are in merge order, so small ids are listed far more often.  How many of
the n ids of an interval lie in its lower part has a beta-binomial distribution whose expectation is the prior's and
whose urn is small between octaves: there the list's own ids soon outweigh the prior, whatever the tokenizer.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache

from tslt_wire.range_coder import Coder

BASE_BITS = 8
"""Ids below 2**8 are halved with a flat prior: byte tokens and special tokens, in an order that says little."""
_UNIT = 16
"""One ball of the urn; the urn's own balls are counted in sixteenths."""
ROOT_URN = 96
"""The prior's balls at a split between octaves, in sixteenths: six."""
FLAT_URN = 320
"""The prior's balls at a split inside an octave, in sixteenths."""
OCTAVE_MASSES: tuple[tuple[int, ...], ...] = (
    (288, 562, 125, 25, 25, 25, 25, 25, 25, 25, 25, 25, 25),
    (231, 544, 194, 25, 25, 25, 25, 25, 25, 25, 25, 25, 25),
    (175, 525, 256, 34, 25, 25, 25, 25, 25, 25, 25, 25, 25),
    (133, 506, 284, 64, 25, 25, 25, 25, 25, 25, 25, 25, 25),
    (95, 490, 293, 97, 25, 25, 25, 25, 25, 25, 25, 25, 25),
    (67, 439, 290, 146, 48, 25, 25, 25, 25, 25, 25, 25, 25),
    (52, 351, 308, 181, 83, 25, 25, 25, 25, 25, 25, 25, 25),
    (42, 259, 304, 219, 119, 46, 25, 25, 25, 25, 25, 25, 25),
    (29, 181, 263, 236, 178, 89, 25, 25, 25, 25, 25, 25, 25),
    (25, 105, 222, 250, 207, 133, 55, 25, 25, 25, 25, 25, 25),
    (25, 60, 164, 236, 229, 170, 94, 33, 25, 25, 25, 25, 25),
    (25, 34, 112, 200, 232, 199, 132, 64, 25, 25, 25, 25, 25),
    (25, 25, 73, 156, 216, 216, 166, 98, 42, 25, 25, 25, 25),
    (25, 25, 46, 114, 186, 216, 191, 132, 70, 27, 25, 25, 25),
    (25, 25, 28, 80, 150, 201, 203, 161, 101, 48, 25, 25, 25),
)
"""Expected part of a list's ids below 2**8, then in each octave above; by bitlen of the list's size."""
_REMEMBERED = 64
"""Splits of at most this many ids are kept in a cache."""
_PEAK = 1 << 40
_SPARE_BITS = 16


def split_weights(n: int, left: int, right: int, urn_left: int, urn_right: int) -> tuple[int, tuple[int, ...], int]:
    """Weights of the numbers of ids in the left part; (first number with a weight, weights, their sum).

    ``n`` ids in an interval with ``left`` free ids in one part and ``right`` in the other.  The weight of k + 1 over
    that of k is (n - k) * (urn_left + 16 k) * (left - k) * right over
    (k + 1) * (urn_right + 16 (n - k - 1)) * (right - n + k + 1) * left.
    """
    first, last = max(0, n - right), min(n, left)
    mode = min(max(n * urn_left // (urn_left + urn_right), first), last)

    def ratio(k: int) -> tuple[int, int]:
        up = (n - k) * (urn_left + _UNIT * k) * (left - k) * right
        down = (k + 1) * (urn_right + _UNIT * (n - k - 1)) * (right - n + k + 1) * left
        return up, down

    weight, above = _PEAK, [_PEAK]
    for k in range(mode, last):
        up, down = ratio(k)
        weight = min(weight * up // down, _PEAK << 4)
        if weight >> _SPARE_BITS == 0:
            break
        above.append(weight)
    weight, below = _PEAK, []
    for k in range(mode - 1, first - 1, -1):
        up, down = ratio(k)
        weight = min(weight * down // up, _PEAK << 4)
        if weight >> _SPARE_BITS == 0:
            break
        below.append(weight)
    near = tuple(w >> _SPARE_BITS for w in (*reversed(below), *above))
    before, after = mode - first - len(below), last - mode + 1 - len(above)
    return first, (1,) * before + near + (1,) * after, sum(near) + before + after


_remembered = lru_cache(maxsize=1 << 12)(split_weights)


def code_ids(coder: Coder, ids: Sequence[int], count: int, vocab_size: int, excluded: Sequence[int] = ()) -> list[int]:
    """Code ``count`` ids, ascending, below ``vocab_size`` and not in ``excluded`` (ascending); return them.

    There must be that many free ids.  A reader looks at nothing in ``ids``.
    """
    found: list[int] = []
    top = max(BASE_BITS, (vocab_size - 1).bit_length())
    # Intervals that wait, the lowest last: low, high, number of ids, position of the first of them in ``ids``.
    waiting = [(0, 1 << top, count, 0)]
    while waiting:
        low, high, n, at = waiting.pop()
        if n == 0:
            continue
        end = min(high, vocab_size)
        skipped = bisect_left(excluded, low) if excluded else 0
        free = end - low - (bisect_left(excluded, end) - skipped if excluded else 0)
        if n == free:
            found += _free_ids(low, end, excluded)
            continue
        octaves = low == 0 and high > 1 << BASE_BITS
        if n == 1 and not octaves:
            rank = 0
            if not coder.reads:
                rank = ids[at] - low - (bisect_left(excluded, ids[at]) - skipped if excluded else 0)
            found.append(_free_id(low, coder.uniform(rank, free), excluded, skipped))
            continue
        middle = (low + high) >> 1
        if middle >= end:
            waiting.append((low, middle, n, at))
            continue
        left = middle - low - (bisect_left(excluded, middle) - skipped if excluded else 0)
        urns = _octave_urns(high.bit_length() - 1, vocab_size, count) if octaves else _flat_urns(left, free - left)
        k = 0 if coder.reads else bisect_left(ids, middle, at, at + n) - at
        weigh = _remembered if n <= _REMEMBERED else split_weights
        first, weights, total = weigh(n, left, free - left, *urns)
        k = first + coder.choose(k - first, weights, total)
        waiting.append((middle, high, n - k, at + k))
        waiting.append((low, middle, k, at))
    return found


@lru_cache(maxsize=1 << 10)
def _octave_urns(bits: int, vocab_size: int, count: int) -> tuple[int, int]:
    """Urns of the split of [0, 2**bits) in two, where the whole set has ``count`` ids."""
    masses = OCTAVE_MASSES[min(count.bit_length(), len(OCTAVE_MASSES)) - 1]
    half = 1 << (bits - 1)
    lower = sum(masses[: bits - BASE_BITS])
    upper = masses[bits - BASE_BITS] * (min(vocab_size, 1 << bits) - half) // half + 1
    return _urn(ROOT_URN, lower, upper), _urn(ROOT_URN, upper, lower)


def _urn(balls: int, mass: int, other: int) -> int:
    return max(1, balls * mass // (mass + other))


@lru_cache(maxsize=1 << 12)
def _flat_urns(left: int, right: int) -> tuple[int, int]:
    return _urn(FLAT_URN, left, right), _urn(FLAT_URN, right, left)


def _free_id(low: int, rank: int, excluded: Sequence[int], skipped: int) -> int:
    """The free id that has ``rank`` free ids of ``low`` and above before it."""
    token = low + rank
    for i in range(skipped, len(excluded)):
        if excluded[i] > token:
            break
        token += 1
    return token


def _free_ids(low: int, end: int, excluded: Sequence[int]) -> list[int]:
    if not excluded:
        return list(range(low, end))
    out = set(excluded[bisect_left(excluded, low) : bisect_left(excluded, end)])
    return [token for token in range(low, end) if token not in out]
