"""How a rejection of evidence ``scalar`` ends: the edge proposes tokens of the target's, the device takes one.

Spec section 6.7.  What must come out is the residual p - c, where c(y) = q(y) * min(1, p~(y) / q^(y)) is what was
accepted of y.  Only the device knows q, only the edge p; so the edge draws proposals y from p, and the device keeps
each with probability 1 - c(y) / p(y).  The p(y) that it sends is rounded to 12 bits, at random, such that 1 / z has the
mean 1 / p(y): then the device keeps y with exactly that probability, though it never learns p(y).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tslt_wire.checks import integer
from tslt_wire.lists.distribution import SparseDistribution
from tslt_wire.lists.probability_grid import BELOW, GRID, code_above, code_below
from tslt_wire.messages.answers import MOST_PROPOSALS, Proposal, Proposals
from tslt_wire.messages.draft import Draft
from tslt_wire.messages.evidence import ScalarEvidence
from tslt_wire.messages.token_tree import PREFIX
from tslt_wire.verification.choices import Choices, RandomChoices
from tslt_wire.verification.float_errors import quiet
from tslt_wire.verification.row_access import as_row, draw_from, kernel_row, prob_of
from tslt_wire.verification.target_rows import TargetRow

PROPOSALS = 20
"""Proposals of a frame unless the caller says otherwise: 79 bytes at V = 32,000, and 1 rejection in 50 without one that
fits, on the default pair."""
_MOST = (1 << 32) - 1


def accepted_share(code: int, prob_code: int) -> float:
    """Probability with which a token is accepted: min(1, p~ / q^), for the codes of q^ and of p~."""
    return 0.0 if prob_code == BELOW else min(1.0, float(GRID[prob_code] / GRID[code]))


def propose(
    round: int, node: int, row: Any, rng: np.random.Generator, *, batch: int = 0, count: int = PROPOSALS
) -> Proposals:
    """Proposals after ``node``, where a token was rejected (spec section 6.7).

    ``row``: the target's row after ``node``, as ``verify`` had it: a TargetRow or its probabilities, real (V,).
    ``batch``: 0 with the verdict, then as MORE asks.  ``count``, 1 to 256, must be settled before anything is drawn;
    any number is lossless.  ValueError for a row that is no distribution and for numbers out of range, TypeError for
    other types.
    """
    return propose_with(round, node, row, RandomChoices(rng), batch=batch, count=count)


@quiet
def propose_with(
    round: int, node: int, row: Any, choices: Choices, *, batch: int = 0, count: int = PROPOSALS
) -> Proposals:
    """``propose`` with any source of randomness."""
    count = integer("count", count, 1, MOST_PROPOSALS)
    round, node = integer("round", round, 0, _MOST), integer("node", node, PREFIX, _MOST - 1)
    batch = integer("batch", batch, 0, _MOST)
    p = as_row(row)
    if type(choices) is RandomChoices and (known := kernel_row(p)) is not None:
        drawn = tuple(Proposal.trusted(*made) for made in known.propose(choices.rng, count))
    else:
        drawn = tuple(_proposal(draw_from(p, choices), p, choices) for _ in range(count))
    return Proposals(round=round, node=node, proposals=drawn, batch=batch)


def _proposal(token: int, row: TargetRow, choices: Choices) -> Proposal:
    prob = prob_of(row, token)
    code = code_below(prob)
    if code == BELOW or prob == GRID[code]:
        return Proposal(token, code)
    low, high = float(GRID[code]), float(GRID[code - 1])
    # (1/p - 1/high) / (1/low - 1/high): the mean of 1/z is then 1/p.
    return Proposal(token, code, up=not choices.accept(low * (high - prob) / (prob * (high - low))))


def keep_probability(proposal: Proposal, q: float) -> float:
    """Probability with which a device keeps a proposal to whose token it gives ``q`` (spec section 6.7)."""
    if proposal.code == BELOW:
        return 1.0
    accepted = q * accepted_share(code_above(q), proposal.code)
    return max(0.0, 1.0 - accepted / float(GRID[proposal.code - proposal.up]))


def choose(proposals: Proposals, draft: Draft, rng: np.random.Generator) -> int | None:
    """Index of the proposal that the device takes; None if it takes none of them and has to ask for more.

    Spec section 6.7.  ``draft``: the scalar draft that was answered, whose evidence knows the lists it was made of
    (``ScalarEvidence.of``): another list than the one that the rejected token was drawn from would bias the text.
    ValueError for a draft of another round, without lists, or without a token after ``proposals.node``, and for
    proposals outside its vocabulary; TypeError for other types.
    """
    return choose_with(proposals, draft, RandomChoices(rng))


@quiet
def choose_with(proposals: Proposals, draft: Draft, choices: Choices) -> int | None:
    """``choose`` with any source of randomness."""
    q = _rejected_list(proposals, draft)
    for index, proposal in enumerate(proposals.proposals):
        if choices.accept(keep_probability(proposal, q.prob_of(proposal.token))):
            return index
    return None


def _rejected_list(proposals: Proposals, draft: Draft) -> SparseDistribution:
    """The list that the rejected token was drawn from."""
    if not isinstance(proposals, Proposals):
        raise TypeError(f"proposals must be Proposals, got {proposals!r}")
    if not isinstance(draft, Draft):
        raise TypeError(f"draft must be the Draft that was answered, got {draft!r}")
    evidence, node = draft.evidence, proposals.node
    if not isinstance(evidence, ScalarEvidence) or evidence.lists is None:
        raise ValueError("a draft whose evidence ScalarEvidence.of made is needed: it knows the lists it was made of")
    if proposals.round != draft.round:
        raise ValueError(f"the proposals are of round {proposals.round}, the draft is of round {draft.round}")
    if node + 1 >= len(draft.tree):
        raise ValueError(f"proposals after node {node} of a draft that has no token after it")
    q = evidence.lists[node]
    beyond = max(proposal.token for proposal in proposals.proposals)
    if beyond >= q.vocab_size:
        raise ValueError(f"the draft is for V = {q.vocab_size}, the proposals have token {beyond}")
    return q
