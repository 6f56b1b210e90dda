"""Truncation rules: which tokens are kept, with ties, and never nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tslt_wire import MinProb, TopK, TopP, sparsify
from tslt_wire.lists.truncation import Both, keep

usual = settings(deadline=None, derandomize=True, max_examples=80)


@st.composite
def eighths(draw):
    """Distributions whose sums are exact in binary, with many ties."""
    parts = np.array(draw(st.lists(st.integers(0, 8), min_size=1, max_size=12)), dtype=float)
    total = parts.sum()
    size = 2.0 ** math.ceil(math.log2(max(1.0, total)))
    parts[0] += size - total
    return parts / size


def ranking(probs: np.ndarray) -> list[int]:
    return sorted(range(len(probs)), key=lambda i: (-probs[i], i))


@given(eighths(), st.integers(1, 14))
@usual
def test_top_k_keeps_the_first_k_ties_by_id(probs, k):
    assert keep(probs, TopK(k)).tolist() == sorted(ranking(probs)[:k])
    assert keep(probs, TopK(k) & MinProb(1e-9)).tolist() == sorted([i for i in ranking(probs)[:k] if probs[i] > 0])


@given(eighths(), st.integers(1, 64).map(lambda n: n / 64))
@usual
def test_top_p_keeps_the_smallest_set_that_reaches_p(probs, p):
    kept = keep(probs, TopP(p))
    order = ranking(probs)
    assert kept.tolist() == sorted(order[: len(kept)])
    if p < 1:
        assert probs[kept].sum() >= p
        assert sum(probs[i] for i in order[: len(kept) - 1]) < p
    else:
        assert len(kept) == len(probs)


@given(eighths(), st.integers(1, 64).map(lambda n: n / 64))
@usual
def test_min_prob_keeps_what_reaches_tau_and_at_least_one(probs, tau):
    wanted = [i for i in range(len(probs)) if probs[i] >= tau]
    assert keep(probs, MinProb(tau)).tolist() == (wanted or ranking(probs)[:1])


@given(
    eighths(), st.integers(1, 14), st.integers(1, 63).map(lambda n: n / 64), st.integers(1, 64).map(lambda n: n / 64)
)
@usual
def test_two_rules_keep_what_both_keep(probs, k, p, tau):
    rules = [TopK(k), TopP(p), MinProb(tau)]
    for first in rules:
        for second in rules:
            both = set(keep(probs, first)) & set(keep(probs, second))
            assert set(keep(probs, first & second)) == both
            assert len(both) >= 1
    three = TopK(k) & TopP(p) & MinProb(tau)
    assert set(keep(probs, three)) == set.intersection(*(set(keep(probs, rule)) for rule in rules))


def test_no_rule_keeps_all():
    assert keep(np.array([0.5, 0.5, 0.0]), None).tolist() == [0, 1, 2]


def test_top_p_is_not_sorted_the_wrong_way():
    assert keep(np.array([0.1, 0.6, 0.3]), TopP(0.5)).tolist() == [1]
    assert keep(np.array([0.1, 0.6, 0.3]), TopP(0.6)).tolist() == [1]
    assert keep(np.array([0.1, 0.6, 0.3]), TopP(0.61)).tolist() == [1, 2]


def test_top_p_near_one_stays_in_the_vocabulary():
    probs = np.full(1000, 1 / 1000)
    assert len(keep(probs, TopP(1 - 1e-16))) == 1000


@pytest.mark.parametrize("k", [1, 2, 7, 999, 1000, 5000])
def test_both_ways_to_take_the_top_k_agree(k):
    probs = np.random.default_rng(k).integers(1, 50, size=1000).astype(float)
    probs /= probs.sum()
    np.testing.assert_array_equal(keep(probs, TopK(k)), keep(probs, Both(TopK(k), TopK(k))))


@pytest.mark.parametrize(
    ("rule", "argument", "match"),
    [
        (TopK, 0, "k of TopK must be at least 1, got 0"),
        (TopK, -3, "k of TopK must be at least 1, got -3"),
        (TopP, 0.0, r"p of TopP must be above 0 and at most 1, got 0\.0"),
        (TopP, 1.01, r"p of TopP must be above 0 and at most 1, got 1\.01"),
        (TopP, math.nan, "p of TopP must be above 0 and at most 1, got nan"),
        (MinProb, 0.0, r"tau of MinProb must be above 0 and at most 1, got 0\.0"),
        (MinProb, 2.0, r"tau of MinProb must be above 0 and at most 1, got 2\.0"),
        (MinProb, math.nan, "tau of MinProb must be above 0 and at most 1, got nan"),
    ],
)
def test_bad_arguments_say_what_was_expected(rule, argument, match):
    with pytest.raises(ValueError, match=match):
        rule(argument)


def test_rules_are_values():
    assert TopK(3) & TopP(0.5) == TopK(3) & TopP(0.5)
    assert len({TopK(3), TopK(3), TopK(4), TopP(1)}) == 3


def test_impossible_tokens_are_never_listed():
    logits = [0.0, -np.inf, -1.0, -np.inf]
    for rule in (None, TopK(4), TopP(1.0), TopP(0.9999)):
        assert sparsify(logits, truncation=rule).ids.tolist() == [0, 2]
