"""Target rows, residuals and races of the kernel against the reference, and the laws of rounds verified by them.

Spec sections 6.3 to 6.8 and 7.2.  What a row answers is compared with the plain arrays of ``target_probs`` and
``Siblings``; then every draft and verdict of small vocabularies is enumerated with the kernel's rows.
"""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from chi_square import chi_square_p
from enumeration import EXACT, NOTICED, SAMPLINGS, Model, deviation, expansion
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import tslt_wire as tw
from tslt_wire.lists.prior import plain_prior
from tslt_wire.lists.probability_grid import GRID, codes_above
from tslt_wire.lists.sibling_sampling import Siblings, sample_children
from tslt_wire.verification.adjustments import Edits
from tslt_wire.verification.choices import RandomChoices
from tslt_wire.verification.kernel_rows import KernelResidual, KernelRow
from tslt_wire.verification.list_rule import DenseResidual
from tslt_wire.verification.logits_rows import LogitsRow, cuts_of
from tslt_wire.verification.proposals import propose_with
from tslt_wire.verification.verdicts import verify_with

pytestmark = pytest.mark.skipif(tw.backend != "native", reason="the reference has no rows of the kernel")
usual = settings(deadline=None, derandomize=True, max_examples=150)
BELOW_ONE = 1 - 2.0**-53
PLAIN = tw.Sampling()

SIZES = st.sampled_from([1, 2, 3, 5, 17, 255, 256, 257, 700, 3000])
CUTS = st.builds(
    tw.Sampling,
    temperature=st.sampled_from([0, 5e-324, 0.3, 0.7, 1.0, 2.5, 1e308]),
    top_k=st.sampled_from([0, 0, 1, 2, 7, 50, 600]),
    top_p=st.sampled_from([1.0, 1.0, 0.999, 0.9, 0.5, 0.01]),
    min_p=st.sampled_from([0.0, 0.0, 0.05, 0.5, 1.0]),
)


