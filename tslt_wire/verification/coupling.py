"""Shared random numbers of evidence ``coupled``: both ends run the same race and often agree on who wins.

Spec section 6.5.  The numbers come from Philox4x32-10 (Salmon et al. 2011), keyed by a secret of the session and
counted by position and text, so that any number can be had without those before it.  A race gives each token an
exponential arrival time with its probability as rate; who arrives first is then distributed as the probabilities say
(Gumbel-max; Daliri, Musco, Suresh 2024).

Siblings are the first few of one race.  The list version of the paper on trees (GLS, 2506.05632) gives each sibling a
race of its own; it accepts less, and its edge's token depends on how many siblings a device chose to send.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tslt_wire.checks import integer
from tslt_wire.coding.philox import KEY_BYTES, uniforms
from tslt_wire.lists.distribution import SparseDistribution
from tslt_wire.verification.float_errors import quiet

Floats = npt.NDArray[np.float64]
MOST_POSITION = (1 << 32) - 1
"""The last place of a text that has numbers, and the last text of a session."""


@dataclass(frozen=True, slots=True)
class Coupling:
    """The shared random numbers of one text of a session (spec section 6.5).

    A token's number depends on nothing but key, epoch, position and the token, so the token that the edge chooses does
    not depend on the draft.  Raises ValueError for a key of another size, or numbers that do not fit 32 bits, TypeError
    for other types.
    """

    key: bytes
    """The session's secret, ``KEY_BYTES`` bytes."""
    epoch: int
    """Number of PROMPTs of the session so far: no two texts share their numbers."""

    def __post_init__(self) -> None:
        if not isinstance(self.key, bytes):
            raise TypeError(f"a coupling key must be bytes, got {type(self.key).__name__}")
        if len(self.key) != KEY_BYTES:
            raise ValueError(f"a coupling key has {KEY_BYTES} bytes, got {len(self.key)}")
        object.__setattr__(self, "epoch", integer("epoch", self.epoch, 0, MOST_POSITION))

    def uniforms(self, position: int, ids: npt.NDArray[Any]) -> Floats:
        """The number of each token at a position (tokens before it), float64 (N,): (n + 1) / 2**53, never 0."""
        return uniforms(self.key, self.epoch, integer("position", position, 0, MOST_POSITION), ids)

    @quiet
    def arrivals(self, position: int, ids: npt.NDArray[Any], rates: npt.NDArray[Any]) -> Floats:
        """When each token arrives, float64 (N,): exponential, independent, with its rate; never (inf) for a rate of 0.

        ``ids``: integers (N,), distinct; ``rates``: real (N,), >= 0, in any unit.
        """
        times = -np.log(self.uniforms(position, ids)) / rates
        return np.where(np.asarray(rates) > 0, times, np.inf)

    def first(self, position: int, probs: Floats) -> int:
        """The token that arrives first, the lowest id of equals (spec section 6.5).

        ``probs``: float64 (V,), >= 0, not all 0: ValueError if they are.
        """
        found = self.earliest(position, probs, 1)
        if not found:
            raise ValueError("a race needs a token with a probability above 0")
        return found[0]

    def earliest(self, position: int, probs: Floats, count: int) -> list[int]:
        """The first ``count`` tokens to arrive, in their order, lower ids first among equals; all if there are fewer.

        ``probs``: as for ``first``.
        """
        runners = np.flatnonzero(probs)
        return _in_order(runners, self.arrivals(position, runners, probs[runners]), count)

    def children(self, q: SparseDistribution, count: int, position: int) -> list[int]:
        """What to draft after a node: the first ``count`` tokens to arrive, or all of ``q``'s if it has fewer.

        Spec section 6.5.  ``position``: tokens before them, the prefix and the path to the node.  ValueError for a
        negative ``count``, TypeError for other types.
        """
        if not isinstance(q, SparseDistribution):
            raise TypeError(f"q must be a SparseDistribution, got {q!r}")
        count = integer("count", count, 0, None)
        if q.prior is None:
            ids, rates = q.ids, q.weights.astype(np.float64)
        else:
            ids, rates = np.arange(q.vocab_size, dtype=np.int32), q.dense()
        times = self.arrivals(position, ids, rates)
        return _in_order(ids, times, min(count, int((rates > 0).sum())))


def _in_order(ids: npt.NDArray[Any], times: Floats, count: int) -> list[int]:
    """The ``count`` of ``ids``, ascending, whose times are least; all if there are fewer."""
    count = min(count, len(ids))
    if not count:
        return []
    # Sorting them all would take longer than the race; equals of the last one stay, for the order among them.
    among = np.flatnonzero(times <= np.partition(times, count - 1)[count - 1])
    return [int(ids[i]) for i in among[np.argsort(times[among], kind="stable")[:count]]]
