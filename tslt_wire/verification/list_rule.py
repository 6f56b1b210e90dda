"""How a draft with evidence ``list`` is verified: down the tree, and then from its leaves up.

Spec section 6.3, which says why it is lossless.  On the way down a node is *settled*, kept or given up at once, or
*held*: its fate waits for that of the nodes below it, and known is what the target *owes* there, the probability that
it must be kept with.  Where all nodes are settled, this is rejection sampling (paper Algorithms 3, 5 and 8 as
corrected: accept with min(1, p/q), the residual is norm(max(0, p - q)), go on at the child that was accepted).  Where
all are held, it is block verification of a chain (arXiv 2403.10444) or traversal verification of a tree (2505.12398).
The law of the text is the same, as long as whether a node is held depends on nothing that was drawn below it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tslt_wire.lists.sibling_sampling import Siblings
from tslt_wire.messages.answers import Verdict
from tslt_wire.messages.evidence import ListEvidence
from tslt_wire.messages.token_tree import PREFIX
from tslt_wire.verification.checked_round import CheckedRound
from tslt_wire.verification.choices import Choices
from tslt_wire.verification.row_access import draw_from, kernel_row

Floats = npt.NDArray[np.float64]

LEAST_HELD = 1 / 8
"""A node at which no more than this is owed is settled: it would seldom be kept, and rows below it have their price."""
TOKEN_BY_TOKEN = float("inf")
"""In the place of ``LEAST_HELD``: every node is settled."""


class Residual(Protocol):
    """What the target still owes at a node, as children of it are given up (spec section 6.3)."""

    @property
    def owed(self) -> float:
        """Probability that the text must go on from this node, if it has not gone on from a child so far."""
        ...

    def share(self, token: int) -> float:
        """Probability with which the next child must be kept if it is ``token``."""
        ...

    def reject(self, token: int) -> None:
        """The child ``token`` was given up: go on to the next."""
        ...

    def draw(self, choices: Choices) -> int:
        """A token in the place of the children."""
        ...


class DenseResidual:
    """A residual that is written out."""

    def __init__(self, target: Floats, siblings: Siblings, owed: float = 1.0) -> None:
        """``target``: the row, float64 (V,), sum 1; ``siblings``: the list's children, none of them drawn."""
        self.owed = owed
        """See Residual.owed."""
        self.rest = owed * target
        """What is left, float64 (V,), sum ``owed`` but for rounding."""
        self._siblings = siblings

    def share(self, token: int) -> float:
        """See Residual.share."""
        return min(1.0, float(self.rest[token]) / self._siblings.prob_of(token))

    def reject(self, token: int) -> None:
        """See Residual.reject.  Without replacement the token is removed from q and the rest renormalised."""
        rest = np.maximum(0.0, self.rest - self._siblings.dense())
        left = float(rest.sum())
        given_up = 1 - self.owed + left
        # p == q up to rounding: to be given up is then itself a rounding error, and any choice is exact to 1e-16.
        if given_up > 0:
            self.rest, self.owed = rest / given_up, left / given_up
        self._siblings.take(token)

    def draw(self, choices: Choices) -> int:
        """See Residual.draw."""
        return choices.draw(self.rest)


@dataclass(slots=True)
class _Open:
    """A node whose children are being tried."""

    node: int
    children: tuple[int, ...]
    left: Residual
    tried: int = 0


def verify_lists(round: CheckedRound, evidence: ListEvidence) -> Verdict:
    """Verdict on a draft with lists (spec section 6.3)."""
    draft, choices, node, owed = round.draft, round.choices, PREFIX, 1.0
    path: list[_Open] = []
    """From the last node that is sure to be kept down to the one whose children are being tried."""
    while children := draft.tree.children(node):
        path.append(_Open(node, children, _residual(round, evidence, node, owed)))
        while (found := _next_child(path[-1], round)) is None:
            if _ends_here(path, round):
                return Verdict(round=draft.round, node=path[-1].node, token=path[-1].left.draw(choices))
        node, owed = found
        if owed == 1:
            path.clear()
    return Verdict(round=draft.round, node=node, token=draw_from(round.row(node), choices))


def _residual(round: CheckedRound, evidence: ListEvidence, node: int, owed: float) -> Residual:
    """All that is owed at ``node``."""
    q, replacement = evidence.lists[node], evidence.with_replacement
    if (known := kernel_row(round.row(node))) is not None:
        return known.residual(q, replacement=replacement, owed=owed)
    return DenseResidual(round.dense(node), Siblings(q, replacement=replacement), owed)


def _next_child(place: _Open, round: CheckedRound) -> tuple[int, float] | None:
    """Try the next child: the child and what is owed there, 1 if it is settled; None if it is given up."""
    tree, child = round.draft.tree, place.children[place.tried]
    owed = place.left.share(tree.tokens[child])
    if owed > round.least_held and tree.children(child):
        return child, owed
    return (child, 1.0) if round.choices.accept(owed) else None


def _ends_here(path: list[_Open], round: CheckedRound) -> bool:
    """The child that was tried last was given up: go up to the node at which something happens.

    Returns whether the text goes on from the path's last node, without its children; if not, another child is there.
    """
    tokens, choices = round.draft.tree.tokens, round.choices
    while True:
        place = path[-1]
        left, before, child = place.left, place.left.owed, place.children[place.tried]
        place.tried += 1
        last = place.tried == len(place.children)
        # No more is owed behind the child than before: where the last one is gone most nodes go without a look at what.
        if not last or before == 1 or choices.accept(before):
            left.reject(tokens[child])
            if not last:
                return False
            if before == 1 or choices.accept(min(1.0, left.owed / before)):
                return True
        path.pop()
