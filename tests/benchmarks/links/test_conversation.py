"""The conversation over the endpoint: the target's own answers, and bytes that are counted where they pass."""

from __future__ import annotations

import json

import pytest
from default_pair import pair_folder
from tslt_benchmarks.links import conversation


def test_a_conversation_is_the_targets_own_and_cheaper_than_http(tmp_path, capsys):
    file = tmp_path / "conversation.json"
    pair_folder("target")
    conversation.main(["--turns", "3", "--tokens", "12", "--json", str(file)])
    turns = json.loads(file.read_text())["turns"]
    assert [turn["equal"] for turn in turns] == [True] * 3
    assert [turn["tokens"] for turn in turns] == [12] * 3
    assert turns[0]["cached_tokens"] == 0
    assert turns[2]["cached_tokens"] > turns[1]["cached_tokens"] > 30
    for turn in turns:
        # A request has its messages, a response an event for each round at least.
        assert turn["http_up"] > 4 * turn["link_up"] > 0
        assert turn["http_down"] > 4 * turn["link_down"] > 0
    assert capsys.readouterr().out.count("yes") == 4


def test_an_answer_that_is_another_is_an_error(monkeypatch, capsys):
    pair_folder("target")
    monkeypatch.setattr(conversation.Models, "own_answer", lambda *_: "something else")
    with pytest.raises(SystemExit, match="not the target's own"):
        conversation.main(["--turns", "1", "--tokens", "4"])
    assert "NO" in capsys.readouterr().out
