"""TreeSampler: the tree, its lists and how siblings were sampled agree, so that the output has the target's law."""

from __future__ import annotations

import numpy as np
import pytest
from enumeration import EXACT, NOTICED, outcomes

import tslt_wire as tw
from tslt_wire.verification.verdicts import verify_with

P = np.array([0.22, 0.29, 0.21, 0.28])
Q = tw.sparsify(np.log([0.5, 0.3, 0.15, 0.05]), precision="f32")


class EveryInteger(np.random.Generator):
    """A generator for ``Siblings.draw`` that takes each token of ``q`` in turn, with its probability."""

    def __init__(self, choices, q, *, replacement):
        super().__init__(np.random.PCG64(0))
        self._choices, self._left, self._replacement = choices, q.weights.copy(), replacement

    def integers(self, low, high):
        assert (low, high) == (0, self._left.sum())
        rank = self._choices.draw(self._left.astype(float))
        found = int(np.cumsum(self._left)[rank]) - 1
        if not self._replacement:
            self._left[rank] = 0
        return found


def law(replacement, evidence=lambda sampler: sampler.evidence):
    """The first token of a round with two siblings, float64 (4,)."""
    found = np.zeros(4)

    def run(choices):
        sampler = tw.TreeSampler(replacement=replacement)
        assert sampler.sample(-1, Q, 2, EveryInteger(choices, Q, replacement=replacement)) == (0, 1)
        draft = tw.Draft(round=0, prefix_length=0, prefix_hash=0, tree=sampler.tree, evidence=evidence(sampler))
        return verify_with(draft, np.stack([P, P, P]), choices).tokens(draft.tree)[0]

    for token, probability in outcomes(run):
        found[token] += probability
    return found


@pytest.mark.parametrize("replacement", [True, False])
def test_siblings_give_the_targets_law(replacement):
    assert np.abs(law(replacement) - P).max() < EXACT


def test_evidence_that_does_not_say_how_siblings_were_sampled_is_refused():
    with pytest.raises(ValueError, match="say whether siblings were sampled with replacement"):
        law(False, evidence=lambda sampler: tw.ListEvidence(sampler.evidence.lists))


def test_evidence_that_says_the_wrong_thing_has_another_law():
    wrong = law(False, evidence=lambda sampler: tw.ListEvidence(sampler.evidence.lists, replacement=True))
    assert np.abs(wrong - P).max() > NOTICED


def test_a_chain_needs_no_word_and_is_written_as_ever():
    place = {"round": 0, "prefix_length": 0, "prefix_hash": 0, "tree": tw.TokenTree.chain([1, 2])}
    unsaid = tw.Draft(**place, evidence=tw.ListEvidence({-1: Q, 0: Q}))
    said = tw.Draft(**place, evidence=tw.ListEvidence({-1: Q, 0: Q}, replacement=True))
    profile = tw.Profile(vocab_size=4, precision="f32")
    assert unsaid == said
    assert tw.encode(unsaid, profile) == tw.encode(said, profile)
    assert tw.decode(tw.encode(unsaid, profile), profile) == unsaid
    for entropy in ("none", "range"):
        profile = tw.Profile(vocab_size=4, precision="f32", entropy=entropy)
        assert tw.encode(unsaid, profile) == tw.encode(said, profile)


def test_a_tree_grows_node_by_node():
    sampler, rng = tw.TreeSampler(replacement=False), np.random.default_rng(0)
    assert len(sampler.tree) == 0
    assert sampler.sample(-1, Q, np.int64(2), rng) == (0, 1)
    assert sampler.sample(np.int64(1), Q, 9, rng) == (2, 3, 4, 5)  # there are no more tokens
    assert sampler.sample(0, Q, 1, rng) == (6,)
    assert sampler.tree.parents == (-1, -1, 1, 1, 1, 1, 0)
    assert sorted(sampler.tree.tokens[2:6]) == [0, 1, 2, 3]
    assert sampler.evidence == tw.ListEvidence(dict.fromkeys((-1, 0, 1), Q), replacement=False)
    tw.Draft(round=0, prefix_length=0, prefix_hash=0, tree=sampler.tree, evidence=sampler.evidence)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((-1, Q, 1), "has its children already"),
        ((2, Q, 1), r"parent must be in -1\.\.1"),
        ((-2, Q, 1), "parent must be"),
        ((0, Q, 0), "count must be at least 1"),
        ((0, tw.sparsify(np.zeros(5), precision="f32"), 1), "one vocabulary"),
        ((0, tw.sparsify(np.zeros(4), precision="f16"), 1), "precision"),
    ],
)
def test_what_does_not_fit_the_tree_is_refused(arguments, match):
    sampler, rng = tw.TreeSampler(replacement=True), np.random.default_rng(0)
    sampler.sample(-1, Q, 2, rng)
    tree = sampler.tree
    with pytest.raises(ValueError, match=match):
        sampler.sample(*arguments, rng)
    assert sampler.tree == tree
    with pytest.raises(TypeError, match="replacement"):
        tw.TreeSampler(replacement="no")
    with pytest.raises(TypeError, match="replacement"):
        tw.ListEvidence({-1: Q}, replacement="no")
