"""Verification: which drafted tokens the edge keeps, and the token that follows them.

Paper Algorithms 3, 5 and 8 as corrected: accept with probability min(1, p/q), the residual is norm(max(0, p - q)), the
bonus token is the target's, and the search follows the child that was *accepted*, not the first equal one.  Without
lists the edge's own token decides.  With one number a token a rejection takes a further exchange.  Spec sections 6.3 to
6.8.  The output is distributed exactly as the target's, whatever was drafted (tests/verification/test_lossless.py,
tests/verification/test_evidence.py, tests/verification/test_scalar.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tslt_wire.lists.distribution import SparseDistribution
from tslt_wire.lists.probability_grid import GRID, code_below, codes_above
from tslt_wire.lists.siblings import Siblings
from tslt_wire.messages.answers import Answer, AskList, Verdict
from tslt_wire.messages.draft import Draft
from tslt_wire.messages.evidence import (
    CodedEvidence,
    LazyEvidence,
    ListEvidence,
    MatchEvidence,
    ScalarEvidence,
    gives_code,
)
from tslt_wire.messages.token_tree import PREFIX
from tslt_wire.verification.choices import Choices, RandomChoices
from tslt_wire.verification.coupling import Coupling
from tslt_wire.verification.proposals import PROPOSALS, accepted_share, distribution, propose_with

Floats = npt.NDArray[np.float64]


def verify(
    draft: Draft,
    target_probs: Any,
    rng: np.random.Generator,
    *,
    coupling: Coupling | None = None,
    proposals: int = PROPOSALS,
) -> Answer:
    """Verify a chain or a tree against the target's distributions.

    Returns a Verdict; or, where a token of a scalar draft is rejected, Proposals (``proposals`` of them), and where one
    of a lazy draft is, AskList, which ``verify_list`` follows.

    ``coupling``: the session's shared numbers (``EdgeSession.coupling``), for evidence ``coupled`` and no other.

    ``target_probs``: real (1 + nodes, V), rows sum to 1; row 0 is the target's distribution after the prefix, row 1 + i
    the one after node i, with the target's own temperature, top-k and top-p applied.  Raises ValueError for another
    shape or rows that are no distributions, or coupled evidence without a coupling.
    """
    return verify_with(draft, target_probs, RandomChoices(rng), coupling=coupling, proposals=proposals)


def verify_with(
    draft: Draft,
    target_probs: Any,
    choices: Choices,
    *,
    coupling: Coupling | None = None,
    proposals: int = PROPOSALS,
) -> Answer:
    """``verify`` with any source of randomness."""
    target = _checked(draft, target_probs)
    evidence = draft.evidence
    if isinstance(evidence, ListEvidence):
        return _verify_lists(draft, evidence, target, choices)
    if isinstance(evidence, CodedEvidence):
        return _verify_codes(draft, evidence, target, choices, proposals)
    if isinstance(evidence, MatchEvidence):
        return _follow(draft, lambda at: choices.draw(target[1 + at]))
    if coupling is None:
        raise ValueError("coupled evidence needs the session's coupling")

    def first(at: int) -> int:
        depth = 0 if at == PREFIX else draft.tree.depths[at]
        return coupling.first(draft.prefix_length + depth, target[1 + at])

    return _follow(draft, first)


def verify_list(draft: Draft, node: int, target_probs: Any, q: SparseDistribution, rng: np.random.Generator) -> Verdict:
    """The verdict on a lazy draft, once the list that AskList named has come.

    ``target_probs``: real (V,), the row of ``verify`` after ``node``, unchanged; ``q``: the list.  ValueError if the
    draft has no token after ``node``, or ``q`` does not give it the probability that was sent.
    """
    return verify_list_with(draft, node, target_probs, q, RandomChoices(rng))


def verify_list_with(draft: Draft, node: int, target_probs: Any, q: SparseDistribution, choices: Choices) -> Verdict:
    """``verify_list`` with any source of randomness."""
    evidence, child = draft.evidence, node + 1
    if not isinstance(evidence, LazyEvidence) or not draft.tree.children(node):
        raise ValueError(f"a lazy draft with a token after node {node} is needed")
    if not gives_code(q, draft.tree.tokens[child], evidence.codes[child]):
        raise ValueError(f"the list does not give token {draft.tree.tokens[child]} the probability that was sent")
    p, dense = distribution(target_probs), q.dense()
    bounds = GRID[codes_above(dense)]
    residual = np.maximum(0.0, p - dense * np.minimum(1.0, p / bounds))
    # p == q up to rounding: a rejection is then itself a rounding error, and any choice is exact to 1e-16.
    return Verdict(round=draft.round, node=node, token=choices.draw(residual if residual.any() else p))


def _verify_codes(draft: Draft, evidence: CodedEvidence, target: Floats, choices: Choices, count: int) -> Answer:
    """Spec section 6.6: a chain, token by token, up to the first that is rejected."""
    for child, (token, code) in enumerate(zip(draft.tree.tokens, evidence.codes, strict=True)):
        at, prob = child - 1, float(target[child][token])
        if isinstance(evidence, ScalarEvidence):
            if not choices.accept(accepted_share(code, code_below(prob))):
                return propose_with(draft.round, at, target[child], choices, count=count)
        elif not choices.accept(min(1.0, prob / float(GRID[code]))):
            return AskList(round=draft.round, node=at)
    return Verdict(round=draft.round, node=len(draft.tree) - 1, token=choices.draw(target[-1]))


def _verify_lists(draft: Draft, evidence: ListEvidence, target: Floats, choices: Choices) -> Verdict:
    at = PREFIX
    while True:
        children = draft.tree.children(at)
        residual = target[1 + at]
        if children:
            tokens = [draft.tree.tokens[child] for child in children]
            q = evidence.lists[at]
            accepted, residual = verify_children(tokens, q, residual, choices, replacement=evidence.with_replacement)
            if accepted is not None:
                at = children[accepted]
                continue
        return Verdict(round=draft.round, node=at, token=choices.draw(residual))


def _follow(draft: Draft, token_after: Callable[[int], int]) -> Verdict:
    """Ask for the target's token after each node, and go on to the child that has it, as long as there is one.

    The text is made of the target's own tokens, whatever was drafted.
    """
    tree, at = draft.tree, PREFIX
    while True:
        token = token_after(at)
        child = next((node for node in tree.children(at) if tree.tokens[node] == token), None)
        if child is None:
            return Verdict(round=draft.round, node=at, token=token)
        at = child


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


def _checked(draft: Draft, target_probs: Any) -> Floats:
    target = np.asarray(target_probs, dtype=np.float64)
    vocab_sizes = {q.vocab_size for q in draft.lists.values()}
    wanted = (1 + len(draft.tree), *(vocab_sizes or {target.shape[-1] if target.ndim else 0}))
    if target.shape != wanted:
        raise ValueError(f"target_probs must have shape {wanted} (1 + nodes, V), got {target.shape}")
    if max(draft.tree.tokens, default=-1) >= target.shape[1]:
        raise ValueError(f"target_probs are for V = {target.shape[1]}, the draft has token {max(draft.tree.tokens)}")
    return np.stack([distribution(row) for row in target])
