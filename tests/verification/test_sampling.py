"""The target's sampling settings against a plain implementation of temperature, then top-k, then top-p."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tslt_wire import Sampling, SamplingRequest, target_probs

usual = settings(deadline=None, derandomize=True, max_examples=400)


def reference(logits: list[float], temperature: float, top_k: int, top_p: float, min_p: float) -> list[float]:
    """What ``generate()`` does, written out in plain Python."""
    order = sorted(range(len(logits)), key=lambda i: (-logits[i], i))
    if temperature == 0:
        return [float(i == order[0]) for i in range(len(logits))]
    kept = [i for i in order if not 0 < top_k < len(logits) or logits[i] >= logits[order[top_k - 1]]]
    weights = [math.exp((logits[i] - logits[order[0]]) / temperature) for i in kept]
    count = len(kept)
    if top_p < 1:
        count = next(
            n for n in range(1, count + 1) if math.fsum(weights[:n]) >= top_p * math.fsum(weights) * (1 - 1e-15)
        )
    found = {i: weight for i, weight in zip(kept[:count], weights, strict=False) if weight >= min_p}
    total = math.fsum(found.values())
    return [found.get(i, 0.0) / total for i in range(len(logits))]


@given(
    st.lists(st.integers(-800, 800).map(lambda n: n / 100), min_size=1, max_size=14),
    st.sampled_from([0, 0.5, 1.0, 1.7]),
    st.integers(0, 16),
    st.sampled_from([1.0, 0.999, 0.87, 0.5, 0.11]),
    st.sampled_from([0, 0.01, 0.23, 1]),
)
@usual
def test_settings_apply_in_the_order_of_generate(logits, temperature, top_k, top_p, min_p):
    found = target_probs(logits, Sampling(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p))
    np.testing.assert_allclose(found, reference(logits, temperature, top_k, top_p, min_p), rtol=1e-12, atol=1e-15)
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


def test_ties_at_the_border_of_top_k_are_all_kept():
    assert target_probs(np.zeros(5), Sampling(top_k=2)).tolist() == [0.2] * 5
    assert target_probs([0.0, 1.0, 0.0, -1.0], Sampling(top_k=2)).astype(bool).tolist() == [True, True, True, False]
    assert target_probs([2.0, 1.0, 0.0, 0.0], Sampling(top_k=2)).astype(bool).tolist() == [True, True, False, False]


def test_scores_that_differ_by_less_than_their_weights_are_no_ties():
    near = 1 + 2.0**-52
    assert np.exp((1 - near) / 1e9) == 1
    assert target_probs([1.0, near, 0.0], Sampling(temperature=1e9, top_k=1)).tolist() == [0, 1, 0]


def test_of_ties_at_the_border_of_top_p_the_lowest_ids_are_kept():
    assert target_probs(np.zeros(4), Sampling(top_p=0.5)).tolist() == [0.5, 0.5, 0, 0]


def test_min_p_is_a_part_of_the_largest_probability():
    logits = np.log([0.5, 0.25, 0.2, 0.05])
    np.testing.assert_allclose(target_probs(logits, Sampling(min_p=0.45)), [2 / 3, 1 / 3, 0, 0])
    np.testing.assert_allclose(target_probs(logits, Sampling(min_p=0.45, temperature=0.5))[1:], 0)
    assert target_probs([0.0, 1.0, 1.0], Sampling(min_p=1)).tolist() == [0, 0.5, 0.5]


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
        ({"min_p": -0.1}, "min_p must be in 0..1, got -0.1"),
        ({"min_p": 1.5}, r"min_p must be in 0..1, got 1\.5"),
        ({"repetition_penalty": 0}, "repetition_penalty must be in 0.01"),
        ({"repetition_penalty": math.inf}, "repetition_penalty must be in 0.01"),
        ({"presence_penalty": 2.5}, "presence_penalty must be in -2"),
        ({"frequency_penalty": math.nan}, "frequency_penalty must be in -2"),
        ({"logit_bias": 3}, "logit_bias must be a sequence of pairs"),
        ({"logit_bias": [3, 1.0]}, "logit_bias must be pairs of a token and a number"),
        ({"logit_bias": {"3": 1.0}}, "a token of logit_bias must be an integer, got '3'"),
        ({"logit_bias": {3: 101}}, "a number of logit_bias must be in -100"),
        ({"logit_bias": {1 << 20: 1}}, "a token of logit_bias must be in 0"),
        ({"logit_bias": [(3, 1), (3, 2)]}, "logit_bias must name each token once"),
        ({"logit_bias": {t: 1 for t in range(301)}}, "logit_bias must have at most 300 tokens, got 301"),
        ({"suppress_tokens": 3}, "suppress_tokens must be a sequence"),
        ({"suppress_tokens": [-1]}, "a token of suppress_tokens must be in 0"),
        ({"suppress_tokens": range(513)}, "suppress_tokens must have at most 512 tokens, got 513"),
        ({"ignore_eos": 1}, "ignore_eos must be True or False"),
    ],
)
def test_bad_arguments_say_what_was_expected(options, match):
    with pytest.raises((TypeError, ValueError), match=match):
        Sampling(**options)
    if None not in options.values():
        with pytest.raises((TypeError, ValueError), match=match):
            SamplingRequest(**options)


def test_settings_of_numpy_become_pythons():
    found = Sampling(temperature=np.float32(0.5), top_k=np.int64(3), top_p=1)
    assert found == Sampling(temperature=0.5, top_k=3)
    assert [type(value) for value in (found.temperature, found.top_k, found.top_p)] == [float, int, float]


@pytest.mark.parametrize("logits", [[np.nan, 0.0], [np.inf, 0.0], [-np.inf, -np.inf], [[0.0, 1.0], [0.0, np.nan]]])
def test_logits_that_are_no_distribution_are_refused(logits):
    with pytest.raises(ValueError, match="finite largest value and no NaN"):
        target_probs(logits, Sampling())