@st.composite
def logits(draw: Any, size: int) -> np.ndarray:
    """A row of logits: peaked, flat or with many equals, some impossible, of each type that numpy has."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = rng.normal(size=size) * draw(st.sampled_from([0.0, 0.01, 1.0, 4.0, 30.0]))
    if draw(st.booleans()):
        values = np.round(values * 2) / 2
    if draw(st.integers(0, 3)) == 0:
        values[rng.random(size) < 0.5] = -np.inf
        values[rng.integers(size)] = 0.0
    return values.astype(draw(st.sampled_from(["f4", "f8", "f2"])))


def row_of(values: Any, sampling: tw.Sampling = PLAIN) -> KernelRow:
    return KernelRow(values, 0, cuts_of(sampling), None, None)


@given(st.data(), CUTS)
@usual
def test_a_row_is_the_references(data, sampling):
    """Also where a cut ends among equals; seeded, so that no mass is within 1e-12 of its limit."""
    values = data.draw(logits(data.draw(SIZES)))
    row, wanted = row_of(values, sampling), tw.target_probs(values, sampling)
    found = row.dense()
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-300)
    assert [row.prob(token) for token in range(len(values))] == found.tolist()
    assert abs(found.sum() - 1) < 1e-12
    ends = np.cumsum(found)
    for u in data.draw(st.lists(st.floats(0, 1, exclude_max=True), max_size=4)):
        assume(np.abs(ends / ends[-1] - u).min() > 1e-12)
        assert row.at(u) == np.searchsorted(ends, u * ends[-1], side="right")
    assert found[row.at(0.0)] > 0
    assert found[row.at(BELOW_ONE)] > 0


@given(st.data(), CUTS)
@usual
def test_scores_in_place_of_logits_and_masks(data, sampling):
    values = data.draw(logits(data.draw(SIZES)))
    size = len(values)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    edited = values.astype(np.float64)
    ids = np.flatnonzero(rng.random(size) < data.draw(st.sampled_from([0.0, 0.02, 0.7]))).astype(np.int32)
    scores = np.where(rng.random(len(ids)) < 0.3, -np.inf, rng.normal(size=len(ids)) * 3)
    edited[ids] = scores
    mask = rng.random(size) < 0.6 if data.draw(st.booleans()) else None
    if mask is not None:
        edited[~mask] = -np.inf
    row = lambda: KernelRow(values, 0, cuts_of(sampling), Edits(ids, scores), mask)  # noqa: E731
    if not np.isfinite(edited.max()):
        with pytest.raises(ValueError, match="finite largest"):
            row()
        return
    np.testing.assert_allclose(row().dense(), tw.target_probs(edited, sampling), rtol=1e-12, atol=1e-300)


@given(st.data(), CUTS, st.booleans(), st.sampled_from([1.0, 1.0, 0.9, 0.3, 1e-3]))
@usual
def test_a_residual_is_the_references(data, sampling, replacement, owed):
    values = data.draw(logits(data.draw(SIZES)))
    size = len(values)
    row, rng = row_of(values, sampling), np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    drafted = np.where(np.isfinite(values), values, 0).astype(np.float64) + rng.normal(size=size)
    prior = data.draw(st.sampled_from([None, plain_prior("uniform", size), plain_prior("density", size)]))
    q = tw.sparsify(drafted, truncation=tw.TopK(data.draw(st.sampled_from([1, 3, 40]))), prior=prior)
    siblings, left = Siblings(q, replacement=replacement), row.residual(q, replacement=replacement, owed=owed)
    wanted = DenseResidual(tw.target_probs(values, sampling), Siblings(q, replacement=replacement), owed)
    for _ in range(data.draw(st.integers(1, 4))):
        if siblings.empty:
            break
        law = siblings.dense()
        token = int(rng.choice(size, p=law / law.sum()))
        assert left.share(token) == pytest.approx(wanted.share(token), rel=1e-9)
        if np.maximum(0.0, wanted.rest - law).sum() < 1e-9:
            break  # rounding alone
        for each in (left, wanted):
            each.reject(token)
        siblings.take(token)
        found = left.dense()
        assert left.owed == pytest.approx(wanted.owed, rel=1e-6)
        np.testing.assert_allclose(found, wanted.rest, rtol=1e-6, atol=1e-14)
        ends = np.cumsum(found)
        for u in (0.0, *rng.random(3), BELOW_ONE):
            drawn = left.at(u)
            assert found[drawn] > 0
            if np.abs(ends / ends[-1] - u).min() > 1e-11:
                assert drawn == np.searchsorted(ends, u * ends[-1], side="right")


@given(st.data(), CUTS)
@usual
def test_what_a_lazy_rejection_leaves_is_the_references(data, sampling):
    values = data.draw(logits(data.draw(SIZES)))
    size = len(values)
    prior = data.draw(st.sampled_from([None, plain_prior("uniform", size), plain_prior("density", size)]))
    drafted = np.where(np.isfinite(values), values, 0).astype(np.float64) * 0.7
    q = tw.sparsify(drafted, truncation=tw.TopK(data.draw(st.sampled_from([1, 3, 40]))), prior=prior)
    p, law = tw.target_probs(values, sampling), q.dense()
    wanted = np.maximum(0.0, p - law * np.minimum(1.0, p / GRID[codes_above(law)]))
    assume(wanted.sum() > 1e-9)
    left = row_of(values, sampling).lazy_residual(q)
    np.testing.assert_allclose(left.dense(), wanted, rtol=1e-6, atol=1e-14)
    assert wanted[left.at(0.5)] > 0


@given(st.data(), CUTS, st.binary(min_size=8, max_size=8), st.integers(0, 2**32 - 1))
@usual
def test_a_race_has_the_references_winner(data, sampling, key, position):
    values = data.draw(logits(data.draw(SIZES)))
    coupling = tw.Coupling(key, data.draw(st.integers(0, 2**32 - 1)))
    row, probs = row_of(values, sampling), tw.target_probs(values, sampling)
    assert row.first(coupling, position) == coupling.first(position, probs)
    for count in (0, 1, 2, 5, len(values) + 1):
        assert row.earliest(coupling, position, count) == coupling.earliest(position, probs, count)


@pytest.mark.parametrize("size", [300, 32_000, 128_256])
@pytest.mark.parametrize("spread", [0.01, 1.0, 3.0, 8.0])
def test_cuts_of_large_rows(size, spread):
    """Where the cut is looked for by a sample, in a few blocks, among equals (bfloat16 has many), or everywhere."""
    torch = pytest.importorskip("torch")
    values = torch.from_numpy((np.random.default_rng(size).normal(size=size) * spread).astype("f4"))
    for given_as in (values, values.bfloat16(), values.half()):
        for top_p in (0.1, 0.9, 0.999, 1 - 1e-9):
            sampling = tw.Sampling(temperature=0.7, top_p=top_p, top_k=0 if top_p < 0.99 else size // 3)
            found = tw.target_rows(given_as[None], sampling)[0].dense()
            np.testing.assert_allclose(found, tw.target_probs(given_as, sampling), rtol=1e-11, atol=1e-300)


@pytest.mark.parametrize("wrong", [[np.nan, 0.0], [np.inf, 0.0], [-np.inf, -np.inf]])
@pytest.mark.parametrize("size", [2, 600])
def test_what_is_no_distribution_is_refused(wrong, size):
    values = np.zeros(size, np.float32)
    values[-2:] = wrong
    if wrong[0] == -np.inf:
        values[:] = -np.inf
    for at in range(2):
        with pytest.raises(ValueError, match="finite largest value and no NaN"):
            tw.target_rows(np.stack([values[::-1], values]), tw.Sampling())[at].prob(0)


# ----------------------------------------------------------------------------------------------------------------- laws


def by_the_kernel(draft: tw.Draft, rows: np.ndarray, choices: Any) -> Any:
    """``verify_with`` on rows of logits whose probabilities are ``rows``."""
    with np.errstate(divide="ignore"):
        return verify_with(draft, tw.target_rows(np.log(rows), tw.Sampling()), choices)


SHAPES = {"chain": expansion(1, 1), "<3>": expansion(3), "<2,1>": expansion(2, 1), "ragged": (((), ()), (), ((),))}


@pytest.mark.parametrize("replacement", [True, False], ids=["with", "without"])
@pytest.mark.parametrize("tails", [False, True], ids=["lists", "tails"])
@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_is_lossless(name, tails, replacement):
    prior = plain_prior("density", 3) if tails else None
    lists, target = Model(3, 1).lists(truncation=tw.TopK(2), prior=prior), Model(3, 2).target()
    options: dict[str, Any] = {"replacement": replacement, "verification": by_the_kernel}
    assert deviation(SHAPES[name], lists, target, **options) < EXACT


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
def test_every_setting_is_lossless(sampling):
    lists, target = Model(4, 9).lists(), Model(4, 10).target(sampling)
    for shape in (expansion(1, 1), expansion(2, 1)):
        assert deviation(shape, lists, target, verification=by_the_kernel) < EXACT


@pytest.mark.parametrize("fault", ["share", "reject", "at"])
def test_a_wrong_residual_is_noticed(monkeypatch, fault):
    """Accepting too often; not going on to the residual; drawing from the row and not from what is left of it."""
    right = KernelResidual.share
    if fault == "share":
        monkeypatch.setattr(KernelResidual, "share", lambda self, token: min(1.0, 1.3 * right(self, token)))
    elif fault == "reject":
        monkeypatch.setattr(KernelResidual, "reject", lambda self, token: None)
    else:
        rows: list[KernelRow] = []
        made = KernelRow.residual
        monkeypatch.setattr(
            KernelRow, "residual", lambda self, q, **options: rows.append(self) or made(self, q, **options)
        )
        monkeypatch.setattr(KernelResidual, "dense", lambda self: rows[-1].dense())
    lists, target = Model(4, 30).lists(truncation=tw.TopK(3)), Model(4, 31).target()
    assert deviation(expansion(1, 1), lists, target, verification=by_the_kernel) > NOTICED


def test_draws_have_the_law_that_they_say():
    values = np.random.default_rng(5).normal(size=600).astype(np.float32) * 2
    row = row_of(values, tw.Sampling(temperature=0.8, top_p=0.8))
    q = tw.sparsify(values.astype(np.float64) * 0.6, truncation=tw.TopK(30), prior=plain_prior("uniform", 600))
    left = row.residual(q, replacement=False)
    left.reject(int(q.ids[0]))
    choices = RandomChoices(np.random.default_rng(1))
    for masses in (row, left):
        law = masses.dense() / masses.dense().sum()
        counts = np.bincount([choices.pick(masses) for _ in range(20_000)], minlength=600)
        assert not counts[law == 0].any()
        assert chi_square_p(counts, law) > 1e-4


# ----------------------------------------------------------------------------------------------- only what is looked at


class DeviceLogits:
    """Logits as a tensor of another device: a row comes over when it is asked for, and is counted."""

    dtype, device, copied = "torch.float32", type("Device", (), {"type": "cuda"}), 0

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.shape = values, values.shape

    def __dlpack__(self, *_: Any, **__: Any) -> Any:
        raise BufferError("not the CPU's memory")

    def detach(self) -> DeviceLogits:
        return self

    def is_contiguous(self) -> bool:
        return True

    def __getitem__(self, at: int) -> DeviceLogits:
        return DeviceLogits(self.values[at])

    def cpu(self) -> Any:
        assert self.values.ndim == 1, "all rows came over at once"
        DeviceLogits.copied += 1
        return self

    def contiguous(self) -> np.ndarray:
        return self.values


@pytest.mark.parametrize("evidence", ["list", "match", "coupled"])
def test_only_rows_that_are_looked_at_come_over(evidence):
    """A chain of three that is rejected at its second token: two rows, whatever comes after."""
    values = np.full((4, 6), -30.0, np.float32)
    for row, token in enumerate((1, 0, 0, 0)):
        values[row, token] = 30.0
    q = tw.sparsify(np.log([0.05, 0.5, 0.3, 0.05, 0.05, 0.05]))
    tree = tw.TokenTree.chain([1, 2, 3])
    kinds = {
        "list": tw.ListEvidence({node: q for node in (-1, 0, 1)}),
        "match": tw.MatchEvidence(),
        "coupled": tw.CoupledEvidence(),
    }
    draft = tw.Draft(round=0, prefix_length=0, prefix_hash=0, tree=tree, evidence=kinds[evidence])
    DeviceLogits.copied = 0
    rows = tw.target_rows(DeviceLogits(values), tw.Sampling())
    verdict = tw.verify(draft, rows, np.random.default_rng(0), coupling=tw.Coupling(bytes(8), 0))
    assert (verdict.node, verdict.token, DeviceLogits.copied) == (0, 0, 2)


def test_a_round_writes_no_row_out():
    """Memory of a round at V = 128,256 with 9 rows: less than one row of float64 beside what the kernel keeps."""
    size = 128_256
    values = np.random.default_rng(2).normal(size=(9, size)).astype(np.float32) * 3
    q = tw.sparsify(values[0], truncation=tw.TopK(50))
    tree = tw.TokenTree.chain([int(q.ids[q.codes.argmin()])] * 8)
    draft = tw.Draft(
        round=0,
        prefix_length=0,
        prefix_hash=0,
        tree=tree,
        evidence=tw.ListEvidence({node: q for node in range(-1, 7)}),
    )
    sampling = tw.Sampling(temperature=0.7, top_p=0.9)
    tracemalloc.start()
    for seed in range(3):
        tw.verify(draft, tw.target_rows(values, sampling), np.random.default_rng(seed))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * size


def test_a_row_keeps_its_logits_alive():
    row = LogitsRow(np.arange(1000, dtype=np.float32) / 100, tw.Sampling())
    before = row.prob(999)
    others = [np.zeros(1000, np.float32) for _ in range(50)]
    assert row.prob(999) == before > 0
    assert not any(other.any() for other in others)


# --------------------------------------------------------------------------------------------- many steps in one call


class OneByOne:
    """``RandomChoices`` that the rules do not know: what they would leave to the kernel is done in Python."""

    def __init__(self, seed: int) -> None:
        self.choices = RandomChoices(np.random.default_rng(seed))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.choices, name)


def drawn_tree(size: int, widths: tuple[int, ...], rng: np.random.Generator, prior: Any, *, replacement: bool) -> Any:
    """A tree of which each node's children are drawn from a list of random logits; and the lists."""
    tokens: list[int] = []
    parents: list[int] = []
    lists, level = {}, [-1]
    for width in widths:
        first = len(tokens)
        for node in level:
            q = tw.sparsify(rng.normal(size=size) * 2, truncation=tw.TopK(int(rng.choice([1, 3, 40]))), prior=prior)
            children = sample_children(q, width, rng, replacement=replacement)
            tokens += children
            parents += [node] * len(children)
            if children:
                lists[node] = q
        level = list(range(first, len(tokens)))
    return tw.TokenTree(tokens, parents), lists


