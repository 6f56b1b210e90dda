"""The simulated links: what is printed, written and drawn is what was played."""

from __future__ import annotations

import json

import pytest
from tslt_benchmarks.planner import simulated_links as planner_sim
from tslt_benchmarks.planner.simulation import COMPUTE, World, best_fixed

from tslt_wire.throughput import Link, default_modes, default_shapes, streamed_tokens_per_s

SMALL = ["--uplink", "2e4", "1e7", "--rtt", "0.05", "--tokens", "150", "--seeds", "1"]


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planner")
    planner_sim.main([*SMALL, "--json", str(folder / "p.json"), "--png", str(folder / "p.png")])
    assert (folder / "p.png").read_bytes().startswith(b"\x89PNG")
    return json.loads((folder / "p.json").read_text())


def test_document(document):
    assert (document["benchmark"], document["schema"]) == ("planner_sim", planner_sim.SCHEMA_VERSION)
    assert document["settings"]["compute"]["verify_s"] == COMPUTE.verify_s
    for cell in document["cells"]:
        assert cell["tokens_per_s"] == pytest.approx(max(cell["by_evidence"].values()))
        assert cell["tokens_per_s"] == pytest.approx(cell["by_evidence"][cell["evidence"]])
        assert -0.01 < cell["shortfall"] <= cell["worst"] < 0.25  # a session of 150 tokens has hardly begun
        assert sum(cell["chosen"].values()) > 20


def test_a_cell_is_the_models_best(document):
    cell = document["cells"][0]
    link = Link(uplink_bit_s=cell["uplink_bit_s"], downlink_bit_s=4 * cell["uplink_bit_s"], rtt_s=cell["rtt_s"])
    seconds, mode, _ = best_fixed([World(link)], 100, default_modes(), default_shapes())
    assert cell["tokens_per_s"] == pytest.approx(100 / seconds)
    assert (cell["evidence"], cell["k"]) == (mode.evidence, mode.k)
    assert cell["streamed"] == pytest.approx(streamed_tokens_per_s(COMPUTE.verify_s, link))


def test_only_what_was_asked_for_is_played(capsys):
    planner_sim.main([*SMALL, "--evidence", "list", "match"])
    assert "planner_sim: cells=2 shortfall_mean=" in capsys.readouterr().out
    cell = planner_sim.measure(1e6, 0.02, evidence=("list",), tokens=60, seeds=1, temperature=0.7)
    assert set(cell.by_evidence) == set(cell.chosen) == {"list"}
