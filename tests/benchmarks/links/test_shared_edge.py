"""Devices at an edge that is busy: they all write, and are told of each other."""

from __future__ import annotations

import json

from tslt_benchmarks.links import shared_edge


def test_all_devices_write_and_are_told_of_each_other(tmp_path):
    few = ["--devices", "3", "--slow", "1", "--runs", "1", "--seconds", "1.5", "--learn", "0.5"]
    few += ["--target-ms", "15", "--draft-ms", "1"]
    ways = ["and in flight", "not told of others"]
    shared_edge.main([*few, "--rtt", "0.005", "--ways", *ways, "--json", str(tmp_path / "s.json")])
    document = json.loads((tmp_path / "s.json").read_text())
    assert list(document["ways"]) == ways
    for row in document["ways"].values():
        assert row["tokens_per_s"] > 10
        assert 0 < row["least_over_most"] <= 1
        assert 0 < row["others"] <= 2
        (run,) = row["runs"]
        assert sum(run["evidence"].values()) > 0.99
        assert run["tokens_per_s"] == row["tokens_per_s"]
    assert document["ways"][ways[0]]["over_first"] == [1.0]
