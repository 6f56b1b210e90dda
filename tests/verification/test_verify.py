"""``verify``: what it refuses, and where its randomness goes (its law is proved in test_lossless.py)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from enumeration import outcomes

from tslt_wire import Draft, ListEvidence, TokenTree, sparsify, verify
from tslt_wire.lists.sibling_sampling import sample_children
from tslt_wire.verification.choices import RandomChoices
from tslt_wire.verification.verdicts import verify_with

Q = sparsify([0.0, 0.0, -1.0], precision="f32")
P = np.array([0.2, 0.3, 0.5])


def draft_of(tree: TokenTree, q: Any = Q, *, replacement: bool = True, **options: Any) -> Draft:
    numbers = {"round": 9, "prefix_length": 4, "prefix_hash": 5} | options
    return Draft(tree=tree, evidence=ListEvidence(dict.fromkeys(tree.inner, q), replacement), **numbers)


CHAIN = draft_of(TokenTree.chain([0, 1]))


class Fixed(np.random.Generator):
    """Stands in for a numpy generator: ``random()`` answers from a list."""

    def __init__(self, *values: float) -> None:
        super().__init__(np.random.PCG64(0))
        self._values = iter(values)

    def random(self) -> float:
        return next(self._values)


def test_a_verdict_names_the_round_the_node_and_the_token():
    rows = np.array([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]])
    verdict = verify(CHAIN, rows, np.random.default_rng(0))
    assert (verdict.round, verdict.node, verdict.token, verdict.end) == (9, 1, 2, False)
    assert verdict.tokens(CHAIN.tree) == (0, 1, 2)
    verdict = verify(CHAIN, rows[[2, 1, 0]], np.random.default_rng(0))
    assert (verdict.node, verdict.token) == (-1, 2)
    assert verdict.tokens(CHAIN.tree) == (2,)


def test_an_empty_draft_is_answered_with_the_targets_own_token():
    empty = draft_of(TokenTree([], []))
    assert verify(empty, [[0.0, 0.0, 1.0]], np.random.default_rng(0)).tokens(empty.tree) == (2,)
    found = {v.token: p for v, p in outcomes(lambda choices: verify_with(empty, P[None], choices))}
    assert found == pytest.approx({0: 0.2, 1: 0.3, 2: 0.5})


def test_the_same_seed_gives_the_same_verdict():
    rows = np.tile(P, (3, 1))
    for seed in range(20):
        assert verify(CHAIN, rows, np.random.default_rng(seed)) == verify(CHAIN, rows, np.random.default_rng(seed))


def test_target_rows_of_any_real_type_and_with_rounding_of_float16():
    exact = verify(CHAIN, np.tile(P, (3, 1)), np.random.default_rng(5))
    for dtype in (np.float16, np.float32):
        assert verify(CHAIN, np.tile(P, (3, 1)).astype(dtype), np.random.default_rng(5)) == exact
    assert verify(CHAIN, np.tile(P, (3, 1)).tolist(), np.random.default_rng(5)) == exact


def test_the_callers_rows_are_left_alone():
    rows = np.tile(P, (3, 1))
    before = rows.copy()
    for seed in range(10):
        verify(CHAIN, rows, np.random.default_rng(seed))
    np.testing.assert_array_equal(rows, before)
    np.testing.assert_array_equal(Q.weights, sparsify([0.0, 0.0, -1.0], precision="f32").weights)


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        (np.tile(P, (2, 1)), r"must have shape \(3, 3\) \(1 \+ nodes, V\), got \(2, 3\)"),
        (np.tile(P, (4, 1)), r"must have shape \(3, 3\)"),
        (np.tile([0.25] * 4, (3, 1)), r"must have shape \(3, 3\) .* got \(3, 4\)"),
        (P, r"must have shape \(3, 3\) .* got \(3,\)"),
        (1.0, r"must have shape \(3, 3\) .* got \(\)"),
        (np.tile(P, (1, 3, 1)), r"must have shape \(3, 3\)"),
        (np.zeros((3, 3)), "must be a distribution"),
        (np.tile([0.2, 0.3, 0.6], (3, 1)), "must be a distribution"),
        (np.tile([-0.2, 0.7, 0.5], (3, 1)), "must be a distribution"),
        (np.tile([np.nan, 0.5, 0.5], (3, 1)), "must be a distribution"),
        (np.tile([np.inf, 0.5, 0.5], (3, 1)), "must be a distribution"),
        (np.array([P, P, [3.0, 2.0, 1.0]]), "must be a distribution"),
    ],
)
def test_rows_that_do_not_fit_are_refused(rows, match):
    with pytest.raises(ValueError, match=match):
        verify(CHAIN, rows, np.random.default_rng(0))


def test_an_empty_draft_still_needs_one_row():
    empty = draft_of(TokenTree([], []))
    for rows in (P, np.tile(P, (2, 1)), np.zeros((1, 0)), 0.5):
        with pytest.raises(ValueError, match=r"target_probs must have shape|must be a distribution"):
            verify(empty, rows, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: draft_of(TokenTree([3], [-1])), "token 3 was drafted after node -1 but is not in that node's list"),
        (lambda: draft_of(TokenTree([1, 1], [-1, -1]), replacement=False), "children of node -1 repeat a token"),
        (
            lambda: Draft(
                round=0, prefix_length=0, prefix_hash=0, tree=TokenTree([0, 1], [-1, 0]), evidence=ListEvidence({-1: Q})
            ),
            r"lists are needed for the parents \(-1, 0\), got \(-1,\)",
        ),
        (
            lambda: Draft(
                round=0, prefix_length=0, prefix_hash=0, tree=TokenTree([0], [-1]), evidence=ListEvidence({-1: Q, 0: Q})
            ),
            r"lists are needed for the parents \(-1,\), got \(-1, 0\)",
        ),
        (lambda: draft_of(TokenTree([0], [-1]), round=-1), r"round must be in 0\.\.4294967295, got -1"),
        (lambda: draft_of(TokenTree([0], [-1]), prefix_length=2**32), "prefix_length must be in"),
        (lambda: draft_of(TokenTree([0], [-1]), prefix_hash=2**16), r"prefix_hash must be in 0\.\.65535"),
    ],
)
def test_drafts_that_nobody_could_have_sampled_are_refused(build, match):
    with pytest.raises(ValueError, match=match):
        build()


def test_numbers_of_a_draft_are_integers():
    with pytest.raises(TypeError, match="integer"):
        draft_of(TokenTree([0], [-1]), round=1.5)


def test_accept_is_strict_at_zero_and_certain_at_one():
    """random() is in [0, 1): probability 0 never accepts and 1 always does."""
    assert [RandomChoices(Fixed(u)).accept(0.0) for u in (0.0, 0.5)] == [False, False]
    below_one = float(np.nextafter(1.0, 0.0))
    assert [RandomChoices(Fixed(u)).accept(1.0) for u in (0.0, below_one)] == [True, True]
    assert [RandomChoices(Fixed(u)).accept(0.5) for u in (0.49, 0.5)] == [True, False]


def test_draw_never_returns_what_has_no_weight():
    below_one = float(np.nextafter(1.0, 0.0))
    weights = np.array([0.0, 0.25, 0.0, 0.5, 0.25, 0.0])
    found = [RandomChoices(Fixed(u)).draw(weights) for u in (0.0, 0.2499, 0.25, 0.7499, 0.75, below_one)]
    assert found == [1, 1, 3, 3, 4, 4]
    tiny = np.array([5e-324, 0.0, 5e-324, 0.0])
    assert {RandomChoices(Fixed(u)).draw(tiny) for u in (0.0, 0.3, 0.6, below_one)} <= {0, 2}
    rng = np.random.default_rng(0)
    for _ in range(200):
        weights = rng.random(9) * (rng.random(9) < 0.5) * 10.0 ** rng.integers(-300, 3)
        if weights.any():
            assert all(weights[RandomChoices(Fixed(u)).draw(weights)] > 0 for u in (0.0, 0.5, below_one))


@pytest.mark.parametrize("replacement", [True, False], ids=["with", "without"])
def test_sampled_verdicts_have_the_targets_law(replacement):
    """The random path once, end to end: 5,000 rounds of two siblings; the enumeration is exact, this one is not."""
    rng = np.random.default_rng(7)
    counts = np.zeros(3)
    rounds = 5_000
    for _ in range(rounds):
        draft = draft_of(
            TokenTree(sample_children(Q, 2, rng, replacement=replacement), [-1, -1]), replacement=replacement
        )
        verdict = verify(draft, np.tile(P, (3, 1)), rng)
        counts[verdict.tokens(draft.tree)[0]] += 1
    expected = P * rounds
    assert ((counts - expected) ** 2 / expected).sum() < 14  # 2 degrees of freedom: by chance below 0.001


def test_a_node_outside_the_tree_has_no_tokens():
    verdict = verify(CHAIN, np.tile(P, (3, 1)), np.random.default_rng(0))
    with pytest.raises(ValueError, match="node must be in"):
        type(verdict)(round=0, node=5, token=0).tokens(CHAIN.tree)
