"""Truncated lists under the range coder: size, ids, how many entries each code has, which entry has which code.

Spec section 5.4.  ``ListModel`` holds what the earlier lists of a frame say about the next one; a list alone has a fresh
one.  Everything is described once, for both directions (``range_coder.Coder``), in integers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

from tslt_wire.distribution import SparseDistribution
from tslt_wire.errors import DecodeError, ErrorCode
from tslt_wire.id_model import code_ids
from tslt_wire.precision import Precision
from tslt_wire.range_coder import Coder

SIZE_WEIGHTS = (6, 6, 8, 12, 24, 24, 24, 8, 6, 3, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)
"""Weights of bitlen(K) - 1."""
AFFINITY: tuple[tuple[int, ...], ...] = (
    (47, 26, 13, 5, 4, 4),
    (34, 24, 18, 9, 7, 4),
    (27, 25, 21, 11, 8, 4),
    (24, 22, 21, 15, 9, 5),
    (19, 22, 20, 18, 11, 7),
    (15, 18, 17, 18, 17, 11),
    (12, 14, 17, 19, 19, 16),
    (8, 8, 13, 17, 22, 27),
)
"""Weights of an entry's rank class (rows) at the octave class of its id (columns)."""


class ListModel:
    """Codes lists one after another; later ones lean on earlier ones."""

    def __init__(self, coder: Coder, vocab_size: int, precision: Precision) -> None:
        self._coder = coder
        self._vocab_size = vocab_size
        self._precision = precision
        self._size = 0
        self._lists = 0
        self._seen: dict[int, list[int]] = {}
        self._hits: dict[tuple[int, ...], list[int]] = {}

    def code(self, q: SparseDistribution | None, max_entries: int) -> SparseDistribution:
        """Code one list; a writer is given it, a reader None.  DecodeError if the bytes hold none."""
        coder, vocab_size = self._coder, self._vocab_size
        size = self._code_size(len(q) if q is not None else 0)
        if size > max_entries:
            raise DecodeError(ErrorCode.LIMIT_EXCEEDED, f"a list of {size} tokens where {max_entries} are left to allow")
        ids = self._code_ids(q.ids.tolist() if q is not None else [], size)
        values = q.codes.tolist() if q is not None else []
        if self._precision.is_log:
            codes = code_levels(coder, values, ids, self._precision, vocab_size)
        else:
            total = 1 << self._precision.code_bits
            codes = [coder.uniform(values[i] if values else 0, total) for i in range(size)]
        if q is None:
            try:
                q = SparseDistribution(
                    vocab_size, self._precision, np.array(ids, dtype=np.int32), np.array(codes, dtype=np.uint32)
                )
            except ValueError as error:
                raise DecodeError(ErrorCode.BAD_LIST, str(error)) from error
        self._learn(ids, codes)
        return q

    # ------------------------------------------------------------------------------------------------------------ size

    def _code_size(self, size: int) -> int:
        coder, vocab_size = self._coder, self._vocab_size
        if self._lists and coder.chance(int(size != self._size), 1, 8) == 0:
            return self._size
        top = vocab_size.bit_length()
        weights = SIZE_WEIGHTS[:top]
        bits = coder.choose(size.bit_length() - 1, weights, sum(weights))
        low, high = 1 << bits, min(vocab_size, (2 << bits) - 1)
        if low < high and coder.chance(int(size != low), 1, 2) == 0:
            size = low
        elif low < high:
            size = low + 1 + coder.uniform(size - low - 1, high - low)
        else:
            size = low
        if self._lists and size == self._size:
            raise DecodeError(ErrorCode.NON_CANONICAL, "a size that is the same must be said to be the same")
        self._size = size
        return size

    # ------------------------------------------------------------------------------------------------------------- ids

    def _code_ids(self, ids: list[int], size: int) -> list[int]:
        coder, vocab_size = self._coder, self._vocab_size
        if size == vocab_size:
            return list(range(vocab_size))
        if not self._seen:
            return code_ids(coder, ids, size, vocab_size)
        seen = sorted(self._seen)
        listed = set(ids)
        old: list[int] = []
        fresh = vocab_size - len(seen)
        for i, token in enumerate(seen):
            wanted = size - len(old)
            if wanted == 0:
                break
            if wanted >= fresh + len(seen) - i:
                old += seen[i:]
                break
            ones, total = self._hit_counts(token)
            if coder.chance(int(token in listed), ones, total):
                old.append(token)
                hit = 1
            else:
                hit = 0
            self._count_hit(token, hit)
        new = code_ids(coder, sorted(listed.difference(seen)), size - len(old), vocab_size, seen)
        return sorted(old + new)

    def _context(self, token: int) -> tuple[int, ...]:
        times, last, rank = self._seen[token]
        return (min(times, 4), int(last == self._lists), rank, min(self._lists, 3))

    def _hit_counts(self, token: int) -> tuple[int, int]:
        ones, total = self._hits.get(self._context(token)) or self._prior(token)
        return ones, total

    def _prior(self, token: int) -> tuple[int, int]:
        times, last, rank = self._seen[token]
        ones = HIT_PRIOR[min(times, 4) - 1][rank]
        return ones, 32

    def _count_hit(self, token: int, hit: int) -> None:
        context = self._context(token)
        ones, total = self._hits.get(context) or self._prior(token)
        ones, total = ones + 4 * hit, total + 4
        if total > 256:
            ones, total = (ones + 1) >> 1, (total >> 1) + 1
        self._hits[context] = [min(max(ones, 1), total - 1), total]

    def _learn(self, ids: Sequence[int], codes: Sequence[int]) -> None:
        self._lists += 1
        order = sorted(codes)
        third, half = order[len(order) // 8], order[len(order) // 2]
        for token, code in zip(ids, codes, strict=True):
            rank = 0 if code <= third else 1 if code <= half else 2
            entry = self._seen.setdefault(token, [0, 0, 0])
            entry[0] += 1
            entry[1] = self._lists
            entry[2] = min(rank, entry[2]) if entry[0] > 1 else rank


HIT_PRIOR = ((20, 13, 7), (23, 17, 11), (25, 20, 15), (26, 22, 18))
"""Of 32: chance that a token is listed again, by how many lists had it (rows) and how high it was (columns)."""


# ---------------------------------------------------------------------------------------------------------------- codes


def code_levels(
    coder: Coder, codes: Sequence[int], ids: Sequence[int], precision: Precision, vocab_size: int
) -> list[int]:
    """Code one log-domain code for each of ``ids``; at least one is 0."""
    size = len(ids)
    counts = _code_counts(coder, codes, size, precision)
    levels = [code for code, count in enumerate(counts) if count]
    if len(levels) == 1:
        return [0] * size
    left = [counts[code] for code in levels]
    index = {code: i for i, code in enumerate(levels)}
    classes = rank_classes(left)
    found: list[int] = []
    for i, token in enumerate(ids):
        column = octave_class(token, vocab_size)
        weights = [n * AFFINITY[c][column] for n, c in zip(left, classes, strict=True)]
        k = coder.choose(index[codes[i]] if codes else 0, weights, sum(weights))
        left[k] -= 1
        found.append(levels[k])
    return found


def rank_classes(counts: Sequence[int]) -> list[int]:
    """Class of each level: bit length of the rank its middle entry has, at most 7."""
    classes, before = [], 0
    for count in counts:
        classes.append(min((before + count // 2).bit_length(), 7))
        before += count
    return classes


def octave_class(token: int, vocab_size: int) -> int:
    """Class of an id: 0 for ids below 256, then by octaves."""
    bits = token.bit_length()
    return min(max(bits - 8, 0), 5)


def _code_counts(coder: Coder, codes: Sequence[int], size: int, precision: Precision) -> list[int]:
    """How many entries each code has: walk up, one step for each entry and each level."""
    scale = precision.steps_per_octave
    counts = [0] * (precision.max_code + 1)
    given = list(counts)
    for code in codes:
        given[code] += 1
    done, level = 0, 0
    stays, steps = 0, 0
    while True:
        n = 0
        while done < size:
            if level == 0 and n == 0 or level == precision.max_code:
                more = 1
            else:
                stay, step = walk_odds(done, level, n, scale, size)
                more = coder.chance(int(given[level] > n), stay, stay + step)
            if not more:
                break
            n += 1
            done += 1
        counts[level] = n
        if done == size:
            return counts
        level += 1


def walk_odds(done: int, level: int, n: int, scale: int, size: int) -> tuple[int, int]:
    """Odds of another entry at this level against going one level up."""
    return 16 * done + 1, 32 * scale
