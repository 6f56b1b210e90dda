"""The gains of drafts in flight: what is printed, written and drawn is the closed form's, and real sessions agree."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tslt_benchmarks.links import in_flight
from tslt_benchmarks.links.in_flight_plot import frontier

from tslt_wire.throughput import expected_round

SMALL = ["--alpha", "0.75", "--rtt", "0.1", "--longest", "8"]


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flight")
    live = ["--live", "--texts", "1", "--tokens", "40"]
    in_flight.main([*SMALL, *live, "--json", str(folder / "f.json"), "--png", str(folder / "f.png")])
    assert (folder / "f.png").read_bytes().startswith(b"\x89PNG")
    return json.loads((folder / "f.json").read_text())


def test_document(document):
    assert (document["benchmark"], document["schema"]) == ("in_flight", in_flight.SCHEMA_VERSION)
    (cell,) = document["links"]
    assert cell["alpha"] == pytest.approx(0.75, abs=0.02)
    assert cell["siblings"] == sorted(cell["siblings"])
    best, ahead, plain, guessing = cell["picked"]
    assert (best["gain"], best["edge"], best["window"]) == (1.0, 1.0, 1)
    assert 1.0 < ahead["gain"] < 1.3
    assert 1.08 < plain["gain"] < cell["bound"]
    assert guessing["gain"] < cell["bound"]
    assert max(choice["edge"] for choice in cell["picked"]) <= 1.25
    assert guessing["gain"] > 1.05 * plain["gain"]
    assert cell["tree_in_flight"]["gain"] > 1.1 * plain["gain"]
    assert cell["best_tree"]["gain"] > 1.05


def test_sessions_are_not_faster_than_the_closed_form_and_take_as_many_passes(document):
    """One text, on a machine that does other things besides: how fast it is is for a run at length to say."""
    rows = document["links"][0]["live"]
    assert [row["window"] for row in rows] == [1, 1, 4, 4, 4]
    assert max(rows[4]["tree"]) > 1
    assert 0.4 < rows[4]["over_model"] < 1.35
    for row in rows[:4]:
        assert row["tokens"] >= 20
        assert row["over_model"] < 1.35
        assert 0.5 < row["alpha"] < 0.95
        levels = row["length"] + (row["window"] == 1)
        tokens = (1 - row["alpha"] ** levels) / (1 - row["alpha"])
        assert 1 / row["passes_per_token"] == pytest.approx(tokens, rel=0.4)


def test_the_best_chain_is_the_best_of_all(document):
    args = in_flight.arguments(SMALL)
    alphas = document["links"][0]["siblings"]
    cell = in_flight.Cell(alphas, 0.1, args)
    rates = {
        length: expected_round(cell.mode.wire, (1,) * length, (alphas[0],) * length, cell.link, cell.compute)
        for length in range(1, 9)
    }
    assert max(rates, key=lambda length: rates[length].tokens_per_s) == cell.best.length
    assert cell.expected(1, 4, 32).seconds < cell.expected(1, 4, 0).seconds == rates[4].seconds


def test_races_are_accepted_as_often_as_the_tables_are_alike():
    rows = np.log(np.array([[0.5, 0.3, 0.1, 0.06, 0.04], [0.1, 0.1, 0.2, 0.3, 0.3]]).repeat(3, 0)[:5])
    same = in_flight.races((rows, rows), 1.0, 0)
    assert same == pytest.approx(np.ones(4))
    other = in_flight.races((rows, np.zeros((5, 5))), 1.0, 0)
    assert 0.3 < other[0] < other[1] < other[3] <= 1


def test_a_frontier_has_what_nothing_beats():
    rows = [{"edge": 1.0, "gain": 1.1}, {"edge": 1.2, "gain": 1.05}, {"edge": 1.3, "gain": 1.2}]
    assert frontier(rows) == [(1.0, 1.1), (1.3, 1.2)]


def test_an_acceptance_of_1_is_refused(capsys):
    with pytest.raises(SystemExit):
        in_flight.arguments(["--alpha", "1.5"])
    assert "a probability below 1" in capsys.readouterr().err
