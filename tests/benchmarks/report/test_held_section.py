"""The section on how an edge verifies lists: what a pair of made-up models gives."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from history_engine import HistoryDraft, HistoryTarget
from tslt_benchmarks.report.charts import svg
from tslt_benchmarks.report.context import LeftOut
from tslt_benchmarks.sections.held_nodes import LISTS, LONGEST, PAIRS, SECTION, TREE_NAME
from two_ends import tables

from tslt_runtime.mapped_text import MappedText
from tslt_runtime.token_map import ABSENT, TokenMap


class Pair:
    """Stands for ``pairs.Models``."""

    vocab_size = 40
    restricted = False

    def __init__(self) -> None:
        self.tables = tables(self.vocab_size, seed=3, apart=1.2)
        self.target = SimpleNamespace(engine=HistoryTarget(self.tables[0]))

    def draft_text(self) -> HistoryDraft:
        return HistoryDraft(self.tables[1])

    def prompt_tokens(self, prompt: str, *, room: int) -> list[int]:
        return [len(prompt) % self.vocab_size, 1]


class FewerTokens(Pair):
    """Of a draft model that has not all of the target's tokens."""

    restricted = True
    vocab_size = 300

    def draft_text(self) -> MappedText:
        gone = 100  # the first ones, which most of a tail would be: lists leave much out of so many tokens
        read = np.arange(-gone, self.vocab_size - gone, dtype=np.int32)
        read[:gone] = ABSENT
        return MappedText(HistoryDraft(self.tables[1][gone:, gone:]), TokenMap(read, read >= 0))


def context(**changes: Any) -> Any:
    told: list[tuple[int, int]] = []
    given = {"models": Pair(), "temperature": 1.0, "prompts": ("a", "bc", "def"), "seed": 0, "quick": True}
    return SimpleNamespace(**given | changes, tell=lambda *done: told.append(done), told=told)


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    """Of a quick run."""
    here = context()
    found = SECTION.run(here)
    assert here.told == [(n, 4) for n in range(4)]
    return found


def test_holding_nodes_keeps_more_of_what_is_behind_them(figures):
    rows = figures["kept"]
    assert len(rows) == len(PAIRS) * len(LISTS) * (LONGEST + 2)
    for row in rows:
        before, after = row["tokens"]["token by token"], row["tokens"]["verify"]
        if not row["siblings"]:  # for trees it is no promise
            assert after >= before - 1e-9
        assert row["rows"]["verify"] >= row["rows"]["token by token"] - 1e-9
        if row["shape"] == "chain of 1":
            assert after == pytest.approx(before, abs=1e-9)
            assert before == pytest.approx(1 + row["alpha"], abs=1e-9)
    chains = {row["shape"]: row for row in rows if (row["pair"], row["lists"]) == ("this pair", "64, log2/1")}
    gains = [chains[f"chain of {n}"]["gain"]["verify"] for n in range(1, LONGEST + 1)]
    assert gains[-1] > gains[1] > gains[0] == pytest.approx(0, abs=1e-9)
    closer = [row["alpha"] for row in rows if row["pair"] != "this pair"]
    assert min(closer) > max(row["alpha"] for row in rows if row["pair"] == "this pair")


def test_all_of_it_is_shown(figures):
    plot, table = SECTION.show(figures)
    assert svg(plot, narrow=True).startswith("<svg")
    assert len(table.rows) == len(figures["kept"])
    gains = [100 * row["gain"]["verify"] for row in figures["kept"] if row["pair"] == "this pair"]
    eights = [gains[place] for place, row in enumerate(figures["kept"][:20]) if row["shape"] == f"chain of {LONGEST}"]
    said = SECTION.meaning(figures)
    assert f"{min(eights):.1f} to {max(eights):.1f} % of chains of {LONGEST}" in said
    assert TREE_NAME in said


def test_a_draft_model_with_other_tokens_is_never_asked_for_one_it_has_not():
    found = SECTION.run(context(models=FewerTokens()))
    assert {row["drafts"] for row in found["kept"]} == {found["places"]}
    assert any(row["gain"]["verify"] > 0 for row in found["kept"])


def test_greedy_texts_gain_nothing():
    """Each token is taken or not."""
    found = SECTION.run(context(temperature=0.0))
    assert all(row["gain"]["verify"] == 0 for row in found["kept"])
    assert "0.0 %" in SECTION.meaning(found)


def test_without_a_text_it_is_left_out():
    models = Pair()
    facts = models.target.engine.facts
    models.target.engine.facts = SimpleNamespace(eos_tokens=tuple(range(models.vocab_size)), context=facts.context)
    with pytest.raises(LeftOut, match="at once"):
        SECTION.run(context(models=models, prompts=()))


def test_seeds_make_places():
    one, other = (SECTION.run(context(seed=seed))["kept"][7]["tokens"]["verify"] for seed in (0, 1))
    assert not np.isclose(one, other)
