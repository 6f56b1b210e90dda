"""The law of a text whose link breaks: exact, over all drafts, coins and proposals, wherever the link breaks.

Every outcome is enumerated through two real sessions and their bytes.  An edge that forgot throws the same coins again,
for its secret is the same; another edge throws its own, and must not throw those that the device has heard of.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from typing import Any

import numpy as np
import pytest
from broken_links import ANSWER, FORGOT, KEPT, OTHER, PROMPT, REQUEST, WHOLE, World
from enumeration import EXACT, NOTICED, Branches, Model, expansion, outcomes, sample_draft, target_joint
from session_rounds import evidence_of

import tslt_wire as tw
from tslt_wire.messages.draft import prefix_crc

LENGTH = 2
SHAPES = {"list": (3, 1, 1), "match": (3, 1, 1), "scalar": (2, 1), "lazy": (3, 1, 1), "list tree": (3, 2)}
SHAPES |= {"scalar chain": (2, 1, 1)}
"""Tokens of the vocabulary, and children at each level."""
Fates = tuple[tuple[str, str], ...]


@cache
def models(vocab_size: int) -> Any:
    return Model(vocab_size, 1).lists(truncation=tw.TopK(2), precision="f32"), Model(vocab_size, 2).target()


def a_round(name: str, fates: Fates, choices: Branches, world_of: Any = World) -> Any:
    """(what stands for all batches of proposals, the tokens of a round or None); ``fates``: of its first exchanges."""
    vocab_size, *counts = SHAPES[name]
    lists, target = models(vocab_size)
    draft = sample_draft(expansion(*counts), lists, choices)
    world = world_of(vocab_size, target, choices=choices)
    coming = iter(fates)
    evidence = evidence_of(name.split(maxsplit=1)[0], draft.tree, draft.lists)
    tokens = world.round(draft.tree, evidence, choices, lambda: next(coming, (WHOLE, "")), batches=2)
    assert world.device.prefix[: len(PROMPT)] == PROMPT
    state = world.device.prefix[len(PROMPT) :] if tokens is None else None
    if name.startswith("scalar") and tokens is not None and world.device._choice is not None:
        state = tokens[:-1]
    return None if state is None else (draft.tree, state), tokens


def deviation(name: str, fates: Fates, world_of: Any = World) -> float:
    """Largest difference between what comes out and the target's own."""
    vocab_size = SHAPES[name][0]
    target = models(vocab_size)[1]
    rest = cache(lambda tokens: target_joint(target, LENGTH - len(tokens), tokens))
    hits: dict[Any, np.ndarray] = defaultdict(lambda: np.zeros((vocab_size,) * LENGTH))
    missed: dict[Any, float] = defaultdict(float)
    for (state, tokens), probability in outcomes(lambda choices: a_round(name, fates, choices, world_of)):
        if tokens is None:
            missed[state] += probability
        else:
            hits[state][tokens[:LENGTH]] += probability * rest(tokens[:LENGTH])
    joint = sum(found * (1 + missed[state] / found.sum()) for state, found in hits.items())
    return float(np.abs(joint - target_joint(target, LENGTH)).max())


EDGES = (KEPT, FORGOT, OTHER)
PLANS = [
    *(((what, edge),) for what in (REQUEST, ANSWER) for edge in EDGES),
    *(((WHOLE, ""), (what, edge)) for what in (REQUEST, ANSWER) for edge in EDGES),
    ((WHOLE, ""), (ANSWER, OTHER), (REQUEST, KEPT), (WHOLE, ""), (ANSWER, OTHER)),
]


@pytest.mark.parametrize("fates", PLANS, ids=lambda fates: "-".join(f"{what}:{edge}" for what, edge in fates))
@pytest.mark.parametrize("name", [name for name in SHAPES if name != "scalar chain"])
def test_a_round_is_lossless_wherever_the_link_breaks(name, fates):
    assert deviation(name, fates) < EXACT


@pytest.mark.parametrize("what", [REQUEST, ANSWER])
def test_accepted_tokens_before_a_rejection_stay(what):
    assert deviation("scalar chain", ((WHOLE, ""), (what, OTHER))) < EXACT


def forgets(kind: str) -> type[World]:
    """A device that does not say what it has heard, and so has the coin thrown again."""

    class Forgets(World):
        def break_link(self, edge: str) -> None:
            device = self.device
            device._rejection = None
            if kind == "scalar" and device.open_draft is not None:
                device._waiting = (device.open_draft.round, 0)
                del device._prefix[device.open_draft.prefix_length :]
                device._prefix_read = None
                device._hash = prefix_crc(device._prefix)
            super().break_link(edge)

    return Forgets


@pytest.mark.parametrize("name", ["scalar", "lazy"])
def test_a_coin_that_is_thrown_again_after_a_rejection_is_noticed(name):
    fates = ((WHOLE, ""), (REQUEST, OTHER))
    assert deviation(name, fates, forgets(name)) > NOTICED
    if name == "lazy":  # the same coin again is the same rejection: there is nothing to notice
        assert deviation(name, ((WHOLE, ""), (REQUEST, FORGOT)), forgets(name)) < EXACT
