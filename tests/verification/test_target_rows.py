"""Target rows: what is looked at and when, what rounding is taken, rows that know less, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from enumeration import EXACT, NOTICED, Choices, Model, expansion, output_joint, target_joint
from enumeration import target_rows as rows_of
from hypothesis import given
from hypothesis import strategies as st

import tslt_wire as tw
from tslt_wire.verification.choices import RandomChoices
from tslt_wire.verification.logits_rows import LogitsRow
from tslt_wire.verification.target_rows import sum_tolerance
from tslt_wire.verification.verdicts import verify_with

V = 6
LOGITS = np.random.default_rng(3).normal(size=(4, V)) + 3 * np.eye(4, V, 1)
SETTINGS = tw.Sampling(temperature=0.8, top_k=5, top_p=0.95)
CHAIN = tw.TokenTree.chain([1, 2, 3])
Q = tw.sparsify(np.zeros(V))
LISTS = dict.fromkeys(CHAIN.inner, Q)
SURE = {node - 1: tw.sparsify(9 * np.eye(V)[token]) for node, token in enumerate(CHAIN.tokens)}
"""Lists that are surer of the chain than the target is: what a node lacks no other makes up for."""
EVIDENCE: dict[str, tw.Evidence] = {
    "list": tw.ListEvidence(SURE),
    "match": tw.MatchEvidence(),
    "coupled": tw.CoupledEvidence(),
    "scalar": tw.ScalarEvidence.of(CHAIN, LISTS),
    "lazy": tw.LazyEvidence.of(CHAIN, LISTS),
}
COUPLING = tw.Coupling(bytes(8), 1)


def draft_of(evidence: tw.Evidence, tree: tw.TokenTree = CHAIN) -> tw.Draft:
    return tw.Draft(round=7, prefix_length=3, prefix_hash=0, tree=tree, evidence=evidence)


def one_hot(*tokens: int) -> np.ndarray:
    """Logits of a target that says ``tokens``."""
    return np.where(np.arange(V) == np.array(tokens)[:, None], 0.0, -np.inf)


# ------------------------------------------------------------------------------------------------- what is looked at


@pytest.mark.parametrize("name", EVIDENCE)
def test_rows_of_logits_give_the_same_answers_as_their_probabilities(name):
    draft, probs = draft_of(EVIDENCE[name]), tw.target_probs(LOGITS, SETTINGS)
    kinds = set()
    for seed in range(60):
        answers = [
            tw.verify(draft, rows, np.random.default_rng(seed), coupling=COUPLING)
            for rows in (probs, tw.target_rows(LOGITS, SETTINGS), [tw.DenseRow(row) for row in probs], list(probs))
        ]
        assert answers[1:] == answers[:-1]
        kinds.add((type(answers[0]), answers[0].node))
    assert len(kinds) > 1 or name == "coupled"


@pytest.mark.parametrize("name", EVIDENCE)
def test_a_chain_that_is_rejected_at_its_second_token_never_looks_at_the_third_row(name, monkeypatch):
    seen = []
    looked_at = LogitsRow._row
    monkeypatch.setattr(LogitsRow, "_row", lambda row: seen.append(row) or looked_at(row))
    rows = tw.target_rows(one_hot(1, 0, 0, 0), tw.Sampling())
    answer = tw.verify(draft_of(EVIDENCE[name]), rows, np.random.default_rng(0), coupling=COUPLING)
    assert answer.node == 0
    assert {id(row) for row in seen} == {id(rows[0]), id(rows[1])}


def test_a_row_is_computed_once_and_is_the_same_object_each_time():
    rows = tw.target_rows(LOGITS, SETTINGS)
    assert len(rows) == 4
    assert rows[1] is rows[-3] is rows[1:][0]
    assert rows[1].dense() is rows[1].dense()
    with pytest.raises(ValueError, match="read-only"):
        rows[1].dense()[0] = 1.0
    with pytest.raises(IndexError):
        rows[4]


def test_a_row_that_nobody_looks_at_may_be_anything():
    logits = one_hot(0, 2, 3, 0)
    logits[2] = np.nan
    rows = tw.target_rows(logits, tw.Sampling())
    assert tw.verify(draft_of(EVIDENCE["match"]), rows, np.random.default_rng(0)).token == 0
    with pytest.raises(ValueError, match="no NaN"):
        rows[2].prob(0)


def test_an_edge_goes_on_with_the_row_that_it_rejected_at():
    rows = tw.target_rows(one_hot(1, 0, 0, 0), tw.Sampling())
    answer = tw.verify(draft_of(EVIDENCE["scalar"]), rows, np.random.default_rng(0), proposals=2)
    again = tw.propose(7, answer.node, rows[1 + answer.node], np.random.default_rng(0), batch=1, count=2)
    assert [y.token for y in (*answer.proposals, *again.proposals)] == [0] * 4
    asked = tw.verify(draft_of(EVIDENCE["lazy"]), rows, np.random.default_rng(0))
    verdict = tw.verify_list(draft_of(EVIDENCE["lazy"]), asked.node, rows[1], Q, np.random.default_rng(0))
    assert (verdict.node, verdict.token) == (0, 0)


# ------------------------------------------------------------------------------------------------ types and rounding


TORCH = ["float64", "float32", "float16", "bfloat16"]


@pytest.mark.parametrize("name", TORCH)
def test_tensors_of_torch_are_taken(name):
    torch = pytest.importorskip("torch")
    logits = torch.from_numpy(LOGITS).to(getattr(torch, name)).requires_grad_()
    exact = logits.detach().double().numpy()
    wanted = tw.target_probs(exact, SETTINGS)
    np.testing.assert_array_equal(tw.target_probs(logits, SETTINGS), wanted)
    rows = tw.target_rows(logits, SETTINGS)
    np.testing.assert_allclose([row.dense() for row in rows], wanted, rtol=1e-15)
    probs = torch.softmax(logits.float(), dim=-1).to(getattr(torch, name))
    for evidence in EVIDENCE.values():
        draft = draft_of(evidence)
        for given_, same in ((rows, wanted), (probs, probs.detach().double().numpy())):
            answers = [tw.verify(draft, rows_, np.random.default_rng(5), coupling=COUPLING) for rows_ in (given_, same)]
            assert answers[0] == answers[1]
    made = [tw.propose(0, -1, row, np.random.default_rng(1)) for row in (probs[0], probs[0].detach().double().numpy())]
    assert made[0] == made[1]


class ByDlpack:
    """A tensor of a library that numpy has never heard of."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        self.shape = array.shape

    def __getitem__(self, at: Any) -> ByDlpack:
        return ByDlpack(self._array[at])

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._array.__dlpack_device__()


