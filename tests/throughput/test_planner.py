"""The planner on simulated links: what it learns, what it chooses, what its mistakes cost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tslt_benchmarks.planner.simulation import COMPUTE, Conditions, best_fixed, simulate_session

from tslt_wire.throughput import (
    Agreed,
    Compute,
    Context,
    Link,
    Observation,
    Planner,
    best_length,
    default_modes,
    default_shapes,
)
from tslt_wire.throughput.acceptance import Acceptance, log_odds
from tslt_wire.throughput.estimates import LinearTime

EVERYTHING = ("match", "coupled", "scalar", "lazy", "list", "full")
FAST = Compute(draft_s=0.003, verify_s=0.01, draft_start_s=0.001, verify_node_s=0.0005)
MODES, SHAPES = default_modes(), default_shapes()


def link(uplink, rtt):
    return Link(uplink_bit_s=uplink, downlink_bit_s=4 * uplink, rtt_s=rtt)


def shortfall(phases, *, evidence=EVERYTHING, tokens=1500, seed=0, **options):
    """Time the planner takes more than the best fixed choice, as a part."""
    modes = [m for m in MODES if m.evidence in evidence]
    seconds, _, _ = best_fixed(phases, tokens, modes, SHAPES)
    planner = Planner(MODES, Agreed(evidence=evidence), **options)
    return simulate_session(planner, phases, tokens, np.random.default_rng(seed)).seconds / seconds - 1


@pytest.mark.parametrize("uplink", [1e4, 1e5, 1e6, 1e7, 1e9])
def test_it_is_within_5_percent_of_the_best_fixed_choice(uplink):
    for rtt in (0.001, 0.02, 0.2):
        loss = shortfall([Conditions(link(uplink, rtt))])
        assert loss < 0.05, (rtt, loss)


@pytest.mark.parametrize(
    ("before", "after"),
    [((1e6, 0.02), (1e4, 0.02)), ((1e4, 0.02), (1e7, 0.02)), ((1e8, 0.005), (1e6, 0.15)), ((1e5, 0.2), (1e5, 0.01))],
)
def test_a_link_that_changes_costs_no_more(before, after):
    phases = [Conditions(link(*before)), Conditions(link(*after))]
    assert shortfall(phases, tokens=1000) < 0.05


def test_a_collapse_costs_a_few_rounds_only():
    """From frames of a megabyte, which now take minutes: believed after one of them."""
    planner = Planner(MODES, Agreed(evidence=("list", "full")), link=link(1e9, 0.1), compute=COMPUTE)
    rng = np.random.default_rng(0)
    simulate_session(planner, [Conditions(link(1e9, 0.1))], 1500, rng)
    assert planner.plan().mode.evidence == "full"
    fallen = simulate_session(planner, [Conditions(link(1e5, 0.1))], 60, rng)
    assert sum(plan.mode.evidence == "full" for plan in fallen.trace) <= 4


def test_a_text_that_is_harder_than_expected_is_learnt():
    conditions = Conditions(link(1e6, 0.03), odds={"": -0.4, "scalar": -0.5})
    assert shortfall([conditions]) < 0.05


def test_an_edge_that_does_not_tell_its_time_is_no_harder():
    assert shortfall([Conditions(link(1e6, 0.03), tells_time=False)]) < 0.05


def test_only_what_was_agreed_on_is_chosen():
    planner = Planner(MODES, Agreed(evidence=("list", "match"), precisions=("log2/1",), max_nodes=5))
    session = simulate_session(planner, [Conditions(link(1e6, 0.05))], 300, np.random.default_rng(0))
    assert set(session.chosen) <= {"list", "match"}
    assert {plan.mode.precision for plan in session.trace} <= {"log2/1", ""}
    assert max(int(np.cumprod(p.expansion or (0,)).sum()) for p in session.trace) <= 5
    with pytest.raises(ValueError, match="nothing"):
        Planner([m for m in MODES if m.evidence == "match"], Agreed(evidence=("list",)))
    other = next(m for m in MODES if m.evidence == "full")
    times = {"uplink_bytes": 1, "downlink_bytes": 1, "draft_s": 0, "link_s": 0}
    seen = Observation(mode=other, expansion=(1,), accepted=1, tried=1, **times)
    with pytest.raises(ValueError, match="catalogue"):
        planner.observe(seen)


@pytest.mark.parametrize(
    ("run", "match"),
    [
        (lambda: Agreed(evidence=("telepathy",)), "evidence must be one of match, .*'telepathy'"),
        (lambda: Agreed(evidence="list"), "evidence must be several names"),
        (lambda: Agreed(evidence=(5,)), "evidence must be one of"),
        (lambda: Agreed(evidence=("list",), max_nodes=0), "max_nodes must be at least 1"),
        (lambda: Agreed(evidence=("list",), max_leaves=0), "max_leaves must be at least 1"),
        (lambda: Agreed(evidence=("list",), max_entries=1.5), "max_entries must be an integer"),
        (lambda: Planner(MODES, ("list",)), "agreed must be an Agreed"),
        (lambda: Planner(MODES, Agreed(evidence=EVERYTHING), budget=1.0), "budget must be below 1"),
        (lambda: Planner(MODES, Agreed(evidence=EVERYTHING), budget="0"), "budget must be a real number"),
        (lambda: default_modes(entropy="zip"), "entropy must be one of none, range, zstd"),
        (lambda: replace(MODES[0], evidence="no-such"), "evidence must be one of"),
    ],
)
def test_names_and_numbers_that_there_are_not_are_refused(run, match):
    with pytest.raises((TypeError, ValueError), match=match):
        run()


def test_a_round_is_not_deeper_than_the_context_allows():
    planner = Planner(MODES, Agreed(evidence=EVERYTHING))
    assert len(planner.plan(Context(tokens_left=3)).expansion) <= 2
    assert planner.plan(Context(tokens_left=1)).expansion == ()
    assert len(planner.plan(Context(tokens_left=100, room=1)).expansion) <= 1


def test_equal_observations_give_equal_plans():
    traces = [
        [
            plan.name
            for plan in simulate_session(
                Planner(MODES, Agreed(evidence=EVERYTHING)),
                [Conditions(link(1e6, 0.05))],
                200,
                np.random.default_rng(3),
            ).trace
        ]
        for _ in range(2)
    ]
    assert traces[0] == traces[1]


def test_a_kind_that_takes_long_is_found_out_and_one_that_does_not_is_found():
    """Races that take as long as the draft model: ``list`` wins, whatever comes first."""
    slow = {"coupled": (0.02, 0.01)}
    conditions = Conditions(link(1e7, 0.005), extra=slow)
    assert shortfall([conditions], evidence=("coupled", "list")) < 0.05
    session = simulate_session(
        Planner(MODES, Agreed(evidence=("coupled", "list"))), [conditions], 600, np.random.default_rng(0)
    )
    assert session.chosen["list"] > 5 * session.chosen.get("coupled", 0)


def test_drafts_that_failed_by_chance_get_another_chance():
    """A streak of rejections makes it stop drafting; nothing is learnt from rounds without a draft, but time passes."""
    planner = Planner(MODES, Agreed(evidence=("list",)), link=link(1e7, 0.001), compute=FAST)
    conditions = Conditions(link(1e7, 0.001), FAST)
    for _ in range(60):
        plan = planner.plan()
        expansion = plan.expansion
        planner.observe(
            Observation(
                mode=plan.mode, expansion=expansion, accepted=0, tried=min(1, len(expansion)), uplink_bytes=50,
                downlink_bytes=15, draft_s=0.003 * len(expansion), link_s=0.001, verify_s=0.01,
            )
        )  # fmt: skip
    assert planner.plan().expansion == ()
    session = simulate_session(planner, [conditions], 1500, np.random.default_rng(0))
    assert any(plan.expansion for plan in session.trace[-100:])


def test_what_the_edge_does_not_take_is_not_planned():
    planner = Planner(MODES, Agreed(evidence=EVERYTHING, max_entries=1000))
    for plan in planner.ranking():
        assert sum(np.cumprod((1, *plan.expansion))[:-1]) * plan.mode.entries <= 1000
    full = next(plan for plan in planner.ranking() if plan.mode.evidence == "full")
    assert full.expansion == ()


@pytest.mark.parametrize("most", [1, 2, 3, 4])
def test_leaves_bound_trees_and_no_chain(most):
    def planned(shape, **limits):
        try:
            return bool(Planner(MODES, Agreed(evidence=EVERYTHING, **limits), shapes=(shape,)).ranking())
        except ValueError:
            return False

    for shape in default_shapes():
        assert planned(shape, max_leaves=most) == (np.prod(shape) <= most)
    assert not planned((1,) * 5, max_nodes=most)


def test_parts_add_up():
    planner = Planner(MODES, Agreed(evidence=EVERYTHING))
    simulate_session(planner, [Conditions(link(1e5, 0.1))], 100, np.random.default_rng(0))
    for plan in planner.ranking():
        assert sum(planner.parts(plan).values()) == pytest.approx(plan.expected.seconds)


def test_curiosity_stays_in_its_budget():
    for budget in (0.0, 0.02):
        planner = Planner(MODES, Agreed(evidence=EVERYTHING), budget=budget)
        session = simulate_session(planner, [Conditions(link(1e6, 0.05), outliers=0)], 800, np.random.default_rng(0))
        assert planner.curiosity <= budget * 1.5
        assert budget or not any(plan.exploring for plan in session.trace)


def test_the_chain_it_likes_best_has_the_closed_forms_length():
    modes = [m for m in MODES if m.evidence in {"coupled", "lazy"} and m.k in {0, 320}]
    for mode in modes:
        for rtt in (0.0, 0.05, 0.5):
            conditions = Conditions(link(1e5, rtt), Compute(draft_s=0.01, verify_s=0.04))
            chains = [(1,) * length for length in range(33)]
            planner = Planner(
                [mode],
                Agreed(evidence=[mode.evidence]),
                shapes=chains,
                link=conditions.link,
                compute=conditions.compute,
            )
            wire = mode.wire
            fixed = conditions.link.seconds(wire.frame, wire.verdict) + conditions.compute.verify_s
            extra = conditions.link.seconds(wire.rejection_up, wire.rejection_down, wire.rejection_trips)
            # What a token of the text takes at the edge comes on top of every length alike.
            token = conditions.compute.draft_s + mode.parent_s + conditions.link.seconds(wire.node + wire.parent, 0, 0)
            best = best_length(mode.alphas[0], round_s=fixed, token_s=token, rejection_s=extra, longest=32)
            assert len(planner.ranking()[0].expansion) == best


def test_it_explains_itself():
    planner = Planner(MODES, Agreed(evidence=EVERYTHING))
    simulate_session(planner, [Conditions(link(1e5, 0.1))], 200, np.random.default_rng(0))
    text = planner.explain()
    best, second = planner.ranking()[0], text.split("Second: ")[1]
    assert best.name in text
    assert "latency is the bottleneck" in text
    assert not second.startswith(best.mode.evidence)
    for word in ("tokens/s", "round trip ", "times the target alone", "Acceptance"):
        assert word in text


# ------------------------------------------------------------------------------------------------------------ estimates


def taught(time, truth, rounds, *, seed=0, jitter=0.05, outliers=0.02, most=400):
    rng = np.random.default_rng(seed)
    for _ in range(rounds):
        x = np.array([1.0, rng.uniform(20, most), rng.choice([12.0, 90.0])])
        took = float(x @ truth) * np.exp(rng.normal(0, jitter)) * (6 if rng.random() < outliers else 1)
        time.learn(x, took)
    return time


def fresh():
    return LinearTime((0.05, 8e-6, 2e-6), (0.1, 8e-4, 1e-4), (0.005, 0.01, 0.01))


@pytest.mark.parametrize("truth", [(0.02, 8e-4, 1e-4), (0.02, 8e-5, 2e-5), (0.2, 8e-4, 1e-5), (0.001, 8e-5, 1e-5)])
def test_rates_and_round_trips_are_learnt_in_spite_of_outliers(truth):
    time = taught(fresh(), truth, 300)
    assert time.mean[0] == pytest.approx(truth[0], rel=0.15, abs=0.002)
    assert time.mean[1] == pytest.approx(truth[1], rel=0.2)
    assert (time.mean >= 0).all()


def test_a_lone_outlier_changes_little_and_a_lasting_change_is_believed_at_once():
    truth = np.array([0.05, 8e-5, 2e-5])
    time = taught(fresh(), truth, 200, outliers=0)
    x = np.array([1.0, 200.0, 12.0])
    before = float(time.predict(x)[0])
    time.learn(x, 5 * before)
    assert float(time.predict(x)[0]) == pytest.approx(before, rel=0.05)
    for _ in range(3):
        time.learn(x, 4 * before)
    assert float(time.predict(x)[0]) == pytest.approx(4 * before, rel=0.3)


def test_a_stall_is_forgotten_when_it_is_over():
    truth = np.array([0.05, 8e-5, 2e-5])
    time = taught(fresh(), truth, 200, outliers=0)
    x = np.array([1.0, 200.0, 12.0])
    time.learn(x, 2.0)
    assert float(time.predict(x)[0]) > 0.5
    for _ in range(2):
        time.learn(x, float(x @ truth))
    assert float(time.predict(x)[0]) == pytest.approx(float(x @ truth), rel=0.1)


def test_acceptance_is_learnt_and_shared():
    rng = np.random.default_rng(0)
    modes = [m for m in MODES if m.evidence == "list"]
    acceptance = Acceptance(modes, 4)
    at, true = 2, 0.35
    start = acceptance.alphas()
    for _ in range(400):
        levels = np.ones(3, np.int64)
        hits = rng.random(3) < true
        accepted = 3 if hits.all() else int(hits.argmin())
        acceptance.learn(at, levels, accepted, min(3, accepted + 1))
    now = acceptance.alphas()
    assert now[at, 0, 1] == pytest.approx(true, abs=0.07)
    fell = (start - now)[:, 0, 1]
    assert (fell > 0.05).all()
    ks = [mode.k for mode in modes]
    assert ks == [64, 16, 64, 320]
    odds = [log_odds(a) - log_odds(b) for a, b in zip(start[:, 0, 1], now[:, 0, 1], strict=True)]
    assert odds[at] > odds[0] > odds[3]  # it says more about lists of its own length
    assert acceptance.spread(at, False) < 0.3
    assert (now[..., 0] == 0).all()
