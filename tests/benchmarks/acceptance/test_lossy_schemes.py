"""Lossy schemes of others: their bias is computed, and the same function finds none in our lists."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tslt_benchmarks.acceptance import lossy_schemes
from tslt_benchmarks.bytes.format_base import softmax
from tslt_benchmarks.drafts import Drafts, Positions, Round, save_drafts

V = 512


@pytest.fixture(scope="module")
def positions():
    rng = np.random.default_rng(0)
    draft = rng.normal(0, 3.5, (24, V)).astype(np.float32)
    target = draft + rng.normal(0, 1, draft.shape).astype(np.float32)
    zeros = np.zeros(24, np.int32)
    return Positions(draft, target, zeros, zeros, zeros)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_ours_has_no_bias_and_theirs_have(positions, temperature):
    rows = {row.scheme: row for row in lossy_schemes.measure(positions, temperature, lossy_schemes.schemes(V))}
    for name, row in rows.items():
        if name.startswith("list_"):
            assert row.worst < 1e-12, name
        else:
            assert row.bias > 1e-4, name
        assert 0 < row.kept <= 1 + 1e-12
    assert rows["u_hlm_0.8"].bias > rows["u_hlm_0.5"].bias
    assert rows["tk_slt_32_list"].bias > rows["tk_slt_64_list"].bias


def test_the_law_is_what_sampling_gives(positions):
    """Draw, keep or redraw, many times: the law of the scheme, and not the target's."""
    rng = np.random.default_rng(1)
    q_logits, p = positions.draft[0], softmax(positions.target[0], 1.0)
    step = lossy_schemes.LossyRawTopK(V, 8, "list").step(q_logits, p, 1.0)
    law, n = lossy_schemes.output_law(p, step), 200_000
    assert law.sum() == pytest.approx(1)
    drawn = rng.choice(V, n, p=step.drawn)
    lost = rng.random(n) >= step.kept[drawn]
    residual = np.maximum(p - step.claimed, 0)
    drawn[lost] = rng.choice(V, int(lost.sum()), p=residual / residual.sum())
    counts = np.bincount(drawn, minlength=V)
    for truth, fits in ((law, True), (p, False)):
        some = truth * n >= 5
        chi = float((((counts - truth * n) ** 2) / (truth * n))[some].sum())
        assert (chi < some.sum() + 6 * np.sqrt(2 * some.sum())) == fits


def test_a_broken_check_of_ours_is_seen(positions):
    """The same function finds a bias if the list is cut after sampling."""
    p, q = softmax(positions.target[0], 1.0), softmax(positions.draft[0], 1.0)
    good = lossy_schemes.LosslessList(V, 32).step(positions.draft[0], p, 1.0)
    bad = lossy_schemes.Step(q, good.kept, good.claimed, 0.0)
    assert lossy_schemes.total_variation(lossy_schemes.output_law(p, good), p) < 1e-12
    assert lossy_schemes.total_variation(lossy_schemes.output_law(p, bad), p) > 1e-3


def test_program(positions, tmp_path, capsys):
    rounds = np.zeros((1, 8, V), np.float32)
    drafts = Drafts(
        positions, rounds, rounds, np.zeros((1, 15), np.int32), ((1,),),
        tuple(b"%d " % i for i in range(V)), {"settings": {}},
    )  # fmt: skip
    assert isinstance(drafts.trees()[0], Round)
    save_drafts(drafts, tmp_path / "d.npz")
    lossy_schemes.main(["--drafts", str(tmp_path / "d.npz"), "--temperature", "1", "--json", str(tmp_path / "l.json")])
    assert "lossy_schemes: ours_worst=" in capsys.readouterr().out
    document = json.loads((tmp_path / "l.json").read_text())
    assert (document["schema"], len(document["rows"])) == (1, 10)
    assert set(document["sources"]) == {row["scheme"] for row in document["rows"]}
