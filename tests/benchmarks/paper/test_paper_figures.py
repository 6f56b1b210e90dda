"""The paper's equations against numbers reckoned by hand, its laws on small distributions, and the command quickly."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from byte_tokenizer import save_byte_level_pair
from tslt_benchmarks.paper import equations, laws, paper_figures
from tslt_benchmarks.paper.equations import Times

TIMES = Times(draft_s=0.002, target_s=0.025)


def test_sizes_of_the_paper():
    # Table 1: V = 32,000 in FP16 is 0.512 Mbit without ids, 64 kB; with 15 bits an id, eq. (3), 0.992 Mbit, 124 kB.
    assert equations.list_bits_table(32_000) == 512_000
    assert equations.list_bits(32_000, 32_000) == 992_000
    assert equations.list_bits(320, 32_000) == 320 * 31
    # Eq. (27): <2,2,2> sends 1 + 2 + 4 lists, a chain one a level.
    assert equations.lists_of((2, 2, 2)) == 7
    assert equations.lists_of((1, 1, 1)) == 3
    assert equations.lists_of(()) == 0


def test_tokens_and_speedup_by_hand():
    # Eq. (8), a = 0.5, L = 3: 1 + 1/2 + 1/4 + 1/8.
    assert equations.tokens_a_call(0.5, 3) == pytest.approx(1.875)
    assert equations.tokens_a_call(1.0, 3) == 4
    # 3 levels of 2 ms, 3 lists of 1 ms, 25 ms: 34 ms for 1.875 tokens, of which the target alone makes one in 25 ms.
    assert equations.speedup(0.5, (1, 1, 1), TIMES, 0.001) == pytest.approx(1.875 * 25 / 34)
    assert equations.speedup(0.5, (2, 2, 2), TIMES, 0.001) == pytest.approx(1.875 * 25 / 38)


def test_printed_equations_by_hand():
    # Eq. (9) as printed: (1 - 1/16) / (0.5 * 3 * 3 ms + 25 ms) over 1 / 25 ms.
    assert equations.speedup_printed_9(0.5, 3, TIMES, 0.001) == pytest.approx(0.9375 * 25 / 29.5)
    # Eq. (28) as printed: 1 / ((6 + 7) ms / ((3 * 0.5 + 1) * 25 ms) + 1).
    assert equations.speedup_printed_28(0.5, (2, 2, 2), TIMES, 0.001) == pytest.approx(1 / (13 / 62.5 + 1))
    assert equations.speedup_printed_28(0.99, (2, 2, 2), TIMES, 0) < 1


@pytest.mark.parametrize("alpha", [0.05, 0.3, 0.6, 0.8, 0.9, 0.97])
@pytest.mark.parametrize("target_s", [0.3, 1.0, 1.5, 4.0, 12.0, 60.0])
def test_the_optimal_length_is_where_trying_finds_it(alpha, target_s):
    real, whole = equations.best_length(alpha, 1.0, target_s), equations.best_length_by_trying(alpha, 1.0, target_s)
    assert whole in {math.floor(real), math.ceil(real)}

    def rate(length: float) -> float:
        return (1 - alpha ** (length + 1)) / ((1 - alpha) * (length + target_s))

    if real > 0:
        assert rate(real) >= max(rate(real * 0.99), rate(real * 1.01))


def test_an_acceptance_of_one_has_no_optimal_length():
    with pytest.raises(ValueError, match="between 0 and 1"):
        equations.best_length(1.0, 1.0, 5.0)


P, Q = np.array([0.5, 0.3, 0.2, 0.0]), np.array([0.1, 0.4, 0.3, 0.2])


def test_bounds_by_hand():
    # K = 2 keeps 0.4 and 0.3: sigma 0.3, q^ = (0, 4/7, 3/7, 0): acceptance 0.3 + 0.2 against 0.1 + 0.3 + 0.2.
    (row,) = laws.bounds([(P, Q)], [2])
    assert (row.gap_1, row.bound_1) == (pytest.approx(0.1), pytest.approx(0.3))
    # The residual is token 0 with Z = 0.4, that of q^ with 0.5: a second candidate is kept with 0.1 and with 0.
    assert row.gap_2 == pytest.approx(0.1)
    assert row.bound_2 == 1
    assert (row.idle_2, row.broken) == (1, 0)


def test_misprints_by_hand():
    found = {row.place: row for row in laws.misprints([(P, Q)], 2)}
    assert found["Algorithm 3, accept test"].right == pytest.approx(0)
    # q^ / p is above 1 at both tokens: all is kept, and the text has the draft's law (0, 4/7, 3/7, 0).
    assert found["Algorithm 3, accept test"].printed == pytest.approx(0.5)
    assert found["eq. (12) and (47)"].right == pytest.approx(0.5)
    # Outside are tokens 0 and 3 with 1/3 and 2/3, of which p has 0.5 and 0.
    assert found["eq. (12) and (47)"].printed == pytest.approx(1 / 3)
    # 0.4 + 0.3 + 0.2 are 0.9: three tokens; as printed two.
    assert laws.nucleus(Q, printed=True) in {2, 3}
    assert laws.nucleus(np.array([0.95, 0.05]), printed=True) == 0
    assert laws.nucleus(np.array([0.95, 0.05]), printed=False) == 1
    assert found["Algorithm 8, leaf layer"].printed == pytest.approx(0.4)


def test_ks_are_parts_of_the_vocabulary():
    assert paper_figures.scaled((32, 320, 32_000), 32_000) == [32, 320, 32_000]
    assert paper_figures.scaled((32, 320, 32_000), 4_000) == [4, 40, 4_000]
    assert paper_figures.scaled((32, 320, 32_000), 300) == [1, 3, 300]


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = save_byte_level_pair(tmp_path_factory.mktemp("paper"))
    files = folder / "p.json", folder / "p.png"
    argv = ["--quick", "--target", str(folder / "target"), "--draft", str(folder / "draft")]
    paper_figures.main([*argv, "--json", str(files[0]), "--png", str(files[1])])
    assert files[1].read_bytes().startswith(b"\x89PNG")
    return json.loads(files[0].read_text())


def test_document(ran):
    for name in ("pair", "sharp"):
        found = ran[name]
        masses = [row["value"] for row in found["mass"]]
        assert masses == sorted(masses)
        assert masses[-1] == pytest.approx(1)
        paper = [row for row in found["acceptance"] if row["name"] == "paper"]
        assert all(row["double"]["value"] >= row["single"]["value"] for row in paper)
        assert all(row["broken"] == 0 and row["gap_1"] <= row["bound_1"] + 1e-9 for row in found["bounds"])
    assert ran["sharp"]["vocab_size"] == 32_000


def test_real_rounds_take_what_the_emulated_link_says(ran):
    assert {row["shape"] for row in ran["rounds"]} == {"chain", "tree"}
    for row in ran["rounds"]:
        assert row["off_s"] < 1e-5  # the edge tells its time in microseconds
        assert row["speedup"] == sorted(row["speedup"])
        # At the fastest link nothing is left but the models: 3 levels and a pass.
        assert row["speedup"][-1] == pytest.approx(row["tokens_a_round"] * 25 / 31, rel=0.02)
