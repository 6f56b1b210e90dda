"""The K-SQS comparison and the fitted constants, on drafts that are made up: what they print must be so."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tslt_benchmarks.bytes import fit_list_model as fit_constants
from tslt_benchmarks.bytes import published_bound as ksqs
from tslt_benchmarks.drafts import Drafts, Positions, save_drafts

import tslt_wire as tw
from tslt_wire.coding.id_model import OCTAVE_MASSES

V, LISTS, ROUNDS = 2000, 24, 3


def logits(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Small ids are likelier."""
    return (rng.normal(size=(*shape, V)) * 1.5 - np.log(np.arange(V) + 20.0)).astype(np.float32)


@pytest.fixture(scope="module")
def drafts() -> Drafts:
    rng = np.random.default_rng(3)
    draft = logits(rng, LISTS)
    zeros = np.zeros(LISTS, np.int32)
    target = draft + rng.normal(size=draft.shape).astype(np.float32) * 0.5
    rounds = logits(rng, ROUNDS, 1) + rng.normal(size=(ROUNDS, 8, V)).astype(np.float32) * 0.3
    return Drafts(
        positions=Positions(draft, target, zeros, zeros, zeros),
        round_draft=rounds,
        round_target=rounds,
        round_tokens=np.argsort(-rounds[:, 0], axis=1)[:, :15].astype(np.int32),
        prefixes=((1, 2, 3),) * ROUNDS,
        token_bytes=tuple(bytes(f"{token} ", "ascii") for token in range(V)),
    )


@pytest.fixture(scope="module")
def table(drafts) -> tw.Prior:
    return tw.train_table(logits(np.random.default_rng(4), 60))


@pytest.fixture(scope="module")
def rows(drafts, table) -> list[ksqs.Row]:
    return ksqs.Bench(drafts, [1.0], table).run(lambda _: None)


def test_lists_are_those_of_the_library(drafts, rows):
    row = next(r for r in rows if (r.table, r.k, r.precision, r.prior) == ("lists", 32, "log2/1", "none"))
    profile = tw.Profile(vocab_size=V, precision="log2/1", entropy="range")
    lists = [tw.sparsify(x, truncation=tw.TopK(32), precision="log2/1") for x in drafts.positions.draft]
    assert row.bytes == pytest.approx(np.mean([len(tw.encode_list(q, profile)) for q in lists]))
    targets = [tw.target_probs(x, tw.Sampling()) for x in drafts.positions.target]
    alphas = [np.minimum(q.dense(), p).sum() for q, p in zip(lists, targets, strict=True)]
    assert row.alpha == pytest.approx(np.mean(alphas))
    assert row.gain == pytest.approx(row.alpha - row.other_alpha)


def test_the_coder_is_near_its_ideal(rows):
    """At most 2 % and 2 bytes a frame over the code length of its own model; a tree's frame has 23 bytes besides."""
    for row in rows:
        if row.table == "lists":
            assert row.ideal <= row.bytes + 1e-9 <= 1.02 * row.ideal + 2
        if row.table == "tree":
            assert row.ideal < row.bytes < row.ideal * 1.02 + (2 + 16 + 14 * 3) / 7


def test_tables_and_tails_are_measured(rows):
    def cell(table: str, prior: str, where: str = "all") -> ksqs.Row:
        return next(
            r for r in rows if (r.table, r.k, r.precision, r.prior, r.where) == (table, 16, "log2/1", prior, where)
        )

    assert cell("lists", "table").bytes < cell("lists", "none").bytes
    for prior in ("uniform", "density", "table"):
        row = cell("tail", prior)
        assert row.tails > 0.5
        assert row.alpha - row.other_alpha == pytest.approx(row.gain)
        assert row.other_bytes == pytest.approx(cell("lists", "none").bytes)
    assert cell("tail", "density").gain > cell("tail", "uniform").gain > 0


def test_program(drafts, table, tmp_path, capsys):
    save_drafts(drafts, tmp_path / "d.npz")
    (tmp_path / "t.table").write_bytes(table.to_bytes())
    argv = ["--drafts", str(tmp_path / "d.npz"), "--table", str(tmp_path / "t.table"), "--temperature", "0.7"]
    drafts.meta["settings"] = {}
    save_drafts(drafts, tmp_path / "d.npz")
    ksqs.main([*argv, "--json", str(tmp_path / "k.json")])
    printed = capsys.readouterr().out
    assert printed.strip().splitlines()[-1].startswith("ksqs: T0.7/K16=0.")
    found = json.loads((tmp_path / "k.json").read_text())["rows"]
    assert {row["table"] for row in found} == {"lists", "tree", "tail"}
    assert {row["prior"] for row in found} == {"none", "uniform", "density", "table"}
    fit_constants.main(argv[:2])
    assert "affinity" in capsys.readouterr().out


def test_fitted_masses_are_shares(drafts):
    masses = fit_constants.octave_masses(drafts)
    assert set(masses) <= set(range(1, len(OCTAVE_MASSES) + 1))
    for row in masses.values():
        assert row.sum() == pytest.approx(1000)
    size = 24
    ids = np.concatenate([np.argsort(-row)[:size] for row in drafts.positions.draft])
    assert masses[5][0] == pytest.approx(np.mean(ids < 256) * 1000, abs=1)
    assert masses[5][1] == pytest.approx(np.mean((ids >= 256) & (ids < 512)) * 1000, abs=1)


def test_fitted_hits_are_of_repeated_tokens(drafts):
    found = fit_constants.hits(drafts)
    assert found[1, 1, 0][0] > found[1, 0, 2][0]
    assert all(0 <= hit <= 32 and looks > 0 for hit, looks in found.values())
