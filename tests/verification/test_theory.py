"""What the paper proves, on random distributions and on the verification as it is implemented.

Lemmas 1 to 5, Theorems 1 and 2 and eq. (39) of the paper, with the misprints corrected: Z^(i) is
``sum max(0, p^(i-1) - q)``, and Theorem 2's bound is an inequality that is often above 1.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from enumeration import Context, Model, drafts, expansion, outcomes, target_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from tslt_wire import Sampling, TopK, TopP, sparsify
from tslt_wire.lists.truncation import keep
from tslt_wire.verification.list_rule import TOKEN_BY_TOKEN
from tslt_wire.verification.verdicts import verify_with

usual = settings(deadline=None, derandomize=True, max_examples=100)
CLOSE = 1e-12


@st.composite
def distributions(draw: st.DrawFn, count: int) -> list[np.ndarray]:
    """``count`` random distributions over one vocabulary, some with zeros, some nearly equal."""
    vocab_size = draw(st.integers(2, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    found: list[np.ndarray] = []
    for _ in range(count):
        weights = rng.dirichlet(np.full(vocab_size, draw(st.sampled_from([0.1, 1.0, 10.0]))))
        if draw(st.booleans()):
            weights = np.where(rng.random(vocab_size) < 0.3, 0.0, weights)
        if found and draw(st.booleans()):
            weights = found[0] + 0.01 * weights
        if weights.sum() == 0:
            weights[0] = 1.0
        found.append(weights / weights.sum())
    return found


def tv(a: np.ndarray, b: np.ndarray) -> float:
    """Total variation distance, eq. (16)."""
    return 0.5 * float(np.abs(a - b).sum())


def truncated(q: np.ndarray, k: int) -> tuple[np.ndarray, float]:
    """Top-k of ``q`` renormalised, eq. (12) corrected, and the mass sigma that is left out."""
    kept = np.zeros(len(q), dtype=bool)
    kept[keep(q, TopK(k))] = True
    return np.where(kept, q / q[kept].sum(), 0.0), float(q[~kept].sum())


def residuals(p: np.ndarray, q: np.ndarray, count: int) -> tuple[list[np.ndarray], list[float]] | None:
    """P^(1)..P^(count) of eq. (25) and Z^(2)..Z^(count); None if a residual is (nearly) empty."""
    found, masses = [p], []
    while len(found) < count:
        rest = np.maximum(0.0, found[-1] - q)
        masses.append(float(rest.sum()))
        if masses[-1] < 1e-6:
            return None
        found.append(rest / masses[-1])
    return found, masses


@given(distributions(2))
@usual
def test_lemma_1(pair):
    p, q = pair
    assert np.minimum(p, q).sum() == pytest.approx(1 - tv(p, q), abs=CLOSE)


@given(distributions(3))
@usual
def test_lemma_2(three):
    p, q, other = three
    assert abs(tv(other, p) - tv(q, p)) <= tv(other, q) + CLOSE


@given(distributions(4))
@usual
def test_lemma_4(four):
    p, q, p_hat, q_hat = four
    assert abs(tv(q_hat, p_hat) - tv(q, p)) <= tv(q_hat, q) + tv(p_hat, p) + CLOSE


@given(distributions(2), st.integers(1, 12))
@usual
def test_theorem_1(pair, k):
    p, q = pair
    q_hat, sigma = truncated(q, k)
    assert tv(q_hat, q) == pytest.approx(sigma, abs=CLOSE)
    assert abs(np.minimum(q_hat, p).sum() - np.minimum(q, p).sum()) <= sigma + CLOSE


@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.floats(0.1, 1.0))
@usual
def test_theorem_1_of_sparsify(seed, k, top_p):
    """Truncated lists are the full list restricted and renormalised, to the last bit, so the theorem holds for them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=20) * 3
    full = sparsify(logits)
    p = rng.dirichlet(np.ones(20))
    for rule in (TopK(k), TopP(top_p)):
        part = sparsify(logits, truncation=rule)
        ranks = [full.rank(int(token)) for token in part.ids]
        np.testing.assert_array_equal(part.weights, full.weights[ranks])
        sigma = 1 - part.total / full.total
        assert tv(part.dense(), full.dense()) == pytest.approx(sigma, abs=CLOSE)
        assert abs(np.minimum(part.dense(), p).sum() - np.minimum(full.dense(), p).sum()) <= sigma + CLOSE


@given(distributions(2), st.integers(1, 12), st.integers(2, 5))
@usual
def test_lemma_5_and_theorem_2(pair, k, count):
    p, q = pair
    q_hat, sigma = truncated(q, k)
    plain, hat = residuals(p, q, count), residuals(p, q_hat, count)
    if plain is None or hat is None:
        return
    (ps, masses), (p_hats, _) = plain, hat
    for i in range(1, count):
        bound = 2 / masses[i - 1] * (tv(ps[i - 1], p_hats[i - 1]) + tv(q, q_hat))
        assert tv(ps[i], p_hats[i]) <= bound * (1 + 1e-9) + CLOSE
    assert tv(ps[1], p_hats[1]) <= 2 / masses[0] * tv(q, q_hat) * (1 + 1e-9) + CLOSE  # Corollary 1: Z^(2), not Z^(1)
    for j in range(1, count + 1):
        # Z^(s) is masses[s - 2]
        products = [np.prod([2 / masses[s - 2] for s in range(m + 1, j + 1)]) for m in range(1, j)]
        bound = (sum(products) + 1) * sigma
        beta, beta_hat = np.minimum(q, ps[j - 1]).sum(), np.minimum(q_hat, p_hats[j - 1]).sum()
        assert abs(beta_hat - beta) <= bound * (1 + 1e-9) + CLOSE


