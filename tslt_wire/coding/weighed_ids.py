"""Ids by integer weights, some of them excluded: running sums, and single ids under the range coder.

Spec sections 4.4 and 5.4.  For tails of lists and for ids that a trained table expects.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from tslt_wire.coding.range_coder import Coder


class WeighedIds:
    """A weight for every id of a vocabulary, none for those that are excluded."""

    def __init__(self, starts: npt.NDArray[np.int64], excluded: Sequence[int] = ()) -> None:
        """``starts``: running sums of the weights, int64 (V + 1,), from 0; ``excluded``: ids, ascending."""
        self._starts = starts
        self._excluded = excluded
        gone = starts[np.array(excluded, dtype=np.int64) + 1] - starts[np.array(excluded, dtype=np.int64)]
        self._gone: list[int] = [0, *accumulate(gone.tolist())]

    @property
    def total(self) -> int:
        """Sum of all weights."""
        return self.below(len(self._starts) - 1)

    def below(self, token: int) -> int:
        """Sum of the weights of ids below ``token``."""
        return int(self._starts[token]) - self._gone[bisect_left(self._excluded, token)]

    def weight(self, token: int) -> int:
        """Weight of ``token``; 0 if it is excluded."""
        return self.below(token + 1) - self.below(token)

    def find(self, low: int, high: int, part: int) -> int:
        """Return the id in ``[low, high)`` that ``part``, counted from the weight of ``low``, falls on."""
        found: int = bisect_right(range(high), part + self.below(low), low, high, key=self.below)
        return found - 1


def code_one(coder: Coder, weighed: WeighedIds, low: int, high: int, token: int) -> int:
    """Code an id in ``[low, high)`` by its weight."""
    base = weighed.below(low)

    def part(token: int) -> tuple[int, int]:
        start = weighed.below(token)
        return start - base, weighed.below(token + 1) - start

    return coder.pick(token, weighed.below(high) - base, part, lambda at: weighed.find(low, high, at))
