"""How a draft with evidence ``list`` is verified: rejection sampling down the tree.

Spec section 6.3; paper Algorithms 3, 5 and 8 as corrected: accept with probability min(1, p/q), the residual is
norm(max(0, p - q)), the bonus token is the target's, and the search follows the child that was *accepted*, not the
first equal one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tslt_wire.lists.distribution import SparseDistribution
from tslt_wire.lists.sibling_sampling import Siblings
from tslt_wire.messages.answers import Verdict
from tslt_wire.messages.evidence import ListEvidence
from tslt_wire.messages.token_tree import PREFIX
from tslt_wire.verification.checked_round import CheckedRound
from tslt_wire.verification.choices import Choices
from tslt_wire.verification.kernel_rows import KernelResidual
from tslt_wire.verification.row_access import draw_from, kernel_row

Floats = npt.NDArray[np.float64]


def verify_lists(round: CheckedRound, evidence: ListEvidence) -> Verdict:
    """Verdict on a draft with lists (spec section 6.3)."""
    draft, choices, at = round.draft, round.choices, PREFIX
    while children := draft.tree.children(at):
        tokens = [draft.tree.tokens[child] for child in children]
        q, replacement = evidence.lists[at], evidence.with_replacement
        if (known := kernel_row(round.row(at))) is not None:
            left = known.residual(q, replacement=replacement)
            accepted = try_children(tokens, left, choices)
            if accepted is None:
                return Verdict(round=draft.round, node=at, token=choices.pick(left))
        else:
            accepted, residual = verify_children(tokens, q, round.dense(at), choices, replacement=replacement)
            if accepted is None:
                return Verdict(round=draft.round, node=at, token=choices.draw(residual))
        at = children[accepted]
    return Verdict(round=draft.round, node=at, token=draw_from(round.row(at), choices))


def try_children(tokens: list[int], residual: KernelResidual, choices: Choices) -> int | None:
    """``verify_children`` by the kernel: the index of the accepted child, or None, and ``residual`` is what is left."""
    for i, token in enumerate(tokens):
        if choices.accept(residual.share(token)):
            return i
        residual.reject(token)
    return None


def verify_children(
    tokens: list[int], q: SparseDistribution, target: Floats, choices: Choices, *, replacement: bool
) -> tuple[int | None, Floats]:
    """Try the children of one node in sibling order (paper Algorithm 5).

    Returns (index of the accepted child, unused) or (None, the residual the next token must be drawn from; float64
    (V,), not normalised).  Without replacement each rejected token is removed from q and the rest renormalised.
    """
    siblings = Siblings(q, replacement=replacement)
    residual = target
    for i, token in enumerate(tokens):
        if choices.accept(min(1.0, float(residual[token]) / siblings.prob_of(token))):
            return i, residual
        rest = np.maximum(0.0, residual - siblings.dense())
        total = rest.sum()
        # p == q up to rounding: a rejection is then itself a rounding error, and any choice is exact to 1e-16.
        residual = rest / total if total > 0 else residual
        siblings.take(token)
    return None, residual