def test_tensors_of_any_library_are_taken():
    tensor = ByDlpack(LOGITS.astype(np.float32))
    wanted = tw.target_probs(LOGITS.astype(np.float32), SETTINGS)
    np.testing.assert_allclose([row.dense() for row in tw.target_rows(tensor, SETTINGS)], wanted, rtol=1e-15)
    answers = [
        tw.verify(draft_of(EVIDENCE["list"]), rows, np.random.default_rng(1)) for rows in (ByDlpack(wanted), wanted)
    ]
    assert answers[0] == answers[1]


def rounded_to_bf16(values: np.ndarray) -> np.ndarray:
    """float32 numbers of 8 bits of significand, to the nearest, ties to even."""
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


def test_the_row_that_was_refused():
    draft = draft_of(tw.MatchEvidence(), tw.TokenTree([], []))
    assert tw.verify(draft, [[0.5, 0.498046875]], np.random.default_rng(0)).node == -1
    np.testing.assert_allclose(tw.DenseRow([0.5, 0.498046875]).dense(), np.array([256, 255]) / 511, rtol=1e-15)


@pytest.mark.parametrize("spread", [0.0, 0.1, 1.0, 3.0, 5.0])
def test_rows_of_a_large_vocabulary_that_were_rounded_to_16_bits_are_taken(spread):
    logits = np.random.default_rng(1).normal(size=(4, 128_256)) * spread
    for temperature in (0.3, 1.0, 1.5):
        for row in tw.target_probs(logits, tw.Sampling(temperature=temperature)):
            for rounded in (rounded_to_bf16(row), row.astype(np.float16)):
                found = tw.DenseRow(rounded).dense()
                assert abs(found.sum() - 1) < 1e-12
                np.testing.assert_allclose(found, row, rtol=0.02, atol=2 * 2.0**-25)


