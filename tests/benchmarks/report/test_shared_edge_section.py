"""The section on many devices at one edge: shown from the committed results, and run for a moment."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from tslt_benchmarks.report.blocks import Table
from tslt_benchmarks.sections import shared_edge
from tslt_benchmarks.sections.shared_edge import DEVICES, FIRST, SECTION, WAYS

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results"


def test_the_table_and_the_sentence_are_of_the_figures():
    document = json.loads((RESULTS / "shared_edge.json").read_text())
    ways = {way: row for way, row in document["ways"].items() if way in WAYS}
    figures = {"alpha": 0.75, "temperature": 0.7, "seconds": 12.0, "ways": ways}
    (table,) = SECTION.show(figures)
    assert isinstance(table, Table)
    assert [row[0] for row in table.rows] == list(WAYS.values())
    first = ways[FIRST]["tokens_per_s"]
    assert [row[2] for row in table.rows] == [pytest.approx(row["tokens_per_s"] / first) for row in ways.values()]
    assert "75% of cases" in table.caption
    said = SECTION.meaning(figures)
    assert f"make {first:.0f} tokens a second together" in said
    assert f"{ways['and in flight']['tokens_per_s'] / first:.2f} times with drafts in flight" in said


def test_devices_accept_as_often_as_the_pair(monkeypatch):
    """Its acceptance and temperature, and its seed."""
    given = []
    monkeypatch.setattr(shared_edge, "measure", lambda args, tell: given.append(args) or {})
    rows = [{"evidence": "full", "temperature": t, "alphas": [a]} for t, a in ((0.0, 0.5), (0.7, 0.625))]
    acceptance = {"temperatures": [0.7, 0.0], "rows": rows}
    for quick in (True, False):
        context = SimpleNamespace(figures=lambda _: acceptance, quick=quick, seed=5, tell=None)
        assert SECTION.run(context)["alpha"] == 0.625
    few, all_ = given
    assert (few.alpha, few.temperature, few.seed, few.devices) == (0.625, 0.7, 5, DEVICES)
    assert set(few.ways) < set(all_.ways) == set(WAYS)
    assert few.seconds < all_.seconds
