"""The target's time against the number of nodes: how it is learnt, and what the planner makes of it."""

from __future__ import annotations

import numpy as np
import pytest
from tslt_benchmarks.planner.simulation import Conditions, best_fixed, simulate_session

from tslt_wire.throughput import Agreed, Compute, Link, Observation, Planner, default_modes, default_shapes
from tslt_wire.throughput.estimates import MOST_S, Times
from tslt_wire.throughput.model import shape_counts, widths_of

MODES, SHAPES = default_modes(), default_shapes()
MATCH = next(mode for mode in MODES if mode.evidence == "match")
CHAINS_AND_TREES = [(1,), (1, 1), (1,) * 4, (1,) * 8, (2, 2), (2, 2, 2), (2, 2, 2, 2)]
LINK = Link(uplink_bit_s=1e7, downlink_bit_s=4e7, rtt_s=0.005)
FREE, DEAR = (Compute(draft_s=0.002, verify_s=0.006, verify_node_s=node_s) for node_s in (0.0, 0.0014))


def nodes_of(shape):
    return int(np.cumprod(shape).sum()) if shape else 0


def seen(shape, verify_s, *, link_s=0.02, tells=True):
    return Observation(
        mode=MATCH, expansion=shape, accepted=0, tried=min(1, len(shape)), uplink_bytes=30, downlink_bytes=15,
        draft_s=0.01, link_s=link_s + (0 if tells else verify_s), verify_s=verify_s if tells else None,
    )  # fmt: skip


def taught(pass_s, node_s, shapes, *, rounds=200, jitter=0.08, outliers=0.05, tells=True):
    times = Times(LINK, Compute(draft_s=0.01, verify_s=0.03, verify_node_s=0.0003), {"match": (0.0, 0.0)})
    rng = np.random.default_rng(0)
    for _ in range(rounds):
        shape = shapes[int(rng.integers(len(shapes)))]
        took = (pass_s + node_s * nodes_of(shape)) * np.exp(rng.normal(0, jitter))
        took *= 6 if rng.random() < outliers else 1
        times.learn(seen(shape, took, tells=tells), shape_counts(widths_of([shape])))
    return times


def rows_of(times, shape):
    """Of a round with a draft of this shape of which nothing is accepted."""
    wire = np.array([[1.0, 30.0, 15.0]])
    return times.features(wire, shape_counts(widths_of([shape])), np.ones(1), np.ones((1, 1)))


def predicted(times, shape):
    """Seconds of the target and their deviation."""
    means, deviations = times.predict(rows_of(times, shape))
    return float(means[2][0]), float(deviations[2][0])


@pytest.mark.parametrize(("pass_s", "node_s"), [(0.006, 0.0014), (0.019, 0.0005), (0.09, 0.0), (0.04, 0.008)])
def test_pass_and_node_are_learnt_from_noisy_times_with_outliers(pass_s, node_s):
    times = taught(pass_s, node_s, CHAINS_AND_TREES)
    learnt = times.as_compute()
    assert learnt.verify_s == pytest.approx(pass_s, rel=0.25)
    assert learnt.verify_node_s == pytest.approx(node_s, rel=0.15, abs=0.0004)
    for shape in ((), (1,) * 4, (2, 2, 2), (2, 2, 2, 2), (4, 4, 2)):
        assert predicted(times, shape)[0] == pytest.approx(pass_s + node_s * nodes_of(shape), rel=0.2)


@pytest.mark.parametrize("took", [0.004, 0.03, 0.3])
def test_rounds_of_one_size_say_little_of_others_and_that_is_known(took):
    times = taught(took, 0.0, [(1,) * 4], outliers=0)
    here, there = predicted(times, (1,) * 4), predicted(times, (2, 2, 2, 2))
    assert here[0] == pytest.approx(took, rel=0.05)
    assert 0.9 * took < there[0] < 0.1 + 2 * took
    assert there[1] > 5 * here[1]
    for _ in range(3):
        times.learn(seen((2, 2, 2, 2), 2 * took), shape_counts(widths_of([(2, 2, 2, 2)])))
    assert predicted(times, (2, 2, 2, 2))[0] == pytest.approx(2 * took, rel=0.15)
    assert predicted(times, (1,) * 4)[0] == pytest.approx(took, rel=0.15)


