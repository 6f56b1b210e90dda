"""Losslessness of evidence without lists, exactly: one round's output has the target's own distribution.

Match: every draft and every sample is enumerated, as in ``test_lossless.py``.  Coupled: every cell of the races
(``race_cells.py``).  Both through the real ``verify_with``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from enumeration import EXACT, NOTICED, SAMPLINGS, Choices, Model, Shape, deviation, expansion
from race_cells import race_deviation

import tslt_wire as tw
from tslt_wire.verification.verdicts import verify_with

SHAPES: dict[str, tuple[int, Shape]] = {
    "chain-1": (5, expansion(1)),
    "chain-2": (4, expansion(1, 1)),
    "chain-3": (3, expansion(1, 1, 1)),
    "<2,1>": (4, expansion(2, 1)),
    "<2,2>": (3, expansion(2, 2)),
    "<3>": (5, expansion(3)),
    "ragged": (3, (((), ()), (), ((),))),
}
RACED: dict[str, Shape] = {
    "chain-1": expansion(1),
    "chain-2": expansion(1, 1),
    "<2>": expansion(2),
    "<3>": expansion(3),
    "<1,2>": expansion(1, 2),
}


def with_evidence(draft: tw.Draft, evidence: tw.Evidence) -> tw.Draft:
    """The same tokens without their lists."""
    return tw.Draft(round=0, prefix_length=5, prefix_hash=0, tree=draft.tree, evidence=evidence)


def as_match(draft: tw.Draft) -> tw.Draft:
    """Sent as DRAFT_MATCH, through bytes."""
    profile = tw.Profile(vocab_size=max(5, *draft.tree.tokens) + 1)
    found = tw.decode(tw.encode(with_evidence(draft, tw.MatchEvidence()), profile), profile)
    assert isinstance(found, tw.Draft)
    return found


@pytest.mark.parametrize("name", SHAPES)
def test_match_is_lossless(name):
    """Whatever the distribution that drafts come from: here they are sampled, so that all of them are tried."""
    vocab_size, shape = SHAPES[name]
    lists, target = Model(vocab_size, 1).lists(), Model(vocab_size, 2).target()
    assert deviation(shape, lists, target, replacement=False, through=as_match) < EXACT


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
def test_match_is_lossless_with_every_target_setting(sampling):
    lists, target = Model(4, 9).lists(), Model(4, 10).target(sampling)
    for shape in (expansion(1, 1), expansion(2, 1)):
        assert deviation(shape, lists, target, replacement=False, through=as_match) < EXACT


def test_a_match_that_samples_once_more_after_a_mismatch_is_noticed():
    """A correction that is drawn again, among the tokens that were not drafted, is not the target's."""

    def verification(draft: tw.Draft, rows: np.ndarray, choices: Choices) -> tw.Verdict:
        verdict = verify_with(draft, rows, choices)
        children = draft.tree.children(verdict.node)
        if not children:
            return verdict
        rest = rows[1 + verdict.node].copy()
        rest[[draft.tree.tokens[child] for child in children]] /= 2
        return tw.Verdict(round=0, node=verdict.node, token=choices.draw(rest))

    lists, target = Model(3, 1).lists(), Model(3, 2).target()
    options: dict[str, Any] = {"replacement": False, "through": as_match}
    assert deviation(expansion(1), lists, target, verification=verification, **options) > NOTICED


@pytest.mark.parametrize("truncation", [None, tw.TopK(2)], ids=["all", "top-k"])
@pytest.mark.parametrize("name", RACED)
def test_coupled_is_lossless(name, truncation):
    lists, target = Model(3, 1).lists(truncation=truncation), Model(3, 2).target()
    assert race_deviation(RACED[name], lists, target) < EXACT


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
def test_coupled_is_lossless_with_every_target_setting(sampling):
    lists, target = Model(3, 9).lists(temperature=0.7), Model(3, 10).target(sampling)
    for shape in (expansion(1, 1), expansion(2)):
        assert race_deviation(shape, lists, target) < EXACT


@pytest.mark.parametrize("seed", range(6))
def test_many_random_pairs_are_lossless(seed):
    lists, target = Model(3, 50 + seed, spread=seed / 2).lists(), Model(3, 60 + seed, spread=3 - seed / 2).target()
    assert race_deviation(expansion(1, 1), lists, target) < EXACT
    assert deviation(expansion(2, 1), lists, target, replacement=False, through=as_match) < EXACT


