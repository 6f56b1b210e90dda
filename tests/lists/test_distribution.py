"""SparseDistribution and sparsify: what is kept, what it weighs, what is refused, how it is sampled."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import strategies as own
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tslt_wire import MinProb, Precision, SparseDistribution, TopK, TopP, sparsify
from tslt_wire.limits import MAX_VOCAB_SIZE
from tslt_wire.lists.distribution import check_lists

usual = settings(
    deadline=None,
    derandomize=True,
    max_examples=80,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
LOG2_2 = Precision.LOG2_2


def make(ids, codes, *, vocab_size=8, precision=LOG2_2):
    return SparseDistribution(vocab_size, precision, np.array(ids), np.array(codes))


def test_probabilities_are_the_weights():
    q = make([1, 4, 6], [0, 4, 8])
    assert q.weights.tolist() == [1 << 30, 1 << 29, 1 << 28]
    assert q.total == 7 << 28
    np.testing.assert_array_equal(q.probs, np.array([4, 2, 1]) / 7)
    np.testing.assert_array_equal(q.dense(), np.array([0, 4, 0, 0, 2, 0, 1, 0]) / 7)
    assert [q.prob_of(token) for token in (0, 1, 4, 7, -1, 99)] == [0, 4 / 7, 2 / 7, 0, 0, 0]
    assert [q.rank(token) for token in (0, 1, 4, 6, 7, -1, 99)] == [-1, 0, 1, 2, -1, -1, -1]
    assert len(q) == 3
    assert (q.ids.dtype, q.codes.dtype, q.weights.dtype) == (np.int32, np.uint32, np.int64)
    assert (q.probs.dtype, q.dense().dtype) == (np.float64, np.float64)


@given(own.lists())
@usual
def test_whatever_sparsify_returns_is_a_distribution(q):
    assert q.weights.max() == 1 << 30
    assert q.weights.min() >= 1
    assert q.probs.sum() == pytest.approx(1, abs=1e-12)
    assert q.dense().sum() == pytest.approx(1, abs=1e-12)
    assert (np.diff(q.ids) > 0).all()
    assert SparseDistribution(q.vocab_size, q.precision, q.ids, q.codes) == q


@given(
    st.integers(1, 60), st.integers(0, 2**32 - 1), st.sampled_from(list(Precision)), st.sampled_from([0.5, 1.0, 2.0])
)
@usual
def test_sparsify_is_close_to_softmax(vocab_size, seed, precision, temperature):
    logits = np.random.default_rng(seed).normal(size=vocab_size) * 3
    exact = np.exp(logits / temperature - (logits / temperature).max())
    exact /= exact.sum()
    q = sparsify(logits, temperature=temperature, precision=precision)
    # Half a step of the code in the numerator and in the sum, and the weight's rounding down.
    step = {"f32": 2e-5, "f16": 0.02, "bf16": 0.2}.get(precision.value) or np.log(2) / precision.steps_per_octave
    assert (np.abs(np.log(q.probs / exact[q.ids])) <= step + 1e-4 + 1 / q.weights).all()
    assert exact[q.ids].sum() > 1 - 1e-6


def test_the_order_is_temperature_then_truncation():
    logits = [2.0, 1.0, 0.0]
    assert sparsify(logits, temperature=1.0, truncation=MinProb(0.2)).ids.tolist() == [0, 1]
    assert sparsify(logits, temperature=0.3, truncation=MinProb(0.2)).ids.tolist() == [0]
    assert sparsify(logits, temperature=5.0, truncation=MinProb(0.2)).ids.tolist() == [0, 1, 2]


@pytest.mark.parametrize("precision", list(Precision))
def test_temperature_zero_keeps_the_first_of_the_most_probable(precision):
    q = sparsify([0.0, 3.0, 3.0, -np.inf], temperature=0, precision=precision)
    assert (q.ids.tolist(), q.weights.tolist()) == ([1], [1 << 30])
    assert sparsify([0.0, 3.0, 3.0], temperature=5e-324, precision=precision).ids.tolist() == [1, 2]


@pytest.mark.parametrize("precision", list(Precision))
def test_tokens_too_improbable_for_a_weight_are_left_out(precision):
    assert sparsify([0.0, -20.5, -22.0, -1e9], precision=precision).ids.tolist() == [0, 1]


@pytest.mark.parametrize("precision", list(Precision))
@pytest.mark.parametrize("top", [0, 1])
def test_a_tie_in_probability_is_no_tie_in_logits(precision, top):
    """exp() cannot tell -1e-17 from 0; the larger one is kept all the same."""
    logits = np.full(2, -1e-17)
    logits[top] = 0.0
    for rule in (TopK(1), TopP(0.5), TopK(1) & TopP(0.9)):
        q = sparsify(logits, truncation=rule, precision=precision)
        assert (q.ids.tolist(), q.codes.tolist()) == ([top], [0])


@pytest.mark.parametrize("precision", list(Precision))
def test_gaps_of_any_size(precision):
    q = sparsify([1.7e308, -1.7e308, 1e308, -np.inf], precision=precision)
    assert q.ids.tolist() == [0]
    assert sparsify([0.0, -1.0], temperature=1e41, precision=precision).weights.tolist() == [1 << 30] * 2


def test_logits_of_any_real_type():
    for dtype in (np.float16, np.float32, np.float64, np.int64):
        assert sparsify(np.array([0, 1], dtype)) == sparsify([0.0, 1.0])


@pytest.mark.parametrize(
    ("logits", "options", "match"),
    [
        ([], {}, r"shape \(V,\)"),
        ([[0.0]], {}, r"shape \(V,\) .* got \(1, 1\)"),
        (0.0, {}, r"shape \(V,\)"),
        (np.zeros(MAX_VOCAB_SIZE + 1), {}, "V <= 1048576"),
        ([0.0, np.nan], {}, "NaN"),
        ([0.0, np.inf], {}, "inf"),
        ([-np.inf, -np.inf], {}, "at least one finite"),
        ([0.0], {"temperature": -1}, "temperature must be at least 0 and finite, got -1"),
        ([0.0], {"temperature": np.nan}, "temperature must be at least 0 and finite, got"),
        ([0.0], {"temperature": np.inf}, "temperature must be at least 0 and finite, got"),
        ([0.0], {"precision": "log2/7"}, "log2/7"),
    ],
)
def test_sparsify_says_what_it_expected(logits, options, match):
    with pytest.raises(ValueError, match=match):
        sparsify(logits, **options)


@pytest.mark.parametrize(
    ("ids", "codes", "options", "match"),
    [
        ([0, 1], [0], {}, "as many codes"),
        ([[0]], [[0]], {}, "as many codes"),
        (np.zeros(0, int), np.zeros(0, int), {}, r"needs 1\.\.8 ids"),
        (range(9), [0] * 9, {}, r"needs 1\.\.8 ids"),
        ([1, 1], [0, 0], {}, "strictly ascending"),
        ([2, 1], [0, 0], {}, "strictly ascending"),
        ([-1, 1], [0, 0], {}, r"in 0\.\.7"),
        ([1, 8], [0, 0], {}, r"in 0\.\.7"),
        ([1, 2], [0, 121], {}, "codes of log2/2 must be at most 120"),
        ([1, 2], [1, 2], {}, "must have code 0"),
        ([1, 2], [0, 1], {"precision": Precision.F16}, "negative and finite"),
        ([1, 2], [0, 0x8000], {"precision": Precision.F16}, "negative and finite"),
        ([1, 2], [0, 0xFC00], {"precision": Precision.F16}, "negative and finite"),
        ([1, 2], [0, 0x10000], {"precision": Precision.BF16}, "must be at most 65535"),
        ([1, 2], [0, 0xD000], {"precision": Precision.F16}, "the smallest at least 1"),
        ([1], [-1], {}, "codes must fit uint32"),
        ([2**31], [0], {}, "ids must fit int32"),
        ([0], [0], {"vocab_size": 0}, r"vocab_size must be in 1\.\.1048576, got 0"),
        ([0], [0], {"vocab_size": MAX_VOCAB_SIZE + 1}, r"vocab_size must be in 1\.\.1048576"),
    ],
)
def test_what_no_encoder_can_send_is_refused(ids, codes, options, match):
    with pytest.raises(ValueError, match=match):
        make(ids, codes, **options)


def test_equality_is_equality_on_the_wire():
    q = make([1, 2], [0, 3])
    assert q == make([1, 2], [0, 3])
    assert hash(q) == hash(make(np.array([1, 2], np.int64), np.array([0, 3], np.uint8)))
    others = [
        make([1, 3], [0, 3]),
        make([1, 2], [0, 4]),
        make([1, 2], [0, 3], vocab_size=9),
        make([1, 2], [0, 3], precision=Precision.LOG2_3),
        make([1], [0]),
    ]
    assert all(q != other for other in others)
    assert q != "q"
    assert len({q, *others, make([1, 2], [0, 3])}) == 6
    assert pickle.loads(pickle.dumps(q)) == q  # noqa: S301


def test_arrays_are_copies_and_read_only():
    ids, codes = np.array([1, 2], np.int32), np.array([0, 3], np.uint32)
    q = SparseDistribution(8, LOG2_2, ids, codes)
    ids[0], codes[1] = 0, 9
    assert (q.ids.tolist(), q.codes.tolist()) == ([1, 2], [0, 3])
    for array in (q.ids, q.codes, q.weights):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 5


def chi_square(q: SparseDistribution, tokens: np.ndarray) -> float:
    """Chi-square statistic over its degrees of freedom."""
    assert set(np.unique(tokens)) <= set(q.ids.tolist())
    counts = np.bincount(tokens, minlength=q.vocab_size)[q.ids]
    expected = q.probs * len(tokens)
    return float(((counts - expected) ** 2 / expected).sum() / (len(q) - 1))


@pytest.mark.parametrize("precision", list(Precision))
def test_samples_have_the_probabilities(precision):
    q = sparsify(np.random.default_rng(1).normal(size=50), precision=precision, truncation=TopK(20))
    ratio = chi_square(q, q.sample(np.random.default_rng(2), 100_000))
    assert 0.3 < ratio < 2.2  # 19 degrees of freedom: outside of this with a chance below 0.003


def test_the_chi_square_would_notice():
    q = sparsify(np.random.default_rng(1).normal(size=50), precision="log2/0", truncation=TopK(20))
    other = sparsify(np.random.default_rng(1).normal(size=50), precision="f32", truncation=TopK(20))
    assert chi_square(q, other.sample(np.random.default_rng(2), 100_000)) > 10


def test_samples_have_the_asked_for_form():
    q = make([3, 5], [0, 0])
    assert isinstance(q.sample(np.random.default_rng(0)), int)
    many = q.sample(np.random.default_rng(0), 7)
    assert (many.shape, many.dtype) == ((7,), np.int32)
    assert q.sample(np.random.default_rng(0), 0).shape == (0,)
    again = q.sample(np.random.default_rng(0), 7)
    np.testing.assert_array_equal(many, again)


def test_lists_of_one_draft_share_vocabulary_and_precision():
    q = make([1], [0])
    assert check_lists([q, make([2], [0])]) == (8, LOG2_2)
    for other in (make([1], [0], vocab_size=9), make([1], [0], precision=Precision.F16)):
        with pytest.raises(ValueError, match="must share one vocabulary size and precision"):
            check_lists([q, other])
