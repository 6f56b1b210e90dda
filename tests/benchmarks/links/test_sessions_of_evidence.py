"""Whole sessions with each kind of evidence: bytes and acceptance add up, and come again from the same seed."""

from __future__ import annotations

import json

import pytest
from byte_tokenizer import save_byte_level_pair
from tslt_benchmarks.links import evidence_sessions


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return save_byte_level_pair(tmp_path_factory.mktemp("pair"))


def test_every_kind_is_measured_and_comes_again(pair, tmp_path):
    documents = []
    for name in ("first.json", "again.json"):
        models = ["--target", str(pair / "target"), "--draft", str(pair / "draft")]
        some = ["--texts", "2", "--tokens", "10", "--temperature", "0.8", "--seed", "1"]
        evidence_sessions.main([*models, *some, "--json", str(tmp_path / name)])
        documents.append(json.loads((tmp_path / name).read_text()))
        for row in documents[-1]["rows"]:
            assert row.pop("downlink_bytes_per_token") > 0  # an edge tells its time, in as many bytes as it takes
    assert documents[0] == documents[1]
    rows = {row["name"]: row for row in documents[0]["rows"]}
    assert list(rows) == list(evidence_sessions.TITLES)
    for row in rows.values():
        assert row["tokens"] == 20
        assert 0 <= row["acceptance"] <= 1
        assert row["uplink_bytes_per_token"] > 0
        assert row["uplink_se"] >= 0
    size = {name: row["uplink_bytes_per_token"] for name, row in rows.items()}
    assert size["coupled"] < size["list --k 32 --precision log2/1"] < size["full"]