def hostile(coupling: tw.Coupling, q: tw.SparseDistribution, count: int, position: int) -> list[int]:
    """Looks at the shared numbers, and drafts what it likes, as many as it likes."""
    order = coupling.children(q, 3, position)
    return [] if order[0] == 0 else order[::-1][:count] if order[0] == 1 else order[1:2]


def test_coupled_is_lossless_whatever_a_device_drafts():
    lists, target = Model(3, 1).lists(), Model(3, 2).target()
    for shape in (expansion(1, 1), expansion(2), ((), ((),))):
        assert race_deviation(shape, lists, target, choose=hostile) < EXACT


def test_positions_that_share_their_numbers_are_noticed():
    lists, target = Model(3, 1).lists(), Model(3, 2).target()
    assert race_deviation(expansion(1, 1), lists, target, advance=0) > NOTICED


# --------------------------------------------------------------------------------------------------- the smaller rules


@pytest.mark.parametrize("evidence", [tw.MatchEvidence(), tw.CoupledEvidence()])
def test_siblings_must_differ(evidence):
    at: dict[str, Any] = {"round": 0, "prefix_length": 5, "prefix_hash": 0, "evidence": evidence}
    with pytest.raises(ValueError, match="repeat a token"):
        tw.Draft(tree=tw.TokenTree([1, 1], [-1, -1]), **at)
    tw.Draft(tree=tw.TokenTree([1, 1, 1], [-1, 0, 1]), **at)


@pytest.mark.parametrize("evidence", [tw.MatchEvidence(), tw.CoupledEvidence()])
def test_an_empty_draft_is_one_token_of_the_target(evidence):
    draft = with_evidence(
        tw.Draft(round=0, prefix_length=0, prefix_hash=0, tree=tw.TokenTree([], []), evidence=evidence), evidence
    )
    coupling, p = tw.Coupling(bytes(8), 1), np.array([[0.0, 0.0, 1.0]])
    verdict = tw.verify(draft, p, np.random.default_rng(0), coupling=coupling)
    assert (verdict.node, verdict.token) == (-1, 2)


def test_a_greedy_target_puts_out_its_own_tokens():
    rows = np.eye(4)[[1, 3, 0]]
    for evidence in (tw.MatchEvidence(), tw.CoupledEvidence()):
        draft = tw.Draft(round=0, prefix_length=3, prefix_hash=0, tree=tw.TokenTree.chain([1, 2]), evidence=evidence)
        verdict = tw.verify(draft, rows, np.random.default_rng(0), coupling=tw.Coupling(bytes(8), 1))
        assert verdict.tokens(draft.tree) == (1, 3)


def test_coupled_evidence_needs_a_coupling():
    draft = tw.Draft(round=0, prefix_length=3, prefix_hash=0, tree=tw.TokenTree([], []), evidence=tw.CoupledEvidence())
    with pytest.raises(ValueError, match="coupling"):
        tw.verify(draft, [[1.0]], np.random.default_rng(0))


def test_a_token_outside_the_targets_vocabulary_is_named():
    draft = tw.Draft(round=0, prefix_length=3, prefix_hash=0, tree=tw.TokenTree.chain([3]), evidence=tw.MatchEvidence())
    with pytest.raises(ValueError, match="token 3"):
        tw.verify(draft, np.full((2, 3), 1 / 3), np.random.default_rng(0))
    with pytest.raises(ValueError, match="token 3"):
        tw.encode(draft, tw.Profile(vocab_size=3))


def test_sizes_that_are_promised():
    """Four tokens in 20 bytes, 32 nodes of any tree in 90, at V = 32,000."""
    profile = tw.Profile(vocab_size=32000, entropy="range")
    at: dict[str, Any] = {"round": 16383, "prefix_length": 16383, "prefix_hash": 0xFFFF}
    worst = [-1, *(node - 1 if node % 3 else -1 for node in range(1, 32))]
    for evidence in (tw.MatchEvidence(), tw.CoupledEvidence()):
        for tree, most in ((tw.TokenTree.chain([31999] * 4), 20), (tw.TokenTree(range(32), worst), 90)):
            draft = tw.Draft(tree=tree, evidence=evidence, **at)
            assert len(tw.encode(draft, profile)) <= most
