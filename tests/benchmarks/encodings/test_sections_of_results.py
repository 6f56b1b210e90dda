"""Sections of the report, shown from the committed results: tables whole, sentences with the numbers in them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tslt_benchmarks.encodings.lossless import footnotes
from tslt_benchmarks.report.blocks import Plot, Sorted, Table
from tslt_benchmarks.report.charts import svg
from tslt_benchmarks.sections import end_to_end, equal_acceptance, messages, paper, recorded_links, transports

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
    assert re.search(rf"compact JSON, {size:,.0f}( \u00b1 \d+)? as the paper's list", said["equal-acceptance"])
    assert "PipeSD" in said["messages"]
    assert "To 30 bytes up TCP adds 52" in said["transports"]
    assert "9 of 12 statements of the paper hold" in said["paper"]
    verdicts = next(b for b in paper.SECTION.show(figures_of("paper")) if isinstance(b, Table)).rows
    assert [row[3].partition(":")[0] for row in verdicts].count("no") == 3
    assert all(re.fullmatch(r"yes|no: .{20,}", row[3]) for row in verdicts)
    assert "the edge alone" in said["end-to-end"]


def test_what_is_no_evidence_for_ours_is_set_apart():
    figures = figures_of("end-to-end")
    table = next(block for block in end_to_end.SECTION.show(figures) if isinstance(block, Table))
    carried = {row[0]: row[-1] for row in table.rows}
    assert {row[-2].partition(":")[0] for row in table.rows} == {"yes"}
    assert {carried[way] for way in carried if "transformers" in way} == {"none: both in one process"}
    assert carried["edge alone"] == carried[end_to_end.BOTH] == "the text, down"
    for row in figures["rows"]:  # as if a link were so slow that nothing is worth drafting
        row["tokens_s"] = 1e6 if row["way"] == end_to_end.WITHOUT else row["tokens_s"]
    assert "no draft" not in end_to_end.meaning(figures)
    rounds = {kind: (f"{kind}, chain of 4", 9.0) for kind in recorded_links.EVIDENCE} | {
        "full": ("full, no draft", 8.0)
    }
    link = {
        "uplink_bit_s": 1e5,
        "rtt_s": 0.05,
        "by_evidence": rounds,
        "auto": 8.0,
        "shortfall": 0.1,
        "edge_streams": 9.5,
    }
    links = [
        link | {"edge_speculates": 20.0, "best": best, "rate": rate, "evidence": best.partition(",")[0]}
        for best, rate in (("scalar, chain of 4", 10.0), ("match, no draft", 9.0))
    ]
    plot, table = recorded_links.show({"links": links})
    assert "hollow: best without a draft" in svg(plot, narrow=True)
    assert table.rows[0][-1] == Sorted("(8.0)", 8.0)
    said = recorded_links.meaning({"links": links})
    assert said.startswith("Of 2 links scalar is the fastest split on 1, no draft at all on 1, and the edge alone is ")
    assert "faster than any split on 1;" in said


def test_each_proof_is_one_note():
    cells, notes = footnotes(["a.py::test_a", "no: it is cut", "a.py::test_a"])
    assert cells == ["tested [1]", "no [2]", "tested [1]"]
    assert notes == ["a.py::test_a", "no: it is cut"]
    for section in (equal_acceptance, messages):
        table = next(b for b in section.SECTION.show(figures_of(section.SECTION.name)) if isinstance(b, Table))
        assert {int(mark) for row in table.rows for mark in re.findall(r"\[(\d+)\]", str(row))} == {
            *range(1, len(table.notes) + 1)
        }


def test_how_sure_bytes_are_is_said():
    curves = figures_of("equal-acceptance")["curves"]
    level = curves[0]["levels"][0]
    for size, error, said in (
        (None, None, "not reached"),
        (431.2, 60.4, "431 \u00b1 60"),
        (72.7, 43.3, "73 \u00b1 43"),
        (3.44, 0.01, "3.4"),
    ):
        level |= {"bytes": size, "bytes_se": error}
        table = next(b for b in equal_acceptance.show({"curves": curves}) if isinstance(b, Table))
        assert table.rows[0][2] == Sorted(said, size)


def test_what_no_list_reaches_is_said():
    curves = figures_of("equal-acceptance")["curves"]
    for curve in curves:
        for level in curve["levels"]:
            level["bytes"] = None
    assert "do not reach" in equal_acceptance.meaning({"curves": curves})