@given(st.integers(1, 300), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_no_rounding_to_16_bits_is_beyond_the_tolerance(size, power, seed):
    row = np.random.default_rng(seed).random(size) ** power
    for rounded in (rounded_to_bf16(row / row.sum()), (row / row.sum()).astype(np.float16)):
        # The row is rounded to float32 before, by 2**-24 of each number.
        assert abs(rounded.astype(np.float64).sum() - 1) <= sum_tolerance(size) + 2.0**-23


@pytest.mark.parametrize("evidence", [None, tw.MatchEvidence()], ids=["list", "match"])
def test_rows_whose_sum_rounding_changed_are_lossless(evidence):
    lists, target = Model(4, 1).lists(), Model(4, 2).target()

    def changed(draft: tw.Draft) -> tw.Draft:
        return draft_of(evidence or draft.evidence, draft.tree)

    for scale in (1 - 0.0039, 1 + 0.0039):
        joint, _ = output_joint(
            expansion(2, 1),
            lists,
            target,
            replacement=False,
            through=changed,
            verification=lambda draft, rows, choices: verify_with(draft, rows * scale, choices),  # noqa: B023
        )
        assert np.abs(joint - target_joint(target, 3)).max() < EXACT


def test_the_tolerance_is_not_larger_than_it_must_be():
    """All numbers but one are a little above the middle of two of bfloat16: rounding adds nearly 2**-8 of each."""
    row = np.full(255, 2.0**-8 * (1 + 1.01 * 2.0**-8))
    row[-1] = 1 - row[:-1].sum()
    error = rounded_to_bf16(row).astype(np.float64).sum() - 1
    assert 0.98 * sum_tolerance(255) < error < sum_tolerance(255) == 2.0**-8
    # The same of float16, whose numbers below 2**-14 are 2**-24 apart.
    row = np.full(128_256, 127.51 * 2.0**-24)
    row[-1] = 1 - row[:-1].sum()
    error = row.astype(np.float16).astype(np.float64).sum() - 1
    assert sum_tolerance(128_256) == 2.0**-11 + 128_256 * 2.0**-25
    assert 0.85 * sum_tolerance(128_256) < error < sum_tolerance(128_256)


@pytest.mark.parametrize("total", [0.99, 1.01])
def test_what_rounding_does_not_explain_is_named(total):
    rows = np.full((4, V), 1 / V)
    rows[2] *= total
    with pytest.raises(ValueError, match=rf"row 2 of target_probs must be a distribution.*its sum is {total}"):
        tw.verify(draft_of(EVIDENCE["list"]), rows, np.random.default_rng(0))
    with pytest.raises(ValueError, match=rf"target_probs must be a distribution.*its sum is {total}"):
        tw.propose(0, -1, rows[2], np.random.default_rng(0))


@pytest.mark.parametrize("value", [["a"] * V, [1j] * V, [True] * V, [None] * V])
def test_what_is_not_real_is_refused(value):
    for run in (
        lambda: tw.verify(draft_of(EVIDENCE["list"]), [value] * 4, np.random.default_rng(0)),
        lambda: tw.target_rows([value], SETTINGS),
        lambda: tw.target_probs(value, SETTINGS),
        lambda: tw.propose(0, -1, value, np.random.default_rng(0)),
    ):
        with pytest.raises(TypeError, match="must be real numbers"):
            run()


@pytest.mark.parametrize("logits", [1.0, np.zeros(3), np.zeros((2, 0)), np.zeros((1, 2, 3))])
def test_logits_of_another_shape_are_refused(logits):
    with pytest.raises(ValueError, match="logits must have shape"):
        tw.target_rows(logits, SETTINGS)
    with pytest.raises(TypeError, match="sampling must be a Sampling"):
        tw.target_rows(np.zeros((1, 3)), {"temperature": 1.0})


# ----------------------------------------------------------------------------------------------- rows that know less


class Known:
    """A row of a verifier that can say a probability and draw a token, and no more."""

    vocab_size = V

    def __init__(self, probs: np.ndarray) -> None:
        self._probs = probs

    def prob(self, token: int) -> float:
        return float(self._probs[token])

    def draw(self, choices: Choices) -> int:
        return choices.draw(self._probs)


class Drawn(Known):
    """One that holds tokens which were drawn before."""

    def __init__(self, probs: np.ndarray, tokens: list[int]) -> None:
        super().__init__(probs)
        self.tokens = tokens

    def draw(self, choices: Choices) -> int:
        return self.tokens.pop(0)


class Spun(Known):
    """One that draws in its own way."""

    def draw(self, choices: Choices) -> int:
        return int(np.searchsorted(np.cumsum(self._probs), choices.uniform(), side="right"))


@pytest.mark.parametrize("name", EVIDENCE)
def test_prob_and_draw_serve_scalar_and_match(name):
    probs = tw.target_probs(LOGITS, tw.Sampling())
    rows = [Known(row) for row in probs]
    if name not in ("scalar", "match"):
        with pytest.raises(TypeError, match=r"Evidence needs rows with dense\(\).*Known has none"):
            tw.verify(draft_of(EVIDENCE[name]), rows, np.random.default_rng(0), coupling=COUPLING)
        return
    for seed in range(30):
        answers = [tw.verify(draft_of(EVIDENCE[name]), any_, np.random.default_rng(seed)) for any_ in (rows, probs)]
        assert answers[0] == answers[1]
    assert tw.propose(1, 0, rows[1], np.random.default_rng(0)) == tw.propose(1, 0, probs[1], np.random.default_rng(0))
    with pytest.raises(TypeError, match=r"dense\(\)"):
        tw.verify_list(draft_of(EVIDENCE["lazy"]), 0, rows[1], Q, np.random.default_rng(0))


def test_prob_and_draw_are_lossless():
    """By enumeration, as rows of probabilities are."""
    lists, target = Model(V, 1).lists(), Model(V, 2).target()

    def as_match(draft: tw.Draft) -> tw.Draft:
        return tw.Draft(round=0, prefix_length=0, prefix_hash=0, tree=draft.tree, evidence=tw.MatchEvidence())

    def verification(draft: tw.Draft, rows: np.ndarray, choices: Choices) -> Any:
        return verify_with(draft, [Known(row) for row in rows], choices)

    options: dict[str, Any] = {"replacement": False, "through": as_match}
    joint, _ = output_joint(expansion(1), lists, target, verification=verification, **options)
    assert np.abs(joint - target_joint(target, 2)).max() < EXACT

    def parents(draft: tw.Draft, rows: np.ndarray, choices: Choices) -> Any:
        return verification(draft, rows[[0, *(1 + parent for parent in draft.tree.parents)]], choices)

    joint, _ = output_joint(expansion(1), lists, target, verification=parents, **options)
    assert np.abs(joint - target_joint(target, 2)).max() > NOTICED


def test_a_row_can_hand_out_tokens_that_were_drawn_before():
    probs = tw.target_probs(LOGITS, tw.Sampling())
    rows = [Drawn(row, [token]) for row, token in zip(probs, (1, 2, 0, 0), strict=True)]
    verdict = tw.verify(draft_of(EVIDENCE["match"]), rows, np.random.default_rng(0))
    assert (verdict.tokens(CHAIN), [row.tokens for row in rows]) == ((1, 2, 0), [[], [], [], [0]])
    rows = [Drawn(one, [4, 5, 0]) for one in np.eye(V)[[0, 0, 0, 0]]]
    proposals = tw.verify(draft_of(EVIDENCE["scalar"]), rows, np.random.default_rng(0), proposals=2)
    assert [y.token for y in proposals.proposals] == [4, 5]
    assert rows[0].tokens == [0]


def test_a_row_can_draw_in_its_own_way():
    rows, counts = [Spun(row) for row in tw.target_probs(LOGITS, tw.Sampling())], np.zeros(V)
    rng = np.random.default_rng(0)
    for _ in range(4000):
        counts[tw.verify(draft_of(EVIDENCE["match"]), rows, rng).tokens(CHAIN)[0]] += 1
    np.testing.assert_allclose(counts / 4000, [rows[0].prob(token) for token in range(V)], atol=0.04)


def test_rows_that_say_nonsense_are_refused():
    class Wrong(Known):
        def draw(self, choices: Choices) -> int:
            return V

    good, draft = tw.target_probs(LOGITS, tw.Sampling()), draft_of(EVIDENCE["match"])
    with pytest.raises(ValueError, match=r"a token of Wrong must be in 0\.\.5"):
        tw.verify(draft, [Wrong(row) for row in good], np.random.default_rng(0))
    for wrong in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match="gives token 1 the probability"):
            tw.verify(draft_of(EVIDENCE["scalar"]), [Known(np.full(V, wrong))] * 4, np.random.default_rng(0))
    with pytest.raises(ValueError, match="4 rows"):
        tw.verify(draft, [Known(row) for row in good[:3]], np.random.default_rng(0))
    mixed = [tw.DenseRow(row) for row in (one_hot(1)[0] == 0) * np.ones((4, 1))]
    mixed[1] = tw.DenseRow([0.5, 0.5])
    with pytest.raises(ValueError, match="row 1 of target_probs is for V = 2, others for V = 6"):
        tw.verify(draft, mixed, np.random.default_rng(0))


