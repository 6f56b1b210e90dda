"""How a rejection of evidence ``scalar`` ends: the edge proposes tokens of the target's, the device takes one.

Spec section 6.7.  What must come out is the residual p - c, where c(y) = q(y) * min(1, p~(y) / q^(y)) is what was
accepted of y.  Only the device knows q, only the edge p; so the edge draws proposals y from p, and the device keeps
each with probability 1 - c(y) / p(y).  The p(y) that it sends is rounded to 12 bits, at random, such that 1 / z has the
mean 1 / p(y): then the device keeps y with exactly that probability, though it never learns p(y).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tslt_wire.lists.distribution import SparseDistribution
from tslt_wire.lists.probability_grid import BELOW, GRID, code_above, code_below
from tslt_wire.messages.answers import MOST_PROPOSALS, Proposal, Proposals
from tslt_wire.messages.draft import Draft
from tslt_wire.messages.evidence import CodedEvidence
from tslt_wire.verification.choices import Choices, RandomChoices

Floats = npt.NDArray[np.float64]

PROPOSALS = 20
"""Proposals of a frame unless the caller says otherwise: 79 bytes at V = 32,000, and 1 rejection in 50 without one that
fits, on the default pair."""


def distribution(row: Any) -> Floats:
    """``row`` as float64 (V,) with sum 1; ValueError if it is no distribution.

    One row at a time, so that the same row gives the same numbers wherever it comes from.
    """
    found = np.asarray(row, dtype=np.float64)
    total = float(found.sum())
    if found.ndim != 1 or not (abs(total - 1) < 1e-3 and bool(np.all(found >= 0))):
        raise ValueError("each row of target_probs must be a distribution: no negative or NaN, sum 1")
    return found / total


def accepted_share(code: int, prob_code: int) -> float:
    """Probability with which a token is accepted: min(1, p~ / q^), for the codes of q^ and of p~."""
    return 0.0 if prob_code == BELOW else min(1.0, float(GRID[prob_code] / GRID[code]))


def propose(
    round: int, node: int, target_probs: Any, rng: np.random.Generator, *, batch: int = 0, count: int = PROPOSALS
) -> Proposals:
    """Proposals after ``node``, where a token was rejected.

    ``target_probs``: real (V,), the target's distribution after ``node``.  ``batch``: 0 with the verdict, then as MORE
    asks.  ``count``, 1 to 256, must be settled before anything is drawn; any number is lossless.  ValueError for a row
    that is no distribution.
    """
    return propose_with(round, node, target_probs, RandomChoices(rng), batch=batch, count=count)


def propose_with(
    round: int, node: int, target_probs: Any, choices: Choices, *, batch: int = 0, count: int = PROPOSALS
) -> Proposals:
    """``propose`` with any source of randomness."""
    if not 1 <= count <= MOST_PROPOSALS:
        raise ValueError(f"1 to {MOST_PROPOSALS} proposals fit a frame, got {count}")
    p = distribution(target_probs)
    drawn = tuple(_proposal(choices.draw(p), p, choices) for _ in range(count))
    return Proposals(round=round, node=node, proposals=drawn, batch=batch)


def _proposal(token: int, p: Floats, choices: Choices) -> Proposal:
    prob = float(p[token])
    code = code_below(prob)
    if code == BELOW or prob == GRID[code]:
        return Proposal(token, code)
    low, high = float(GRID[code]), float(GRID[code - 1])
    # (1/p - 1/high) / (1/low - 1/high): the mean of 1/z is then 1/p.
    return Proposal(token, code, up=not choices.accept(low * (high - prob) / (prob * (high - low))))


def keep_probability(proposal: Proposal, q: float) -> float:
    """Probability with which a device keeps a proposal to whose token it gives ``q``."""
    if proposal.code == BELOW:
        return 1.0
    accepted = q * accepted_share(code_above(q), proposal.code)
    # Up to rounding accepted <= p~ <= z.
    return max(0.0, 1.0 - accepted / float(GRID[proposal.code - proposal.up]))


def choose(proposals: Proposals, draft: Draft, rng: np.random.Generator) -> int | None:
    """Index of the proposal that the device takes; None if it takes none of them and has to ask for more.

    ``draft``: the one they answer, with evidence that has kept its lists (``ScalarEvidence.of``).  ValueError for
    another one, or evidence without lists.
    """
    if proposals.round != draft.round or not draft.tree.children(proposals.node):
        raise ValueError(
            f"proposals on round {proposals.round}, node {proposals.node} do not answer round {draft.round} of "
            f"{len(draft.tree)} nodes"
        )
    lists = draft.evidence.lists if isinstance(draft.evidence, CodedEvidence) else None
    if lists is None:
        raise ValueError("the draft's evidence has not kept its lists: make it with ScalarEvidence.of(tree, lists)")
    return choose_with(proposals, lists[proposals.node], RandomChoices(rng))


def choose_with(proposals: Proposals, q: SparseDistribution, choices: Choices) -> int | None:
    """``choose`` with any source of randomness."""
    for index, proposal in enumerate(proposals.proposals):
        if choices.accept(keep_probability(proposal, q.prob_of(proposal.token))):
            return index
    return None
