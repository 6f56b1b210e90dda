"""Statistical proof through real sessions: next-token frequencies against the target's distribution.

Thousands of draws at a fixed prefix (``TSLT_LAW_DRAWS``; ``make laws``: 20,000), each a whole round through encode,
decode, verification and both sessions, with models that are real (tiny) Llamas.  Their forward passes, and lists made
of them, are remembered by path, because at a fixed prefix the same few paths come again and again; nothing else is
short-cut.
"""

from __future__ import annotations

import os
from functools import cache

import numpy as np
import pytest
from chi_square import chi_square_p
from edge_numbers import edge_rng
from engine_rounds import TargetRounds
from loop_harness import FINGERPRINT, tiny_pair

import tslt_wire as tw
from tslt_runtime.seeds import device_rng
from tslt_wire.lists.sibling_sampling import sample_children
from tslt_wire.messages.token_tree import expansion_parents
from tslt_wire.verification.choices import RandomChoices
from tslt_wire.verification.verdicts import verify_with

DRAWS = int(os.environ.get("TSLT_LAW_DRAWS", "2500"))
PROMPT = [5, 9, 2, 7]
V = 64


@pytest.fixture(scope="module")
def models():
    """Functions path -> raw logits (V,) of the target and of the draft."""
    target, draft = tiny_pair(vocab_size=V)

    def logits_after(model, path):
        session = TargetRounds(model)
        session.set_prefix([*PROMPT, *path])
        return session.score(tw.TokenTree([], []))[0]

    from tslt_runtime.engines.transformers.target import TargetModel

    draft_as_scorer = TargetModel(draft._module, model_id="draft")
    return (
        cache(lambda path: logits_after(target, path)),
        cache(lambda path: logits_after(draft_as_scorer, path)),
    )


def draft_tree(list_after, expansion, replacement, rng):
    """A token tree and its lists, sampled from what will be sent."""
    parents, tokens, lists, paths = expansion_parents(expansion), [], {}, {-1: ()}
    for parent in sorted(set(parents)):
        lists[parent] = list_after(paths[parent])
        children = [node for node, p in enumerate(parents) if p == parent]
        for node, token in zip(
            children, sample_children(lists[parent], len(children), rng, replacement=replacement), strict=True
        ):
            tokens.append(token)
            paths[node] = (*paths[parent], token)
    return tw.TokenTree(tokens, parents), lists, paths


def frequencies(
    models, expansion, truncation, replacement, sampling, prior="none", *, seed, verify=tw.verify, draws=DRAWS
):
    """Counts of first tokens, and of second tokens after the most frequent first one.

    With a ``prior`` lists have tails, which follow the verdicts before.
    """
    target_logits, draft_logits = models
    device = tw.DeviceSession(tw.Hello(vocab_size=V, tokenizer=FINGERPRINT, sampling=sampling, priors=(prior,)))
    edge = tw.EdgeSession(tw.EdgeSettings(vocab_size=V, tokenizer=FINGERPRINT))
    # As the loops make them, and with one seed for both ends: that must not make them depend on each other.
    ours, theirs = device_rng(seed), edge_rng(seed, 0)
    edge.receive_data(device.data_to_send())
    device.receive_data(edge.data_to_send())
    target_probs = cache(lambda path: tw.target_probs(target_logits(path), edge.sampling))
    first, pairs = np.zeros(V, int), np.zeros((V, V), int)
    tails, sizes = tw.TailScale(), set()

    @cache
    def list_with(path, scale):
        return tw.sparsify(draft_logits(path), truncation=truncation, prior=device.profile.prior, tail_scale=scale)

    for _ in range(draws):
        device.send_prompt(PROMPT)
        edge.receive_data(device.data_to_send())
        scale = tails.scale
        tree, lists, paths = draft_tree(lambda path: list_with(path, scale), expansion, replacement, ours)  # noqa: B023
        sizes.add(lists[-1].tail)
        device.send_draft(tree, tw.ListEvidence(lists, replacement))
        (event,) = edge.receive_data(device.data_to_send())
        rows = np.stack([target_probs(paths[node]) for node in range(-1, len(tree))])
        edge.send_answer(verify(event.draft, rows, theirs))
        (answer,) = device.receive_data(edge.data_to_send())
        tails.learn(answer.draft, answer.verdict)
        first[answer.tokens[0]] += 1
        if len(answer.tokens) > 1:
            pairs[answer.tokens[0], answer.tokens[1]] += 1
    assert (len(sizes) > 1) == (prior != "none")
    best = int(pairs.sum(axis=1).argmax())
    return first, target_probs(()), pairs[best], target_probs((best,))


CASES = {
    "chain": ((1, 1), tw.TopK(8), True, tw.Sampling()),
    "tree": ((2, 2), tw.TopK(8), True, tw.Sampling()),
    "tree without replacement": ((3,), tw.TopK(8), False, tw.Sampling(temperature=0.7, top_p=0.9)),
    "chain with tails": ((1, 1), tw.TopK(4), True, tw.Sampling(), "density"),
    "tree without replacement, with tails": ((3,), tw.TopK(2), False, tw.Sampling(), "uniform"),
}


@pytest.mark.parametrize("name", CASES)
def test_next_tokens_are_distributed_as_the_targets(name, models):
    first, first_probs, second, second_probs = frequencies(models, *CASES[name], seed=20)
    assert first.sum() == DRAWS
    assert chi_square_p(first, first_probs) > 1e-3
    if second.sum():
        assert chi_square_p(second, second_probs) > 1e-3


def first_tokens_over_seeds(models, edge_stream):
    """P value of first tokens, each with fresh generators of both ends: as many short sessions would have."""
    target_logits, draft_logits = models
    counts, probs = np.zeros(V, int), tw.target_probs(target_logits(()), tw.Sampling())
    list_after = cache(lambda path: tw.sparsify(draft_logits(path), truncation=tw.TopK(8)))
    for seed in range(5000):
        tree, lists, _ = draft_tree(list_after, (1,), True, device_rng(seed))
        evidence = tw.ListEvidence(lists)
        draft = tw.Draft(round=0, prefix_length=0, prefix_hash=0, tree=tree, evidence=evidence)
        counts[tw.verify(draft, np.stack([probs, probs]), edge_stream(seed)).tokens(tree)[0]] += 1
    return chi_square_p(counts, probs)


def test_equal_seeds_of_both_ends_are_independent(models):
    assert first_tokens_over_seeds(models, lambda seed: edge_rng(seed, 0)) > 1e-3


def test_the_test_notices_ends_that_share_their_random_numbers(models):
    assert first_tokens_over_seeds(models, device_rng) < 1e-3


def test_the_test_notices_a_wrong_acceptance_test(models):
    class Wrong(RandomChoices):
        def accept(self, probability):
            return super().accept(1.0 if probability == 1.0 else 1.0 - probability)

    def verify(draft, probs, rng):
        return verify_with(draft, probs, Wrong(rng))

    first, probs, _, _ = frequencies(models, *CASES["chain"], seed=20, verify=verify, draws=2500)
    assert chi_square_p(first, probs) < 1e-9
