"""What a run leaves: ``report.json``, and ``report.html`` and a PNG of each plot, which are made of it alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tslt_benchmarks.report.blocks import Plot
from tslt_benchmarks.report.charts import png
from tslt_benchmarks.report.page import Facts, Part, page
from tslt_benchmarks.report.runner import Outcome
from tslt_benchmarks.report.section import Figures, Section

SCHEMA_VERSION = 2
"""Of ``report.json``."""
JSON, HTML, PLOTS = "report.json", "report.html", "plots"


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What the report says of its run."""

    models: str
    """One line for people."""
    notes: Sequence[str]
    command: str
    """That makes these figures again."""
    key: Mapping[str, str]
    """What all figures depend on, in words."""


def document(sections: Sequence[Section], outcome: Outcome, about: About) -> dict[str, Any]:
    """All that ``report.json`` holds."""
    found = [(section, outcome.results[section.name]) for section in sections if section.name in outcome.results]
    return {
        "report": SCHEMA_VERSION,
        "models": about.models,
        "notes": list(about.notes),
        "command": about.command,
        "made_with": dict(about.key),
        "left_out": outcome.left_out,
        "failed": outcome.failed,
        "sections": {
            section.name: {
                "version": section.version,
                "seconds": result.seconds,
                "date": result.date,
                "load": result.load,
                "meaning": section.meaning(result.figures),
                "figures": result.figures,
            }
            for section, result in found
        },
    }


def write(folder: Path, sections: Sequence[Section], report: dict[str, Any]) -> None:
    """Write all files; plots of an earlier report in this folder are replaced."""
    (folder / JSON).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    parts = [
        _part(section, report["sections"][section.name]) for section in sections if section.name in report["sections"]
    ]
    pictures = folder / PLOTS
    pictures.mkdir(exist_ok=True)
    for old in pictures.glob("*.png"):
        old.unlink()
    for plot in (block for part in parts for block in part.blocks if isinstance(block, Plot)):
        png(plot, pictures / f"{plot.name}.png")
    titles = {section.name: section.title for section in sections}
    missing = {titles.get(name, name): why for name, why in report["left_out"].items()}
    missing |= {titles.get(name, name): f"failed, {why}" for name, why in report["failed"].items()}
    facts = Facts(
        models=report["models"],
        notes=report["notes"],
        provenance=[("command", report["command"]), ("measured", _dates(report)), *report["made_with"].items()],
        left_out=missing,
    )
    (folder / HTML).write_text(page(parts, facts), encoding="utf-8")


def read(folder: Path, sections: Sequence[Section]) -> dict[str, Any]:
    """The ``report.json`` of a folder; ValueError if this version cannot read it, or one of its sections."""
    path = folder / JSON
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(report, dict) or report.get("report") != SCHEMA_VERSION:
        raise ValueError(f"{path} is no report of version {SCHEMA_VERSION}")
    known = {section.name: section for section in sections}
    for name, written in report["sections"].items():
        if name not in known or written["version"] != known[name].version:
            raise ValueError(f"{path} has figures of {name} that this version of the report does not read")
        written["meaning"] = known[name].meaning(written["figures"])
    return report


def _dates(report: dict[str, Any]) -> str:
    dates = sorted(written["date"] for written in report["sections"].values())
    return " to ".join(dict.fromkeys((dates[0], dates[-1]))) if dates else "nothing"


def _part(section: Section, written: Figures) -> Part:
    return Part(
        name=section.name,
        title=section.title,
        question=section.question,
        meaning=written["meaning"],
        blocks=section.show(written["figures"]),
        seconds=written["seconds"],
        load=written["load"],
        rates=section.rates,
        timed=section.timed,
        command=section.command,
    )