def test_theorem_2_is_not_vacuous():
    """Some pair has a bound below 1 for the second candidate, and comes near a tenth of it."""
    best = 0.0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        p, q = rng.dirichlet(np.full(8, 0.5)), rng.dirichlet(np.full(8, 0.5))
        q_hat, sigma = truncated(q, 4)
        plain, hat = residuals(p, q, 2), residuals(p, q_hat, 2)
        assert plain is not None
        assert hat is not None
        bound = (2 / plain[1][0] + 1) * sigma
        change = abs(np.minimum(q, plain[0][1]).sum() - np.minimum(q_hat, hat[0][1]).sum())
        if bound < 1:
            best = max(best, change / bound)
    assert best > 0.1


# The same quantities out of the enumerated verification.


def accepted_at(shape, lists, target, *, replacement=True):
    """Probability that the first layer's i-th sibling is accepted, and that none is (last entry)."""
    found = np.zeros(len(shape) + 1)
    for draft, p_draft in drafts(shape, lists, replacement=replacement):
        rows = target_rows(draft.tree, target)
        for verdict, p_verdict in outcomes(lambda choices: verify_with(draft, rows, choices)):  # noqa: B023
            found[verdict.node if verdict.node >= 0 else -1] += p_draft * p_verdict
    return found


PAIRS = [(seed, rule) for seed in range(6) for rule in (None, TopK(2), TopP(0.8))]


@pytest.mark.parametrize(("seed", "rule"), PAIRS)
def test_lemma_1_of_the_verification(seed, rule):
    lists, target = Model(5, seed).lists(truncation=rule), Model(5, 50 + seed).target(Sampling(temperature=0.9))
    accepted, rejected = accepted_at(expansion(1), lists, target)
    q, p = lists(()).dense(), target(())
    assert accepted == pytest.approx(1 - tv(q, p), abs=CLOSE)
    assert rejected == pytest.approx(tv(q, p), abs=CLOSE)


@pytest.mark.parametrize(("seed", "rule"), PAIRS)
def test_lemma_3_and_eq_39_of_the_verification(seed, rule):
    """Candidate j is accepted with 1 - TV(Q, P^(j)) given that those before were not, and eq. (39) sums that up."""
    lists, target = Model(4, seed).lists(truncation=rule), Model(4, 50 + seed).target()
    found = accepted_at(expansion(3), lists, target)
    q = lists(()).dense()
    ps = residuals(target(()), q, 3)
    assert ps is not None
    betas = [1 - tv(q, p) for p in ps[0]]
    left = 1.0
    for j, beta in enumerate(betas):
        assert found[j] == pytest.approx(left * beta, abs=CLOSE)
        left *= 1 - beta
    theta = betas[0] + sum(betas[i] * np.prod([1 - b for b in betas[:i]]) for i in range(1, 3))
    assert 1 - found[-1] == pytest.approx(theta, abs=CLOSE)


@pytest.mark.parametrize("seed", range(6))
def test_more_siblings_accept_more_and_without_replacement_more_still(seed):
    lists, target = Model(4, seed).lists(), Model(4, 50 + seed).target()
    chances = [1 - accepted_at(expansion(k), lists, target)[-1] for k in (1, 2, 3)]
    assert chances == sorted(chances)
    for k in (2, 3):
        alone = 1 - accepted_at(expansion(k), lists, target, replacement=False)[-1]
        assert alone >= chances[k - 1] - CLOSE


def test_all_tokens_as_siblings_without_replacement_are_always_enough():
    """As many siblings as the list has tokens accept all of the target's mass on the list."""
    lists = Model(3, 1).lists()
    target = Model(3, 2).target()
    assert accepted_at(expansion(3), lists, target, replacement=False)[-1] == pytest.approx(0.0, abs=CLOSE)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_tokens_per_round_of_a_chain(length):
    """(1 - a^(L+1)) / (1 - a) tokens a round where every position accepts with the same chance a."""
    q = sparsify([0.0, -1.0, -0.5])
    p = np.array([0.2, 0.5, 0.3])

    def lists(_: Context):
        return q

    def target(_: Context):
        return p

    def tokens(**rule: float) -> float:
        return sum(
            p_draft * p_verdict * len(verdict.tokens(draft.tree))
            for draft, p_draft in drafts(expansion(*[1] * length), lists)
            for verdict, p_verdict in outcomes(partial(verify_with, draft, target_rows(draft.tree, target), **rule))
        )

    a = 1 - tv(q.dense(), p)
    expected = (1 - a ** (length + 1)) / (1 - a)
    assert tokens(least_held=TOKEN_BY_TOKEN) == pytest.approx(expected, abs=CLOSE)
    assert tokens() > expected * (1.02 if length > 1 else 1 - CLOSE)  # a token makes up for one before it
