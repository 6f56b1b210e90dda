"""Nodes that are held until those below have been tried: the law, whatever is held, and that no fewer tokens are kept.

Spec section 6.3: block verification of chains and traversal verification of trees (arXiv 2403.10444, 2505.12398), by
enumeration, as in test_lossless.py, which has the default.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from enumeration import (
    EXACT,
    NOTICED,
    Choices,
    Model,
    Shape,
    deviation,
    drafts,
    expansion,
    outcomes,
    sample_draft,
    target_joint,
    target_rows,
)

import tslt_wire as tw
from tslt_wire.lists.prior import plain_prior
from tslt_wire.verification import list_rule
from tslt_wire.verification.list_rule import LEAST_HELD, TOKEN_BY_TOKEN
from tslt_wire.verification.verdicts import verify_with

HOLDING = {"all held": 0.0, "held from .6 on": 0.6, "settled": TOKEN_BY_TOKEN}
"""What must be owed at a node that is held."""
SHAPES: dict[str, tuple[int, Shape]] = {
    "chain-4": (3, expansion(1, 1, 1, 1)),
    "<2,1>": (4, expansion(2, 1)),
    "<2,2>": (3, expansion(2, 2)),
    "leaf-then-chain": (3, ((), (((),),))),
    "ragged": (3, (((), ()), (), ((),))),
}


def holding(least_held: float) -> Any:
    """``verify_with`` that holds nodes at which more than ``least_held`` is owed."""
    return partial(verify_with, least_held=least_held)


@pytest.mark.parametrize("least_held", HOLDING.values(), ids=HOLDING)
@pytest.mark.parametrize("replacement", [True, False], ids=["with", "without"])
@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_is_lossless_whatever_is_held(name, replacement, least_held):
    vocab_size, shape = SHAPES[name]
    priors = [None] if name in ("<2,2>", "ragged") and replacement else [None, plain_prior("density", vocab_size)]
    for prior in priors:
        lists, target = Model(vocab_size, 1).lists(truncation=tw.TopK(2), prior=prior), Model(vocab_size, 2).target()
        options = {"replacement": replacement, "verification": holding(least_held)}
        assert deviation(shape, lists, target, **options) < EXACT


@pytest.mark.parametrize("least_held", HOLDING.values(), ids=HOLDING)
def test_how_a_draft_goes_on_may_depend_on_its_tokens(least_held):
    """A device that stops after some tokens and branches after others ([DRAFT-3] lets it)."""
    lists, target = Model(3, 43).lists(), Model(3, 44).target()
    below: dict[int, Shape] = {0: (), 1: ((),), 2: ((), ((),))}

    def sampled(choices: Choices) -> tw.Draft:
        first = choices.draw(lists(()).dense())
        rest = sample_draft(below[first], lambda context: lists((first, *context)), choices)
        tree = tw.TokenTree((first, *rest.tree.tokens), (-1, *(1 + parent for parent in rest.tree.parents)))
        evidence = tw.ListEvidence({-1: lists(()), **{1 + node: q for node, q in rest.lists.items()}}, replacement=True)
        return tw.Draft(round=0, prefix_length=0, prefix_hash=0, tree=tree, evidence=evidence)

    found = np.zeros((3, 3, 3, 3))
    for draft, p_draft in outcomes(sampled):
        rows = target_rows(draft.tree, target)
        for verdict, p in outcomes(lambda choices: holding(least_held)(draft, rows, choices)):  # noqa: B023
            tokens = verdict.tokens(draft.tree)
            found[tokens] += p_draft * p * target_joint(target, 4 - len(tokens), tokens)
    assert np.abs(found - target_joint(target, 4)).max() < EXACT


def test_a_node_that_is_held_for_what_was_drawn_below_it_is_noticed(monkeypatch):
    right = list_rule._next_child

    def next_child(place: Any, round: Any) -> Any:
        tree = round.draft.tree
        below = tree.children(place.children[place.tried])
        settled = below and tree.tokens[below[0]] == 0
        return right(place, replace(round, least_held=TOKEN_BY_TOKEN if settled else 0.0))

    monkeypatch.setattr(list_rule, "_next_child", next_child)
    assert deviation(expansion(1, 1), Model(4, 30).lists(), Model(4, 31).target()) > NOTICED


def test_a_node_that_is_kept_without_a_coin_is_noticed(monkeypatch):
    """One that was held, and whose children are all given up."""
    right = list_rule._ends_here

    def ends_here(path: Any, round: Any) -> bool:
        path[-1].left.owed = 1.0
        return right(path, round)

    monkeypatch.setattr(list_rule, "_ends_here", ends_here)
    assert deviation(expansion(1, 1), Model(4, 30).lists(), Model(4, 31).target()) > NOTICED


@pytest.mark.parametrize("shape", [expansion(1, 1), expansion(1, 1, 1), expansion(1, 2)])
def test_what_is_held_keeps_no_less(shape):
    """Of chains, and where siblings are leaves: never fewer tokens in the mean, whatever the two models are."""
    gains = []
    for seed in range(8):
        lists, target = Model(3, 400 + seed).lists(), Model(3, 500 + seed).target()

        def kept(least_held: float) -> float:
            return sum(
                p_draft * p * len(draft.tree.path(verdict.node))
                for draft, p_draft in drafts(shape, lists)  # noqa: B023
                for verdict, p in outcomes(partial(holding(least_held), draft, target_rows(draft.tree, target)))  # noqa: B023
            )

        settled, ours, held = (kept(least) for least in (TOKEN_BY_TOKEN, LEAST_HELD, 0.0))
        assert settled - EXACT < ours < held + EXACT
        gains.append(ours / settled - 1)
    assert max(gains) > 0.03
