"""``make compat`` notices other bytes, and goes on without an interpreter that does not start."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parents[1] / "compat" / "run.py"
REPORT = {"python": "3", "numpy": "2", "backend": "native", "vectors": 3, "read": "a", "made": "b"}


@pytest.fixture(scope="module")
def run():
    spec = importlib.util.spec_from_file_location("compat_run", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("changed", [{"read": "x"}, {"made": "x"}, {"vectors": 2}])
def test_another_digest_fails(run, changed):
    assert run.agree(REPORT, [REPORT, {**REPORT, "numpy": "1", "backend": "reference"}])
    assert not run.agree(REPORT, [REPORT, {**REPORT, **changed}])


def test_one_report_alone_is_no_comparison(run):
    assert not run.agree(REPORT, [])


def test_the_command_fails_where_another_environment_writes_other_bytes(run, monkeypatch, capsys):
    monkeypatch.setattr(
        run, "report_of", lambda python, *_: REPORT | {"made": "b" if python == sys.executable else "x"}
    )
    monkeypatch.setattr(run, "install", lambda inside, numpy: "")
    monkeypatch.setattr(run.subprocess, "run", lambda command, **_: run.subprocess.CompletedProcess(command, 0))
    assert run.main(["--python", sys.executable]) == 1
    assert "3 combinations, 2 different results" in capsys.readouterr().out


def test_a_shim_without_its_interpreter_is_left_out(run, tmp_path, capsys):
    shim = tmp_path / "python3.12"
    shim.write_text("#!/bin/sh\necho not found >&2\nexit 127\n")
    shim.chmod(0o755)
    assert run.reports_of(str(shim), ["newest"]) == []
    assert run.reports_of(str(tmp_path / "nothing"), ["newest"]) == []
    assert capsys.readouterr().out.count("left out; it does not start") == 2