# -------------------------------------------------------------------------------------------------------- arguments


@pytest.mark.parametrize("name", EVIDENCE)
@pytest.mark.parametrize("proposals", [0, 257, 300, -1, True, 2.0, "3", None])
def test_numbers_of_proposals_are_checked_whatever_the_evidence(name, proposals):
    rows = np.full((4, V), 1 / V)
    with pytest.raises((TypeError, ValueError), match="proposals must be"):
        tw.verify(draft_of(EVIDENCE[name]), rows, np.random.default_rng(0), coupling=COUPLING, proposals=proposals)


@pytest.mark.parametrize("wrong", [-1, 1 << 32, 1.5, True, "0", None])
def test_numbers_of_propose_are_checked(wrong):
    row, rng = np.full(V, 1 / V), np.random.default_rng(0)
    for name, node in (("round", 0), ("batch", 0), ("count", 0), ("node", -1)):
        place = {"round": 0, "node": node, "batch": 0, "count": 1} | {
            name: -2 if (name, wrong) == ("node", -1) else wrong
        }
        with pytest.raises((TypeError, ValueError), match=f"{name} must be"):
            tw.propose(place["round"], place["node"], row, rng, batch=place["batch"], count=place["count"])
    whole = {"batch": np.int64(1), "count": np.uint8(2)}
    assert len(tw.propose(np.int32(3), np.int8(-1), row, rng, **whole).proposals) == 2


