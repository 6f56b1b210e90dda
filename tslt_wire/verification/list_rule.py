"""How a draft with evidence ``list`` is verified: rejection sampling down the tree.

Spec section 6.3; paper Algorithms 3, 5 and 8 as corrected: accept with probability min(1, p/q), the residual is
norm(max(0, p - q)), the bonus token is the target's, and the search follows the child that was *accepted*, not the
first equal one.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from tslt_wire.lists.distribution import SparseDistribution
from tslt_wire.lists.sibling_sampling import Siblings
from tslt_wire.messages.answers import Verdict
from tslt_wire.messages.evidence import ListEvidence
from tslt_wire.messages.token_tree import PREFIX
from tslt_wire.verification.checked_round import CheckedRound
from tslt_wire.verification.choices import Choices, RandomChoices
from tslt_wire.verification.row_access import draw_from, kernel_row

Floats = npt.NDArray[np.float64]


def verify_lists(round: CheckedRound, evidence: ListEvidence) -> Verdict:
    """Verdict on a draft with lists (spec section 6.3)."""
    draft, choices, at = round.draft, round.choices, PREFIX
    while children := draft.tree.children(at):
        tokens = [draft.tree.tokens[child] for child in children]
        q, replacement = evidence.lists[at], evidence.with_replacement
        if (known := kernel_row(round.row(at))) is not None:
            if type(choices) is RandomChoices:
                accepted, token = known.try_children(tokens, q, choices.rng, replacement=replacement)
            else:
                left = known.residual(q, replacement=replacement)
                accepted = try_children(tokens, left, choices)
                token = choices.pick(left) if accepted is None else PREFIX
            if accepted is None:
                return Verdict(round=draft.round, node=at, token=token)
        else:
            accepted, residual = verify_children(tokens, q, round.dense(at), choices, replacement=replacement)
            if accepted is None:
                return Verdict(round=draft.round, node=at, token=choices.draw(residual))
        at = children[accepted]
    return Verdict(round=draft.round, node=at, token=draw_from(round.row(at), choices))


class Residual(Protocol):
    """What the target still owes after siblings were rejected (spec section 6.3)."""

    def share(self, token: int) -> float:
        """Probability with which the next sibling is accepted if it is ``token``."""
        ...

    def reject(self, token: int) -> None:
        """The sibling ``token`` was rejected: go on to the next."""
        ...


class DenseResidual:
    """A residual that is written out."""

    def __init__(self, target: Floats, siblings: Siblings) -> None:
        """``target``: the row, float64 (V,), sum 1; ``siblings``: the list's children, none of them drawn."""
        self.rest = target
        """What is left, float64 (V,), sum 1 but for rounding."""
        self._siblings = siblings

    def share(self, token: int) -> float:
        """See Residual.share."""
        return min(1.0, float(self.rest[token]) / self._siblings.prob_of(token))

    def reject(self, token: int) -> None:
        """See Residual.reject.  Without replacement the token is removed from q and the rest renormalised."""
        rest = np.maximum(0.0, self.rest - self._siblings.dense())
        total = rest.sum()
        # p == q up to rounding: a rejection is then itself a rounding error, and any choice is exact to 1e-16.
        self.rest = rest / total if total > 0 else self.rest
        self._siblings.take(token)


def try_children(tokens: list[int], residual: Residual, choices: Choices) -> int | None:
    """Try the children of one node in sibling order (paper Algorithm 5).

    Returns the index of the accepted child; or None, and ``residual`` is what the next token must be drawn from.
    """
    for i, token in enumerate(tokens):
        if choices.accept(residual.share(token)):
            return i
        residual.reject(token)
    return None


def verify_children(
    tokens: list[int], q: SparseDistribution, target: Floats, choices: Choices, *, replacement: bool
) -> tuple[int | None, Floats]:
    """``try_children`` for a row that is written out, float64 (V,).

    Returns (index of the accepted child, unused) or (None, the residual; float64 (V,)).
    """
    residual = DenseResidual(target, Siblings(q, replacement=replacement))
    accepted = try_children(tokens, residual, choices)
    return accepted, residual.rest
