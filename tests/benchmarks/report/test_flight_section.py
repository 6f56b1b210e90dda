"""The section on drafts in flight: the planner's answers for figures that were measured once."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

from tslt_benchmarks.report.charts import svg
from tslt_benchmarks.sections.drafts_in_flight import SECTION
from tslt_benchmarks.sections.which_link import BIG

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results"


def test_far_away_drafts_in_flight_pay_and_never_cost_speed():
    rows = json.loads((RESULTS / "evidence_acceptance.json").read_text())["rows"]
    acceptance = {"temperatures": [1.0], "rows": rows, "vocab_size": 32_000}
    figures = SECTION.run(SimpleNamespace(figures=lambda _: acceptance, times=BIG, load_models=None))
    for entries in figures["times"].values():
        for entry in entries:
            assert entry["in_flight"]["rate"] >= entry["ahead"]["rate"] >= entry["alone"]["rate"]
            assert entry["alone"]["rate"] >= entry["chain"]["rate"]
            assert entry["in_flight"]["busy_s"] > 0
        assert entries[-1]["in_flight"]["rate"] > 1.05 * entries[-1]["chain"]["rate"]
    plot, *tables = SECTION.show(figures)
    assert "<svg" in svg(plot, narrow=True)
    assert [len(table.rows) for table in tables] == [4, 4]
    assert "times as many" in SECTION.meaning(figures)
