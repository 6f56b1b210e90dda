"""The simulation of edges: where it can be reckoned it gives what was reckoned, and the command says what it found."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from tslt_benchmarks.fleet import fleet, profiles
from tslt_benchmarks.fleet.simulation import Habit, Service, Use, simulate
from tslt_benchmarks.fleet.validation import NEAR, _alpha_of, learnt

from tslt_runtime.scheduler import Pass
from tslt_wire.throughput import Link

CHAIN = 4
SERVICE = Service(pass_s=0.03, row_s=0.001)
ONE = Habit(name="one", link=NEAR, draft_s=0.02, chain=CHAIN, alpha=0.6, up=100, down=20)
TOKENS = sum(0.6**level for level in range(CHAIN + 1))
LONG = Use(prompt=1, tokens=10_000)


def test_one_device_takes_what_a_round_takes():
    found = simulate(SERVICE, [ONE], LONG, devices=1, seconds=200)
    round_s = 0.02 + 0.03 + 5 * 0.001
    assert found.rounds == pytest.approx(200 / round_s, rel=0.01)
    assert found.tokens / found.rounds == pytest.approx(TOKENS, rel=0.03)
    assert found.quantile(0.5) == pytest.approx(0.035)
    assert found.up == 100 * found.rounds
    assert found.busy_s == pytest.approx(found.rounds * 0.035, rel=0.01)


def test_a_link_takes_its_round_trip_and_its_bytes():
    link = Link(uplink_bit_s=8000, downlink_bit_s=8000, rtt_s=0.1)
    found = simulate(SERVICE, [replace(ONE, link=link)], LONG, devices=1, seconds=100)
    assert found.seconds / found.rounds == pytest.approx(0.02 + 0.1 + 0.1 + 0.02 + 0.035, rel=0.02)
    # What follows a rejection takes another exchange.
    lazy = simulate(SERVICE, [replace(ONE, link=link, rejected_up=50.0)], LONG, devices=1, seconds=100)
    rejected = 1 - 0.6**CHAIN
    assert lazy.seconds / lazy.rounds == pytest.approx(0.275 + rejected * 0.15, rel=0.03)
    assert lazy.up / lazy.rounds == pytest.approx(100 + rejected * 50, rel=0.03)


def test_many_devices_share_passes_up_to_the_rows_of_one():
    found = simulate(SERVICE, [ONE], LONG, devices=400, seconds=100)
    assert found.rows / found.passes == pytest.approx(510, abs=3)
    assert found.rounds / found.seconds == pytest.approx(102 / (0.03 + 0.510), rel=0.03)


def test_devices_that_come_together_are_waited_for():
    """Two that never pause share each pass, as at the real scheduler."""
    found = simulate(SERVICE, [replace(ONE, draft_s=0.001)], LONG, devices=2, seconds=20)
    assert found.rounds / found.passes > 1.9


def test_prompts_are_read_in_chunks_beside_rounds():
    found = simulate(SERVICE, [ONE], Use(prompt=2000, tokens=20), devices=8, seconds=30)
    assert found.rounds
    assert found.quantile(0.95) < 0.035 * 1.5 + 0.512 + 0.05


def test_shares_and_edges():
    slow = replace(ONE, name="slow", draft_s=1.0, share=1.0)
    found = simulate(SERVICE, [replace(ONE, share=3.0), slow], Use(tokens=50, prompt=1), devices=8, edges=4, seconds=60)
    assert np.quantile(found.texts_tokens_s, 0.01) < 3 < np.quantile(found.texts_tokens_s, 0.9)
    again = simulate(SERVICE, [replace(ONE, share=3.0), slow], Use(tokens=50, prompt=1), devices=8, edges=4, seconds=60)
    assert again == found
    assert found.slowest(0.05) <= found.slowest(0.5)
    empty = simulate(SERVICE, [ONE], Use(tokens=50, pause_s=1e9), devices=1, seconds=1)
    assert empty.quantile(0.5) == float("inf")
    assert empty.slowest(0.05) == 0


def test_times_of_passes_are_learnt():
    passes = [Pass(1, rows, 0.02 + 0.0005 * rows, ()) for rows in (5, 20, 80) for _ in range(10)]
    found = learnt(passes)
    assert found.pass_s == pytest.approx(0.02)
    assert found.row_s == pytest.approx(0.0005)
    assert found.jitter == pytest.approx(0, abs=1e-9)
    assert _alpha_of(TOKENS, CHAIN) == pytest.approx(0.6, abs=1e-5)


def test_what_was_measured_is_read():
    profile = profiles.measured()
    assert 0.005 < profile.service.pass_s < 0.05
    assert 0.0001 < profile.service.row_s < 0.01
    assert profile.service.own_draft_row_s > 0
    kinds = profiles.habits(profile, 0.8)
    assert sum(kind.share for kind in kinds) == pytest.approx(1)
    assert all(kind.chain and kind.up > 10 for kind in kinds)
    assert np.mean(profiles.DAY) == pytest.approx(1, abs=0.02)
    assert profiles.streamed(profile, NEAR) > profiles.streamed(profile, profiles.LINKS[-1].link) * 0.99


def test_the_most_devices_are_found():
    def run(devices):
        found = simulate(SERVICE, [ONE], Use(prompt=1, tokens=40), devices=devices, seconds=4, warm_s=2)
        return found

    devices, found = fleet.best(20.0, run, most=64)
    assert found is not None
    assert found.slowest(fleet.SLOWEST) >= 20.0
    assert run(2 * devices).slowest(fleet.SLOWEST) < 20.0
    assert fleet.best(1e9, run) == (0, None)


def test_the_command_says_what_a_fleet_needs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fleet, "SECONDS", 2.0)
    monkeypatch.setattr(fleet, "WARM_S", 1.0)
    monkeypatch.setattr(fleet, "USE", Use(prompt=4, tokens=20))
    json_file, png = tmp_path / "f.json", tmp_path / "f.png"
    argv = ["--pass-ms", "50", "--row-ms", "2", "--draft-ms", "20", "--million", "1000"]
    fleet.main([*argv, "--json", str(json_file), "--png", str(png)])
    found = json.loads(json_file.read_text())
    ways = {one["way"]: one for one in found["capacity"]}
    assert ways["split"]["devices"] >= 1
    (needed,) = found["fleets"]
    assert needed["edges"] >= 1
    assert needed["edges"] <= needed["edge_hours"] <= 24 * needed["edges"]
    assert needed["gateway_cores"] > 0
    assert png.stat().st_size > 5000
    assert capsys.readouterr().out.splitlines()[-1].startswith("fleet: devices=")
    with pytest.raises(SystemExit):
        fleet.main(["--alpha", "1"])
