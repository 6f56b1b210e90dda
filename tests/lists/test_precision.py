"""Codes and integer weights against exact big-integer arithmetic.

Spec section 4: ``W(c) = floor(2^30 * 2^(-c / 2^s))``, no float anywhere in it.
"""

from __future__ import annotations

from fractions import Fraction
from math import isqrt

import numpy as np
import pytest

from tslt_wire import Precision, sparsify
from tslt_wire.lists import precision as module
from tslt_wire.lists.precision import PRECISION_BY_WIRE_ID, log_weights, quantise, shifted_logits, weights_of

LOGS = [p for p in Precision if p.is_log]
FLOATS = [p for p in Precision if not p.is_log]


def exact_weight(code: int, scale: int) -> int:
    """floor(2^30 * 2^(-code / 2^scale)) as a 2^scale-th integer root."""
    exponent = 30 * (1 << scale) - code
    if exponent < 0:
        return 0
    value = 1 << exponent
    for _ in range(scale):
        value = isqrt(value)
    return value


@pytest.mark.parametrize("scale", range(5))
def test_log_weights_are_exact(scale):
    codes = np.arange(31 * (1 << scale) + 40)
    assert log_weights(codes, scale).tolist() == [exact_weight(int(code), scale) for code in codes]


@pytest.mark.parametrize("precision", LOGS)
def test_the_codes_of_a_log_profile(precision):
    steps = 1 << int(precision.value[-1])
    assert precision.steps_per_octave == steps
    assert precision.max_code == 30 * steps
    assert precision.code_bits == (30 * steps).bit_length()
    codes = np.array([0, precision.max_code, precision.max_code + 1], np.uint32)
    assert weights_of(precision, codes).tolist() == [1 << 30, 1, 0]


def test_weights_far_out_are_zero_not_garbage():
    """A shift by 64 and more would be undefined in C; codes that large have weight 0."""
    for scale in range(5):
        assert log_weights([2**32 - 1, 64 << scale, 1 << 20], scale).tolist() == [0, 0, 0]


def test_weights_keep_their_shape():
    assert log_weights(np.zeros((2, 3), int), 2).shape == (2, 3)
    assert log_weights(7, 2).shape == ()
    assert log_weights([4], 2).dtype == np.int64


@pytest.mark.parametrize("i", [0, 1, 2, 100, 128, 200, 254, 255])
def test_the_coarse_table_is_exact(i):
    value = 1 << (31 * 256 - i)
    for _ in range(8):
        value = isqrt(value)
    assert int(module._COARSE[i]) == value


@pytest.mark.parametrize("i", [0, 1, 37, 255])
def test_the_fine_table_is_exact(i):
    """t = floor(2^31 * 2^(-i / 2^16)) if and only if t^(2^16) <= 2^(31 * 2^16 - i) < (t + 1)^(2^16)."""
    t, bound = int(module._FINE[i]), 1 << (31 * 65536 - i)
    assert t**65536 <= bound < (t + 1) ** 65536


@pytest.mark.parametrize("precision", FLOATS)
def test_float_weights_are_close_and_go_down(precision):
    logits = -np.linspace(0, 20, 5001)
    codes = quantise(precision, logits)
    weights = weights_of(precision, codes)
    exact = np.exp(shifted_logits(precision, codes)) * 2**30
    assert (np.abs(weights - exact) <= 1.2e-5 * exact + 1).all()
    assert (np.diff(weights) <= 0).all()
    assert weights[0] == 1 << 30


@pytest.mark.parametrize("precision", FLOATS)
def test_float_weights_are_integers_of_exact_steps(precision):
    """The weight of a float code in fractions: 65,536 steps an octave, rounded half up, two tables, a shift."""
    codes = quantise(precision, -np.array([0.0, 1e-6, 0.1, 0.5, 1.0, 3.3, 10.0, 20.7, 20.9, 40.0, 3000.0]))
    for code, weight in zip(codes, weights_of(precision, codes), strict=True):
        shifted = Fraction(float(shifted_logits(precision, np.array([code], np.uint32))[0]))
        steps = int(min(-shifted, 64) * Fraction(module._LOG2_E) * 65536 + Fraction(1, 2))
        product = int(module._COARSE[steps >> 8 & 255]) * int(module._FINE[steps & 255])
        assert int(weight) == product >> min((steps >> 16) + 32, 63)


@pytest.mark.parametrize("precision", LOGS)
def test_quantise_rounds_to_the_nearest_step(precision):
    logits = -np.linspace(0, 25, 4001)
    codes = quantise(precision, logits).astype(int)
    exact = -logits / np.log(2) * precision.steps_per_octave
    inside = exact < precision.max_code
    assert (np.abs(codes - exact)[inside] <= 0.5 + 1e-9).all()
    assert (codes[exact > precision.max_code + 1] == precision.max_code + 1).all()
    assert quantise(precision, np.array([-np.inf, -1e308, 0.0, -0.0])).tolist() == [precision.max_code + 1] * 2 + [0, 0]


@pytest.mark.parametrize("precision", FLOATS)
def test_quantise_rounds_to_the_nearest_float(precision):
    logits = np.concatenate([-np.linspace(0, 30, 3001), [-0.0, -1e-46, -1e-41, -1e-8]])
    codes = quantise(precision, logits)
    assert (codes[logits > -1e-44] == 0).all()
    back = shifted_logits(precision, codes)
    mantissa_bits = {Precision.F32: 23, Precision.F16: 10, Precision.BF16: 7}[precision]
    smallest = 2.0**-24 if precision is Precision.F16 else 2.0**-133
    assert (np.abs(back - logits) <= np.abs(logits) * 2.0 ** -(mantissa_bits + 1) + smallest).all()
    again = quantise(precision, back)
    np.testing.assert_array_equal(again, codes)


def test_bf16_rounds_ties_to_even():
    ties = -np.array([1.00390625, 1.01171875])  # halfway between two bf16 numbers each
    assert (-shifted_logits(Precision.BF16, quantise(Precision.BF16, ties))).tolist() == [1.0, 1.015625]


def test_the_registry_is_closed():
    assert [p.value for p in Precision] == ["f32", "f16", "bf16", "log2/0", "log2/1", "log2/2", "log2/3", "log2/4"]
    assert {p.wire_id: p for p in Precision} == PRECISION_BY_WIRE_ID
    assert [p.wire_id for p in Precision] == list(range(8))
    assert [p.code_bits for p in Precision] == [32, 16, 16, 5, 6, 7, 8, 9]
    for name in ("log2/5", "f64", "", 3):
        with pytest.raises(ValueError, match="is not a valid Precision"):
            Precision(name)


@pytest.mark.parametrize("precision", list(Precision))
def test_the_largest_sum_of_weights_is_exact_in_a_double(precision):
    """2^20 tokens of weight 2^30: sums are exact in int64 and float64."""
    q = sparsify(np.zeros(1 << 20), precision=precision)
    assert q.total == 1 << 50
    assert float(q.total) == q.total
