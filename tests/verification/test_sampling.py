"""The target's sampling settings against a plain implementation of temperature, then top-k, then top-p."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tslt_wire import Sampling, target_probs

usual = settings(deadline=None, derandomize=True, max_examples=400)


def reference(logits: list[float], temperature: float, top_k: int, top_p: float) -> list[float]:
    """What ``generate()`` does, written out in plain Python; of tied tokens those with the lowest ids stay."""
    order = sorted(range(len(logits)), key=lambda i: (-logits[i], i))
    if temperature == 0:
        return [float(i == order[0]) for i in range(len(logits))]
    kept = order[:top_k] if top_k else order
    weights = [math.exp((logits[i] - logits[order[0]]) / temperature) for i in kept]
    count = len(kept)
    if top_p < 1:
        count = next(
            n for n in range(1, count + 1) if math.fsum(weights[:n]) >= top_p * math.fsum(weights) * (1 - 1e-15)
        )
    total = math.fsum(weights[:count])
    return [weights[kept.index(i)] / total if i in kept[:count] else 0.0 for i in range(len(logits))]


@given(
    st.lists(st.integers(-800, 800).map(lambda n: n / 100), min_size=1, max_size=14),
    st.sampled_from([0, 0.5, 1.0, 1.7]),
    st.integers(0, 16),
    st.sampled_from([1.0, 0.999, 0.87, 0.5, 0.11]),
)
@usual
def test_settings_apply_in_the_order_of_generate(logits, temperature, top_k, top_p):
    found = target_probs(logits, Sampling(temperature=temperature, top_k=top_k, top_p=top_p))
    np.testing.assert_allclose(found, reference(logits, temperature, top_k, top_p), rtol=1e-12, atol=1e-15)
    assert found.sum() == pytest.approx(1, abs=1e-12)


def test_top_p_is_a_share_of_what_top_k_left():
    logits = np.log([0.4, 0.3, 0.2, 0.1])
    np.testing.assert_allclose(target_probs(logits, Sampling(top_k=2, top_p=0.5)), [1, 0, 0, 0])
    np.testing.assert_allclose(target_probs(logits, Sampling(top_k=2, top_p=0.6)), [4 / 7, 3 / 7, 0, 0])
    np.testing.assert_allclose(target_probs(logits, Sampling(top_p=0.6)), [4 / 7, 3 / 7, 0, 0])
    np.testing.assert_allclose(
        target_probs(logits, Sampling(temperature=2, top_k=2))[:2], np.sqrt([4, 3]) / np.sqrt([4, 3]).sum()
    )


def test_greedy_takes_the_lowest_id_of_equals():
    assert target_probs([1.0, 3.0, 3.0], Sampling(temperature=0)).tolist() == [0, 1, 0]
    assert target_probs([1.0, 3.0, 3.0], Sampling(temperature=0, top_k=1, top_p=0.1)).tolist() == [0, 1, 0]


def test_ties_at_the_border_keep_the_lowest_ids():
    assert target_probs(np.zeros(5), Sampling(top_k=2)).tolist() == [0.5, 0.5, 0, 0, 0]
    assert target_probs(np.zeros(4), Sampling(top_p=0.5)).tolist() == [0.5, 0.5, 0, 0]
    assert target_probs([0.0, 1.0, 0.0, 0.0, -1.0], Sampling(top_k=3)).astype(bool).tolist() == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_rows_are_independent_and_keep_their_shape():
    logits = np.random.default_rng(0).normal(size=(2, 3, 7))
    settings_ = Sampling(temperature=0.8, top_k=5, top_p=0.9)
    found = target_probs(logits, settings_)
    assert (found.shape, found.dtype) == ((2, 3, 7), np.float64)
    for i in range(2):
        for j in range(3):
            np.testing.assert_array_equal(found[i, j], target_probs(logits[i, j], settings_))


def test_impossible_tokens_stay_impossible():
    for setting in (Sampling(), Sampling(top_k=3), Sampling(top_p=0.9999), Sampling(temperature=50)):
        assert target_probs([0.0, -np.inf, -np.inf, 0.0], setting).tolist() == [0.5, 0, 0, 0.5]


def test_extreme_settings_do_not_overflow():
    assert target_probs([0.0, -1.0, -np.inf], Sampling(temperature=5e-324)).tolist() == [1, 0, 0]
    assert target_probs([1.7e308, -1.7e308], Sampling()).tolist() == [1, 0]
    np.testing.assert_allclose(target_probs([0.0, -5.0], Sampling(temperature=1e308)), [0.5, 0.5])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"temperature": -0.1}, "temperature must be .*, got -0.1"),
        ({"temperature": math.nan}, "temperature must be .*, got nan"),
        ({"temperature": math.inf}, "temperature must be .*, got inf"),
        ({"temperature": "1"}, "temperature must be a real number, got '1'"),
        ({"temperature": True}, "temperature must be a real number, got True"),
        ({"temperature": 1j}, "temperature must be a real number, got 1j"),
        ({"temperature": None}, "temperature must be a real number, got None"),
        ({"top_k": -1}, "top_k must be at least 0, got -1"),
        ({"top_k": 1.0}, r"top_k must be an integer, got 1\.0"),
        ({"top_k": np.float64(1)}, "top_k must be an integer, got"),
        ({"top_k": True}, "top_k must be an integer, got True"),
        ({"top_k": np.True_}, "top_k must be an integer, got"),
        ({"top_k": "1"}, "top_k must be an integer, got '1'"),
        ({"top_p": 0.0}, r"top_p must be .*, got 0\.0"),
        ({"top_p": 1.5}, r"top_p must be .*, got 1\.5"),
        ({"top_p": math.nan}, "top_p must be .*, got nan"),
        ({"top_p": "0.9"}, "top_p must be a real number, got '0.9'"),
    ],
)
def test_bad_arguments_say_what_was_expected(options, match):
    with pytest.raises((TypeError, ValueError), match=match):
        Sampling(**options)


def test_settings_of_numpy_become_pythons():
    found = Sampling(temperature=np.float32(0.5), top_k=np.int64(3), top_p=1)
    assert found == Sampling(temperature=0.5, top_k=3)
    assert [type(value) for value in (found.temperature, found.top_k, found.top_p)] == [float, int, float]


@pytest.mark.parametrize("logits", [[np.nan, 0.0], [np.inf, 0.0], [-np.inf, -np.inf], [[0.0, 1.0], [0.0, np.nan]]])
def test_logits_that_are_no_distribution_are_refused(logits):
    with pytest.raises(ValueError, match="finite largest value and no NaN"):
        target_probs(logits, Sampling())
