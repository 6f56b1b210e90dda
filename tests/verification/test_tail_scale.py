"""TailScale: what it learns from verdicts, and that it learns the right thing."""

from __future__ import annotations

import numpy as np
import pytest

import tslt_wire as tw
from tslt_wire.lists.distribution import LEAST_TAIL
from tslt_wire.lists.prior import plain_prior
from tslt_wire.lists.sibling_sampling import sample_children

V = 200


def taught(tails, ratio, rounds, *, seed=0):
    """Update ``tails`` as a target would that gives unlisted tokens ``ratio`` times what the draft does."""
    rng = np.random.default_rng(seed)
    for left_out in rng.uniform(0.3, 0.7, rounds):
        tails.update(left_out, rng.random() >= ratio * left_out)
    return tails


def test_it_starts_with_small_tails():
    assert 0.2 < tw.TailScale().scale < 0.5


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.8, 1.0, 1.4])
def test_the_ratio_is_learnt(ratio):
    estimates = [taught(tw.TailScale(), ratio, 1000, seed=seed).ratio for seed in range(40)]
    assert np.mean(estimates) == pytest.approx(ratio, abs=0.03)
    assert np.std(estimates) < 0.15


def test_a_sharp_target_gets_no_tails_and_a_flat_one_large_tails():
    assert taught(tw.TailScale(), 0.2, 60).scale == 0
    assert taught(tw.TailScale(), 1.4, 300).scale > 0.8


def test_old_verdicts_are_forgotten():
    tails = taught(tw.TailScale(), 1.3, 5000)
    assert taught(tails, 0.2, 600, seed=1).scale == 0
    assert taught(tails, 1.0, 1500, seed=2).scale > 0.3


def test_lists_that_get_no_tail_teach_nothing():
    tails = tw.TailScale()
    for _ in range(100):
        tails.update(LEAST_TAIL - 0.01, False)
    assert tails.ratio == tw.TailScale().ratio


@pytest.mark.parametrize("left_out", [-0.1, 1.1, float("nan")])
def test_what_is_no_probability_is_refused(left_out):
    with pytest.raises(ValueError, match="left_out"):
        tw.TailScale().update(left_out, True)


@pytest.mark.parametrize("expansion", [(1, 1, 1), (2, 2)])
@pytest.mark.parametrize("sharpness", [1.0, 2.5])
def test_rounds_of_verification_teach_the_targets_own_share(sharpness, expansion):
    """Whatever is drafted and accepted, and although the tails that are drafted with follow the estimate."""
    rng, prior = np.random.default_rng(7), plain_prior("density", V)
    logits, tails, tree_nodes = rng.normal(size=V) * 1.5, tw.TailScale(), sum(np.cumprod(expansion))
    target = np.tile(tw.target_probs(logits, tw.Sampling(temperature=1 / sharpness)), (1 + tree_nodes, 1))
    estimates = []
    for round_ in range(2500):
        q = tw.sparsify(logits, truncation=tw.TopK(16), prior=prior, tail_scale=tails.scale)
        counts = [k for level, k in enumerate(expansion) for _ in range(int(np.prod(expansion[:level])))]
        tokens = [token for count in counts for token in sample_children(q, count, rng, replacement=True)]
        tree = tw.TokenTree.expand(tokens, expansion)
        lists = dict.fromkeys(tree.inner, q)
        draft = tw.Draft(
            round=0, prefix_length=0, prefix_hash=0, tree=tree, evidence=tw.ListEvidence(lists, replacement=True)
        )
        tails.learn(draft, tw.verify(draft, target, rng))
        estimates += [tails.ratio] if round_ > 400 else []
    exact = (1 - target[0][q.ids].sum()) / q.left_out
    assert np.mean(estimates) == pytest.approx(exact, abs=0.04)
    assert (q.tail == 0) == (sharpness > 1)


def test_what_was_left_out_is_the_drafts_own_and_is_not_sent():
    logits = np.log(np.array([0.4, 0.2, 0.2, 0.1, 0.1]))
    prior = plain_prior("uniform", 5)
    q = tw.sparsify(logits, truncation=tw.TopK(2), prior=prior, tail_scale=0.5)
    assert q.left_out == pytest.approx(0.4, abs=1e-6)
    assert q.tail == round(0.2 * 32)
    assert tw.sparsify(logits, truncation=tw.TopK(2)).left_out == 0  # nobody who has no prior asks for it
    assert tw.sparsify(logits).left_out == 0
    profile = tw.Profile(vocab_size=5, prior=prior)
    received = tw.decode_list(tw.encode_list(q, profile), profile)
    assert received == q
    assert received.left_out == 0


def test_lists_that_a_draft_does_not_carry_teach_as_much():
    prior = plain_prior("uniform", 5)
    q = tw.sparsify(np.log(np.array([0.4, 0.2, 0.2, 0.1, 0.1])), truncation=tw.TopK(2), prior=prior)
    tree = tw.TokenTree.chain([0, 0])
    at = {"round": 0, "prefix_length": 0, "prefix_hash": 0, "tree": tree}
    lists, verdict = {-1: q, 0: q}, tw.Verdict(round=0, node=0, token=4)
    carried, kept, without = tw.TailScale(), tw.TailScale(), tw.TailScale()
    carried.learn(tw.Draft(**at, evidence=tw.ListEvidence(lists, replacement=True)), verdict)
    lazy = tw.Draft(**at, evidence=tw.LazyEvidence.of(tree, lists))
    kept.learn(lazy, verdict, lists)
    without.learn(lazy, verdict)
    assert kept.ratio == carried.ratio != without.ratio == tw.TailScale().ratio
