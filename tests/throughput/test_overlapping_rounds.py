"""Drafts in flight and drafting ahead: the closed form against events, and what a planner makes of it."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from tslt_benchmarks.planner.flight_simulation import Times, simulate
from tslt_benchmarks.planner.simulation import Conditions, simulate_session

from tslt_wire.throughput import (
    Agreed,
    Compute,
    ExpectedRound,
    Link,
    Observation,
    Plan,
    Planner,
    Wire,
    chain_tokens,
    default_modes,
    default_shapes,
    expected_in_flight,
    expected_round,
)
from tslt_wire.throughput.candidates import Candidates
from tslt_wire.throughput.catalogue import EVIDENCE
from tslt_wire.throughput.flight import Guesses, ready_part

VERIFY_S, DRAFT_S = 0.04, 0.008


def expected(times, alpha, length, window, ahead=0, right=0.0):
    """By the closed form, for a wire whose frames take ``up_s`` and ``down_s``."""
    link = Link(uplink_bit_s=8e3, downlink_bit_s=8e3, rtt_s=times.rtt_s)  # a byte a millisecond
    wire = Wire(frame=1e3 * times.up_s, node=0, verdict=1e3 * times.down_s)
    compute = Compute(draft_s=times.draft_s, verify_s=times.verify_s, verify_node_s=times.node_s)
    return expected_in_flight(wire, length, alpha, link, compute, window=window, ahead=ahead, right=right)


CASES = [
    Times(draft_s=DRAFT_S, verify_s=VERIFY_S, rtt_s=0.05),
    Times(draft_s=DRAFT_S, verify_s=VERIFY_S, rtt_s=0.2, up_s=0.002, down_s=0.001),
    Times(draft_s=0.002, verify_s=0.03, rtt_s=0.1, node_s=0.002),
    Times(draft_s=0.0133, verify_s=0.0114, rtt_s=0.0617),
    Times(draft_s=0.004, verify_s=0.02, rtt_s=0.05, up_s=0.06),
    Times(draft_s=0.001, verify_s=0.001, rtt_s=0.5, up_s=0.01, down_s=0.01),
]


@pytest.mark.parametrize("times", CASES, ids=range(len(CASES)))
@pytest.mark.parametrize("window", [2, 4])
@pytest.mark.parametrize(("alpha", "length"), [(0.75, 2), (0.75, 5), (0.9, 4), (0.9, 10)])
def test_the_closed_form_is_the_mean_of_events(times, alpha, length, window):
    for ahead, right in ((0, 0.0), (length, 0.0), (8, 0.6), (256, 0.6)):
        found = expected(times, alpha, length, window, ahead, right)
        seen = simulate(
            times, alpha=alpha, length=length, window=window, ahead=min(ahead, length), right=right,
            places=max(1, ahead // (1 + length)), runs=4000,
        )  # fmt: skip
        assert found.tokens_per_s == pytest.approx(seen.tokens_per_s, rel=0.05), (ahead, right)
        assert found.edge_s / found.tokens == pytest.approx(seen.edge_s_per_token, rel=0.03)


@pytest.mark.parametrize("shape", [(2, 2), (3, 1, 2), (2, 1, 1, 1, 1)])
@pytest.mark.parametrize("times", [CASES[0], CASES[2], CASES[3]], ids=range(3))
def test_trees_in_flight_are_the_mean_of_events(times, shape):
    """As a planner reckons with them, for a kind without lists."""
    mode = next(mode for mode in default_modes() if mode.evidence == "match")
    odds, every = (0.7, 0.8, 0.85), []
    for window in (2, 4):
        planner = Planner(
            [replace(mode, alphas=odds, parent_s=0.0, token_s=0.0)],
            Agreed(evidence=("match",), window=window),
            shapes=[shape],
            link=Link(uplink_bit_s=1e12, downlink_bit_s=1e12, rtt_s=times.rtt_s),
            compute=Compute(draft_s=times.draft_s, verify_s=times.verify_s, verify_node_s=times.node_s),
        )
        every += [plan for plan in planner.ranking() if plan.window > 1]
    assert every
    for plan in every:
        seen = simulate(
            times, alpha=odds[0], length=len(shape), window=plan.window, runs=4000,
            nodes=int(np.cumprod(shape).sum()), siblings=[(odds[width - 1] - 0.7) / 0.3 for width in shape],
        )  # fmt: skip
        assert plan.expected.tokens_per_s == pytest.approx(seen.tokens_per_s, rel=0.05)
        assert plan.expected.edge_s / plan.expected.tokens == pytest.approx(seen.edge_s_per_token, rel=0.03)


def test_guesses_off_drafts_in_flight_save_the_drafting_of_a_run_and_no_more():
    """With alpha .9 at 200 ms: most of the time it takes to draft 10 tokens, of 600 ms and more a run."""
    times = CASES[1]
    without, some, all_of_them = (expected(times, 0.9, 10, 4, 256, right) for right in (0.0, 0.5, 1.0))
    saved = [(without.seconds - found.seconds) / (1 - 0.9**10) for found in (some, all_of_them)]
    assert saved[0] == pytest.approx(saved[1] / 2)
    assert 0.9 * 10 * DRAFT_S < saved[1] < 10.001 * DRAFT_S
    few = expected(times, 0.9, 10, 4, 22, 1.0)  # the first two places of ten
    assert (without.seconds - few.seconds) / (1 - 0.9**10) == pytest.approx(
        saved[1] * (1 - 0.9**2) / (1 - 0.9**10), rel=0.01
    )


def test_a_run_brings_as_many_tokens_whatever_its_length():
    times = CASES[0]
    for length in (1, 3, 9):
        found = expected(times, 0.8, length, 4)
        assert found.tokens == pytest.approx((1 - 0.8**length) / (1 - 0.8))
        assert found.tokens / (1 - 0.8**length) == pytest.approx(1 / (1 - 0.8))  # an answer, and 1 / (1 - w) of them


def test_one_at_a_time_is_a_round_as_ever():
    wire, link = (
        Wire(frame=12, node=2, parent=30, rejection_up=5, rejection_down=80, rejection_trips=1),
        Link(uplink_bit_s=1e5, downlink_bit_s=4e5, rtt_s=0.05),
    )
    compute = Compute(draft_s=0.01, verify_s=0.04, draft_start_s=0.001, draft_parent_s=0.0002, verify_node_s=0.0003)
    for length in (0, 1, 4):
        alone = expected_in_flight(wire, length, 0.7, link, compute, window=1)
        round_ = expected_round(wire, (1,) * length, (0.7,) * length, link, compute)
        assert alone.seconds == pytest.approx(round_.seconds)
        assert alone.tokens == pytest.approx(round_.tokens) == pytest.approx(chain_tokens(0.7, length))
        assert (alone.trips, alone.uplink_bytes) == pytest.approx((round_.trips, round_.uplink_bytes))


def test_it_is_within_the_bound_and_comes_near_it():
    """A run has a round trip, a pass and a drafted token at least, and no more than 1 / (1 - alpha) tokens."""
    for alpha in (0.5, 0.75, 0.9):
        times = Times(draft_s=1e-5, verify_s=1e-4, rtt_s=0.1)
        most = 1 / (1 - alpha) / (times.rtt_s + times.verify_s + times.draft_s)
        rates = [expected(times, alpha, length, 16, length).tokens_per_s for length in (1, 2, 4, 8)]
        assert max(rates) <= most
        assert max(rates) == pytest.approx(most, rel=0.1)


def test_more_in_flight_is_never_slower_and_a_pass_bounds_the_pace():
    times = CASES[0]
    for alpha, length in ((0.75, 3), (0.9, 6)):
        rates = [expected(times, alpha, length, window, length).tokens_per_s for window in range(2, 17)]
        # But for the half of a pass that a device waits for which is never idle.
        assert all(more >= 0.97 * less for less, more in itertools.pairwise(rates))
        assert rates[-1] <= 1 / (expected(times, alpha, length, 16).edge_s / expected(times, alpha, length, 16).tokens)


def test_what_is_dropped_costs_bytes_and_no_pass():
    times = Times(draft_s=0.001, verify_s=0.01, rtt_s=0.2, up_s=0.001)
    seen = simulate(times, alpha=0.7, length=4, window=4)
    found = expected(times, 0.7, 4, 4)
    assert found.uplink_bytes / found.tokens == pytest.approx(seen.drafts_per_token, rel=0.05)  # a byte a draft
    assert found.edge_s == pytest.approx(times.verify_s)


@pytest.mark.parametrize(
    "bad", [{"window": 0}, {"window": 17}, {"ahead": -1}, {"length": -1}, {"length": 1.5}, {"right": 1.5}]
)
def test_numbers_that_fit_nothing_are_refused(bad):
    given = {"length": 4, "window": 2, "ahead": 0} | bad
    length = given.pop("length")
    link = Link(uplink_bit_s=math.inf, downlink_bit_s=math.inf, rtt_s=0)
    with pytest.raises((TypeError, ValueError), match=next(iter(bad))):
        expected_in_flight(Wire(frame=1, node=1), length, 0.5, link, Compute(draft_s=1, verify_s=1), **given)


# ------------------------------------------------------------------------------------------------------------- planner

CHAIN_KINDS = ("coupled", "scalar", "list")
MODES = default_modes(temperature=0.7)
SHARP = tuple(replace(mode, alphas=(0.9,)) for mode in MODES if mode.evidence in CHAIN_KINDS and mode.k in {0, 320})
BIG = Compute(draft_s=0.008, verify_s=0.04)
ONE = {"tokens": 1.0, "seconds": 1.0, "trips": 1.0, "uplink_bytes": 1.0, "downlink_bytes": 1.0}
CHAINS = [(1,) * length for length in range(17)]


def far(rtt_s, rate=1e6):
    return Link(uplink_bit_s=rate, downlink_bit_s=rate, rtt_s=rtt_s)


def planner(modes=SHARP, *, window=4, ahead=0, link=None, **options):
    agreed = Agreed(evidence=CHAIN_KINDS, window=window, ahead=ahead)
    return Planner(modes, agreed, shapes=CHAINS, link=link or far(0.1), compute=BIG, **options)


def test_candidates_expect_what_the_closed_form_does():
    mine = planner()
    for plan in mine.ranking():
        assert plan.window > 1
        found = expected_in_flight(
            plan.mode.wire, len(plan.expansion), 0.9, mine.link,
            replace(BIG, draft_parent_s=plan.mode.parent_s, verify_s=0.04 + plan.mode.token_s * plan.expected.tokens),
            window=plan.window,
        )  # fmt: skip
        for name in ("tokens", "seconds", "trips", "uplink_bytes", "downlink_bytes", "edge_s"):
            assert getattr(plan.expected, name) == pytest.approx(getattr(found, name), rel=1e-6), name
        assert sum(mine.parts(plan).values()) == pytest.approx(plan.expected.seconds)


@pytest.mark.parametrize("rtt_s", [0.05, 0.1, 0.2])
def test_far_away_it_has_drafts_in_flight_and_next_door_it_has_none(rtt_s):
    plan, alone = (planner(link=far(rtt_s), window=window).ranking()[0] for window in (4, 1))
    assert plan.window == 4
    assert plan.expected.tokens_per_s > 1.15 * alone.expected.tokens_per_s
    assert len(plan.expansion) < len(alone.expansion)
    near = planner(link=far(0.0001, 1e9), window=4)
    one = planner(link=far(0.0001, 1e9), window=1)
    assert near.ranking()[0].expected.tokens_per_s >= one.ranking()[0].expected.tokens_per_s


def test_the_price_of_the_edges_time_makes_chains_longer():
    edge_s = []
    for price in (0.0, 1.0, 4.0, 100.0):
        plan = planner(price=price).ranking()[0]
        edge_s.append(plan.expected.edge_s / plan.expected.tokens)
    assert edge_s == sorted(edge_s, reverse=True)
    assert edge_s[0] > 1.2 * edge_s[-1]
    with pytest.raises(ValueError, match="price"):
        planner(price=-1)


def test_no_more_are_in_flight_than_were_agreed_on():
    for most, least in ((1, {1}), (2, {1, 2}), (3, {1, 2, 3}), (6, {1, 2, 4, 6}), (16, {1, 2, 4, 8, 16})):
        found = Candidates(MODES, Agreed(evidence=EVIDENCE, window=most), default_shapes())
        assert set(found.window) == least
        for at in np.flatnonzero(found.window > 1):
            assert found.shapes[found.shape_of[at]]
    for bad in ({"window": 0}, {"window": 17}, {"ahead": -1}, {"window": True}):
        with pytest.raises((TypeError, ValueError), match=next(iter(bad))):
            Agreed(evidence=("list",), **bad)


@pytest.mark.parametrize("rtt_s", [0.02, 0.1, 0.2])
def test_it_learns_all_while_drafts_are_in_flight(rtt_s):
    """Told nothing of the link, within 5 percent of the best fixed choice, and no slower than one at a time."""
    conditions = Conditions(far(rtt_s), BIG, extra={mode.evidence: (mode.parent_s, mode.token_s) for mode in SHARP})
    rates = []
    for length in range(1, 17):
        for mode in SHARP:
            for window in (2, 4):
                plan = Plan(mode=mode, expansion=(1,) * length, expected=ExpectedRound(**ONE), window=window)
                rates.append(conditions.expected_of(plan).tokens_per_s)
    sessions = [
        simulate_session(
            Planner(SHARP, Agreed(evidence=CHAIN_KINDS, window=window), shapes=CHAINS),
            [conditions], 1500, np.random.default_rng(0),
        )
        for window in (4, 1)
    ]  # fmt: skip
    assert sessions[0].seconds < 1.06 * 1500 / max(rates)
    assert sessions[0].seconds < sessions[1].seconds / 1.1
    assert any(plan.window > 1 for plan in sessions[0].trace)


def test_a_draft_that_follows_teaches_acceptance_and_passes_alone():
    mine = planner()
    mine.observe(seen_round(follows=False))
    before = mine.link.rtt_s, mine.compute.draft_s
    alpha, passes = mine.alpha(SHARP[0]), mine.compute.verify_s
    mine.observe(seen_round(follows=True, draft_s=0.0, link_s=5.0, verify_s=0.08))
    assert (mine.link.rtt_s, mine.compute.draft_s) == before
    assert mine.alpha(SHARP[0]) != alpha
    assert mine.compute.verify_s > passes


def seen_round(**given):
    times = {"draft_s": 0.04, "link_s": 0.1, "verify_s": 0.04, "uplink_bytes": 25, "downlink_bytes": 15}
    return Observation(mode=SHARP[0], expansion=(1,) * 5, accepted=3, tried=4, **times | given)


def test_drafting_ahead_is_reckoned_with_and_how_often_it_hits_is_learnt():
    with_it, without = planner(window=1, ahead=16), planner(window=1)
    a, b = with_it.ranking()[0], without.ranking()[0]
    assert a.ahead == 16
    assert b.ahead == 0
    assert 1.02 < a.expected.tokens_per_s / b.expected.tokens_per_s < 1.3
    for _ in range(60):
        with_it.observe(
            replace(seen_round(), expansion=a.expansion, mode=a.mode, guessed=True, draft_s=0.008 * len(a.expansion))
        )
    never = next(plan for plan in with_it.ranking() if plan.mode is a.mode)
    at = with_it._all.place(a.mode, a.expansion, 1)
    assert with_it._view().ready[at] < 0.1
    assert never.expected.tokens_per_s < a.expected.tokens_per_s
    alone = with_it.compute
    for _ in range(60):
        whole = len(a.expansion)
        with_it.observe(
            replace(seen_round(), expansion=a.expansion, mode=a.mode, guessed=True, ahead=whole, draft_s=0.0005)
        )
    assert with_it._view().ready[at] > 0.5
    # What was there already took no time of the round's, and says nothing of how long drafting takes.
    assert with_it.compute.draft_s == pytest.approx(alone.draft_s, rel=0.1)


def test_parts_that_are_ready_are_those_of_a_walk_through_all_verdicts():
    kept = np.cumprod(np.full((1, 4), 0.7), axis=1)
    guesses = Guesses(np.array([0.7]), np.array([0.4]))
    all_of_them = ready_part(kept, np.array([4.0]), guesses, most=256, passes=np.array([100.0]))
    by_hand = sum(0.7**j * 0.3 * 0.4 for j in range(4)) + 0.7**4 * 0.7
    assert all_of_them[0] == pytest.approx(by_hand)
    one = ready_part(kept, np.array([4.0]), guesses, most=5, passes=np.array([100.0]))
    assert one[0] == pytest.approx(0.7**5)  # the likeliest verdict alone
    short = ready_part(kept, np.array([4.0]), guesses, most=256, passes=np.array([3.0]))
    assert short[0] == pytest.approx(by_hand / 2)  # two of four levels
    assert ready_part(kept[:, :1] * 0, np.zeros(1), guesses, most=9, passes=np.ones(1))[0] == 0


def test_how_often_guesses_off_drafts_in_flight_hit_is_learnt():
    with_it, without = planner(ahead=128), planner()
    a, b = with_it.ranking()[0], without.ranking()[0]
    assert (a.window, a.ahead) == (4, 128)
    assert a.expected.tokens_per_s > 1.04 * b.expected.tokens_per_s
    for _ in range(60):
        with_it.observe(
            replace(
                seen_round(), expansion=a.expansion, mode=a.mode, guessed=True, window=4,
                draft_s=0.008 * len(a.expansion), accepted=3, tried=4,
            )
        )  # fmt: skip
    at = with_it._all.place(a.mode, a.expansion, 4)
    assert with_it._view().ready[at] < 0.1


def test_it_says_what_is_in_flight():
    text = planner(ahead=16).explain()
    assert "In flight: up to 4" in text
    assert "times as many tokens a second for" in text
    assert "In flight" not in planner(window=1).explain()
    assert "drafted for those that are likely" in planner(window=1, ahead=16).explain()
