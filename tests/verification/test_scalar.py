"""Evidence scalar and lazy, exactly: the grid, and every way a token can come out.

Every draft, decision, proposal, rounding and choice of the device is enumerated through the real code.  Proposals may
miss any number of times: a batch after a miss is drawn like the one before, so what comes out after a rejection is what
the enumerated batches give, divided by their probability.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from fractions import Fraction
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from enumeration import (
    EXACT,
    NOTICED,
    SAMPLINGS,
    Branches,
    Choices,
    Model,
    drafts,
    expansion,
    outcomes,
    sample_draft,
    target_joint,
    target_rows,
)
from frame_samples import usual
from hypothesis import given
from hypothesis import strategies as st
from session_rounds import PROMPT, evidence_of, play, prompted

import tslt_wire as tw
from tslt_wire.lists import probability_grid as grid
from tslt_wire.lists.precision import octave_numbers
from tslt_wire.lists.prior import plain_prior
from tslt_wire.verification import proposals
from tslt_wire.verification.lazy_rule import verify_list_with
from tslt_wire.verification.proposals import propose_with
from tslt_wire.verification.verdicts import verify_with

ROUNDING_NOTICED = 1e6 * EXACT
"""A step of the grid is half a percent: what is wrong by less than one shows in the fifth digit."""

# ---------------------------------------------------------------------------------------------------------------- grid


def test_numbers_of_the_grid_are_those_of_the_specification():
    a = octave_numbers()
    exact = [Fraction(int(a[2 * (c % 128)]), 1 << 31 + c // 128) for c in range(4095)]
    assert [Fraction(float(g)) for g in grid.GRID] == exact
    assert exact[0] == 1
    assert all(0 < low < high for high, low in pairwise(exact))
    assert max(high / low for high, low in pairwise(exact)) < Fraction(1006, 1000)


probs = st.one_of(
    st.floats(0, 1),
    st.floats(-40, 0).map(lambda x: 2.0**x),
    st.sampled_from(grid.GRID.tolist()),
    st.sampled_from(grid.GRID[1:].tolist()).map(lambda g: float(np.nextafter(g, 1))),
    st.sampled_from(grid.GRID.tolist()).map(lambda g: float(np.nextafter(g, 0))),
)


@given(probs)
@usual
def test_rounding_up_and_down(prob):
    above, below = grid.code_above(prob), grid.code_below(prob)
    assert grid.GRID[above] >= prob
    assert above == grid.LAST or grid.GRID[above + 1] < prob
    if below == grid.BELOW:
        assert prob < grid.GRID[grid.LAST]
    else:
        assert grid.GRID[below] <= prob
        assert below == 0 or grid.GRID[below - 1] > prob


@given(probs.filter(lambda p: p > 0), probs)
@usual
def test_the_mean_of_what_is_kept_is_the_residual(p, q):
    """Over both roundings: exactly 1 - c / p."""
    row = tw.DenseRow([p, 1 - p])
    p = row.prob(0)
    total = 0.0
    for proposal, probability in outcomes(lambda choices: proposals._proposal(0, row, choices)):
        keep = proposals.keep_probability(proposal, q)
        assert 0 <= keep <= 1
        total += probability * keep
    accepted = q * proposals.accepted_share(grid.code_above(q), grid.code_below(p))
    assert accepted <= p * (1 + 1e-15)
    assert abs(total - (1 - accepted / p)) < 1e-12


# ----------------------------------------------------------------------------------------------------------- one round


def with_codes(draft: tw.Draft, kind: Any) -> tw.Draft:
    """The same chain with ``kind`` of evidence."""
    evidence = kind.of(draft.tree, draft.lists)
    return tw.Draft(round=0, prefix_length=0, prefix_hash=0, tree=draft.tree, evidence=evidence)


def coded(draft: tw.Draft, kind: Any) -> tw.Draft:
    """The same, after it crossed the wire."""
    return through(with_codes(draft, kind))


def through(message: Any) -> Any:
    profile = tw.Profile(vocab_size=8, prior=plain_prior("uniform", 8))
    found = tw.decode(tw.encode(message, profile), profile)
    assert found == message
    return found


def scalar_round(
    length: int, lists: Any, target: Any, choices: Choices, *, count: int, batches: int, **broken: Any
) -> tuple[Any, tuple[int, ...] | None]:
    """(where a token was rejected or None, tokens that came out or None if no batch fitted)."""
    verify, propose = broken.get("verify", verify_with), broken.get("propose", proposals.propose_with)
    draft = sample_draft(expansion(*[1] * length), lists, choices)
    rows = target_rows(draft.tree, target)
    answer = verify(coded(draft, tw.ScalarEvidence), rows, choices, proposals=count)
    if isinstance(answer, tw.Verdict):
        return None, answer.tokens(draft.tree)
    accepted = tuple(draft.tree.tokens[: answer.node + 1])
    for batch in range(batches):
        if batch or "propose" in broken:
            answer = propose(0, answer.node, rows[1 + answer.node], choices, batch=batch, count=count)
        answer = through(answer)
        index = broken.get("choose", proposals.choose_with)(answer, with_codes(draft, tw.ScalarEvidence), choices)
        if index is not None:
            return (draft.tree, answer.node), (*accepted, answer.proposals[index].token)
    return (draft.tree, answer.node), None


def deviation(run: Any, target: Any, length: int) -> float:
    """Largest difference between what ``run(choices)`` gives and the target's own next ``length`` tokens.

    Where proposals missed, what the others gave stands for all.
    """
    rest = cache(lambda tokens: target_joint(target, length - len(tokens), tokens))
    hits: dict[Any, np.ndarray] = defaultdict(lambda: np.zeros_like(target_joint(target, length)))
    missed: dict[Any, float] = defaultdict(float)
    for (state, tokens), probability in outcomes(run):
        if tokens is None:
            missed[state] += probability
        else:
            hits[state][tokens[:length]] += probability * rest(tokens[:length])
    joint = sum(found * (1 + missed[state] / found.sum()) for state, found in hits.items())
    return float(np.abs(joint - target_joint(target, length)).max())


def scalar_deviation(length: int, lists: Any, target: Any, *, count: int = 1, batches: int = 2, **broken: Any) -> float:
    def run(choices: Choices) -> Any:
        return scalar_round(length, lists, target, choices, count=count, batches=batches, **broken)

    return deviation(run, target, length + 1)


SIZES = {"one token": (5, 1, 1, 2), "two": (3, 2, 1, 2), "three": (3, 3, 1, 1), "two proposals": (3, 1, 2, 1)}


@pytest.mark.parametrize("truncation", [None, tw.TopK(2)], ids=["all", "top-k"])
@pytest.mark.parametrize("name", SIZES)
def test_scalar_is_lossless(name, truncation):
    vocab_size, length, count, batches = SIZES[name]
    lists = Model(vocab_size, 1).lists(truncation=truncation, precision="f32")
    target = Model(vocab_size, 2).target()
    assert scalar_deviation(length, lists, target, count=count, batches=batches) < EXACT


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
def test_scalar_is_lossless_with_every_target_setting(sampling):
    lists, target = Model(4, 9).lists(), Model(4, 10).target(sampling)
    assert scalar_deviation(1, lists, target) < EXACT


@pytest.mark.parametrize("seed", range(6))
def test_scalar_is_lossless_for_many_pairs(seed):
    """Sharp and flat ones, with tails, and with probabilities below the grid."""
    prior = plain_prior("uniform", 8)
    lists = Model(8, 50 + seed, spread=0.5 + seed).lists(truncation=tw.TopK(3), prior=prior if seed % 2 else None)
    target = Model(8, 60 + seed, spread=12.0 if seed == 5 else 3 - seed / 2).target()
    if seed == 5:
        assert target(()).min() < grid.GRID[-1]
    assert scalar_deviation(1, lists, target, batches=1) < EXACT


def fixed(*rows: list[float]) -> Any:
    return lambda context: np.array(rows[len(context)])


@pytest.mark.parametrize("row", [[0.5, 0.25, 0.25, 0.0], [0.0, 1.0, 0.0, 0.0], [2.0**-33, 0.5, 0.5 - 2.0**-33, 0.0]])
def test_scalar_is_lossless_on_and_below_the_grid(row):
    lists = Model(4, 1).lists(precision="log2/0")
    assert scalar_deviation(1, lists, fixed(row, [0.1, 0.2, 0.3, 0.4])) < EXACT


def nearest(round: int, node: int, row: Any, choices: Choices, *, batch: int, count: int) -> tw.Proposals:
    """Rounds to the nearer number of the grid."""

    class Nearest(Branches):
        def __init__(self) -> None:
            super().__init__([])

        def accept(self, probability: float) -> bool:
            return probability > 0.5

        def draw(self, weights: np.ndarray, cumulative: np.ndarray | None = None) -> int:
            return choices.draw(weights)

    return proposals.propose_with(round, node, row, Nearest(), batch=batch, count=count)


def exact_ratio(draft: tw.Draft, rows: np.ndarray, choices: Choices, *, proposals: int) -> Any:
    """Accepts with p, not with p rounded down."""
    prob, code = rows[0][draft.tree.tokens[0]], draft.evidence.codes[0]
    if choices.accept(min(1.0, prob / grid.GRID[code])):
        return tw.Verdict(round=0, node=0, token=choices.draw(rows[1]))
    return propose_with(0, -1, rows[0], choices, count=proposals)


def first_other(answer: tw.Proposals, draft: Any, choices: Choices) -> int | None:
    """Takes the first proposal that the draft gives less than the target."""
    q = draft.evidence.lists[answer.node]
    return next((i for i, y in enumerate(answer.proposals) if q.prob_of(y.token) < grid.GRID[min(y.code, 4094)]), None)


@pytest.mark.parametrize(
    "broken",
    [{"propose": nearest}, {"verify": exact_ratio}, {"choose": first_other}],
    ids=["nearest", "ratio", "choose"],
)
def test_a_broken_scalar_rule_is_noticed(broken):
    lists, target = Model(4, 3).lists(precision="f32"), Model(4, 4).target()
    assert scalar_deviation(1, lists, target) < EXACT
    assert scalar_deviation(1, lists, target, **broken) > ROUNDING_NOTICED


def with_lists(draft: tw.Draft, lists: Any) -> tw.Draft:
    """The same draft as a device would have it that holds other lists."""
    evidence = tw.ScalarEvidence(draft.evidence.codes)
    found = tw.Draft(round=0, prefix_length=0, prefix_hash=0, tree=draft.tree, evidence=evidence)
    object.__setattr__(found.evidence, "lists", dict.fromkeys(draft.evidence.lists, lists))  # the class refuses it
    return found


def test_choosing_with_another_list_is_noticed():
    """p = (.5, .5), q = (.9, .1), one proposal."""
    q, other = (tw.sparsify(np.log(row), precision="f32") for row in ([0.9, 0.1], [0.1, 0.9]))
    target = fixed([0.5, 0.5], [0.5, 0.5])

    def mistaken(answer: tw.Proposals, draft: tw.Draft, choices: Choices) -> int | None:
        return proposals.choose_with(answer, with_lists(draft, other), choices)

    assert scalar_deviation(1, lambda _: q, target, count=1, batches=2) < EXACT
    assert scalar_deviation(1, lambda _: q, target, count=1, batches=2, choose=mistaken) > NOTICED


def test_a_draft_knows_the_lists_it_was_made_of_and_the_wire_does_not():
    draft, _ = next(drafts(expansion(1, 1), Model(8, 9).lists()))
    for kind in (tw.ScalarEvidence, tw.LazyEvidence):
        sent, received = with_codes(draft, kind), coded(draft, kind)
        assert sent == received
        assert hash(sent.evidence) == hash(received.evidence)
        assert dict(sent.evidence.lists) == dict(draft.lists)
        assert received.evidence.lists is None
        assert "lists" not in repr(sent.evidence)


def test_what_choose_is_given_is_checked():
    draft, _ = next(drafts(expansion(1, 1), Model(8, 9).lists()))
    sent, rng = with_codes(draft, tw.ScalarEvidence), np.random.default_rng(0)

    def made(**changes: Any) -> tw.Proposals:
        return tw.Proposals(**{"round": 0, "node": 0, "proposals": (tw.Proposal(3, 200),)} | changes)

    tw.choose(made(), sent, rng)
    tw.choose(made(node=-1), sent, rng)
    for answer, of, match in (
        (made(), coded(draft, tw.ScalarEvidence), "knows the lists"),
        (made(), with_codes(draft, tw.LazyEvidence), "knows the lists"),
        (made(), draft, "knows the lists"),
        (made(round=1), sent, "round 1, the draft is of round 0"),
        (made(node=1), sent, "after node 1 of a draft"),
        (made(node=7), sent, "after node 7 of a draft"),
        (made(proposals=(tw.Proposal(8, 200),)), sent, "V = 8, the proposals have token 8"),
    ):
        with pytest.raises(ValueError, match=match):
            tw.choose(answer, of, rng)
    with pytest.raises(TypeError, match="the Draft that was answered"):
        tw.choose(made(), draft.lists[0], rng)
    with pytest.raises(TypeError, match="must be Proposals"):
        tw.choose(made().proposals, sent, rng)


def test_a_batch_that_leaves_out_what_was_proposed_before_is_noticed():
    lists, target, seen = Model(3, 3).lists(precision="f32"), Model(3, 4).target(), []

    def propose(round: int, node: int, row: Any, choices: Choices, *, batch: int, count: int) -> tw.Proposals:
        if batch:
            row = row.copy()
            row[seen[-1]] = 0
            row /= row.sum()
        found = proposals.propose_with(round, node, row, choices, batch=batch, count=count)
        seen.append(found.proposals[0].token)
        return found

    assert scalar_deviation(1, lists, target, propose=propose) > NOTICED


# ---------------------------------------------------------------------------------------------------------------- lazy


def lazy_deviation(length: int, lists: Any, target: Any, *, unrounded: bool = False, scale: float = 1.0) -> float:
    def run(choices: Choices) -> Any:
        draft = sample_draft(expansion(*[1] * length), lists, choices)
        received, rows = coded(draft, tw.LazyEvidence), target_rows(draft.tree, target) * scale
        answer = verify_with(received, rows, choices)
        if isinstance(answer, tw.AskList):
            node = through(answer).node
            q = through(tw.ListReply(round=0, q=draft.lists[node])).q
            if unrounded:
                rest = np.maximum(0, rows[1 + node] - q.dense())
                answer = tw.Verdict(round=0, node=node, token=choices.draw(rest))
            else:
                answer = verify_list_with(received, node, rows[1 + node], q, choices)
        return None, answer.tokens(draft.tree)

    return deviation(run, target, length + 1)


@pytest.mark.parametrize("tails", [False, True], ids=["list", "tail"])
@pytest.mark.parametrize(("vocab_size", "length"), [(8, 1), (8, 2)])
def test_lazy_is_lossless(vocab_size, length, tails):
    prior = plain_prior("uniform", vocab_size) if tails else None
    lists = Model(vocab_size, 1).lists(truncation=tw.TopK(3), prior=prior)
    assert lazy_deviation(length, lists, Model(vocab_size, 2).target()) < EXACT


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
def test_lazy_is_lossless_with_every_target_setting(sampling):
    lists, target = Model(8, 9).lists(truncation=tw.TopK(4)), Model(8, 10).target(sampling)
    assert lazy_deviation(2, lists, target) < EXACT


def test_lazy_is_lossless_with_rows_whose_sum_rounding_changed():
    """The target is the row divided by its sum, in ``verify`` and in ``verify_list``."""
    lists, target = Model(8, 9).lists(truncation=tw.TopK(4)), Model(8, 10).target()
    for scale in (1 - 0.0039, 1 + 0.0039):
        assert lazy_deviation(1, lists, target, scale=scale) < EXACT


def test_a_residual_that_forgets_the_rounding_is_noticed():
    lists, target = Model(8, 9).lists(truncation=tw.TopK(4)), Model(8, 10).target()
    assert lazy_deviation(1, lists, target, unrounded=True) > ROUNDING_NOTICED


def test_both_ends_round_the_same_probability():
    """What a list gives one token and what it gives all of them are the same numbers, to the last bit."""
    prior = plain_prior("density", 300)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        q = tw.sparsify(rng.normal(size=300) * 2, truncation=tw.TopK(20), prior=prior if seed % 2 else None)
        assert q.dense().tolist() == [q.prob_of(token) for token in range(300)]
        for token in (int(q.ids[0]), int(q.ids[-1])):
            rank, total = q.rank(token), int(q.weights.sum())
            assert q.prob_of(token) == float(Fraction(int(q.weights[rank]) * (32 - q.tail), 32 * total))


def test_the_list_must_be_the_one_that_was_drawn_from():
    lists = Model(8, 9).lists(truncation=tw.TopK(4))
    draft, _ = next(drafts(expansion(1), lists))
    received, row = coded(draft, tw.LazyEvidence), Model(8, 10).target()(())
    other = tw.sparsify(np.zeros(8))
    with pytest.raises(ValueError, match="the probability that was sent"):
        tw.verify_list(received, -1, row, other, np.random.default_rng(0))
    with pytest.raises(ValueError, match="after node 0"):
        tw.verify_list(received, 0, row, other, np.random.default_rng(0))


# -------------------------------------------------------------------------------- rounds that follow each other


MODES = ("list", "match", "scalar", "lazy")


@pytest.fixture(scope="module")
def ends():
    everything = ("list", "match", "coupled", "scalar", "lazy")
    return prompted(device=everything, edge=everything)


def after_round(ends: Any, mode: str, lists: Any, target: Any) -> list[tuple[Any, float]]:
    """Both sessions after each outcome of a round of one token, and its probability; misses as in ``deviation``."""

    def run(choices: Choices) -> Any:
        device, edge = both = copy.deepcopy(ends)
        context = tuple(device.prefix[len(PROMPT) :])
        q = lists(context)
        token = q.likeliest(1)[0] if mode == "match" else choices.draw(q.dense())
        tree, rows = tw.TokenTree.chain([token]), np.array([target(context), target((*context, token))])
        evidence = evidence_of(mode, tree, {-1: q})
        found = play(device, edge, tree, evidence, {-1: q}, rows, choices, choices, proposals=1, batches=1)
        return token, found, both

    hits: dict[int, list[tuple[Any, float]]] = defaultdict(list)
    missed: dict[int, float] = defaultdict(float)
    for (token, found, both), probability in outcomes(run):
        if found is None:
            missed[token] += probability
        else:
            # A scalar draft that is accepted never misses; its outcomes are those of two tokens.
            hits[token if mode != "scalar" or len(found) == 1 else -1].append((both, probability))
    return [
        (both, probability * (1 + missed[state] / sum(p for _, p in found)))
        for state, found in hits.items()
        for both, probability in found
    ]


@pytest.mark.parametrize(
    "modes", [*(("scalar", mode) for mode in MODES), ("lazy", "scalar"), ("list", "scalar"), ("match", "lazy")]
)
def test_two_rounds_are_lossless(modes, ends):
    """Through both sessions and all bytes: what the first round's choice leads to in the second."""
    lists, target = Model(8, 21).lists(truncation=tw.TopK(2)), Model(8, 22).target(tw.Sampling(top_k=3))
    rest = cache(lambda tokens: target_joint(target, 4 - len(tokens), tokens))
    joint = np.zeros_like(rest(()))
    for middle, p_first in after_round(ends, modes[0], lists, target):
        for (device, _), p_second in after_round(middle, modes[1], lists, target):
            tokens = tuple(device.prefix[len(PROMPT) :])
            joint[tokens] += p_first * p_second * rest(tokens)
    assert np.abs(joint - rest(())).max() < EXACT
