"""How a draft with evidence ``lazy`` is verified: token by token; a rejection asks for the one list that it needs.

Spec sections 6.6 and 6.8.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tslt_wire.checks import integer
from tslt_wire.lists.distribution import SparseDistribution
from tslt_wire.lists.probability_grid import GRID, codes_above
from tslt_wire.messages.answers import Answer, AskList, Verdict
from tslt_wire.messages.draft import Draft
from tslt_wire.messages.evidence import LazyEvidence, gives_code
from tslt_wire.messages.token_tree import PREFIX
from tslt_wire.verification.checked_round import CheckedRound
from tslt_wire.verification.choices import Choices, RandomChoices
from tslt_wire.verification.float_errors import quiet
from tslt_wire.verification.row_access import as_row, dense_of, draw_from, kernel_row, size_of


def verify_lazily(round: CheckedRound, evidence: LazyEvidence) -> Answer:
    """Verdict on a chain with a probability for each token, or AskList after the token that is rejected."""
    draft, choices = round.draft, round.choices
    for child, (token, code) in enumerate(zip(draft.tree.tokens, evidence.codes, strict=True)):
        known = kernel_row(round.row(child - 1))
        # All probabilities, though one decides: ``verify_list`` will need them, and a row without them is refused here.
        prob = float(round.dense(child - 1)[token]) if known is None else known.prob(token)
        if not choices.accept(min(1.0, prob / float(GRID[code]))):
            return AskList(round=draft.round, node=child - 1)
    last = len(draft.tree) - 1
    return Verdict(round=draft.round, node=last, token=draw_from(round.row(last), choices))


def verify_list(draft: Draft, node: int, row: Any, q: SparseDistribution, rng: np.random.Generator) -> Verdict:
    """The verdict on a lazy draft, once the list that AskList named has come (spec section 6.8).

    ``row``: the one of ``verify`` after ``node``, unchanged, a TargetRow with ``dense`` or its probabilities, real
    (V,); ``q``: the list.  ValueError if the draft has no token after ``node``, ``q`` does not give it the probability
    that was sent or is for another V than ``row``, or ``row`` is no distribution; TypeError for other types.
    """
    return verify_list_with(draft, node, row, q, RandomChoices(rng))


@quiet
def verify_list_with(draft: Draft, node: int, row: Any, q: SparseDistribution, choices: Choices) -> Verdict:
    """``verify_list`` with any source of randomness."""
    if not isinstance(q, SparseDistribution):
        raise TypeError(f"q must be a SparseDistribution, got {q!r}")
    if not isinstance(draft, Draft):
        raise TypeError(f"draft must be a Draft, got {draft!r}")
    evidence, child = draft.evidence, integer("node", node, PREFIX, None) + 1
    if not isinstance(evidence, LazyEvidence) or child >= len(draft.tree):
        raise ValueError(f"a lazy draft with a token after node {node} is needed")
    if not gives_code(q, draft.tree.tokens[child], evidence.codes[child]):
        raise ValueError(f"the list does not give token {draft.tree.tokens[child]} the probability that was sent")
    row = as_row(row)
    if (size := size_of(row)) != q.vocab_size:
        raise ValueError(f"target_probs are for V = {size}, the list for V = {q.vocab_size}")
    if (known := kernel_row(row)) is not None:
        return Verdict(round=draft.round, node=node, token=choices.pick(known.lazy_residual(q)))
    p, dense = dense_of(row, "LazyEvidence"), q.dense()
    bounds = GRID[codes_above(dense)]
    residual = np.maximum(0.0, p - dense * np.minimum(1.0, p / bounds))
    # p == q up to rounding: a rejection is then itself a rounding error, and any choice is exact to 1e-16.
    return Verdict(round=draft.round, node=node, token=choices.draw(residual if residual.any() else p))
