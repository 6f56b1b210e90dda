"""How many proposals an edge should send, learnt from what devices took.

Spec section 6.7.  A device that takes none of them asks for more, which costs a round trip; each one that it does not
need costs a few bytes.
"""

from __future__ import annotations

from tslt_wire.checks import flag, integer
from tslt_wire.messages.answers import MOST_PROPOSALS
from tslt_wire.verification.proposals import PROPOSALS

MISSES = 0.02
"""Part of the rejections in which none of the proposals may fit."""
_STEP = 3.0
"""Proposals that a miss adds; the hits between two misses take as many away, where misses are as often as they may."""


class ProposalCount:
    """Tracks the number of proposals with which ``MISSES`` of the rejections find none that fits (spec section 6.7).

    Usage: ``verify(..., proposals=count.value)``; then, of each first batch, ``count.learn(hit)``.  Lossless: the
    number is settled before the proposals are drawn.  Not for two threads at once.
    """

    def __init__(self, *, least: int = 4, most: int = 24) -> None:
        """``most`` bounds the frame: 24 have 93 bytes at V = 32,000.

        ValueError unless 1 <= least <= most <= 256, TypeError for what are no integers.
        """
        most = integer("most", most, 1, MOST_PROPOSALS)
        least = integer("least", least, 1, most)
        self._least, self._most = least, most
        self._count = float(min(max(PROPOSALS, least), most))

    @property
    def value(self) -> int:
        """Proposals to send now."""
        return round(self._count)

    @property
    def most(self) -> int:
        """Proposals to send to who asks for more: the next ones should do."""
        return self._most

    def learn(self, hit: bool) -> None:
        """Learn whether a device took one of a first batch; TypeError for what is neither True nor False."""
        hit = flag("hit", hit)
        # A quantile by stochastic approximation: where misses come as often as MISSES the steps cancel out.
        self._count += -_STEP * MISSES if hit else _STEP * (1 - MISSES)
        self._count = min(max(self._count, float(self._least)), float(self._most))
