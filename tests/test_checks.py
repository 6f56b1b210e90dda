"""The checks that all arguments go through: numpy's numbers are taken, other types and values are refused by name."""

import math
from enum import StrEnum
from fractions import Fraction

import numpy as np
import pytest

from tslt_wire import checks


class Colour(StrEnum):
    RED = "red"


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3), np.array(3)])
def test_an_integer_is_whatever_has_an_index(value):
    found = checks.integer("K", value, 0, 3)
    assert found == 3
    assert type(found) is int


@pytest.mark.parametrize("value", [True, np.bool_(True), 3.0, np.float64(3), "3", None, [3], np.array([3, 3])])
def test_what_is_no_integer_is_a_type_error(value):
    with pytest.raises(TypeError, match=r"^K must be an integer, got "):
        checks.integer("K", value, 0, 3)


def test_an_integer_has_bounds():
    assert checks.integer("K", 1 << 80, 0, None) == 1 << 80
    with pytest.raises(ValueError, match=r"^K must be in 1\.\.3, got 4$"):
        checks.integer("K", 4, 1, 3)
    with pytest.raises(ValueError, match=r"^K must be in 1\.\.3, got 0$"):
        checks.integer("K", 0, 1, 3)
    with pytest.raises(ValueError, match=r"^K must be at least 1, got 0$"):
        checks.integer("K", np.int64(0), 1, None)


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), np.float16(0.5), Fraction(1, 2)])
def test_a_number_is_real(value):
    found = checks.number("t", value, 0, 1)
    assert found == 0.5
    assert type(found) is float
    assert checks.number("t", np.int64(1), 0, 1) == 1.0


@pytest.mark.parametrize("value", [True, np.bool_(False), "0.5", None, 1j, [0.5]])
def test_what_is_no_number_is_a_type_error(value):
    with pytest.raises(TypeError, match=r"^t must be a real number, got "):
        checks.number("t", value, 0, 1)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400, -0.1, np.float64("nan")])
def test_a_number_is_finite_and_has_bounds(value):
    with pytest.raises(ValueError, match=r"^t must be at least 0 and finite, got "):
        checks.number("t", value, 0, None)


def test_bounds_are_included_unless_said_otherwise():
    assert checks.number("t", 0, 0, 1) == 0
    assert checks.number("t", 1, 0, 1, above_low=True) == 1
    with pytest.raises(ValueError, match=r"^p must be above 0 and at most 1, got 0$"):
        checks.number("p", 0, 0, 1, above_low=True)
    with pytest.raises(ValueError, match=r"^p must be above 0 and finite, got 0$"):
        checks.number("p", 0, 0, None, above_low=True)


def test_a_flag_is_a_bool():
    assert checks.flag("f", True) is True
    assert checks.flag("f", np.bool_(False)) is False
    for value in (0, 1, "no", None, np.int8(1)):
        with pytest.raises(TypeError, match=r"^f must be True or False, got "):
            checks.flag("f", value)


def test_a_choice_is_one_of_its_names():
    assert checks.one_of("entropy", "range", ("none", "range")) == "range"
    assert checks.one_of("colour", Colour.RED, tuple(Colour)) is Colour.RED
    with pytest.raises(ValueError, match=r"^entropy must be one of none, range, got 'zip'$"):
        checks.one_of("entropy", "zip", ("none", "range"))
    with pytest.raises(TypeError, match=r"^entropy must be one of none, range, got 5$"):
        checks.one_of("entropy", 5, ("none", "range"))


def test_octets_are_any_buffer():
    data = bytes(range(6))
    assert checks.octets("a frame", data) is data
    for value in (bytearray(data), memoryview(data), np.frombuffer(data, "<u2"), np.frombuffer(data, np.uint8)):
        assert bytes(checks.octets("a frame", value)) == data
    assert bytes(checks.octets("a frame", memoryview(data)[::2])) == b"\0\2\4"
    for wrong in ("abc", 5, None, [1, 2]):
        with pytest.raises(TypeError, match=r"^a frame must be bytes, a bytearray or a memoryview, got "):
            checks.octets("a frame", wrong)


def test_a_generator_is_numpys():
    rng = np.random.default_rng(0)
    assert checks.generator("rng", rng) is rng
    for wrong in (np.random, np.random.RandomState(0), np.random.PCG64(0), None, 5, "rng"):
        with pytest.raises(TypeError, match=r"^rng must be a numpy\.random\.Generator .*, got "):
            checks.generator("rng", wrong)
