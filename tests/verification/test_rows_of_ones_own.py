"""Rows of one's own, lists of rows, generators: what ``verify`` and its kin are given is checked where it is given."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

import tslt_wire as tw
from tslt_wire.lists.sibling_sampling import sample_children
from tslt_wire.verification.choices import RandomChoices
from tslt_wire.verification.lazy_rule import verify_list_with
from tslt_wire.verification.logits_rows import LogitsRow
from tslt_wire.verification.target_rows import real_array

V = 6
CHAIN = tw.TokenTree.chain([1, 2, 3])
Q = tw.sparsify(np.zeros(V))
LISTS = dict.fromkeys(CHAIN.inner, Q)
NEED_ALL: dict[str, tw.Evidence] = {
    "list": tw.ListEvidence(LISTS),
    "coupled": tw.CoupledEvidence(),
    "lazy": tw.LazyEvidence.of(CHAIN, LISTS),
}
EVIDENCE: dict[str, tw.Evidence] = NEED_ALL | {
    "match": tw.MatchEvidence(),
    "scalar": tw.ScalarEvidence.of(CHAIN, LISTS),
}
COUPLING = tw.Coupling(bytes(8), 1)
PROBS = tw.target_probs(np.random.default_rng(3).normal(size=(4, V)), tw.Sampling())


def draft_of(name: str) -> tw.Draft:
    return tw.Draft(round=0, prefix_length=0, prefix_hash=0, tree=CHAIN, evidence=EVIDENCE[name])


def verdict(name: str, rows: Any, seed: Any = 0) -> Any:
    rng = np.random.default_rng(seed) if isinstance(seed, int) else seed
    return tw.verify(draft_of(name), rows, rng, coupling=COUPLING)


class Own:
    """A row of a caller's: it gives out what it was given."""

    def __init__(self, probs: Any, vocab_size: Any = V) -> None:
        self.probs, self.vocab_size = probs, vocab_size

    def prob(self, token: int) -> float:
        return float(self.probs[token])

    def draw(self, choices: Any) -> int:
        return int(choices.draw(np.asarray(self.probs, np.float64)))

    def dense(self) -> Any:
        return self.probs


class Inherited(tw.DenseRow):
    """It has the class of a checked row, and is none."""

    def dense(self) -> Any:
        return np.array([2.0, -1.0, 0, 0, 0, 0])


HALVES = np.array([0.5, 0.5, 0, 0, 0, 0])


# ---------------------------------------------------------------------------------------------------- rows of ones own


@pytest.mark.parametrize("name", NEED_ALL)
@pytest.mark.parametrize(
    "wrong",
    [
        np.array([1.0, 1, 0, 0, 0, 0]),
        np.array([np.nan, 0.5, 0.5, 0, 0, 0]),
        np.array([2.0, -1, 0, 0, 0, 0]),
        np.zeros(V),
        [2.0, -1.0, 0.0, 0.0, 0.0, 0.0],
        np.array([np.inf, 0, 0, 0, 0, 0]),
        np.full(V + 1, 1 / (V + 1)),
        np.full(V - 1, 1 / (V - 1)),
        np.full((1, V), 1 / V),
        1.0,
    ],
)
def test_what_a_row_says_of_all_tokens_has_to_be_a_distribution(name, wrong):
    with pytest.raises(ValueError, match=r"^dense\(\) of Own "):
        verdict(name, [Own(wrong)] * 4)
    with pytest.raises(ValueError, match=r"^dense\(\) of Own "):
        tw.verify_list(draft_of("lazy"), 0, Own(wrong), Q, np.random.default_rng(0))


@pytest.mark.parametrize("name", NEED_ALL)
@pytest.mark.parametrize("wrong", [None, "abcdef", ["1"] * V, np.ones(V) * 1j, np.ones(V, bool)])
def test_what_a_row_says_of_all_tokens_has_to_be_numbers(name, wrong):
    with pytest.raises(TypeError, match=r"^dense\(\) of Own must be real numbers"):
        verdict(name, [Own(wrong)] * 4)


