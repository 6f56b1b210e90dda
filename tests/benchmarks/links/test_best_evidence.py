"""The best evidence on each link, quickly: rounds of the real pair, replayed, and sessions in virtual time beside."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tslt_benchmarks.link_grid import EVIDENCE
from tslt_benchmarks.links import best_evidence
from tslt_benchmarks.links.recorded_rounds import QUICK_SHAPES, RecordedRounds, choice_bytes, choices_of
from tslt_benchmarks.links.replay import (
    Replay,
    Times,
    edge_speculation,
    measure,
    recorded_over_expected,
    replay_planner,
    streamed_bytes,
    wire_fit,
)
from tslt_benchmarks.links.report import short

from tslt_wire.throughput import Link

GIVEN = Times(draft_s=0.008, target_s=0.04, node_s=0.001, edge_draft_s=0.002)
LINK = Link(uplink_bit_s=1e5, downlink_bit_s=4e5, rtt_s=0.05)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """(document, recorded rounds) of one quick run."""
    folder = tmp_path_factory.mktemp("best_evidence")
    files = {name: folder / f"r.{name}" for name in ("json", "png", "recorded")}
    best_evidence.main(["--quick", *(str(part) for name, path in files.items() for part in (f"--{name}", path))])
    assert files["png"].read_bytes().startswith(b"\x89PNG")
    return json.loads(files["json"].read_text()), RecordedRounds.load(files["recorded"])


def test_document(ran):
    document, recorded = ran
    assert (document["benchmark"], document["schema"]) == ("best_evidence", best_evidence.SCHEMA_VERSION)
    assert document["summary"]["links"] == len(document["links"]) == 4
    assert document["model_times"]["source"].startswith("measured")
    for result in document["links"]:
        assert set(result["by_evidence"]) == set(EVIDENCE)
        assert result["rate"] == max(rate for _, rate in result["by_evidence"].values())
        assert result["auto"] <= result["rate"] * 1.001
        assert result["edge_speculates"] >= result["edge_streams"] * 0.8
    shortfalls = [result["shortfall"] for result in document["links"]]
    assert document["summary"]["shortfall_mean"] == pytest.approx(np.mean(shortfalls))
    assert set(document["wire_fit"]) == {mode.name for mode in recorded.modes}


def test_live_rounds_take_exactly_what_is_replayed(ran):
    for row in ran[0]["live"]:
        assert row["round_off_s"] < 1e-5  # the edge tells its time in microseconds
        assert row["tokens"] >= best_evidence.QUICK_LIVE_TOKENS
    assert {row["what"] == "auto" for row in ran[0]["live"]} == {True, False}


def test_the_bank_has_every_choice_at_every_place(ran):
    recorded = ran[1]
    assert recorded.choices == choices_of(32_000, 1.0, QUICK_SHAPES, recorded.meta["max_entries"])
    for choice, rounds in recorded.rounds.items():
        assert rounds.accepted.shape == (recorded.meta["places"],)
        assert (rounds.tried <= len(choice.expansion)).all()
        assert (rounds.tried - rounds.accepted <= 1).all()
        more = rounds.trips > 1
        assert not more.any() or choice.mode.evidence in {"scalar", "lazy"}
        if choice.mode.evidence == "lazy":
            assert (more == rounds.rejected).all()
    assert 1 <= choice_bytes(32_000) <= 6


def test_frames_have_the_sizes_the_catalogue_says(ran):
    for mode in ran[1].modes:
        frame, node, parent = wire_fit(ran[1])[mode.name]
        wire = mode.wire
        assert frame + 4 * (node + parent) == pytest.approx(wire.frame + 4 * (wire.node + wire.parent), rel=0.35)


def test_given_times_replace_the_models_own(ran):
    replay = Replay(ran[1], GIVEN)
    for choice, cost in replay.costs.items():
        nodes = sum(np.cumprod(choice.expansion)) if choice.expansion else 0
        assert cost.draft_s >= len(choice.expansion) * GIVEN.draft_s
        assert cost.verify_s >= GIVEN.target_s + nodes * GIVEN.node_s
        if choice.mode.evidence == "match":
            assert cost.draft_s == pytest.approx(len(choice.expansion) * GIVEN.draft_s)
            assert cost.verify_s == pytest.approx(GIVEN.target_s + nodes * GIVEN.node_s)


def test_costs_are_expectations(ran):
    replay = Replay(ran[1], GIVEN)
    choice = next(c for c in replay.costs if c.mode.evidence == "lazy" and c.expansion == (1, 1, 1))
    levels, cost = replay.levels[choice], replay.costs[choice]
    rng = np.random.default_rng(0)
    seen = [replay.observe(choice, LINK, rng) for _ in range(4000)]
    assert np.mean([1 + o.accepted for o in seen]) == pytest.approx(cost.tokens, rel=0.03)
    assert np.mean([o.uplink_bytes for o in seen]) == pytest.approx(cost.uplink, rel=0.03)
    assert np.mean([o.trips for o in seen]) == pytest.approx(cost.trips, rel=0.03)
    assert np.mean([o.seconds for o in seen]) == pytest.approx(cost.seconds(LINK), rel=0.03)
    assert levels.shape[1] == 3
    assert ((levels >= 0) & (levels <= 1 + 1e-9)).all()


def test_auto_is_repeatable_and_keeps_to_what_both_ends_have(ran):
    replay = Replay(ran[1], GIVEN)
    first, again = (replay_planner(replay, LINK, {"match", "list"}, tokens=80, seed=3) for _ in range(2))
    assert (first.seconds, first.chosen) == (again.seconds, again.chosen)
    assert all(name.startswith(("match", "list")) for name in first.chosen)
    result = measure(replay, LINK, ("match", "list"), tokens=80, seeds=1)
    assert set(result.by_evidence) == {"match", "list"}
    assert result.auto == pytest.approx(result.rate * (1 - result.shortfall))


def test_the_edge_alone(ran):
    replay = Replay(ran[1], GIVEN)
    rate, shape, busy = edge_speculation(replay, LINK)
    assert rate == pytest.approx(1 / busy)
    assert len(shape) > 0
    thin = Link(uplink_bit_s=1e3, downlink_bit_s=1e3, rtt_s=0.1)
    assert edge_speculation(replay, thin)[0] < 1e3 / 8 / 2
    assert 12 <= streamed_bytes(replay) <= 20
    assert set(recorded_over_expected(replay)) == set(EVIDENCE)


def test_options():
    with pytest.raises(SystemExit):
        best_evidence.parse(["--draft-ms", "3"])
    assert short("list K=64 log2/0, chain of 4") == "list K=64, chain 4"
    assert short("scalar, no draft") == "scalar, no draft"
