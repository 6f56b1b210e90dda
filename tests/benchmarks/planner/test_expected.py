"""What is reckoned of models that were not measured: the planner's own numbers, with another acceptance."""

from __future__ import annotations

import json

import pytest
from tslt_benchmarks.planner import expected
from tslt_benchmarks.planner.simulation import COMPUTE

from tslt_wire.throughput import Link, default_modes, expected_round


def test_the_catalogues_own_acceptance_changes_nothing():
    modes = default_modes(32_000, temperature=0.7)
    alpha = next(mode.alphas[0] for mode in modes if mode.evidence == "full")
    for ours, theirs in zip(expected.modes_at(alpha, vocab_size=32_000, temperature=0.7), modes, strict=True):
        assert ours.alphas == pytest.approx(theirs.alphas)


def test_another_acceptance_moves_all_of_them_and_their_order_stays():
    before, after = (expected.modes_at(alpha, vocab_size=32_000, temperature=0.7) for alpha in (0.6, 0.9))
    for low, high in zip(before, after, strict=True):
        assert all(a < b for a, b in zip(low.alphas, high.alphas, strict=True))
        assert list(high.alphas) == sorted(high.alphas)
    assert next(mode.alphas[0] for mode in after if mode.evidence == "full") == pytest.approx(0.9)


def test_a_row_is_the_models_expectation():
    modes = [mode for mode in expected.modes_at(0.8, vocab_size=1000, temperature=0.7) if mode.evidence == "scalar"]
    link = Link(uplink_bit_s=1e6, downlink_bit_s=4e6, rtt_s=0.05)
    found = expected.expect(link, COMPUTE, modes)
    length = int(found.choice.rpartition(" ")[2])
    best = expected_round(modes[0].wire, (1,) * length, (0.8,) * length, link, COMPUTE)
    assert found.choice.startswith("scalar, chain of ")
    assert found.tokens_per_s == pytest.approx(best.tokens_per_s, rel=0.02)
    assert found.passes_per_token == pytest.approx(1 / best.tokens)
    assert found.streamed == pytest.approx(1 / COMPUTE.verify_s)


def test_the_command(tmp_path, capsys):
    words = ["--draft-ms", "20", "--target-ms", "30", "--alpha", "0.7", "0.8", "--rtt", "0.01", "--uplink", "1e6"]
    expected.main([*words, "--json", str(tmp_path / "e.json")])
    said = capsys.readouterr().out
    assert said.count("reckoned, not measured") == 2
    document = json.loads((tmp_path / "e.json").read_text())
    assert [link["alpha"] for link in document["links"]] == [0.7, 0.8]
    assert document["links"][0]["tokens_per_s"] < document["links"][1]["tokens_per_s"]
    with pytest.raises(SystemExit) as stopped:
        expected.main([*words[:4], "--alpha", "1"])
    assert stopped.value.code == 2
