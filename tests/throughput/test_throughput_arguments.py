"""What the planner and its parts are given is checked where it is given: a NaN would be learnt and never forgotten."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tslt_wire.throughput import (
    Agreed,
    Compute,
    Context,
    Link,
    Observation,
    Planner,
    Wire,
    best_length,
    default_modes,
    default_shapes,
    expected_round,
    optimal_length,
)

NAN, INF = float("nan"), float("inf")
MODES = default_modes(1000)
LINK = Link(uplink_bit_s=1e6, downlink_bit_s=INF, rtt_s=0.05)
COMPUTE = Compute(draft_s=0.01, verify_s=0.03)
SEEN = Observation(
    mode=MODES[0],
    expansion=(1, 1),
    accepted=1,
    tried=2,
    uplink_bytes=20,
    downlink_bytes=15,
    draft_s=0.02,
    link_s=0.05,
    verify_s=0.03,
)


def planner(**changes):
    return Planner(MODES, Agreed(evidence=("match", "list")), **changes)


@pytest.mark.parametrize("wrong", [NAN, INF, -1, "0.1", None, True, [0.1], 1j])
@pytest.mark.parametrize(
    ("whole", "fields"),
    [
        (COMPUTE, ("draft_s", "verify_s", "draft_start_s", "draft_parent_s", "verify_node_s")),
        (SEEN, ("uplink_bytes", "downlink_bytes", "draft_s", "link_s")),
        (LINK, ("rtt_s",)),
        (MODES[0].wire, tuple(Wire.__dataclass_fields__)),
        (MODES[0], ("min_prob", "draft_temperature", "parent_s", "token_s", "k", "entries")),
    ],
)
def test_a_number_is_finite_and_not_negative(whole, fields, wrong):
    for field in fields:
        with pytest.raises((TypeError, ValueError), match=f"{field} must be"):
            replace(whole, **{field: wrong})


@pytest.mark.parametrize("wrong", [NAN, 0, -1, "1", None, True])
def test_a_rate_is_above_0_and_may_be_infinite(wrong):
    for field in ("uplink_bit_s", "downlink_bit_s"):
        with pytest.raises((TypeError, ValueError), match=f"{field} must be"):
            replace(LINK, **{field: wrong})
        assert getattr(replace(LINK, **{field: INF}), field) == INF


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"verify_s": NAN}, ValueError),
        ({"verify_s": "0"}, TypeError),
        ({"accepted": 1.0}, TypeError),
        ({"accepted": None}, TypeError),
        ({"accepted": -1}, ValueError),
        ({"accepted": 0}, ValueError),
        ({"tried": 3}, ValueError),
        ({"tried": "2"}, TypeError),
        ({"trips": 0}, ValueError),
        ({"trips": 1.5}, TypeError),
        ({"expansion": (1, 0)}, ValueError),
        ({"expansion": "ab"}, TypeError),
        ({"expansion": None}, TypeError),
        ({"mode": "match"}, TypeError),
        ({"mode": None}, TypeError),
    ],
)
def test_a_round_that_cannot_have_been_is_refused(changes, error):
    with pytest.raises(error):
        replace(SEEN, **changes)


def test_numbers_of_numpy_make_the_same_observation():
    changes = {"accepted": np.int64(1), "uplink_bytes": np.float32(20), "expansion": np.array([1, 1])}
    assert replace(SEEN, verify_s=None, **changes) == replace(SEEN, verify_s=None)


@pytest.mark.parametrize(
    ("run", "error"),
    [
        (lambda: Agreed(evidence=("match",), precisions=("no-such",)), ValueError),
        (lambda: Agreed(evidence=("match",), precisions="f16"), TypeError),
        (lambda: Agreed(evidence=("match",), precisions=(None,)), TypeError),
        (lambda: Agreed(evidence=("match",), precisions=5), TypeError),
        (lambda: Context(tokens_left="5"), TypeError),
        (lambda: Context(tokens_left=-1), ValueError),
        (lambda: Context(room=NAN), TypeError),
        (lambda: Context(room=1.5), TypeError),
        (lambda: default_modes(temperature=NAN), ValueError),
        (lambda: default_modes(temperature=-1), ValueError),
        (lambda: default_modes(temperature=INF), ValueError),
        (lambda: default_modes(temperature="1"), TypeError),
        (lambda: default_modes(vocab_size=0), ValueError),
        (lambda: default_modes(vocab_size=1 << 21), ValueError),
        (lambda: default_modes(vocab_size=1e4), TypeError),
        (lambda: default_shapes(-1), ValueError),
        (lambda: default_shapes(None), TypeError),
        (lambda: replace(MODES[0], wire=None), TypeError),
        (lambda: replace(MODES[0], alphas=(NAN,)), ValueError),
        (lambda: replace(MODES[0], alphas=("a",)), TypeError),
        (lambda: replace(MODES[0], precision="no-such"), ValueError),
        (lambda: Planner(["match"], Agreed(evidence=("match",))), TypeError),
        (lambda: planner(link=None), TypeError),
        (lambda: planner(compute=(1, 2)), TypeError),
        (lambda: planner(shapes=((0,),)), ValueError),
        (lambda: planner(shapes=(("a",),)), TypeError),
        (lambda: planner().plan(None), TypeError),
        (lambda: planner().ranking(5), TypeError),
        (lambda: planner().observe(None), TypeError),
        (lambda: planner().observe_exchange(NAN, 1, 0.1), ValueError),
        (lambda: planner().observe_exchange(1, None, 0.1), TypeError),
        (lambda: planner().observe_exchange(1, 1, INF), ValueError),
        (lambda: planner().alpha(MODES[0], 0), ValueError),
        (lambda: planner().alpha(MODES[0], 1.0), TypeError),
        (lambda: expected_round(MODES[0].wire, (1,), (0.5,), None, COMPUTE), TypeError),
        (lambda: expected_round(None, (1,), (0.5,), LINK, COMPUTE), TypeError),
        (lambda: optimal_length(NAN, round_s=1, token_s=1), ValueError),
        (lambda: optimal_length(0.5, round_s=NAN, token_s=1), ValueError),
        (lambda: optimal_length(0.5, round_s=1, token_s=None), TypeError),
        (lambda: best_length(0.5, round_s=1, token_s=1, longest=2.5), TypeError),
        (lambda: best_length(0.5, round_s=1, token_s=1, shortest=3, longest=2), ValueError),
    ],
)
def test_what_a_planner_is_given_is_checked(run, error):
    with pytest.raises(error):
        run()
