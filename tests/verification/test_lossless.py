"""Losslessness by enumeration: one round's output has the target's own distribution, whatever the lists are.

Paper Algorithms 3, 5 and 8 as corrected.  Every draft and every verdict of small vocabularies is enumerated with its
probability through the real ``verify_with``; the tests of the test break one rule each and must be noticed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from enumeration import (
    EXACT,
    NOTICED,
    SAMPLINGS,
    Choices,
    Context,
    Model,
    Shape,
    deviation,
    drafts,
    expansion,
    outcomes,
    output_joint,
    target_joint,
    target_rows,
)

from tslt_wire import (
    Draft,
    ListEvidence,
    MinProb,
    Precision,
    Profile,
    Sampling,
    SparseDistribution,
    TokenTree,
    TopK,
    TopP,
    Verdict,
    decode,
    encode,
    sparsify,
)
from tslt_wire.lists.sibling_sampling import Siblings, sample_children
from tslt_wire.verification import list_rule
from tslt_wire.verification.list_rule import DenseResidual
from tslt_wire.verification.verdicts import verify_with

SMALL_SHAPES: dict[str, tuple[int, Shape]] = {
    "chain-1": (5, expansion(1)),
    "chain-2": (4, expansion(1, 1)),
    "chain-3": (3, expansion(1, 1, 1)),
    "<2,1>": (4, expansion(2, 1)),
    "<2,2>": (3, expansion(2, 2)),
    "<3>": (5, expansion(3)),
    "<1,3>": (3, expansion(1, 3)),
    "leaf-then-chain": (3, ((), (((),),))),
    "chain-then-leaf": (3, ((((),),), ())),
    "ragged": (3, (((), ()), (), ((),))),
}


@pytest.mark.parametrize("replacement", [True, False], ids=["with", "without"])
@pytest.mark.parametrize("name", SMALL_SHAPES)
def test_every_shape_is_lossless(name, replacement):
    vocab_size, shape = SMALL_SHAPES[name]
    lists, target = Model(vocab_size, 1).lists(), Model(vocab_size, 2).target()
    assert deviation(shape, lists, target, replacement=replacement) < EXACT


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("replacement", [True, False], ids=["with", "without"])
def test_many_random_pairs_are_lossless(seed, replacement):
    lists = Model(4, 100 + seed, spread=0.5 + seed / 2).lists(truncation=TopK(1 + seed % 4))
    target = Model(4, 200 + seed, spread=3.0 - seed / 3).target()
    for shape in (expansion(1, 1), expansion(3), expansion(2, 1)):
        assert deviation(shape, lists, target, replacement=replacement) < EXACT


TRUNCATIONS = {
    "top-k": TopK(2),
    "top-1": TopK(1),
    "top-p": TopP(0.8),
    "min-prob": MinProb(0.15),
    "top-k & top-p": TopK(3) & TopP(0.7),
    "top-p & min-prob": TopP(0.95) & MinProb(0.1),
}


@pytest.mark.parametrize("replacement", [True, False], ids=["with", "without"])
@pytest.mark.parametrize("truncation", TRUNCATIONS.values(), ids=TRUNCATIONS)
def test_every_truncation_is_lossless(truncation, replacement):
    lists, target = Model(4, 3).lists(truncation=truncation), Model(4, 4).target()
    for shape in (expansion(1, 1), expansion(3), expansion(2, 1)):
        assert deviation(shape, lists, target, replacement=replacement) < EXACT


@pytest.mark.parametrize("precision", list(Precision))
def test_every_precision_is_lossless(precision):
    lists, target = Model(3, 5).lists(precision=precision), Model(3, 6).target()
    for shape in (expansion(1, 1), expansion(2, 1)):
        assert deviation(shape, lists, target) < EXACT
        assert deviation(shape, lists, target, replacement=False) < EXACT


@pytest.mark.parametrize("temperature", [0.0, 0.3, 3.0])
def test_the_drafts_own_temperature_is_free(temperature):
    lists, target = Model(4, 7).lists(temperature=temperature, truncation=MinProb(0.02)), Model(4, 8).target()
    for shape in (expansion(1, 1), expansion(2, 1)):
        assert deviation(shape, lists, target) < EXACT
        assert deviation(shape, lists, target, replacement=False) < EXACT


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
@pytest.mark.parametrize("truncation", [None, TopK(2)], ids=["all", "top-k"])
def test_every_target_setting_is_lossless(sampling, truncation):
    lists, target = Model(4, 9).lists(truncation=truncation), Model(4, 10).target(sampling)
    for shape in (expansion(1, 1), expansion(3), expansion(2, 1)):
        assert deviation(shape, lists, target) < EXACT
        assert deviation(shape, lists, target, replacement=False) < EXACT


def test_a_greedy_target_puts_out_its_own_sequence():
    lists, target = Model(4, 9).lists(), Model(4, 10).target(Sampling(temperature=0))
    joint, _ = output_joint(expansion(2, 1), lists, target)
    assert joint.max() == pytest.approx(1.0, abs=EXACT)


def test_equal_models_accept_everything():
    model = Model(4, 11)
    lists = model.lists(precision="f32")

    def target(context: Context) -> np.ndarray:
        return lists(context).dense()

    for draft, _ in drafts(expansion(1, 1, 1), lists):
        rows = target_rows(draft.tree, target)
        for verdict, probability in outcomes(lambda choices: verify_with(draft, rows, choices)):  # noqa: B023
            assert verdict.node == 2 or probability < EXACT
    assert deviation(expansion(1, 1), lists, target) < EXACT
    assert deviation(expansion(2, 1), lists, target, replacement=False) < EXACT


def test_disjoint_models_accept_nothing():
    q = sparsify([0.0, 0.5, -np.inf, -np.inf])
    p = np.array([0.0, 0.0, 0.25, 0.75])
    for replacement in (True, False):
        assert deviation(expansion(2, 1), lambda _: q, lambda _: p, replacement=replacement) < EXACT
        joint, _ = output_joint(expansion(2), lambda _: q, lambda _: p, replacement=replacement)
        np.testing.assert_allclose(joint, np.outer(p, p), atol=EXACT)


def test_three_layers_of_two_without_replacement():
    """``<2,2,2>``, V = 3, two tokens a list: 128 drafts."""
    lists, target = Model(3, 12).lists(truncation=TopK(2)), Model(3, 13).target()
    assert deviation(expansion(2, 2, 2), lists, target, replacement=False) < EXACT


def test_three_layers_of_two_with_replacement():
    """``<2,2,2>`` with replacement: the largest that is enumerated in seconds.

    Its 14 nodes make 3**14 = 4.8 million drafts over lists of three tokens, 16,384 over lists of two.  Here the lists
    after the prefix and after one token hold two, and of those after two tokens about half hold two and the rest one.
    """
    model = Model(3, 14)
    wide, narrow = model.lists(truncation=TopK(2)), model.lists(truncation=TopK(1))

    def lists(context: Context) -> SparseDistribution:
        return narrow(context) if len(context) == 2 and context[0] != context[1] else wide(context)

    joint, count = output_joint(expansion(2, 2, 2), lists, Model(3, 15).target())
    assert count > 1000
    assert np.abs(joint - target_joint(Model(3, 15).target(), 4)).max() < EXACT


@pytest.mark.parametrize("replacement", [True, False], ids=["with", "without"])
def test_nodes_in_any_order_are_lossless(replacement):
    shape: Shape = ((), ((), ()))
    lists, target = Model(3, 16).lists(), Model(3, 17).target()
    options = {"replacement": replacement, "depth_first": True}
    orders = {draft.tree.parents for draft, _ in drafts((((),), ((),)), lists, **options)}
    assert orders == {(-1, -1, 1, 0)}
    assert deviation(shape, lists, target, **options) < EXACT
    assert deviation((((),), ((),)), lists, target, **options) < EXACT


@pytest.mark.parametrize("precision", ["log2/1", "f16"])
@pytest.mark.parametrize("replacement", [True, False], ids=["with", "without"])
def test_what_crossed_the_wire_is_lossless(precision, replacement):
    """The device samples from its own lists, the edge verifies with the decoded ones."""
    profile = Profile(vocab_size=3)
    lists, target = Model(3, 18).lists(precision=precision, truncation=TopK(2)), Model(3, 19).target()

    def through(draft: Draft) -> Draft:
        message = decode(encode(draft, profile), profile)
        assert isinstance(message, Draft)
        return message

    for shape in (expansion(1, 1), expansion(2, 1), ((), ((),))):
        assert deviation(shape, lists, target, replacement=replacement, through=through) < EXACT


def test_the_probabilities_of_all_outcomes_sum_to_one():
    lists, target = Model(3, 1).lists(), Model(3, 2).target()
    joint, count = output_joint(expansion(2, 1), lists, target)
    assert count > 81
    assert joint.sum() == pytest.approx(1.0, abs=EXACT)


# The law of sample_children, through a generator whose integers() is enumerated.


class Scripted(np.random.Generator):
    """Stands in for a numpy generator: ``integers(0, high)`` answers from a script and notes ``high``."""

    def __init__(self, answers: list[int]) -> None:
        super().__init__(np.random.PCG64(0))
        self._answers = iter(answers)
        self.highs: list[int] = []

    def integers(self, low: int, high: int, size: int | None = None) -> Any:
        assert low == 0
        count = 1 if size is None else size
        self.highs += [high] * count
        values = [next(self._answers) for _ in range(count)]
        return values[0] if size is None else np.array(values)


def children_of(q: SparseDistribution, answers: list[int], replacement: bool) -> tuple[list[int], list[int]]:
    rng: Any = Scripted(answers)
    children = sample_children(q, len(answers), rng, replacement=replacement)
    return children, rng.highs


def intervals(value: Callable[[int], int], low: int, high: int) -> list[tuple[int, int]]:
    """(value, width) of each constant piece of a function that never goes down, on low..high-1, by bisection."""
    if value(low) == value(high - 1):
        return [(value(low), high - low)]
    middle = (low + high) // 2
    left, right = intervals(value, low, middle), intervals(value, middle, high)
    if left[-1][0] == right[0][0]:
        joined = (left[-1][0], left[-1][1] + right[0][1])
        return [*left[:-1], joined, *right[1:]]
    return left + right


@pytest.mark.parametrize("replacement", [True, False], ids=["with", "without"])
def test_sample_children_has_the_law_the_drafts_are_enumerated_with(replacement):
    """Each child's integers fall in intervals exactly as wide as the weights that are left."""
    q = sparsify(np.array([0.3, -1.2, -np.inf, 0.7, -4.0]), precision="log2/3")
    weights = {int(token): int(weight) for token, weight in zip(q.ids, q.weights, strict=True)}
    total = sum(weights.values())

    def after(before: list[int], left: dict[int, int], depth: int) -> None:
        high = sum(left.values())
        children, highs = children_of(q, [*before, 0], replacement)
        assert highs[-1] == high
        assert len(children) == depth + 1
        pieces = intervals(lambda u: children_of(q, [*before, u], replacement)[0][depth], 0, high)
        assert pieces == sorted(left.items())
        if depth < 2:
            start = 0
            for token, width in pieces:
                rest = {t: w for t, w in left.items() if replacement or t != token}
                after([*before, start + width // 2], rest, depth + 1)
                start += width

    after([], weights, 0)
    assert total == q.total


def test_without_replacement_there_are_no_more_children_than_tokens():
    q = sparsify([0.0, -1.0, -2.0])
    for seed in range(20):
        assert sorted(sample_children(q, 9, np.random.default_rng(seed), replacement=False)) == [0, 1, 2]
    assert len(sample_children(q, 9, np.random.default_rng(0), replacement=True)) == 9
    assert sample_children(q, 0, np.random.default_rng(0), replacement=True) == []


def test_the_integers_are_not_a_function_of_floats():
    """The widest list of the format: the last integer belongs to the last token, the first to the first."""
    q = sparsify(np.zeros(1 << 20))
    assert children_of(q, [q.total - 1], True)[0] == [(1 << 20) - 1]
    assert children_of(q, [0], True)[0] == [0]
    assert children_of(q, [(1 << 30) - 1], True)[0] == [0]
    assert children_of(q, [1 << 30], True)[0] == [1]


# Equal siblings.


@pytest.mark.parametrize("shape", [expansion(3), expansion(2, 1), ((), ((),)), (((),), ())])
def test_the_accepted_child_is_the_first_of_equal_siblings(shape):
    """With replacement siblings may be equal; then the first decides.

    It is rejected only if p < q there, which leaves a residual of 0, so no later equal one is ever accepted: following
    the accepted child (errata to Algorithm 8) and following the first equal child are the same rule.
    """
    lists, target = Model(3, 20).lists(), Model(3, 21).target()
    repeated = 0
    for draft, _ in drafts(shape, lists):
        tree, rows = draft.tree, target_rows(draft.tree, target)
        for verdict, probability in outcomes(lambda choices: verify_with(draft, rows, choices)):  # noqa: B023
            for node in tree.path(verdict.node):
                siblings = tree.children(tree.parents[node])
                equal = [s for s in siblings if tree.tokens[s] == tree.tokens[node]]
                repeated += len(equal) > 1
                assert equal[0] == node or probability < EXACT
    assert repeated > 0


def test_the_subtree_of_the_accepted_child_is_the_one_that_is_followed():
    """Two equal children with different subtrees, the target all on one: the verdict goes down the first."""
    q = sparsify([0.0, 0.0])
    tree = TokenTree([1, 1, 0, 1], [-1, -1, 0, 1])
    draft = Draft(
        round=3, prefix_length=0, prefix_hash=0, tree=tree, evidence=ListEvidence({-1: q, 0: q, 1: q}, replacement=True)
    )
    rows = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.5, 0.5]])
    found = {(v.node, v.token): p for v, p in outcomes(lambda choices: verify_with(draft, rows, choices))}
    assert found == {(2, 0): pytest.approx(0.5), (2, 1): pytest.approx(0.5)}


