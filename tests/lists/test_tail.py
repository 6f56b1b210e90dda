"""Tails and priors: what they say, that they travel, and that verification with them is exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import strategies as own
from damage import sealed
from enumeration import Model, child_law, deviation, expansion
from hypothesis import given, settings
from hypothesis import strategies as st

import tslt_wire as tw
from tslt_wire.lists.prior import TABLE_MAGIC, plain_prior
from tslt_wire.lists.sibling_sampling import Siblings, sample_children
from tslt_wire.verification.choices import Choices
from tslt_wire.verification.verdicts import verify_with

EXACT = 1e-12
usual = settings(deadline=None, derandomize=True, max_examples=150)
PLAIN = ("uniform", "density")


def a_table(vocab_size: int, seed: int = 0) -> tw.Prior:
    codes = np.random.default_rng(seed).integers(0, 30, size=5 * vocab_size, dtype=np.uint8).tobytes()
    return tw.table_from_bytes(TABLE_MAGIC + vocab_size.to_bytes(4, "little") + codes)


def some_priors(vocab_size: int) -> list[tw.Prior]:
    return [*(prior for name in PLAIN if (prior := plain_prior(name, vocab_size))), a_table(vocab_size)]


def with_tail(tail: int, prior: tw.Prior, ids: tuple[int, ...] = (1, 4, 8)) -> tw.SparseDistribution:
    codes = np.array([0, 3, 5][: len(ids)], np.uint32)
    return tw.SparseDistribution(prior.vocab_size, tw.Precision.LOG2_2, np.array(ids, np.int32), codes, tail, prior)


# ------------------------------------------------------------------------------------------------------ what they say


@pytest.mark.parametrize("prior", some_priors(10), ids=lambda p: p.name.split(":")[0])
@pytest.mark.parametrize("tail", [1, 9, 31])
def test_probabilities(prior, tail):
    q = with_tail(tail, prior)
    dense = q.dense()
    assert dense.sum() == pytest.approx(1, abs=EXACT)
    outside = [t for t in range(10) if t not in (1, 4, 8)]
    assert dense[outside].sum() == pytest.approx(tail / 32, abs=EXACT)
    np.testing.assert_allclose(dense[[1, 4, 8]], q.weights / q.total * (1 - tail / 32), rtol=EXACT)
    np.testing.assert_allclose(dense[[1, 4, 8]], q.probs, rtol=EXACT)
    spread = prior.weights[outside] / prior.weights[outside].sum() * tail / 32
    np.testing.assert_allclose(dense[outside], spread, rtol=EXACT)
    np.testing.assert_allclose([q.prob_of(t) for t in range(10)], dense, rtol=EXACT)
    assert q.prob_of(10) == q.prob_of(-1) == 0.0


def test_density_falls_with_the_id():
    prior = plain_prior("density", 32000)
    assert prior is not None
    assert prior.weights[0] == 2**30 // 1024
    assert prior.weights[31999] == 2**30 // (31999 + 1024)
    assert np.all(np.diff(prior.weights) <= 0)


def test_equality_sees_the_tail():
    uniform, density = (plain_prior(name, 10) for name in PLAIN)
    assert with_tail(3, uniform) == with_tail(3, uniform)
    assert hash(with_tail(3, uniform)) == hash(with_tail(3, uniform))
    assert with_tail(3, uniform) != with_tail(4, uniform)
    assert with_tail(3, uniform) != with_tail(3, density)


@pytest.mark.parametrize(
    ("tail", "vocab_size", "ids", "words"),
    [
        (32, 10, (1, 4), "0..31"),
        (-1, 10, (1, 4), "0..31"),
        (0, 10, (1, 4), "a tail and a prior, or neither"),
        (3, 2, (0, 1), "no tail"),
        (3, 11, (1, 4), "the prior is for V = 11"),
    ],
)
def test_wrong_tails_are_refused(tail, vocab_size, ids, words):
    prior = plain_prior("uniform", vocab_size)
    size = 10 if vocab_size == 11 else vocab_size
    codes = np.zeros(len(ids), np.uint32)
    with pytest.raises(ValueError, match=words):
        tw.SparseDistribution(size, tw.Precision.LOG2_2, np.array(ids, np.int32), codes, tail, prior)


def test_a_tail_needs_a_prior():
    with pytest.raises(ValueError, match="a tail and a prior, or neither"):
        tw.SparseDistribution(10, tw.Precision.LOG2_2, np.array([1], np.int32), np.zeros(1, np.uint32), 3)


def test_sparsify_gives_tails_where_much_is_left_out():
    prior = plain_prior("density", 1000)
    flat, sharp = np.zeros(1000), np.concatenate([[9.0], np.zeros(999)])
    assert tw.sparsify(flat, truncation=tw.TopK(16), prior=prior).tail == round(32 * 0.75 * (1 - 16 / 1000))
    assert tw.sparsify(flat, truncation=tw.TopK(16), prior=prior, tail_scale=0).tail == 0
    assert tw.sparsify(flat, truncation=tw.TopK(16), prior=prior, tail_scale=0).prior is None
    assert tw.sparsify(flat, truncation=tw.TopK(1), prior=prior, tail_scale=1).tail == 31
    assert tw.sparsify(sharp, truncation=tw.TopK(16), prior=prior).tail == 0
    assert tw.sparsify(flat, prior=prior).tail == 0
    with pytest.raises(ValueError, match="tail_scale"):
        tw.sparsify(flat, prior=prior, tail_scale=1.5)


# ----------------------------------------------------------------------------------------------------------- sampling


@pytest.mark.parametrize("replacement", [True, False], ids=["with", "without"])
@pytest.mark.parametrize("prior", some_priors(6), ids=lambda p: p.name.split(":")[0])
def test_siblings_have_the_law_of_the_specification(prior, replacement):
    """After every sequence of children, down to the last token."""
    q = with_tail(11, prior, (1, 4))

    def below(gone: tuple[int, ...]) -> int:
        rest = Siblings(q, replacement=replacement)
        for token in gone:
            rest.take(token)
        law = child_law(q, () if replacement else gone)
        assert rest.empty == (not law.any())
        if rest.empty:
            assert len(gone) == 6
            return 1
        np.testing.assert_allclose(rest.dense(), law, rtol=1e-12, atol=0)
        np.testing.assert_allclose([rest.prob_of(token) for token in range(6)], law, rtol=1e-12, atol=0)
        if replacement and len(gone) == 2:
            return 1
        return sum(below((*gone, int(token))) for token in np.flatnonzero(law))

    assert below(()) == (36 if replacement else 720)


class Scripted(np.random.Generator):
    """Answers ``integers(0, high)`` from a script and notes each ``high``."""

    def __init__(self, *answers: int) -> None:
        super().__init__(np.random.PCG64(0))
        self.answers = list(answers)
        self.highs: list[int] = []

    def integers(self, low: int, high: int, size: int | None = None) -> Any:
        assert low == 0
        self.highs.append(high)
        value = self.answers.pop(0)
        return value if size is None else np.array([value] * size)


def test_children_are_drawn_with_integers():
    """One of 32 says list or tail, then the weights of what is left decide."""
    prior = plain_prior("density", 6)
    assert prior is not None
    q = with_tail(11, prior, (1, 4))
    outside = [0, 2, 3, 5]
    total = int(prior.weights[outside].sum())
    rng: Any = Scripted(10, 0)
    assert sample_children(q, 1, rng, replacement=True) == [0]
    assert rng.highs == [32, total]
    rng = Scripted(10, total - 1)
    assert sample_children(q, 1, rng, replacement=True) == [5]
    rng = Scripted(10, int(prior.weights[0]))
    assert sample_children(q, 1, rng, replacement=True) == [2]
    rng = Scripted(11, 0)
    assert sample_children(q, 1, rng, replacement=True) == [1]
    assert rng.highs == [32, q.total]
    rng = Scripted(11, q.total - 1)
    assert sample_children(q, 1, rng, replacement=True) == [4]
    # Without replacement: 4, then 1, and the tail has all the rest, without a coin.
    rng = Scripted(31, q.total - 1, 31, 0, 0, 0)
    assert sample_children(q, 4, rng, replacement=False) == [4, 1, 0, 2]
    assert rng.highs == [32, q.total, 32, 2**30, total, total - int(prior.weights[0])]


def test_sample_has_the_distribution_of_dense():
    q = with_tail(9, a_table(10))
    count = 200_000
    found = np.bincount(q.sample(np.random.default_rng(5), count), minlength=10) / count
    np.testing.assert_allclose(found, q.dense(), atol=5 * np.sqrt(0.25 / count))
    assert q.sample(np.random.default_rng(1), 3).dtype == np.int32
    assert isinstance(q.sample(np.random.default_rng(1)), int)


# ------------------------------------------------------------------------------------------------------- verification


@pytest.mark.parametrize("replacement", [True, False], ids=["with", "without"])
@pytest.mark.parametrize("shape", [expansion(1), expansion(3), expansion(1, 1), expansion(2, 1), ((), ((),))], ids=str)
@pytest.mark.parametrize("prior", some_priors(4), ids=lambda p: p.name.split(":")[0])
def test_lossless(prior, shape, replacement):
    lists = Model(4, 31).lists(truncation=tw.TopK(2), prior=prior)
    assert deviation(shape, lists, Model(4, 32).target(), replacement=replacement) < EXACT


@pytest.mark.parametrize("entropy", ["none", "range"])
def test_what_crossed_the_wire_is_lossless(entropy):
    prior = a_table(4)
    profile = tw.Profile(vocab_size=4, entropy=entropy, prior=prior)
    lists, target = Model(4, 33).lists(truncation=tw.TopK(2), prior=prior), Model(4, 34).target()

    def through(draft: tw.Draft) -> tw.Draft:
        message = tw.decode(tw.encode(draft, profile), profile)
        assert isinstance(message, tw.Draft)
        return message

    for replacement in (True, False):
        assert deviation(expansion(2, 1), lists, target, replacement=replacement, through=through) < EXACT


def test_target_settings_and_greedy():
    prior = plain_prior("density", 4)
    lists = Model(4, 35).lists(truncation=tw.TopK(2), prior=prior)
    for sampling in (tw.Sampling(temperature=0), tw.Sampling(temperature=0.7, top_p=0.9), tw.Sampling(top_k=2)):
        target = Model(4, 36).target(sampling)
        assert deviation(expansion(2, 1), lists, target) < EXACT


def test_a_verifier_that_forgets_the_tail_is_noticed():
    prior = plain_prior("density", 4)
    lists, target = Model(4, 37).lists(truncation=tw.TopK(2), prior=prior), Model(4, 38).target()

    def forgetful(draft: tw.Draft, rows: np.ndarray, choices: Choices) -> tw.Verdict:
        cut = {
            at: tw.SparseDistribution(q.vocab_size, q.precision, q.ids, q.codes)
            for at, q in draft.evidence.lists.items()
        }
        tokens = [
            t if cut[p].rank(t) >= 0 else int(cut[p].ids[0])
            for t, p in zip(draft.tree.tokens, draft.tree.parents, strict=True)
        ]
        tree = tw.TokenTree(tokens, draft.tree.parents)
        evidence = tw.ListEvidence(cut, draft.evidence.replacement)
        other = tw.Draft(round=0, prefix_length=0, prefix_hash=0, tree=tree, evidence=evidence)
        return verify_with(other, rows, choices)

    assert deviation(expansion(1), lists, target, verification=forgetful) > 0.01


# ---------------------------------------------------------------------------------------------------------- the bytes


@given(st.data(), st.sampled_from(["none", "range"]))
@usual
def test_lists_come_back(data, entropy):
    vocab_size = data.draw(own.VOCAB_SIZES)
    prior = data.draw(own.priors(vocab_size))
    q = data.draw(own.lists(vocab_size, prior=prior))
    profile = tw.Profile(vocab_size=vocab_size, precision=q.precision, entropy=entropy, prior=prior)
    encoded = tw.encode_list(q, profile)
    again = tw.decode_list(encoded, profile)
    assert again == q
    assert tw.encode_list(again, profile) == encoded


@given(st.data(), st.sampled_from(["none", "range"]))
@usual
def test_drafts_come_back(data, entropy):
    vocab_size = data.draw(st.integers(1, 40))
    prior = data.draw(own.priors(vocab_size))
    draft = data.draw(own.drafts(vocab_size, prior=prior))
    profile = tw.Profile(vocab_size=vocab_size, entropy=entropy, prior=prior)
    encoded = tw.encode(draft, profile)
    assert tw.decode(encoded, profile) == draft
    damaged = bytearray(encoded[:-4])
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        other = tw.decode(sealed(bytes(damaged)), profile)
    except tw.DecodeError:
        return
    assert tw.encode(other, profile) == sealed(bytes(damaged))


def test_a_list_follows_the_prior_of_its_profile():
    uniform, density = (plain_prior(name, 10) for name in PLAIN)
    q = with_tail(3, uniform)
    for prior in (None, density):
        with pytest.raises(ValueError, match="prior"):
            tw.encode_list(q, tw.Profile(vocab_size=10, prior=prior))
    with pytest.raises(ValueError, match="the prior is for V = 10"):
        tw.Profile(vocab_size=11, prior=uniform)
    lists = {-1: q, 0: with_tail(3, density)}
    with pytest.raises(ValueError, match="share one prior"):
        tw.Draft(
            round=0,
            prefix_length=0,
            prefix_hash=0,
            tree=tw.TokenTree.chain([1, 4]),
            evidence=tw.ListEvidence(lists, replacement=True),
        )


def test_ids_a_table_expects_are_cheap():
    vocab_size = 5000
    rng = np.random.default_rng(4)
    bias = rng.permutation(vocab_size) < 100
    rows = [rng.normal(size=vocab_size) + 6 * bias for _ in range(60)]
    table = tw.train_table(rows[:40])
    lists = [tw.sparsify(row, truncation=tw.TopK(32), precision="log2/1") for row in rows[40:]]
    sizes = []
    for prior in (None, table):
        profile = tw.Profile(vocab_size=vocab_size, precision="log2/1", entropy="range", prior=prior)
        encoded = [tw.encode_list(q, profile) for q in lists]
        assert [tw.decode_list(data, profile) for data in encoded] == lists
        sizes.append(sum(map(len, encoded)))
    assert sizes[1] < 0.75 * sizes[0]


# ------------------------------------------------------------------------------------------------------------- tables


def test_tables_come_back():
    table = a_table(300)
    again = tw.table_from_bytes(table.to_bytes())
    assert again == table
    assert again.name.startswith("table:")
    assert len(again.name) == 6 + 32
    assert hash(again) == hash(table)
    assert a_table(300, seed=1) != table
    assert table != "table"
    np.testing.assert_array_equal(again.weights, table.weights)


def test_what_is_no_table_is_refused():
    good = a_table(10).to_bytes()
    for data, words in (
        (b"", "starts with"),
        (b"TSLTtab2" + good[8:], "starts with"),
        (good[:-1], "62 bytes"),
        (good + b"\0", "62 bytes"),
        (good[:8] + bytes(4) + good[12:], "1..1048576"),
        (good[:-1] + b"\xf1", "at most 240"),
    ):
        with pytest.raises(ValueError, match=words):
            tw.table_from_bytes(data)
    prior = plain_prior("density", 10)
    assert prior is not None
    with pytest.raises(ValueError, match="needs no file"):
        prior.to_bytes()
    with pytest.raises(ValueError, match="must be one of none, density, uniform, got 'zipf'"):
        plain_prior("zipf", 10)


def test_training_counts_lists():
    rows = [np.array([5.0, 4.0, *[0.0] * 98]), np.array([5.0, -9.0, *[0.0] * 98])]
    table = tw.train_table(rows)
    assert table.codes is not None
    assert table.codes.shape == (5, 100)
    assert table.codes[0, 0] == 0
    assert table.codes[0, 1] > 0
    with pytest.raises(ValueError, match="at least one"):
        tw.train_table([])
    with pytest.raises(ValueError, match="one V"):
        tw.train_table([np.zeros(5), np.zeros(6)])


# ---------------------------------------------------------------------------------------------------------- handshake

FINGERPRINT = bytes(32)


def shaken(priors: tuple[str, ...], tables: tuple[tw.Prior, ...], edge: tw.EdgeSettings) -> tw.DeviceSession:
    device = tw.DeviceSession(tw.Hello(vocab_size=10, tokenizer=FINGERPRINT, priors=priors), tables)
    session = tw.EdgeSession(edge)
    session.receive_data(device.data_to_send())
    device.receive_data(session.data_to_send())
    assert device.profile == session.profile
    return device


def test_the_first_prior_that_both_have_is_used():
    table = a_table(10)
    with_table = tw.EdgeSettings(vocab_size=10, tokenizer=FINGERPRINT, tables=(table,))
    without = tw.EdgeSettings(vocab_size=10, tokenizer=FINGERPRINT)
    assert shaken(("none",), (), without).profile.prior is None
    assert shaken(("density", "none"), (), without).profile.prior == plain_prior("density", 10)
    assert shaken((table.name, "none"), (table,), with_table).profile.prior == table
    assert shaken((table.name, "uniform"), (table,), without).profile.prior == plain_prior("uniform", 10)


def test_no_prior_in_common_is_unsupported():
    edge = tw.EdgeSettings(vocab_size=10, tokenizer=FINGERPRINT, priors=("none",))
    with pytest.raises(tw.RemoteProtocolError) as caught:
        shaken(("density",), (), edge)
    assert caught.value.code is tw.ErrorCode.UNSUPPORTED


def test_a_prior_that_was_not_offered_is_refused():
    device = tw.DeviceSession(tw.Hello(vocab_size=10, tokenizer=FINGERPRINT, priors=("density",)))
    edge = tw.EdgeSession(tw.EdgeSettings(vocab_size=10, tokenizer=FINGERPRINT))
    edge.receive_data(device.data_to_send())
    welcome = tw.decode(edge.data_to_send(), tw.Profile(vocab_size=1))
    assert isinstance(welcome, tw.Welcome)
    forged = tw.Welcome(**{name: getattr(welcome, name) for name in welcome.__slots__} | {"prior": "uniform"})
    with pytest.raises(tw.RemoteProtocolError) as caught:
        device.receive_data(tw.encode(forged, tw.Profile(vocab_size=1)))
    assert caught.value.code is tw.ErrorCode.UNSUPPORTED


def test_unknown_priors_are_the_callers_mistake():
    with pytest.raises(ValueError, match="zipf"):
        tw.DeviceSession(tw.Hello(vocab_size=10, tokenizer=FINGERPRINT, priors=("zipf",)))
    with pytest.raises(ValueError, match="zipf"):
        tw.EdgeSettings(vocab_size=10, tokenizer=FINGERPRINT, priors=("zipf",))
    with pytest.raises(ValueError, match="V = 11"):
        tw.EdgeSettings(vocab_size=10, tokenizer=FINGERPRINT, tables=(a_table(11),))
