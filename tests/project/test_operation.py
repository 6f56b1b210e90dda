"""What docs/operation holds: its options, metrics and paths are those of the edge."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

from tslt_runtime.commands import edge as edge_command
from tslt_runtime.operating.meter import EdgeMeter
from tslt_runtime.operating.prometheus import EdgeCollector
from tslt_runtime.scheduler import Counts

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "operation"
UNIT = (FOLDER / "tslt-edge.service").read_text(encoding="utf-8")
CONTAINER = (FOLDER / "Containerfile").read_text(encoding="utf-8")
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))
PAGE = (ROOT / "docs" / "edge.md").read_text(encoding="utf-8")
BY_THE_LIBRARY = {"process_resident_memory_bytes", "process_cpu_seconds_total"}


def served() -> set[str]:
    """The names of all samples that /metrics has, or has once something was counted."""
    found = set(BY_THE_LIBRARY)
    for metric in EdgeCollector(EdgeMeter(), Counts(), waiting=lambda: 0, most_links=1).collect():
        endings = ("",)
        if isinstance(metric, CounterMetricFamily):
            endings = ("_total",)
        elif isinstance(metric, HistogramMetricFamily):
            endings = ("_bucket", "_count", "_sum")
        found |= {metric.name + ending for ending in endings}
    return found


def names_in(text: str) -> set[str]:
    return set(re.findall(r"\b(?:tslt_edge|process)_[a-z_]+", text))


def test_the_dashboard_shows_what_is_served():
    queries = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    queries += [
        variable["query"]["query"] for variable in DASHBOARD["templating"]["list"] if variable["type"] == "query"
    ]
    assert names_in(" ".join(queries)) <= served()
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_the_page_names_all_that_is_served_and_nothing_else():
    endings = re.compile(r"_(total|bucket|count|sum)$")
    told = {endings.sub("", name) for name in names_in(PAGE)}
    there = {endings.sub("", name) for name in served()}
    library = {endings.sub("", name) for name in BY_THE_LIBRARY}
    assert told - library == there - library


@pytest.mark.parametrize("text", [UNIT, CONTAINER], ids=["unit", "container"])
def test_their_options_are_those_of_the_command(text, capsys):
    words = re.findall(r'(?<=[\s"])--[a-z][a-z-]*', text.replace("\\\n", " "))
    used = {word for word in words if word not in ("--no-cache-dir", "--no-install-recommends", "--system", "--uid")}
    used -= {"--no-create-home", "--from", "--interval", "--timeout", "--start-period", "--rm"}
    assert {"--model", "--listen", "--key", "--allow", "--metrics", "--log-format"} <= used
    with pytest.raises(SystemExit):
        edge_command.parse(["--help"], model=ROOT)
    known = set(re.findall(r"--[a-z][a-z-]*", capsys.readouterr().out))
    assert used <= known


def test_the_commands_parse():
    line = UNIT.split("ExecStart=")[1].replace("\\\n", " ").splitlines()[0].split()
    assert line[:2] == ["/opt/tslt/bin/tslt", "edge"]
    args = edge_command.parse(line[2:], model=ROOT)
    stop = int(re.search(r"TimeoutStopSec=(\d+)", UNIT)[1])
    assert args.drain_s < stop
    inside = re.search(r"^CMD (\[.*?\])", CONTAINER.replace("\\\n", " "), re.MULTILINE)[1]
    args = edge_command.parse(json.loads(inside), model=ROOT)
    assert str(args.metrics) == "0.0.0.0:9757"


def test_the_container_has_extras_of_the_package():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    named = re.search(r'"/source\[([a-z,]+)\]"', CONTAINER)[1].split(",")
    assert set(named) <= set(extras)
    assert "metrics" in named


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_the_unit_is_one(tmp_path):
    # The program that it starts is nowhere here: one that is takes its place.
    unit = tmp_path / "tslt-edge.service"
    unit.write_text(UNIT.replace("/opt/tslt/bin/tslt", shutil.which("true")).replace("User=tslt", "User=root"))
    found = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (found.returncode, [line for line in found.stderr.splitlines() if "tslt-edge" in line]) == (0, [])