@pytest.mark.parametrize("name", ["scalar", "match", "coupled", "lazy", "list"])
def test_rows_of_another_vocabulary_are_refused(name):
    with pytest.raises(ValueError, match=r"token 3|must have shape"):
        tw.verify(draft_of(EVIDENCE[name]), np.full((4, 3), 1 / 3), np.random.default_rng(0), coupling=COUPLING)
    wide = [tw.DenseRow(np.full(7, 1 / 7))] * 4
    if name == "list":
        with pytest.raises(ValueError, match="V = 7, the draft's lists for V = 6"):
            tw.verify(draft_of(EVIDENCE[name]), wide, np.random.default_rng(0))


def test_what_verify_is_given_is_checked():
    rows, rng = np.full((4, V), 1 / V), np.random.default_rng(0)
    with pytest.raises(TypeError, match="draft must be a Draft"):
        tw.verify(CHAIN, rows, rng)
    with pytest.raises(TypeError, match="coupling must be a Coupling"):
        tw.verify(draft_of(EVIDENCE["coupled"]), rows, rng, coupling=bytes(8))
    with pytest.raises(ValueError, match="needs the session's coupling"):
        tw.verify(draft_of(EVIDENCE["coupled"]), rows, rng)


def test_what_verify_list_is_given_is_checked():
    draft, row, rng = draft_of(EVIDENCE["lazy"]), np.full(V, 1 / V), np.random.default_rng(0)
    assert tw.verify_list(draft, np.int64(0), row, Q, rng).node == 0
    for node in (-2, 3, 1.0, True, "0"):
        with pytest.raises((TypeError, ValueError), match="node"):
            tw.verify_list(draft, node, row, Q, rng)
    for wide in (np.full(V + 1, 1 / (V + 1)), np.full(V - 1, 1 / (V - 1))):
        with pytest.raises(ValueError, match=rf"target_probs are for V = {len(wide)}, the list for V = 6"):
            tw.verify_list(draft, 0, wide, Q, rng)
    with pytest.raises(ValueError, match=r"V = 6, the list for V = 9|probability that was sent"):
        tw.verify_list(draft, 0, row, tw.sparsify(np.zeros(9)), rng)
    longer = tw.sparsify(np.where(np.arange(9) < V, 0.0, -np.inf))
    with pytest.raises(ValueError, match="V = 6, the list for V = 9"):
        tw.verify_list(draft, 0, row, longer, rng)
    with pytest.raises(TypeError, match="SparseDistribution"):
        tw.verify_list(draft, 0, row, row, rng)
    with pytest.raises(ValueError, match="a lazy draft"):
        tw.verify_list(draft_of(EVIDENCE["scalar"]), 0, row, Q, rng)