# Tests of the test: each breaks one rule, and the same harness must notice.

SHAPES_FOR_FAULTS = [expansion(1, 1), expansion(3), expansion(2, 1)]


def broken_residual(fault: str = "none") -> type[DenseResidual]:
    """``DenseResidual`` with one fault."""

    class Broken(DenseResidual):
        def __init__(self, target: np.ndarray, siblings: Siblings, owed: float) -> None:
            super().__init__(target, siblings, 1.0 if fault == "all is owed" else owed)
            self.siblings = siblings

        def share(self, token: int) -> float:
            ratio = self.rest[token] / self.siblings.prob_of(token)
            return min(1.0, 1 / ratio if fault == "inverted" and ratio > 0 else ratio)

        def reject(self, token: int) -> None:
            before, q = (self.rest, self.owed), self.siblings.dense()
            super().reject(token)
            p = before[0]
            rest = {
                "uniform q": np.maximum(0.0, p - np.full(len(p), 1 / len(p))),
                "listed only": np.where(q > 0, np.maximum(0.0, p - q), 0.0),
                "p": p,
                "without the token": np.where(np.arange(len(p)) == token, 0.0, p),
            }.get(fault)
            if rest is not None and rest.sum() > 0:
                self.rest = rest / rest.sum() * self.owed
            elif fault == "not normalised":
                self.rest = np.maximum(0.0, p - q)
            elif fault == "as much is owed":
                self.owed = before[1]

    return Broken