def test_a_class_of_ones_own_is_checked_whatever_it_inherits():
    with pytest.raises(ValueError, match=r"^dense\(\) of Inherited must be a distribution"):
        verdict("list", [Inherited(HALVES)] * 4)


@pytest.mark.parametrize("name", EVIDENCE)
def test_a_row_is_taken_in_any_form_that_an_array_is(name):
    """A list, float32, float16: rounded, so that the sum is not 1 before it is divided by it."""
    for given in (PROBS.tolist(), PROBS.astype(np.float16), PROBS.astype(np.float32)):
        wanted = [tw.DenseRow(row) for row in given]
        for seed in range(20):
            own = verdict(name, [Own(row) for row in given], seed)
            if name in NEED_ALL:
                assert own == verdict(name, wanted, seed)


def test_what_a_row_gives_is_divided_by_its_sum_and_left_alone():
    seen = []

    class Noted(RandomChoices):
        def draw(self, weights: Any, cumulative: Any = None) -> int:
            seen.append(weights.sum())
            return super().draw(weights, cumulative)

    coarse = np.array([0.0, 1.003, 0, 0, 0, 0])
    verify_list_with(draft_of("lazy"), 0, Own(coarse), Q, Noted(np.random.default_rng(0)))
    assert seen == [1 - Q.prob_of(1)]
    assert coarse[1] == 1.003


@pytest.mark.parametrize("name", EVIDENCE)
@pytest.mark.parametrize(
    ("wrong", "error"), [(None, TypeError), ("6", TypeError), (6.0, TypeError), (True, TypeError), (0, ValueError)]
)
def test_a_row_says_its_vocabulary_as_an_integer(name, wrong, error):
    with pytest.raises(error, match="vocab_size of Own must be"):
        verdict(name, [Own(PROBS[0], wrong)] * 4)
    verdict(name, [Own(row, np.int64(V)) for row in PROBS])


def test_a_row_without_a_vocabulary_is_a_type_error():
    class Half:
        prob = draw = dense = None

    with pytest.raises(TypeError, match="vocab_size of Half must be an integer"):
        verdict("list", [Half()] * 4)
    with pytest.raises(TypeError, match="vocab_size of Own must be an integer"):
        tw.propose(0, 0, Own(PROBS[0], None), np.random.default_rng(0))


# ------------------------------------------------------------------------------------------------------ lists of rows


@pytest.mark.parametrize("name", EVIDENCE)
def test_a_list_may_mix_rows_and_probabilities(name):
    mixed = [PROBS[0], tw.DenseRow(PROBS[1]), PROBS[2].tolist(), Own(PROBS[3])]
    for seed in range(30):
        assert verdict(name, mixed, seed) == verdict(name, PROBS, seed)
        assert verdict(name, tuple(mixed[::-1]), seed) == verdict(name, PROBS[::-1], seed)
    with pytest.raises(ValueError, match="row 0 of target_probs must be a distribution"):
        verdict(name, [2 * PROBS[0], *mixed[1:]])


@pytest.mark.parametrize("name", EVIDENCE)
@pytest.mark.parametrize("wrong", [{-1: Q}, {0: PROBS[0]}, {}, None, "rows", [None] * 4, [{}] * 4, ["a"] * 4])
def test_what_are_no_rows_is_a_type_error(name, wrong):
    with pytest.raises(TypeError, match="target_probs must be real numbers"):
        verdict(name, wrong)


def test_a_list_of_tensors_is_taken_as_the_tensor_is():
    torch = pytest.importorskip("torch")
    for dtype in (torch.bfloat16, torch.float16, torch.float32, torch.float64):
        whole = torch.tensor(PROBS).to(dtype)
        for rows in (list(whole), tuple(whole), [whole[0], whole[1].double().numpy(), *whole[2:]]):
            np.testing.assert_array_equal(real_array("rows", rows), real_array("rows", whole))
            for name in EVIDENCE:
                for seed in range(5):
                    assert verdict(name, rows, seed) == verdict(name, whole, seed)
        np.testing.assert_array_equal(
            [row.dense() for row in tw.target_rows(list(whole), tw.Sampling())],
            [row.dense() for row in tw.target_rows(whole, tw.Sampling())],
        )
    with pytest.raises(ValueError, match=r"target_probs must be of one shape, got \[\(5,\), \(6,\)\]"):
        verdict("match", [whole[0], whole[1], whole[2], whole[3][:5]])


