"""Truncated lists under the range coder: size, ids, how many entries each code has, which entry has which code.

Spec section 5.4.  ``ListModel`` holds what earlier lists of a frame say about the next; a lone list has a fresh one.
Everything is described once, for both directions (``range_coder.Coder``), in integers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tslt_wire.coding.id_model import code_gaps, code_ids
from tslt_wire.coding.prefix_codes import code_lengths, prefix_lengths
from tslt_wire.coding.range_coder import Coder
from tslt_wire.coding.weighed_ids import WeighedIds
from tslt_wire.errors import DecodeError, ErrorCode
from tslt_wire.lists.distribution import TAIL_PARTS, SparseDistribution
from tslt_wire.lists.precision import Precision
from tslt_wire.lists.profile import Profile

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
FREE_ENTRIES = 256
ENTRIES_A_BYTE = 8
"""Entries beyond FREE_ENTRIES need a byte for every so many.  Real lists have 1 to 3; without this rule a few bytes
could say "everything, all equal" and keep a decoder busy for seconds."""
LONG = 128
"""Lists with more entries have their codes, and if so many ids are new these too, in plain bits."""
HIT_PRIOR = (
    ((4, 3, 3), (10, 10, 9)),
    ((5, 4, 3), (15, 13, 10)),
    ((7, 4, 3), (14, 15, 15)),
    ((13, 5, 4), (21, 23, 20)),
)
"""How often of ``HIT_PRIOR_LOOKS`` a token of earlier lists is listed again: by how many had it (1, 2, 3, more),
whether the last one had it, and its class there: 0 for the first eighth of the entries, 1 for the first half, 2."""
TAIL_NEAR = (12, 10, 8, 6, 5, 4, 3, 2)
"""Weights of a tail by its distance to that of the list before, if neither is 0."""
TAIL_NONE = (160, 30)
"""Weight of no tail, after a list that had none and after one that had one."""
FEW_IDS = 1024
"""If no more ids are free, sets of them are quick to code, and often so dense that gaps would cost more."""
SHARED = 512
"""Longer lists know nothing of each other: that would take most of their time and give little."""
MAX_SEEN = 2048
"""Most tokens that a frame remembers: what a list costs in time must not grow with the lists before it."""
HIT_PRIOR_LOOKS = 32
HIT_STEP = 8
"""What one look counts."""
HIT_LOOKS = 256
"""Above this many looks both counts are halved."""


class ListModel:
    """Codes lists one after another; later ones lean on earlier ones."""

    def __init__(self, coder: Coder, profile: Profile, precision: Precision) -> None:
        self._coder = coder
        self._vocab_size = profile.vocab_size
        self._prior = profile.prior
        self._tail = 0
        self._precision = precision
        self._size = 0
        self._entries = 0
        self._lists = 0
        self._last: tuple[list[int], list[int]] | None = None
        """Ids and codes of the list before, of which nothing is learnt until there is a next one."""
        self._seen: dict[int, tuple[int, int, int]] = {}
        """Token: how many lists had it, the number of the last of them, its best class."""
        self._hits: dict[tuple[int, int, int, int], list[int]] = {}

    def code(self, q: SparseDistribution | None, max_entries: int) -> SparseDistribution:
        """Code one list; a writer is given it, a reader None.  DecodeError if the bytes hold none."""
        coder, vocab_size = self._coder, self._vocab_size
        if self._last is not None:
            self._learn(*self._last)
        coder.part("size")
        size = self._code_size(len(q) if q is not None else 0)
        if size > max_entries:
            raise DecodeError(ErrorCode.LIMIT_EXCEEDED, f"a list of {size} tokens, {max_entries} are left to allow")
        self._entries += size
        coder.promise(-(-max(0, self._entries - FREE_ENTRIES) // ENTRIES_A_BYTE))
        given, values = (q.ids.tolist(), q.codes.tolist()) if q is not None else ([], [])
        tail = q.tail if q is not None else 0
        if size > LONG:
            ids, codes, tail = self._code_long(given, values, tail, size)
        else:
            coder.part("ids")
            ids = self._code_ids(given, size)
            coder.part("codes")
            if self._precision.is_log:
                codes = code_levels(coder, values, ids, self._precision)
            else:
                total = 1 << self._precision.code_bits
                codes = [coder.uniform(values[i] if values else 0, total) for i in range(size)]
            coder.part("tail")
            tail = self._code_tail(tail, size)
        if q is None:
            try:
                q = SparseDistribution(
                    vocab_size,
                    self._precision,
                    np.array(ids, dtype=np.int32),
                    np.array(codes, dtype=np.uint32),
                    tail,
                    self._prior if tail else None,
                )
            except ValueError as error:
                raise DecodeError(ErrorCode.BAD_LIST, str(error)) from error
        self._last = ids, codes
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
        if size == self._vocab_size:
            return list(range(size))
        seen, old, new = self._code_old(ids, size)
        new = code_ids(self._coder, new, size - len(old), self._vocab_size, seen, self._expected(size, seen))
        return sorted(old + new) if old else new

    def _code_old(self, ids: list[int], size: int) -> tuple[list[int], list[int], list[int]]:
        """Code which of the tokens seen so far are listed: all of these, those that are, other ids of the list."""
        if not self._seen or size > SHARED:
            return [], [], ids
        coder = self._coder
        seen = sorted(self._seen)
        listed = set(ids)
        old: list[int] = []
        fresh = self._vocab_size - len(seen)
        for i, token in enumerate(seen):
            wanted = size - len(old)
            if wanted == 0:
                break
            if wanted >= fresh + len(seen) - i:
                old += seen[i:]
                break
            count = self._count(token)
            hit = coder.chance(int(token in listed), *count)
            if hit:
                old.append(token)
            count[0] += HIT_STEP * hit
            count[1] += HIT_STEP
            if count[1] > HIT_LOOKS:
                count[0], count[1] = (count[0] + 1) >> 1, (count[1] >> 1) + 1
        return seen, old, sorted(listed.difference(seen))

    def _expected(self, size: int, excluded: Sequence[int]) -> WeighedIds | None:
        return self._prior.expected(size, excluded) if self._prior is not None else None

    def _count(self, token: int) -> list[int]:
        """Hits and looks of the kind of token that ``token`` is."""
        times, last, rank = self._seen[token]
        key = (min(times, 4), int(last == self._lists), rank, min(self._lists, 3))
        return self._hits.setdefault(key, [HIT_PRIOR[key[0] - 1][key[1]][rank], HIT_PRIOR_LOOKS])

    def _code_tail(self, tail: int, size: int) -> int:
        """Code a tail, which is likely to be near that of the list before; a list of all ids, or without a prior, has
        none."""
        last, coder = self._tail, self._coder
        if not self._prior or size == self._vocab_size:
            return 0
        if not self._lists:
            self._tail = coder.uniform(tail - 1, TAIL_PARTS - 1) + 1 if coder.chance(int(tail > 0), 1, 2) else 0
        else:
            weights = [TAIL_NEAR[min(abs(other - last), len(TAIL_NEAR) - 1)] for other in range(TAIL_PARTS)]
            weights[0] = TAIL_NONE[int(last > 0)]
            self._tail = coder.choose(tail, weights, sum(weights))
        return self._tail

    # ------------------------------------------------------------------------------------------------------ long lists

    def _code_long(self, given: list[int], values: list[int], tail: int, size: int) -> tuple[list[int], list[int], int]:
        """Ids, codes and tail; all that has symbols first, then the plain bits."""
        coder, vocab_size = self._coder, self._vocab_size
        coder.part("ids")
        seen, old, new = self._code_old(given, size) if size < vocab_size else ([], [], [])
        count, expected = size - len(old), self._expected(size, seen)
        gaps = size < vocab_size and count > LONG and vocab_size - len(seen) > FEW_IDS and expected is None
        if size < vocab_size and not gaps:
            new = code_ids(coder, new, count, vocab_size, seen, expected)
        lengths: list[int] = []
        coder.part("codes")
        if self._precision.is_log:
            if values:
                lengths = prefix_lengths(np.bincount(values).tolist(), size)
            lengths = code_lengths(coder, lengths, size, self._precision.max_code)
        coder.part("tail")
        tail = self._code_tail(tail, size)
        plain = coder.leave()
        coder.part("ids")
        if gaps:
            new = code_gaps(plain, new, count, vocab_size, seen)
        coder.part("codes")
        if not lengths:
            codes = plain.fields(values, size, self._precision.code_bits)
        elif len(lengths) == 1:
            codes = [0] * size
        else:
            codes = plain.symbols(values, size, lengths)
            if coder.reads and prefix_lengths(np.bincount(codes).tolist(), size) != lengths:
                raise DecodeError(ErrorCode.NON_CANONICAL, "the list has not the numbers of codes its lengths are for")
        coder.resume()
        ids = list(range(size)) if size == vocab_size else sorted(old + new) if old else new
        return ids, codes, tail

    def _learn(self, ids: Sequence[int], codes: Sequence[int]) -> None:
        self._lists += 1
        if len(ids) > SHARED:
            return
        if len(self._seen) + len(ids) > MAX_SEEN:
            self._seen.clear()
        order = sorted(codes)
        eighth, half = order[len(order) // 8], order[len(order) // 2]
        for token, code in zip(ids, codes, strict=True):
            rank = 0 if code <= eighth else 1 if code <= half else 2
            times, _, best = self._seen.get(token, (0, 0, 2))
            self._seen[token] = (times + 1, self._lists, min(rank, best))


# ---------------------------------------------------------------------------------------------------------------- codes


def code_levels(coder: Coder, codes: Sequence[int], ids: Sequence[int], precision: Precision) -> list[int]:
    """Code one log-domain code for each of ``ids``; at least one is 0."""
    size = len(ids)
    counts = _code_counts(coder, codes, size, precision)
    levels = [code for code, count in enumerate(counts) if count]
    if len(levels) == 1:
        return [0] * size
    left = [counts[code] for code in levels]
    index = {code: i for i, code in enumerate(levels)}
    rows = [AFFINITY[c] for c in rank_classes(left)]
    found: list[int] = []
    octave, weights, total = -1, [0] * len(left), 0
    for i, token in enumerate(ids):
        # Ids ascend, and so do their classes: the weights of one class at a time are enough.
        if octave_class(token) != octave:
            octave = octave_class(token)
            weights = [n * row[octave] for n, row in zip(left, rows, strict=True)]
            total = sum(weights)
        k = coder.choose(index[codes[i]] if codes else 0, weights, total)
        left[k] -= 1
        weights[k] -= rows[k][octave]
        total -= rows[k][octave]
        found.append(levels[k])
    return found


def rank_classes(counts: Sequence[int]) -> list[int]:
    """Class of each level: bit length of the rank its middle entry has, at most 7."""
    classes, before = [], 0
    for count in counts:
        classes.append(min((before + count // 2).bit_length(), 7))
        before += count
    return classes


def octave_class(token: int) -> int:
    """Class of an id: 0 for ids below 256, then by octaves."""
    bits = token.bit_length()
    return min(max(bits - 8, 0), 5)


def _code_counts(coder: Coder, codes: Sequence[int], size: int, precision: Precision) -> list[int]:
    """How many entries each code has, from 0 up, until all are done."""
    highest = precision.max_code
    counts = [0] * (highest + 1)
    given = list(counts)
    for code in codes:
        given[code] += 1
    left, double = size, 2 * precision.steps_per_octave
    for level in range(highest):
        found = 0 if level else 1
        while found < left:
            done = size - left + found
            if not coder.chance(int(given[level] > found), done + 1, done + 1 + double):
                break
            found += 1
        counts[level] = found
        left -= found
        if not left:
            return counts
    counts[highest] = left
    return counts