def worst(lists: Any, target: Any, **options: Any) -> float:
    return max(deviation(shape, lists, target, **options) for shape in SHAPES_FOR_FAULTS)


def test_the_unbroken_copy_passes(monkeypatch):
    monkeypatch.setattr(list_rule, "DenseResidual", broken_residual())
    lists, target = Model(4, 30).lists(truncation=TopK(3)), Model(4, 31).target()
    assert worst(lists, target) < EXACT


def test_an_inverted_ratio_is_noticed(monkeypatch):
    monkeypatch.setattr(list_rule, "DenseResidual", broken_residual("inverted"))
    assert worst(Model(4, 30).lists(), Model(4, 31).target()) > NOTICED


FAULTS = ["not normalised", "uniform q", "listed only", "p", "without the token", "all is owed", "as much is owed"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_residual_is_noticed(monkeypatch, fault):
    monkeypatch.setattr(list_rule, "DenseResidual", broken_residual(fault))
    assert worst(Model(4, 30).lists(truncation=TopK(3)), Model(4, 31).target()) > NOTICED


def test_truncation_after_sampling_is_noticed():
    """Sampled from the full distribution; sent is its top 2, with whatever was drawn added so that the list has it."""
    model, target = Model(4, 32), Model(4, 33).target()
    full, short = model.lists(), model.lists(truncation=TopK(2))

    def sent(q: SparseDistribution, drawn: list[int]) -> SparseDistribution:
        whole = {int(t): int(c) for q_ in (full_of[id(q)], q) for t, c in zip(q_.ids, q_.codes, strict=True)}
        kept = sorted({*map(int, q.ids), *drawn})
        return SparseDistribution(4, q.precision, np.array(kept), np.array([whole[t] for t in kept]))

    full_of: dict[int, SparseDistribution] = {}

    def lists(context: Context) -> SparseDistribution:
        full_of[id(short(context))] = full(context)
        return short(context)

    assert worst(lists, target, sampled=full, sent=sent) > NOTICED


def test_a_token_outside_the_list_cannot_be_sent():
    """The plain form of truncation after sampling does not even make a Draft."""
    model = Model(4, 32)
    with pytest.raises(ValueError, match="not in that node's list"):
        for _ in drafts(expansion(1), model.lists(truncation=TopK(2)), sampled=model.lists()):
            pass


def test_quantisation_after_sampling_is_noticed():
    model, target = Model(4, 34), Model(4, 35).target()
    assert worst(model.lists(precision="log2/0"), target, sampled=model.lists(precision="f32")) > NOTICED
    assert worst(model.lists(precision="log2/0"), target, sampled=model.lists(precision="log2/0")) < EXACT


def test_a_temperature_the_edge_does_not_know_is_noticed():
    model, target = Model(4, 34), Model(4, 35).target()
    assert worst(model.lists(), target, sampled=model.lists(temperature=0.7)) > NOTICED


def test_the_wrong_replacement_is_noticed():
    """Sampled without replacement, verified as if with."""
    lists, target = Model(4, 36).lists(), Model(4, 37).target()

    def as_if_with(draft: Draft) -> Draft:
        evidence = ListEvidence(draft.evidence.lists, replacement=True)
        return Draft(round=0, prefix_length=0, prefix_hash=0, tree=draft.tree, evidence=evidence)

    assert worst(lists, target, replacement=False, through=as_if_with) > NOTICED


def broken_walk(*, bonus: Any = None, row: str = "right") -> Any:
    """``verify_with``, token by token and with replacement, with one fault."""

    def verification(draft: Draft, rows: np.ndarray, choices: Choices) -> Verdict:
        tree, at = draft.tree, -1
        while True:
            children = tree.children(at)
            residual = rows[1 + (tree.parents[at] if row == "parent's" and at >= 0 else at)]
            if children:
                left = DenseResidual(residual, Siblings(draft.evidence.lists[at], replacement=True))
                for child in children:
                    if choices.accept(left.share(tree.tokens[child])):
                        break
                    left.reject(tree.tokens[child])
                else:
                    return Verdict(round=draft.round, node=at, token=left.draw(choices))
                at = child if row != "first child" else children[0]
                continue
            elif bonus is not None:
                residual = bonus(tuple(tree.tokens[i] for i in tree.path(at))).dense()
            return Verdict(round=draft.round, node=at, token=choices.draw(residual))

    return verification


def test_the_unbroken_walk_passes():
    lists, target = Model(4, 38).lists(), Model(4, 39).target()
    assert worst(lists, target, verification=broken_walk()) < EXACT


def test_a_bonus_token_from_the_draft_is_noticed():
    lists, target = Model(4, 38).lists(), Model(4, 39).target()
    assert worst(lists, target, verification=broken_walk(bonus=lists)) > NOTICED


@pytest.mark.parametrize("row", ["parent's", "first child"])
def test_a_wrong_row_or_child_is_noticed(row):
    """The target's row of the parent is used, or the first child is followed whichever was accepted."""
    lists, target = Model(4, 38).lists(), Model(4, 39).target()
    assert worst(lists, target, verification=broken_walk(row=row)) > NOTICED


def test_the_longest_accepted_path_is_noticed():
    """Every node tried on its own, and the deepest accepted path kept: long, and not the target's law."""

    def verification(draft: Draft, rows: np.ndarray, choices: Choices) -> Verdict:
        tree = draft.tree
        accepted = {-1}
        for node, parent in enumerate(tree.parents):
            token = tree.tokens[node]
            ratio = rows[1 + parent][token] / draft.evidence.lists[parent].prob_of(token)
            if parent in accepted and choices.accept(min(1.0, ratio)):
                accepted.add(node)
        at = max(sorted(accepted), key=lambda node: 0 if node < 0 else tree.depths[node])
        residual = rows[1 + at]
        if tree.children(at):
            residual = np.maximum(0.0, residual - draft.evidence.lists[at].dense())
        return Verdict(round=0, node=at, token=choices.draw(residual))

    assert worst(Model(3, 40).lists(), Model(3, 41).target(), verification=verification) > NOTICED