def test_tensors_of_8_bits_are_refused():
    torch = pytest.importorskip("torch")
    for dtype in (torch.float8_e4m3fn, torch.float8_e5m2):
        whole = torch.tensor(PROBS).to(dtype)
        for rows in (whole, list(whole)):
            with pytest.raises(TypeError, match=r"real numbers of at least 16 bits, got torch\.float8"):
                verdict("match", rows)
        with pytest.raises(TypeError, match="at least 16 bits"):
            tw.DenseRow(whole[0])


# --------------------------------------------------------------------------------------------------------- generators


@pytest.mark.parametrize("wrong", [np.random, np.random.RandomState(0), random, random.Random(0), None, 5, "rng"])
def test_random_numbers_come_from_numpys_generator(wrong):
    match = r"^rng must be a numpy\.random\.Generator .*, got "
    for name in EVIDENCE:
        with pytest.raises(TypeError, match=match):
            tw.verify(draft_of(name), PROBS, wrong, coupling=COUPLING)
    proposals = tw.propose(0, 0, PROBS[0], np.random.default_rng(0))
    calls = [
        lambda: tw.propose(0, 0, PROBS[0], wrong),
        lambda: tw.choose(proposals, draft_of("scalar"), wrong),
        lambda: tw.verify_list(draft_of("lazy"), 0, PROBS[0], Q, wrong),
        lambda: sample_children(Q, 1, wrong, replacement=True),
        lambda: sample_children(Q, 0, wrong, replacement=True),
        lambda: tw.TreeSampler(replacement=True).sample(-1, Q, 1, wrong),
        lambda: Q.sample(wrong),
    ]
    for call in calls:
        with pytest.raises(TypeError, match=match):
            call()


# ------------------------------------------------------------------------------------------------------------- others


@pytest.mark.parametrize("wrong", [None, 1.0, {"temperature": 1}, (1.0, 0, 1.0)])
def test_logits_need_settings(wrong):
    for make in (tw.target_probs, tw.target_rows):
        with pytest.raises(TypeError, match="sampling must be a Sampling"):
            make(np.zeros((2, V)), wrong)
    with pytest.raises(TypeError, match="sampling must be a Sampling"):
        LogitsRow(np.zeros(V), wrong)


def test_a_row_of_logits_is_one_row():
    for wrong in (np.zeros((2, V)), np.zeros(0), 1.0):
        with pytest.raises(ValueError, match=r"logits must have shape \(V,\)"):
            LogitsRow(wrong, tw.Sampling())
    for wrong in (None, "abc", {}):
        with pytest.raises(TypeError, match="logits must be real numbers"):
            LogitsRow(wrong, tw.Sampling())
    assert LogitsRow([0.0, 0.0], tw.Sampling()).dense().tolist() == [0.5, 0.5]


@pytest.mark.parametrize("wrong", [5, None, [0.5, 0.5], PROBS[0], {1: 1.0}])
def test_races_are_run_over_a_list(wrong):
    with pytest.raises(TypeError, match="q must be a SparseDistribution"):
        COUPLING.children(wrong, 1, 0)


def test_tail_scale_learns_from_drafts_and_verdicts():
    draft, verdict_ = draft_of("list"), tw.Verdict(round=0, node=0, token=1)
    for wrong in ((None, verdict_), (draft, None), (draft, tw.AskList(round=0, node=0)), (verdict_, draft)):
        with pytest.raises(TypeError, match="a Draft and its Verdict are needed"):
            tw.TailScale().learn(*wrong)
    for lists in ([1, 2], 5, {"a": Q}, {-1: None}):
        with pytest.raises(TypeError):
            tw.TailScale().learn(draft, verdict_, lists)
