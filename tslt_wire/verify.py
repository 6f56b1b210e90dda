"""Verification: which drafted tokens the edge keeps, and the token that follows them.

Paper Algorithms 3, 5 and 8 as corrected: accept with probability min(1, p/q), the residual is norm(max(0, p - q)), the
bonus token is the target's, and the search follows the child that was *accepted*, not the first equal one.  Without
lists the edge's own token decides.  Spec sections 6.3 to 6.5.  The output is distributed exactly as the target's,
whatever was drafted (tests/test_lossless.py, tests/test_evidence.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tslt_wire.coupling import Coupling
from tslt_wire.distribution import SparseDistribution
from tslt_wire.messages import Draft, ListEvidence, MatchEvidence, Verdict
from tslt_wire.siblings import Siblings
from tslt_wire.tree import PREFIX

Floats = npt.NDArray[np.float64]


class Choices(Protocol):
    """Where verification takes its randomness from; a test can take every branch instead."""

    def accept(self, probability: float) -> bool:
        """True with ``probability`` (0..1)."""
        ...

    def draw(self, weights: Floats) -> int:
        """An index with probability proportional to ``weights`` (float64 (V,), >= 0, not all 0)."""
        ...


class RandomChoices:
    """Choices drawn from a numpy random generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def accept(self, probability: float) -> bool:
        """See Choices.accept."""
        return bool(self._rng.random() < probability)

    def draw(self, weights: Floats) -> int:
        """See Choices.draw: inverse of the cumulative sum, which never returns an index of weight 0."""
        cumulative = np.cumsum(weights)
        i = int(np.searchsorted(cumulative, self._rng.random() * cumulative[-1], side="right"))
        # u * total can round up to total itself: then the last index that has weight.
        return i if i < len(weights) else int(np.flatnonzero(weights)[-1])


def verify(draft: Draft, target_probs: Any, rng: np.random.Generator, *, coupling: Coupling | None = None) -> Verdict:
    """Verify a chain or a tree against the target's distributions.

    ``coupling``: the session's shared numbers (``EdgeSession.coupling``), for evidence ``coupled`` and no other.

    ``target_probs``: real (1 + nodes, V), rows sum to 1; row 0 is the target's distribution after the prefix, row 1 + i
    the one after node i, with the target's own temperature, top-k and top-p applied.  Raises ValueError for another
    shape or rows that are no distributions, or coupled evidence without a coupling.
    """
    return verify_with(draft, target_probs, RandomChoices(rng), coupling=coupling)


def verify_with(draft: Draft, target_probs: Any, choices: Choices, *, coupling: Coupling | None = None) -> Verdict:
    """``verify`` with any source of randomness."""
    target = _checked(draft, target_probs)
    if isinstance(draft.evidence, ListEvidence):
        return _verify_lists(draft, draft.evidence, target, choices)
    if isinstance(draft.evidence, MatchEvidence):
        return _follow(draft, lambda at: choices.draw(target[1 + at]))
    if coupling is None:
        raise ValueError("coupled evidence needs the session's coupling")

    def first(at: int) -> int:
        depth = 0 if at == PREFIX else draft.tree.depths[at]
        return coupling.first(draft.prefix_length + depth, target[1 + at])

    return _follow(draft, first)


def _verify_lists(draft: Draft, evidence: ListEvidence, target: Floats, choices: Choices) -> Verdict:
    at = PREFIX
    while True:
        children = draft.tree.children(at)
        residual = target[1 + at]
        if children:
            tokens = [draft.tree.tokens[child] for child in children]
            q = evidence.lists[at]
            accepted, residual = verify_children(tokens, q, residual, choices, replacement=evidence.replacement)
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
    sums = target.sum(axis=1, keepdims=True)
    if not (np.isfinite(sums).all() and bool(np.all(np.abs(sums - 1) < 1e-3)) and bool(np.all(target >= 0))):
        raise ValueError("each row of target_probs must be a distribution: no negative or NaN, sum 1")
    return np.asarray(target / sums)
