"""The benchmark of capacity runs, plays what it recorded, and reckons right; nothing here depends on how fast it is."""

from __future__ import annotations

import asyncio
import json
import math

import pytest
from gguf_models import needs_llamacpp, tiny_folder
from history_engine import HistoryTarget
from table_engine import TableDraft
from tslt_benchmarks.speed import capacity
from tslt_benchmarks.speed.decoding_alone import Users
from tslt_benchmarks.speed.recorded_devices import Recording, play, record
from two_ends import tables

import tslt_wire as tw
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.engines.protocol import EngineFacts
from tslt_runtime.verifiers.local import LocalVerifier

V = 8
SETTINGS = DraftSettings(expansion=(1, 1, 1), truncation=tw.TopK(4))


@needs_llamacpp
def test_program(tmp_path, capsys):
    for name in ("target", "draft"):
        tiny_folder(tmp_path / name)
    argv = ["--target", str(tmp_path / "target"), "--draft", str(tmp_path / "draft"), "--devices", "1", "3"]
    argv += ["--seconds", "0.2", "--warm-up", "0.1", "--tokens", "10"]
    capacity.main([*argv, "--json", str(tmp_path / "c.json"), "--png", str(tmp_path / "c.png")])
    said = capsys.readouterr().out.splitlines()
    assert said[-2].startswith("capacity: transformers: users at 10 tokens/s each: split ")
    assert said[-1].startswith("capacity: llama.cpp: users at 10 tokens/s each: split ")
    found = json.loads((tmp_path / "c.json").read_text())["capacity"]
    ways = [(one["engine"], one["users"], one["way"]) for one in found]
    assert ways == [(e, n, w) for e in capacity.ENGINES for n in (1, 3) for w in ("split", "alone", "own drafts")]
    assert all(one["tokens_s"] > 0 and one["cpu_ms"] > 0 and one["p99_ms"] >= one["p50_ms"] for one in found)
    assert (tmp_path / "c.png").stat().st_size > 10_000
    # Whatever is too much for the memory is read again.
    argv = [*argv, "--engine", "transformers", "--alone", "--once", "--devices", "4", "--cache-memory", "1"]
    capacity.main([*argv, "--json", str(tmp_path / "c.json")])
    (once,) = json.loads((tmp_path / "c.json").read_text())["capacity"]
    assert once["sessions"] + once["parted"] == 4


class Draft:
    facts = EngineFacts(model="draft", vocab_size=V, context=1 << 20)

    def open(self):
        return TableDraft(tables(V)[1])


def recordings(engine):
    return asyncio.run(
        record(engine, Draft(), [[1, 2], [3, 4, 5]], tokens=20, sampling=tw.Sampling(), settings=SETTINGS)
    )


def test_what_was_recorded_is_played_to_its_end_by_any_number_of_devices():
    engine = HistoryTarget(tables(V)[0], pass_s=0.001)
    found = recordings(engine)
    lengths = [recording.steps[-1].length for recording in found]
    assert lengths == [22, 23]
    verifier = LocalVerifier(engine)
    played, took = asyncio.run(play(verifier, found, 5, seconds=None))
    assert (played.sessions, played.parted) == (5, 0)
    assert played.tokens == 3 * 20 + 2 * 20
    assert len(played.rounds_s) == sum(sum(step.draft for step in found[n % 2].steps) for n in range(5))
    assert 0 < max(played.rounds_s) <= took
    assert verifier.counts.texts > verifier.counts.passes
    again, took = asyncio.run(play(verifier, found, 2, seconds=0.3, warm_s=0.1))
    assert took == 0.3
    assert again.tokens > 0
    verifier.close()


def test_a_session_that_goes_another_way_ends_there():
    engine = HistoryTarget(tables(V)[0])
    first, second = recordings(engine)
    verifier = LocalVerifier(engine)
    other = Recording(first.seed + 9, first.steps)  # another secret, and so other tokens
    played, _ = asyncio.run(play(verifier, [other, second], 2, seconds=None))
    assert (played.sessions, played.parted) == (1, 1)
    verifier.close()


@pytest.mark.parametrize("own", [False, True])
def test_the_engine_alone_writes_the_same_law_of_text(own):
    engine = HistoryTarget(tables(V)[0])
    users = Users(
        engine,
        Draft() if own else None,
        [[1, 2], [3]],
        tokens=9,
        sampling=tw.Sampling(temperature=0),
        settings=SETTINGS,
    )
    for _ in range(4):
        users.step()
    for prefix, prompt in zip(users._prefixes, ([1, 2], [3]), strict=True):
        text = list(prompt)
        while len(text) < len(prefix):
            text.append(int(engine.row(text, None, -1).argmax()))
        assert text == prefix
    users.close()
    assert engine.texts == []


@pytest.mark.parametrize(
    ("rate", "wanted"),
    [
        ({1: 40.0, 2: 60.0}, 6.0),  # more than were tried
        ({1: 9.0, 2: 12.0}, 0.0),
        ({1: 20.0, 4: 50.0, 8: 60.0}, 5.333),  # 50 + 2.5 (n - 4) = 10 n
        ({1: 20.0, 2: 20.0}, 2.0),
    ],
)
def test_users_that_are_served(rate, wanted):
    assert capacity.served(rate) == pytest.approx(wanted, abs=0.01)


def test_where_no_round_was_over_there_is_no_time_of_one():
    engine = HistoryTarget(tables(V)[0])
    args = capacity.arguments(["--seconds", "1e-9", "--warm-up", "1e-9"])
    found = asyncio.run(capacity.split(capacity.Engines("tables", engine, Draft()), recordings(engine), 1, args))
    assert math.isnan(found.p50_ms)
    assert math.isnan(found.p99_ms)
