"""Children of one node: what they are drawn from, one after another.

Spec section 4.4; paper Algorithm 4.  With replacement every child is drawn from the same list.  Without, a token
that was drawn is gone: listed tokens share what the listed ones had, tail tokens what the tail had, and if either runs
out the other has all.  Drawing, coding and verifying children all go through ``Siblings``, so they cannot disagree.
"""

from __future__ import annotations

from bisect import insort

import numpy as np
import numpy.typing as npt

from tslt_wire import checks
from tslt_wire.coding.weighed_ids import WeighedIds
from tslt_wire.lists.distribution import TAIL_PARTS, SparseDistribution


class Siblings:
    """The distribution of a node's next child.

    ``q``: the node's list; ``replacement``: whether a child may have the token of an earlier one.  TypeError.
    """

    def __init__(self, q: SparseDistribution, *, replacement: bool) -> None:
        if not isinstance(q, SparseDistribution):
            raise TypeError(f"children are drawn from a SparseDistribution, got {q!r}")
        self._q = q
        self._replacement = checks.flag("replacement", replacement)
        self.weights = q.weights.copy()
        """Weights of the listed tokens that are left, int64 (K,)."""
        self._gone = q.ids.tolist() if q.prior is not None else []
        self._outside: WeighedIds | None = None

    @property
    def outside(self) -> WeighedIds:
        """The tail's tokens that are left; only if the list has a tail."""
        if self._q.prior is None:
            raise ValueError("this list has no tail")
        if self._outside is None:
            self._outside = self._q.prior.outside(self._gone)
        return self._outside

    @property
    def tail(self) -> int:
        """The tail's probability now, in 32nds: 32 if no listed token is left, 0 if no other is."""
        q = self._q
        if q.prior is None or len(self._gone) == q.vocab_size:
            return 0
        return q.tail if self.weights.any() else TAIL_PARTS

    @property
    def empty(self) -> bool:
        """Whether no token is left."""
        return self.tail == 0 and not self.weights.any()

    def prob_of(self, token: int) -> float:
        """Probability that the next child is ``token``."""
        rank, tail = self._q.rank(token), self.tail / TAIL_PARTS
        if rank >= 0:
            return float(self.weights[rank] / self.weights.sum() * (1 - tail)) if tail < 1 else 0.0
        if not tail:
            return 0.0
        outside = self.outside
        return outside.weight(token) / outside.total * tail

    def dense(self) -> npt.NDArray[np.float64]:
        """Probabilities of all tokens, float64 (V,)."""
        q, tail = self._q, self.tail / TAIL_PARTS
        if q.prior is not None and tail:
            out = np.asarray(q.prior.weights * (tail / self.outside.total))
            out[self._gone] = 0
        else:
            out = np.zeros(q.vocab_size)
        if tail < 1:
            out[q.ids] = self.weights * ((1 - tail) / self.weights.sum())
        return out

    def draw(self, rng: np.random.Generator) -> int:
        """Draw the next child, with integers alone, and ``take`` it."""
        tail = self.tail
        if tail == TAIL_PARTS or (tail and int(rng.integers(0, TAIL_PARTS)) < tail):
            outside = self.outside
            token = outside.find(0, self._q.vocab_size, int(rng.integers(0, outside.total)))
        else:
            ends = np.cumsum(self.weights)
            at = np.searchsorted(ends, rng.integers(0, int(ends[-1])), side="right")
            token = int(self._q.ids[at])
        self.take(token)
        return token

    def take(self, token: int) -> None:
        """Go on to the next child: without replacement ``token`` is gone."""
        if self._replacement:
            return
        rank = self._q.rank(token)
        if rank >= 0:
            self.weights[rank] = 0
        else:
            insort(self._gone, token)
            self._outside = None


def sample_children(q: SparseDistribution, count: int, rng: np.random.Generator, *, replacement: bool) -> list[int]:
    """Sample the children of one node from its truncated distribution, in sibling order (paper Algorithm 4).

    With ``replacement`` the children are independent and may be equal.  Without, each is drawn from what the earlier
    ones left of ``q``, so at most ``len(q)`` children come back, or V if ``q`` has a tail.  ``rng``: a numpy Generator.
    TypeError for arguments of other types, ValueError for a negative ``count``.
    """
    count = checks.integer("count", count, 0, None)
    checks.generator("rng", rng)
    siblings = Siblings(q, replacement=replacement)
    children: list[int] = []
    while len(children) < count and not siblings.empty:
        children.append(siblings.draw(rng))
    return children