@given(st.data(), CUTS, st.booleans(), st.sampled_from([(1, 1), (1, 1, 1, 1), (3,), (2, 2), (4, 1)]))
@usual
def test_a_verdict_on_lists_is_the_references(data, sampling, replacement, widths):
    """The same verdict of the same numbers, and as many of them."""
    size, seed = data.draw(SIZES), data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    prior = data.draw(st.sampled_from([None, plain_prior("uniform", size), plain_prior("density", size)]))
    tree, lists = drawn_tree(size, widths, rng, prior, replacement=replacement)
    draft = tw.Draft(round=0, prefix_length=0, prefix_hash=0, tree=tree, evidence=tw.ListEvidence(lists, replacement))
    values = rng.normal(size=(1 + len(tree), size)).astype(np.float32) * 2
    quick, slow = (RandomChoices(np.random.default_rng(seed)) for _ in range(2))
    found = verify_with(draft, tw.target_rows(values, sampling), quick)
    assert found == verify_with(draft, tw.target_probs(values, sampling), slow)
    assert quick.uniform() == slow.uniform()


@given(st.data(), CUTS)
@usual
def test_proposals_made_in_one_call_are_those_made_one_by_one(data, sampling):
    values, seed = data.draw(logits(data.draw(SIZES))), data.draw(st.integers(0, 2**32 - 1))
    row, quick, slow = LogitsRow(values, sampling), RandomChoices(np.random.default_rng(seed)), OneByOne(seed)
    assert propose_with(0, -1, row, quick, count=40) == propose_with(0, -1, row, slow, count=40)
    assert quick.uniform() == slow.uniform()
