"""Acceptance by kind of evidence, on logits that are made up: against what theory says of each."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tslt_benchmarks.acceptance import evidence_acceptance
from tslt_benchmarks.drafts import Drafts, Positions, save_drafts

import tslt_wire as tw

V, N = 600, 10


@pytest.fixture(scope="module")
def positions():
    rng = np.random.default_rng(0)
    draft = rng.normal(0, 2.5, (N, V)).astype(np.float32)
    target = draft + rng.normal(0, 1, draft.shape).astype(np.float32)
    zeros = np.zeros(N, np.int32)
    return Positions(draft, target, zeros, zeros, zeros)


@pytest.fixture(scope="module")
def rows(positions):
    bench = evidence_acceptance.Bench(positions, races=60, seed=0)
    return {(r.temperature, r.evidence, r.k, r.min_prob): r for t in (1.0, 0.0) for r in bench.measure(t)}


def overlap(positions, temperature=1.0):
    sampling = tw.Sampling(temperature=temperature)
    pairs = zip(positions.target, positions.draft, strict=True)
    return [float(np.minimum(tw.target_probs(p, sampling), tw.target_probs(q, sampling)).sum()) for p, q in pairs]


def test_whole_distributions_accept_one_minus_tv(rows, positions):
    assert rows[1.0, "full", 0, 0.0].alphas[0] == pytest.approx(np.mean(overlap(positions)), abs=0.01)


def test_coupled_lies_between_its_bounds(rows, positions):
    found = rows[1.0, "coupled", 0, 0.0].alphas[0]
    same = overlap(positions)
    assert np.mean([s / (2 - s) for s in same]) - 0.03 < found < np.mean(same) + 0.03


def test_match_is_the_targets_mass_of_the_drafts_best(rows, positions):
    probs = [tw.target_probs(p, tw.Sampling()) for p in positions.target]
    best = [p[np.argsort(-q)[:2]].sum() for p, q in zip(probs, positions.draft, strict=True)]
    assert rows[1.0, "match", 0, 0.0].alphas[1] == pytest.approx(np.mean(best), abs=1e-4)


def test_siblings_help_and_grids_and_short_lists_cost(rows):
    for row in rows.values():
        assert list(row.alphas) == sorted(row.alphas)
        assert len(row.alphas) == (1 if row.evidence in {"scalar", "lazy"} else 4)
    assert rows[1.0, "scalar", 0, 0.0].alphas[0] == pytest.approx(rows[1.0, "full", 0, 0.0].alphas[0], abs=0.03)
    for k, least in ((64, 0.015), (16, 0.0), (64, 0.0), (320, 0.0)):
        full, cut, lazy = (
            rows[1.0, kind, *at].alphas[0] for kind, *at in (("full", 0, 0.0), ("list", k, least), ("lazy", k, least))
        )
        assert lazy <= cut < full + 0.01
    assert rows[1.0, "list", 16, 0.0].alphas < rows[1.0, "list", 64, 0.0].alphas < rows[1.0, "list", 320, 0.0].alphas


def test_bytes_are_those_of_lists(rows, positions):
    bench = evidence_acceptance.Bench(positions, races=1, seed=0)
    lists = [bench._list(x, 16, 0.0, "log2/0", 1.0) for x in positions.draft]
    for entropy, name in (("range", "bytes"), ("none", "packed_bytes")):
        profile = tw.Profile(vocab_size=V, precision="log2/0", entropy=entropy, prior=bench._prior)
        mean = np.mean([len(tw.encode_list(q, profile)) for q in lists])
        assert getattr(rows[1.0, "list", 16, 0.0], name) == pytest.approx(mean, abs=0.06)


def test_program(positions, tmp_path, capsys):
    rounds = np.zeros((1, 8, V), np.float32)
    words = tuple(b"%d " % i for i in range(V))
    drafts = Drafts(positions, rounds, rounds, np.zeros((1, 15), np.int32), ((1,),), words, {"settings": {}})
    save_drafts(drafts, tmp_path / "d.npz")
    argv = [
        "--drafts",
        str(tmp_path / "d.npz"),
        "--temperature",
        "1",
        "--races",
        "2",
        "--json",
        str(tmp_path / "e.json"),
    ]
    evidence_acceptance.main(argv)
    assert "acceptance by number of siblings" in capsys.readouterr().out
    document = json.loads((tmp_path / "e.json").read_text())
    assert document["schema"] == evidence_acceptance.SCHEMA_VERSION
    assert {row["evidence"] for row in document["rows"]} == {"match", "coupled", "scalar", "lazy", "list", "full"}
