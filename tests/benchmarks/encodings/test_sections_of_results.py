"""Sections of the report, shown from the committed results: tables whole, sentences with the numbers in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tslt_benchmarks.report.blocks import Plot, Table
from tslt_benchmarks.sections import end_to_end, equal_acceptance, messages, paper, transports

RESULTS = Path(__file__).resolve().parents[3] / "benchmarks" / "results"


def figures_of(name: str) -> dict:
    """What a section's ``run`` would give, of what the command of the same benchmark wrote."""
    file = {"paper": "paper_figures", "end-to-end": "end_to_end"}.get(name, "encodings")
    found = json.loads((RESULTS / f"{file}.json").read_text())
    if name == "equal-acceptance":
        return {"curves": [curve for curve in found["curves"] if curve["temperature"] == 1]}
    if name == "messages":
        return {"rows": [row for row in found["messages"] if row["temperature"] == 1]}
    if name == "transports":
        return {"rows": found["transports"]}
    settings = found["settings"]
    if name == "paper":
        passes = {model: settings[f"{model}_ms"] for model in ("draft", "target")}
        return found | {"uplink": settings["uplink_bit_s"], "passes_ms": passes}
    return found | {"rows": end_to_end.named(found["rows"])}


SECTIONS = {each.SECTION.name: each.SECTION for each in (end_to_end, equal_acceptance, messages, paper, transports)}


@pytest.mark.parametrize("name", SECTIONS)
def test_every_row_and_plot_is_there(name):
    blocks = SECTIONS[name].show(figures_of(name))
    tables = [block for block in blocks if isinstance(block, Table)]
    assert tables
    assert all(table.rows for table in tables)
    names = [block.name for block in blocks if isinstance(block, Plot)]
    assert len(set(names)) == len(names)


def test_sentences_have_the_numbers_in_them():
    said = {name: section.meaning(figures_of(name)) for name, section in SECTIONS.items()}
    levels = {c["format"]: c["levels"] for c in figures_of("equal-acceptance")["curves"]}
    size = next(level["bytes"] for level in levels["paper"] if level["part"] == 0.85)
    assert f"paper's list {size:,.0f}" in said["equal-acceptance"]
    assert "PipeSD" in said["messages"]
    assert "To 30 bytes up TCP adds 52" in said["transports"]
    assert "9 of 12 statements of the paper hold" in said["paper"]
    assert "the edge alone" in said["end-to-end"]


def test_what_no_list_reaches_is_said():
    curves = figures_of("equal-acceptance")["curves"]
    for curve in curves:
        for level in curve["levels"]:
            level["bytes"] = None
    assert "do not reach" in equal_acceptance.meaning({"curves": curves})