def test_times_that_are_none_or_nonsense_are_survived():
    planner = Planner(MODES, Agreed(evidence=("match", "coupled")), link=LINK)
    rng = np.random.default_rng(0)
    nonsense = (0.0, None, MOST_S, 1e-300, 5.0)
    for number in range(200):
        plan = planner.plan()
        honest = Conditions(LINK, DEAR).simulate_round(plan, rng)
        verify_s = honest.verify_s if number % 8 else nonsense[number // 8 % 5]
        changed = {name: getattr(honest, name) for name in Observation.__dataclass_fields__} | {"verify_s": verify_s}
        planner.observe(Observation(**changed))
        learnt = planner.compute
        assert np.isfinite([learnt.verify_s, learnt.verify_node_s, plan.expected.seconds]).all()
        assert min(planner.parts(plan).values()) >= 0
    plan = planner.ranking()[0]
    true = DEAR.verify_s + DEAR.verify_node_s * nodes_of(plan.expansion)
    assert planner.parts(plan)["verify"] == pytest.approx(true, rel=0.25)
    for refused in (1e308, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="verify_s must be in 0"):
            seen((1,), refused)
    with pytest.raises(ValueError, match="seconds must be in 0"):
        planner.observe_exchange(10, 10, 1e308)


def test_an_edge_that_does_not_tell_its_time_is_learnt_from_all_the_same():
    times = taught(0.04, 0.008, CHAINS_AND_TREES, tells=False)
    assert not times.verify_known
    assert times.as_compute().verify_node_s == pytest.approx(0.008, rel=0.15)
    for shape in ((1,), (2, 2, 2, 2)):
        rows = rows_of(times, shape)
        assert float(times.predict(rows)[0][0][0]) == pytest.approx(0.06 + 0.008 * nodes_of(shape), rel=0.1)
        assert times.parts(rows)["verify"] > 0.85 * 0.008 * nodes_of(shape)


@pytest.mark.parametrize("tells_time", [True, False])
def test_short_drafts_where_nodes_are_dear_and_trees_where_they_are_free(tells_time):
    evidence, late = ("match", "coupled", "list"), {}
    for name, compute in (("free", FREE), ("dear", DEAR)):
        conditions = Conditions(LINK, compute, tells_time=tells_time)
        planner = Planner(MODES, Agreed(evidence=evidence))
        trace = simulate_session(planner, [conditions], 800, np.random.default_rng(0)).trace[-60:]
        late[name] = [nodes_of(plan.expansion) for plan in trace if not plan.exploring]
        if tells_time:
            for plan in planner.ranking()[:2]:
                true = compute.verify_s + compute.verify_node_s * nodes_of(plan.expansion)
                assert planner.parts(plan)["verify"] == pytest.approx(true, rel=0.15)
    assert np.mean(late["dear"]) < 4
    assert np.mean(late["free"]) > 8


@pytest.mark.parametrize("tells_time", [True, False])
@pytest.mark.parametrize("slow", [Compute(draft_s=0.008, verify_s=0.08, verify_node_s=0.016), DEAR])
def test_dear_nodes_cost_no_more_than_5_percent(slow, tells_time):
    for uplink, rtt in ((1e5, 0.05), (1e7, 0.005), (1e8, 0.2)):
        link = Link(uplink_bit_s=uplink, downlink_bit_s=4 * uplink, rtt_s=rtt)
        conditions = Conditions(link, slow, tells_time=tells_time)
        modes = [mode for mode in MODES if mode.evidence in {"coupled", "list"}]
        best_s, _, _ = best_fixed([conditions], 600, modes, SHAPES)
        took = [
            simulate_session(Planner(modes, Agreed(evidence=("coupled", "list"))), [conditions], 600, rng).seconds
            for rng in map(np.random.default_rng, range(2))
        ]
        assert np.mean(took) / best_s - 1 < 0.05, (uplink, rtt)


@pytest.mark.parametrize("tells_time", [True, False])
def test_a_first_round_with_cold_caches_costs_no_more(tells_time):
    conditions = Conditions(
        LINK, Compute(draft_s=0.008, verify_s=0.04, verify_node_s=0.008), tells_time=tells_time, cold=8
    )
    modes = [mode for mode in MODES if mode.evidence in {"coupled", "list"}]
    best_s, _, _ = best_fixed([conditions], 400, modes, SHAPES)
    planner = Planner(modes, Agreed(evidence=("coupled", "list")))
    assert not planner.plan().exploring  # what it takes would count as the price of a try
    took = simulate_session(planner, [conditions], 400, np.random.default_rng(0))
    assert took.seconds / best_s - 1 < 0.05
