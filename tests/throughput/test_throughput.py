"""The throughput model and the best draft length: against the paper's formulas, brute force and simulation."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tslt_wire.throughput import (
    Compute,
    Link,
    Mode,
    Wire,
    best_length,
    chain_tokens,
    default_modes,
    default_shapes,
    expected_round,
    lambert_w,
    optimal_length,
    speedup,
    streamed_tokens_per_s,
    tree_tokens,
)
from tslt_wire.throughput.draft_length import lambert_w_log

LINK = Link(uplink_bit_s=1e6, downlink_bit_s=4e6, rtt_s=0.05)
COMPUTE = Compute(draft_s=0.01, verify_s=0.04)
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


# Values of W to 15 digits, from the series and tables of Corless et al. (1996) and OEIS A030178.
@pytest.mark.parametrize(
    ("z", "branch", "w"),
    [
        (0.0, 0, 0.0),
        (1.0, 0, 0.567143290409784),
        (math.e, 0, 1.0),
        (10.0, 0, 1.745528002740699),
        (-0.1, 0, -0.111832559158963),
        (-0.1, -1, -3.577152063957297),
        (-0.2, -1, -2.542641357773526),
        (-math.log(2) / 2, -1, -2 * math.log(2)),
        (-math.log(2) / 2, 0, -math.log(2)),
        (-1 / math.e, 0, -1.0),
        (-1 / math.e, -1, -1.0),
    ],
)
def test_lambert_w_has_its_known_values(z, branch, w):
    assert lambert_w(z, branch) == pytest.approx(w, abs=2e-8 if w == -1 else 1e-14)


@given(st.floats(-1 + 1e-6, 700))
def test_lambert_w_inverts_on_the_upper_branch(w):
    assert lambert_w(w * math.exp(w)) == pytest.approx(w, rel=1e-9, abs=1e-9)


@given(st.floats(-700, -1 - 1e-6))
def test_lambert_w_inverts_on_the_lower_branch(w):
    assert lambert_w(w * math.exp(w), -1) == pytest.approx(w, rel=1e-9)


@given(st.floats(1e-6, 600))
def test_the_form_without_underflow_is_the_same_function(d):
    assert lambert_w_log(d) == pytest.approx(-1 - lambert_w(-math.exp(-1 - d), -1), rel=1e-7)


@pytest.mark.parametrize(("z", "branch"), [(-0.4, 0), (-0.4, -1), (0.0, -1), (1.0, -1), (1.0, 1), (math.nan, 0)])
def test_lambert_w_refuses_what_has_no_real_value(z, branch):
    with pytest.raises(ValueError, match=r"W|branch"):
        lambert_w(z, branch)


alphas = st.one_of(
    st.floats(0, 1), st.floats(-9, -1).map(lambda e: 1 - 10**e), st.floats(-9, 0).map(lambda e: 10**e), st.just(1.0)
)
seconds = st.one_of(st.just(0.0), st.floats(-6, 3).map(lambda e: 10**e))


@given(alpha=alphas, round_s=st.floats(-4, 3).map(lambda e: 10**e), token_s=seconds, rejection_s=seconds)
def test_the_closed_form_is_brute_force(alpha, round_s, token_s, rejection_s):
    def rate(length):
        took = round_s + token_s * length + rejection_s * (1 - alpha**length)
        return chain_tokens(alpha, length) / took

    best = max(rate(length) for length in range(65))
    found = best_length(alpha, round_s=round_s, token_s=token_s, rejection_s=rejection_s)
    assert rate(found) >= best * (1 - 1e-9)
    exact = optimal_length(alpha, round_s=round_s, token_s=token_s, rejection_s=rejection_s)
    assert max(rate(length) for length in np.linspace(0, 64, 200)) <= rate(min(exact, 64.0)) * (1 + 1e-9)


def test_the_ends_of_the_range():
    assert optimal_length(0, round_s=1, token_s=0) == 0
    assert optimal_length(1e-300, round_s=1, token_s=0.5) == 0
    assert optimal_length(1, round_s=1, token_s=0.5) == math.inf
    assert optimal_length(1, round_s=1, token_s=2) == 0
    assert optimal_length(0.5, round_s=1, token_s=0) == math.inf
    assert optimal_length(0.9, round_s=0.01, token_s=0.02) == 0
    assert best_length(0.8, round_s=1e6, token_s=0.01, longest=500) > 60
    with pytest.raises(ValueError, match="alpha"):
        optimal_length(1.1, round_s=1, token_s=1)


def test_a_chain_is_the_papers_equation_and_a_tree_its_generalisation():
    assert chain_tokens(0.6, 4) == pytest.approx((1 - 0.6**5) / 0.4)
    assert chain_tokens(1, 4) == 5
    assert chain_tokens(0, 4) == 1
    assert tree_tokens([0.6] * 4) == pytest.approx(chain_tokens(0.6, 4))
    assert tree_tokens([0.8, 0.7]) == pytest.approx(1 + 0.8 + 0.8 * 0.7)
    # Errata, eq. (9): Theta = (1 - a^(L+1)) / ((1 - a) (L (T_SLM + T_V) + T_LLM)).
    free = Link(uplink_bit_s=1e6, downlink_bit_s=math.inf, rtt_s=0)
    found = expected_round(Wire(frame=0, node=0, parent=1000, verdict=0), [1] * 4, [0.6] * 4, free, COMPUTE)
    assert found.tokens_per_s == pytest.approx((1 - 0.6**5) / (0.4 * (4 * (0.01 + 8e3 / 1e6) + 0.04)))
    assert speedup(found.tokens_per_s, 0.04) == pytest.approx(found.tokens_per_s * 0.04)


@pytest.mark.parametrize("mode", default_modes(), ids=lambda m: m.name)
def test_expected_rounds_are_the_mean_of_simulated_ones(mode):
    from tslt_benchmarks.planner.simulation import Conditions

    from tslt_wire.throughput import Plan

    conditions = Conditions(LINK, COMPUTE, jitter=0, outliers=0)
    rng = np.random.default_rng(1)
    for shape in ((1, 1, 1), (2, 1), ()):
        if max(shape, default=1) > len(mode.alphas):
            continue
        expected = conditions.expected(mode, shape)
        seen = [
            conditions.simulate_round(Plan(mode=mode, expansion=shape, expected=expected), rng) for _ in range(3000)
        ]
        assert np.mean([s.accepted + 1 for s in seen]) == pytest.approx(expected.tokens, rel=0.04)
        assert np.mean([s.seconds for s in seen]) == pytest.approx(expected.seconds, rel=0.03)
        assert np.mean([s.uplink_bytes for s in seen]) == pytest.approx(expected.uplink_bytes, rel=0.05)
        assert np.mean([s.downlink_bytes for s in seen]) == pytest.approx(expected.downlink_bytes, rel=0.05)


def test_edge_only_decoding_is_bound_by_the_target_or_by_the_downlink():
    assert streamed_tokens_per_s(0.04, LINK) == pytest.approx(25)
    assert streamed_tokens_per_s(0.04, LINK, tokens=10) == pytest.approx(1 / 0.045)
    thin = Link(uplink_bit_s=1e3, downlink_bit_s=960, rtt_s=0)
    assert streamed_tokens_per_s(0.04, thin) == pytest.approx(10)


def test_the_catalogue_is_what_was_measured():
    rows = json.loads((RESULTS / "evidence_acceptance.json").read_text())["rows"]
    for temperature in (1.0, 0.7, 0.0):
        measured = {(r["evidence"], r["k"], r["min_prob"]): r for r in rows if r["temperature"] == temperature}
        for entropy, size in (("range", "bytes"), ("none", "packed_bytes")):
            for mode in default_modes(temperature=temperature, entropy=entropy):
                row = measured[mode.evidence, mode.k, mode.min_prob]
                # Those of scalar and lazy are taken from full and list: what their grid rounds off is less than this.
                assert mode.alphas == pytest.approx(row["alphas"], abs=0.0025), mode.name
                assert mode.precision in {row["precision"], ""}
                if mode.wire.parent:
                    assert mode.wire.parent == pytest.approx(row[size], abs=0.06), mode.name


def test_the_catalogues_frames_are_real_ones():
    """Bytes of whole rounds, a rejection's included, as the sessions of tslt_benchmarks.links had them."""
    fits = json.loads((RESULTS / "best_evidence.json").read_text())["wire_fit"]
    for mode in default_modes():
        frame, node, parent = fits[mode.name]
        for levels in (1, 4, 8):
            if mode.evidence != "full":
                seen = frame + levels * (node + parent)
                assert mode.wire.frame + levels * (mode.wire.node + mode.wire.parent) == pytest.approx(seen, rel=0.1)


def test_bad_values_are_refused():
    with pytest.raises(ValueError, match="uplink_bit_s"):
        Link(uplink_bit_s=0, downlink_bit_s=1, rtt_s=0)
    with pytest.raises(ValueError, match="draft_s"):
        Compute(draft_s=-1, verify_s=0)
    with pytest.raises(ValueError, match="alphas"):
        Mode(evidence="match", wire=Wire(frame=1, node=1), alphas=(0.5, 0.4))
    with pytest.raises(ValueError, match="alpha"):
        expected_round(Wire(frame=1, node=1), (1, 1), (0.5,), LINK, COMPUTE)
    assert len(set(default_shapes())) == len(default_shapes())
