"""The benchmark of transports runs, and measures what it says; nothing here depends on how fast the machine is."""

from __future__ import annotations

import json

import pytest
from tslt_benchmarks.speed import transports


@pytest.mark.parametrize("transport", transports.TRANSPORTS)
def test_program(transport, tmp_path, capsys):
    small = ["--trips", "3", "--blocks", "2", "--bulk", "100000", "--bulk-trips", "1"]
    transports.main(["--transports", transport, *small, "--json", str(tmp_path / "t.json")])
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last.startswith(f"transports: {transport}/64=")
    found = json.loads((tmp_path / "t.json").read_text())
    assert (found["benchmark"], found["schema"]) == ("transports", transports.SCHEMA_VERSION)
    assert [(times["transport"], times["size"]) for times in found["times"]] == [(transport, 64), (transport, 100_000)]
    for times in found["times"]:
        assert times["ratio"] == pytest.approx(times["tslt_ms"] / times["raw_ms"])
        assert 0 < times["tslt_ms"] <= times["tslt_p99_ms"]


def test_a_large_frame_is_answered_with_a_byte():
    assert transports.answer_to(bytes(64)) == bytes(64)
    assert len(transports.answer_to(bytes(transports.LARGE))) == 1
