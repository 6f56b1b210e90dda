"""How large a tail should be, learnt from verdicts.

Spec section 4.4: a tail helps where the target gives unlisted tokens about as much as the draft does, and hurts where
it is much sharper.  Tokens of the text are distributed as the target's own, so how often they are not listed says how
much it gives to unlisted tokens, whatever was drafted.
"""

from __future__ import annotations

from collections.abc import Mapping

from tslt_wire.checks import flag, number
from tslt_wire.lists.distribution import LEAST_TAIL, SparseDistribution
from tslt_wire.messages.answers import Verdict
from tslt_wire.messages.draft import Draft
from tslt_wire.messages.evidence import lists_by_parent

# Measured on drafts of the default pair, targets at temperatures 0.3 to 1.3: below LOW every tail lowers the
# acceptance, at HIGH the best tail is all that was left out, and between the two a line loses 0.005 at most.
_LOW, _HIGH = 0.55, 1.25
_START = 0.8
"""Ratio that is assumed at first: from here a wrong start costs about as little either way."""
_START_WEIGHT = 8.0
"""Left-out probability that the start counts for: that of some fifteen lists."""
_KEEP = 0.5 ** (1 / 200)
"""What a list counts for after another one: half after 200 of them."""


def best_scale(ratio: float) -> float:
    """Return the best ``tail_scale`` where the target gives unlisted tokens ``ratio`` times what the draft gives."""
    return min(1.0, max(0.0, (ratio - _LOW) / (_HIGH - _LOW)))


class TailScale:
    """Estimates, from a device's own verdicts, the best ``tail_scale`` for ``sparsify`` (spec section 4.4).

    Usage: ``sparsify(..., prior=prior, tail_scale=tails.scale)``, and ``tails.learn(draft, verdict)`` after each
    verdict.  Lossless: a list may depend on anything that came before its own tokens were sampled.  Not for two
    threads at once.
    """

    def __init__(self) -> None:
        self._left_out = _START_WEIGHT
        self._unlisted = _START * _START_WEIGHT

    @property
    def ratio(self) -> float:
        """Estimate of what the target gives to unlisted tokens, over what the draft gives them."""
        return self._unlisted / self._left_out

    @property
    def scale(self) -> float:
        """Part of the left-out probability that lists should give to their tails, 0 to 1; 0: no tails."""
        return best_scale(self.ratio)

    def update(self, left_out: float, listed: bool) -> None:
        """Learn from one position: ``left_out`` of its list, and whether it listed the token that the text got there.

        Lists too complete for a tail are ignored.  Raises ValueError for a ``left_out`` outside 0..1, TypeError for
        other types.
        """
        left_out, listed = number("left_out", left_out, 0, 1), flag("listed", listed)
        if left_out >= LEAST_TAIL:
            self._left_out = self._left_out * _KEEP + left_out
            self._unlisted = self._unlisted * _KEEP + (not listed)

    def learn(self, draft: Draft, verdict: Verdict, lists: Mapping[int, SparseDistribution] | None = None) -> None:
        """Update from every position of a round that had a list and got a token.

        ``lists``: those the tokens were drawn from, as ``sparsify`` made them; by default those that ``draft`` carries.
        Raises ValueError for a verdict on a node that the draft has not, TypeError for other types.
        """
        if not isinstance(draft, Draft) or not isinstance(verdict, Verdict):
            raise TypeError(f"a Draft and its Verdict are needed, got {draft!r} and {verdict!r}")
        lists = draft.lists if lists is None else lists_by_parent(lists)
        tokens, nodes = verdict.tokens(draft.tree), (-1, *draft.tree.path(verdict.node))
        for node, token in zip(nodes, tokens, strict=True):
            q = lists.get(node)
            if q is not None:
                self.update(q.left_out, q.rank(token) >= 0)
