"""The simulated links: what is printed, written and drawn is what was measured."""

from __future__ import annotations

import json

import pytest
from tslt_benchmarks.planner import simulated_links
from tslt_benchmarks.planner.simulation import COMPUTE, Conditions, best_fixed

from tslt_wire.throughput import Link, default_modes, default_shapes, streamed_tokens_per_s

SMALL = ["--uplink", "2e4", "1e7", "--rtt", "0.05", "--tokens", "150", "--seeds", "1"]

LINK = Link(uplink_bit_s=1e6, downlink_bit_s=4e6, rtt_s=0.02)


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planner")
    simulated_links.main([*SMALL, "--json", str(folder / "p.json"), "--png", str(folder / "p.png")])
    assert (folder / "p.png").read_bytes().startswith(b"\x89PNG")
    return json.loads((folder / "p.json").read_text())


def test_document(document):
    assert (document["benchmark"], document["schema"]) == ("simulated_links", simulated_links.SCHEMA_VERSION)
    assert document["settings"]["compute"]["verify_s"] == COMPUTE.verify_s
    for result in document["links"]:
        assert result["tokens_per_s"] == pytest.approx(max(result["by_evidence"].values()))
        assert result["tokens_per_s"] == pytest.approx(result["by_evidence"][result["evidence"]])
        assert -0.01 < result["shortfall"] <= result["worst"] < 0.25  # a session of 150 tokens has hardly begun
        assert sum(result["chosen"].values()) > 20


def test_a_cell_is_the_models_best(document):
    result = document["links"][0]
    link = Link(uplink_bit_s=result["uplink_bit_s"], downlink_bit_s=4 * result["uplink_bit_s"], rtt_s=result["rtt_s"])
    seconds, mode, _ = best_fixed([Conditions(link)], 100, default_modes(), default_shapes())
    assert result["tokens_per_s"] == pytest.approx(100 / seconds)
    assert (result["evidence"], result["k"]) == (mode.evidence, mode.k)
    assert result["streamed"] == pytest.approx(streamed_tokens_per_s(COMPUTE.verify_s, link))


def test_only_what_was_asked_for_is_simulated(capsys):
    simulated_links.main([*SMALL, "--evidence", "list", "match"])
    assert "simulated_links: links=2 shortfall_mean=" in capsys.readouterr().out
    result = simulated_links.measure(Conditions(LINK), ("list",), tokens=60, seeds=1, temperature=0.7)
    assert set(result.by_evidence) == set(result.chosen) == {"list"}


def test_given_times_are_the_models(tmp_path):
    path = tmp_path / "p.json"
    simulated_links.main(
        ["--uplink", "1e7", "--rtt", "0.005", "--tokens", "100", "--seeds", "1", "--draft-ms", "2", "--target-ms", "6",
         "--node-ms", "1.4", "--untold", "--evidence", "coupled", "--json", str(path)]
    )  # fmt: skip
    document = json.loads(path.read_text())
    compute = document["settings"]["compute"]
    assert [compute[name] for name in ("draft_s", "verify_s", "verify_node_s")] == pytest.approx([0.002, 0.006, 0.0014])
    assert document["settings"]["untold"]
    assert document["links"][0]["shape"] == "chain of 2"  # with nodes for nothing it is a tree


def test_the_best_in_flight_is_shown_where_it_is_asked_for(capsys):
    simulated_links.main([*SMALL, "--window", "4", "--ahead", "16", "--evidence", "coupled"])
    out = capsys.readouterr().out
    assert out.count("times the best that waits") == 2
    far = Conditions(Link(uplink_bit_s=1e6, downlink_bit_s=1e6, rtt_s=0.2))
    options = {"tokens": 60, "seeds": 1, "temperature": 0.7}
    found = simulated_links.measure(far, ("scalar",), window=4, **options)
    assert "in flight" in found.in_flight
    assert found.in_flight_tokens_per_s > 1.05 * found.tokens_per_s
    assert 1 <= found.in_flight_edge < 1.6
    without = simulated_links.measure(far, ("scalar",), **options)
    assert (without.in_flight, without.in_flight_edge) == ("", 1.0)
    assert without.in_flight_tokens_per_s == without.tokens_per_s
