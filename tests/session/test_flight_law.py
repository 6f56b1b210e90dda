"""The law of texts whose drafts are in flight: exact, over all drafts, coins and proposals, and through bytes.

Drafts follow each other before any of their answers is known, so what is dropped has been drawn, too.  The law of
``coupled`` and ``scalar`` is tested with texts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from broken_links import ANSWER, FORGOT, KEPT, OTHER, PROMPT, REQUEST, WHOLE, Replayed, World
from enumeration import EXACT, NOTICED, Model, expansion, outcomes, sample_draft, target_joint
from faulty_texts import CALM, KINDS, TARGET, Faults, Texts, V, p_value
from session_rounds import evidence_of

import tslt_wire as tw

VOCABULARY, LENGTH = 2, 2
MODES = {name: (2, (1,)) for name in ("list", "match", "lazy")} | {
    "list pair": (2, (1, 1)),
    "list tree": (2, (2,)),
    "match tree": (2, (2, 1)),
    "empty": (2, ()),
}
"""Drafts in flight, and children a node at each level; of ``empty`` the second draft has no token."""
Q = Model(VOCABULARY, 1).lists(precision="f32")
P = Model(VOCABULARY, 2).target()


def a_flight(mode: str, choices: Any, world_of: Any, fates: Any, *, together: bool) -> tuple[int, ...]:
    """The text of some drafts in flight."""
    window, levels = MODES[mode]
    name = {"empty": "match"}.get(mode, mode.split(maxsplit=1)[0])
    world, coming = world_of(VOCABULARY, P, choices=choices, window=window), iter(fates)

    def draft_of(text: tuple[int, ...], _: int) -> tuple[tw.TokenTree, tw.Evidence]:
        shape = expansion(*levels) if levels or world.device.in_flight else expansion(1)
        draft = sample_draft(shape, lambda below: Q((*text, *below)), choices, replacement=name == "list")
        return draft.tree, evidence_of(name, draft.tree, draft.lists)

    def fate() -> tuple[str, str]:
        return next(coming, (WHOLE, ""))

    world.flight(LENGTH, draft_of, lambda *_: choices, fate, together=lambda: together)
    text: tuple[int, ...] = world.device.prefix[len(PROMPT) :]
    return text


def joint_law(mode: str, *, world_of: Any = World, fates: Any = (), together: bool = True) -> np.ndarray:
    """Of the first LENGTH tokens."""
    found = np.zeros((VOCABULARY,) * LENGTH)
    for text, chance in outcomes(lambda choices: a_flight(mode, choices, world_of, fates, together=together)):
        found[text[:LENGTH]] += chance
    return found


def deviation(mode: str, **given: Any) -> float:
    """Largest difference between what comes out and the target's own."""
    return float(np.abs(joint_law(mode, **given) - target_joint(P, LENGTH)).max())


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_drafts_in_flight_are_lossless(mode, together):
    assert deviation(mode, together=together) < EXACT


@pytest.mark.parametrize("edge", [KEPT, FORGOT, OTHER])
@pytest.mark.parametrize("what", [REQUEST, ANSWER])
@pytest.mark.parametrize("mode", ["list", "match", "lazy"])
def test_they_are_wherever_the_link_breaks(mode, what, edge):
    assert deviation(mode, fates=((what, edge),)) < EXACT


class OneSourceARun(World):
    """An edge whose numbers are those of a run, not those of a round."""

    def numbers(self, event: Any) -> Any:
        flight = event.draft.flight
        return Replayed(self.choices, self.made.setdefault((self.secret, flight.run), []))


def test_numbers_that_drafts_in_flight_share_are_noticed():
    assert deviation("match", world_of=OneSourceARun) > NOTICED


class Tells(World):
    """An edge that keeps the token which should be left out, where the next draft begins with it."""

    def answer(self, event: Any) -> None:
        if isinstance(event, tw.DraftReceived) and event.draft.follows:
            draft, numbers = event.draft, Replayed(self.choices, self.made[self.secret, event.draft.round - 1, 0])
            row = self.target(tuple(self.edge.prefix[len(PROMPT) :]))
            numbers.accept(0.5)  # the coin of the draft before
            if numbers.draw(row) == draft.tree.tokens[0]:
                self.edge.send_answer(tw.Verdict(round=draft.round, node=len(draft.tree) - 1, token=0))
                return
        super().answer(event)


def test_a_token_that_should_be_left_out_and_is_used_is_noticed():
    assert deviation("list", world_of=Tells) > NOTICED


@pytest.mark.parametrize("window", [1, 2, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_texts_over_bad_links_are_the_undisturbed_ones(kind, window):
    bad = {"cut": 0.05, "lost": 0.1, "again": 0.1, "late": 0.1}
    faults = Faults(edges=(KEPT, FORGOT), **bad)
    calm, faulty = Texts(kind, CALM, window=window), Texts(kind, faults, window=window)
    for _ in range(30):
        assert faulty.next() == calm.next()
    assert faulty.most_in_flight == calm.most_in_flight == window
    assert faulty.link.lost
    assert faulty.link.again
    assert faulty.link.late
    assert faulty.link.cuts


@pytest.mark.parametrize("window", [2, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_the_law_of_texts_over_bad_links(kind, window):
    bad = {"cut": 0.05, "lost": 0.05, "again": 0.05, "late": 0.05}
    texts = Texts(kind, Faults(edges=(KEPT, FORGOT, OTHER), **bad), window=window)
    counts = np.zeros((V, V))
    for _ in range(400):
        counts[texts.next()[:2]] += 1
    assert p_value(counts) > 1e-3
    assert TARGET(()).min() > 0


def test_windows_give_the_same_text():
    """What is sent beyond what is accepted leaves nothing."""
    for kind in KINDS:
        two, four = (Texts(kind, CALM, window=window, length=5) for window in (2, 4))
        for _ in range(15):
            assert two.next() == four.next()