# ------------------------------------------------------------------------------------------ where numpy raises


@pytest.mark.parametrize("name", EVIDENCE)
def test_everything_works_where_numpy_raises(name):
    """Underflow, and quotients of zeros: of a sharp target, with probabilities down to nothing."""
    logits = np.array([[0.0, -1.0, -300.0, -700.0, -745.0, -np.inf]] * 4) * np.array([[1.0], [0.5], [1.0], [3.0]])
    q = tw.sparsify([0.0, 0.0, 0.0, 0.0, 0.0, -4.0], precision="f32")
    lists = dict.fromkeys(CHAIN.inner, q)
    kinds = {"list": tw.ListEvidence, "scalar": tw.ScalarEvidence, "lazy": tw.LazyEvidence}
    made = kinds[name](lists) if name == "list" else kinds[name].of(CHAIN, lists) if name in kinds else EVIDENCE[name]
    draft = draft_of(made)
    with np.errstate(all="raise"):
        for sampling in (tw.Sampling(), tw.Sampling(temperature=0.01), tw.Sampling(temperature=5e-324), SETTINGS):
            probs = tw.target_probs(logits, sampling)
            for seed in range(20):
                rng, rows = np.random.default_rng(seed), tw.target_rows(logits, sampling)
                answer = tw.verify(draft, rows, rng, coupling=COUPLING)
                assert answer == tw.verify(draft, probs, np.random.default_rng(seed), coupling=COUPLING)
                if isinstance(answer, tw.Proposals):
                    tw.choose(answer, draft, rng)
                    tw.propose(7, answer.node, rows[1 + answer.node], rng, batch=1)
                elif isinstance(answer, tw.AskList):
                    tw.verify_list(draft, answer.node, rows[1 + answer.node], q, rng)
        tiny = tw.DenseRow([1.0, 5e-324, 1e-310, 0.0])
        assert tiny.draw(RandomChoices(np.random.default_rng(0))) == 0
        assert COUPLING.first(0, tiny.dense()) == 0
        assert len(COUPLING.children(q, 3, 0)) == 3
        for bad in ([np.nan, 1.0], [np.inf, -np.inf], [np.inf, 1.0]):
            with pytest.raises(ValueError, match="must be a distribution"):
                tw.DenseRow(bad)
        with pytest.raises(ValueError, match="finite largest value"):
            tw.target_probs([np.nan, 0.0], tw.Sampling())


def test_contexts_of_the_helper_are_those_of_the_tree():
    """``rows_of`` gives row 1 + i after node i, as the rows of a target's one pass."""
    target = Model(V, 5).target()
    np.testing.assert_array_equal(rows_of(CHAIN, target)[2], target((1, 2)))
