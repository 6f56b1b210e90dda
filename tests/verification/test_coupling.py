"""Shared random numbers and races: what they are, the joint law of both ends, and how much is accepted."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from chi_square import chi_square_p
from hypothesis import given
from hypothesis import strategies as st

import tslt_wire as tw
from tslt_wire.coding import philox
from tslt_wire.coding.philox import KEY_BYTES
from tslt_wire.lists.prior import plain_prior
from tslt_wire.verification.draft_races import race

KEY = bytes(range(KEY_BYTES))
DRAWS = 20_000


def pair(seed, vocab_size, difference=1.0):
    """Two distributions, target and draft."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=vocab_size) * 1.5
    both = [np.exp(x) for x in (logits, logits + rng.normal(size=vocab_size) * difference)]
    return [x / x.sum() for x in both]


def as_list(q, **options):
    with np.errstate(divide="ignore"):
        return tw.sparsify(np.log(q), precision="f32", **options)


# ------------------------------------------------------------------------------------------------------------- numbers


def test_numbers_do_not_depend_on_what_else_is_asked():
    coupling, ids = tw.Coupling(KEY, 3), np.arange(1000)
    whole = coupling.uniforms(7, ids)
    for some in ([0], [999, 0, 1], ids[::-1], ids[::7], ids[1::2]):
        assert np.array_equal(coupling.uniforms(7, np.array(some)), whole[some])


def test_numbers_are_uniform_and_independent():
    coupling, ids = tw.Coupling(KEY, 1), np.arange(4096)
    rows = np.array([coupling.uniforms(position, ids) for position in range(32)])
    assert rows.min() > 0
    assert rows.max() <= 1
    counts = np.bincount((rows.ravel() * 64).astype(int), minlength=64)[:64]
    assert chi_square_p(counts, np.full(64, 1 / 64)) > 1e-3
    for other in (
        coupling.uniforms(1, ids),
        coupling.uniforms(0, ids + 4096),
        tw.Coupling(KEY, 2).uniforms(0, ids),
        tw.Coupling(KEY[::-1], 1).uniforms(0, ids),
        np.roll(rows[0], 1),
    ):
        cells = (rows[0] * 4).astype(int) * 4 + (other * 4).astype(int)
        assert chi_square_p(np.bincount(cells, minlength=16)[:16], np.full(16, 1 / 16)) > 1e-3


@pytest.mark.parametrize(("key", "epoch"), [(b"", 1), (bytes(7), 1), (bytes(9), 1), (KEY, -1), (KEY, 1 << 32)])
def test_wrong_couplings_are_refused(key, epoch):
    with pytest.raises(ValueError, match=r"coupling key|epoch"):
        tw.Coupling(key, epoch)


def test_a_position_that_no_text_has_is_refused():
    with pytest.raises(ValueError, match="position"):
        tw.Coupling(KEY, 1).uniforms(1 << 32, np.arange(3))


# --------------------------------------------------------------------------------------------------------------- races


class Given(tw.Coupling):
    """A coupling with arrival times that are given, as numbers of tokens."""

    def uniforms(self, position, ids):
        return np.array([0.5, 0.25, 0.5, 0.125])[ids]


def test_equal_times_go_to_the_lowest_id():
    coupling = Given(KEY, 1)
    assert coupling.first(0, np.array([0.25, 0.5, 0.25, 0.0])) == 0
    assert coupling.first(0, np.array([0.0, 0.5, 0.25, 0.25])) == 1
    assert coupling.children(tw.sparsify([0.0, -np.inf, 0.0, 0.0]), 9, 0) == [0, 2, 3]


def test_children_are_the_first_to_arrive():
    coupling, q = tw.Coupling(KEY, 1), as_list(pair(1, 50)[1], truncation=tw.TopK(20))
    times = dict(zip(q.ids.tolist(), coupling.arrivals(9, q.ids, q.probs).tolist(), strict=True))
    wanted = sorted(times, key=times.__getitem__)
    for count in (1, 2, 20, 99):
        assert coupling.children(q, count, 9) == wanted[:count]
    tailed = tw.SparseDistribution(50, q.precision, q.ids, q.codes, 8, plain_prior("uniform", 50))
    times = coupling.arrivals(9, np.arange(50), tailed.dense())
    assert coupling.children(tailed, 30, 9) == times.argsort()[:30].tolist()


def test_what_cannot_be_drawn_never_arrives():
    coupling = tw.Coupling(KEY, 1)
    p = np.array([0.0, 0.5, 0.0, 0.5, 0.0])
    assert {coupling.first(position, p) for position in range(200)} == {1, 3}
    assert coupling.first(0, np.array([0.0, 5e-324, 1.0])) == 2


def joint_law(p, q):
    """Exact joint law of the first to arrive at rates q (rows) and at rates p (columns), float64 (V, V).

    With times a of the device's token i and b of the edge's j, all other z need a time above max(a q_z / q_i,
    b p_z / p_j); the integral over a and b is one over their ratio r, and elementary between the r where a maximum
    changes.
    """
    size = len(p)
    out = np.zeros((size, size))
    for i, j in itertools.product(range(size), repeat=2):
        if i == j:
            out[i, i] = 1 / np.maximum(p / p[i], q / q[i]).sum()
            continue
        low, high = p[i] / p[j], q[i] / q[j]
        if low >= high:
            continue
        others = [z for z in range(size) if z not in (i, j)]
        changes = [p[z] / p[j] * q[i] / q[z] for z in others]
        bounds = [low, *sorted(r for r in changes if low < r < high), high]
        for left, right in itertools.pairwise(bounds):
            middle = (left + right) / 2
            raced = [middle * q[z] / q[i] > p[z] / p[j] for z in others]
            alpha = 1 + sum(p[z] / p[j] for z, by_q in zip(others, raced, strict=True) if not by_q)
            beta = 1 + sum(q[z] / q[i] for z, by_q in zip(others, raced, strict=True) if by_q)
            out[i, j] += (right - left) / ((alpha + beta * left) * (alpha + beta * right))
    return out


@pytest.mark.parametrize(("seed", "vocab_size"), [(1, 2), (2, 3), (3, 6), (4, 12), (5, 40)])
def test_the_joint_law_of_both_ends(seed, vocab_size):
    """Its margins are exactly both distributions, and the code draws from it."""
    p, wanted = pair(seed, vocab_size)
    q = as_list(wanted)
    law = joint_law(p, q.dense())
    assert np.abs(law.sum(axis=0) - p).max() < 1e-12
    assert np.abs(law.sum(axis=1) - q.dense()).max() < 1e-12
    coupling, counts = tw.Coupling(KEY, seed), np.zeros((vocab_size, vocab_size), int)
    for position in range(6000):
        (child,) = coupling.children(q, 1, position)
        counts[child, coupling.first(position, p)] += 1
    assert chi_square_p(counts.ravel(), law.ravel()) > 1e-3


@pytest.mark.parametrize("seed", range(200))
def test_acceptance_is_within_its_bounds(seed):
    p, q = pair(seed, 2 + seed % 30, difference=0.1 + seed % 7 / 2)
    distance = np.abs(p - q).sum() / 2
    accepted = sum(1 / np.maximum(p / a, q / b).sum() for a, b in zip(p, q, strict=True))
    assert (1 - distance) / (1 + distance) - 1e-12 <= accepted <= 1 - distance + 1e-12


@pytest.mark.parametrize("seed", range(5))
def test_acceptance_of_rounds_is_within_its_bounds(seed):
    """The same through ``verify``, whole and truncated distributions."""
    p, wanted = pair(seed, 30)
    for truncation in (None, tw.TopK(8)):
        q = as_list(wanted, truncation=truncation)
        distance = np.abs(p - q.dense()).sum() / 2
        accepted = sum(verified([p, p], coupled_draft(q, 1, at)).node >= 0 for at in range(2000)) / 2000
        assert (1 - distance) / (1 + distance) - 0.035 < accepted < 1 - distance + 0.035


def coupled_draft(q, count, position):
    tokens = tw.Coupling(KEY, 1).children(q, count, position)
    tree = tw.TokenTree(tokens, [-1] * len(tokens))
    return tw.Draft(round=0, prefix_length=position, prefix_hash=0, tree=tree, evidence=tw.CoupledEvidence())


def verified(rows, draft):
    return tw.verify(draft, rows, np.random.default_rng(0), coupling=tw.Coupling(KEY, 1))


# ------------------------------------------------------------------------------------- why siblings are of one race


def list_version(p, q, races, count):
    """GLS (arXiv 2506.05632): child k wins race k, the edge takes the first of all races; (children, token)."""
    times = -np.log(races[:count])
    return (times / q).argmin(axis=1).tolist(), int((times.min(axis=0) / p).argmin())


@pytest.mark.parametrize("count", [2, 3, 4])
def test_siblings_of_one_race_are_accepted_more_often_than_those_of_the_list_version(count):
    """On each of these pairs; by 2 points and more on the mean."""
    gains = []
    for seed in range(5):
        p, wanted = pair(seed, 30)
        q, rng = as_list(wanted), np.random.default_rng(seed)
        ours = sum(verified([p] * (count + 1), coupled_draft(q, count, at)).node >= 0 for at in range(1000))
        theirs = 0
        for _ in range(1000):
            children, token = list_version(p, q.dense(), 1 - rng.random((count, 30)), count)
            theirs += token in children
        gains.append((ours - theirs) / 1000)
    assert np.mean(gains) > 0.02
    assert min(gains) > -0.02


@pytest.mark.parametrize("steered", [False, True])
def test_races_that_depend_on_the_draft_can_be_steered(steered):
    """In the list version a device that knows the numbers chooses how many races there are: one more if it dislikes
    who wins the first."""
    p, q = pair(3, 8)
    rng, counts = np.random.default_rng(5), np.zeros(8, int)
    for _ in range(DRAWS):
        races = 1 - rng.random((2, 8))
        children, _ = list_version(p, q, races, 1)
        count = 2 if steered and children[0] != 0 else 1
        counts[list_version(p, q, races, count)[1]] += 1
    assert (chi_square_p(counts, p) > 1e-3) != steered


def test_the_edges_token_does_not_depend_on_the_draft():
    p, wanted = pair(3, 8)
    q = as_list(wanted)
    for position in range(200):
        token = tw.Coupling(KEY, 1).first(position, p)
        for count in range(9):
            draft = coupled_draft(q, count, position)
            assert verified([p] * (count + 1), draft).tokens(draft.tree)[0] == token


@pytest.mark.skipif(tw.backend != "native", reason="two backends to compare")
@given(
    key=st.binary(min_size=8, max_size=8),
    epoch=st.integers(0, 2**32 - 1),
    position=st.integers(0, 2**32 - 1),
    ids=st.lists(st.integers(0, 2**20 - 1), max_size=40),
)
def test_kernel_and_reference_have_the_same_numbers(key, epoch, position, ids):
    tokens = np.array(ids, dtype=np.int64)
    found, wanted = (f(key, epoch, position, tokens) for f in (philox.uniforms, philox.uniforms_reference))
    assert found.dtype == wanted.dtype
    assert np.array_equal(found, wanted)


@pytest.mark.parametrize("count", [0, 1, 3, 500, 1000])
def test_children_are_the_first_arrivals_in_order(count):
    rng = np.random.default_rng(5)
    coupling = tw.Coupling(bytes(8), 1)
    prior = plain_prior("density", 700)
    logits = rng.normal(0, 3, 700).astype(np.float32)
    for q in (tw.sparsify(logits), tw.sparsify(logits, truncation=tw.TopK(40), prior=prior, tail_scale=0.5)):
        probs = q.dense()
        times = coupling.arrivals(9, np.arange(700), probs)
        there = np.flatnonzero(probs)
        wanted = sorted(there.tolist(), key=lambda i: (times[i], i))[:count]
        assert coupling.children(q, count, 9) == wanted
        assert coupling.earliest(9, probs, count) == wanted


@pytest.mark.parametrize("temperature", [0.0, 0.6, 1.0])
def test_a_race_without_a_list_has_the_same_children(temperature):
    """A list has whole weights, of 24 bits: what races on it is the same but for one draw in millions."""
    logits = np.random.default_rng(6).normal(0, 3, (5, 3000)).astype(np.float32)
    coupling = tw.Coupling(bytes(range(8)), 1)
    for position in range(20):
        found = race(coupling, logits, 3, position, temperature=temperature)
        for row, children in zip(logits, found, strict=True):
            q = tw.sparsify(row, temperature=temperature, precision="f32")
            assert children == coupling.children(q, 3, position)
    assert [len(each) for each in race(coupling, logits, 3000, 0, temperature=0)] == [1] * 5
    assert race(coupling, logits, 0, 0) == [[]] * 5


@pytest.mark.parametrize(
    ("logits", "given", "said"),
    [
        (np.full((1, 4), np.nan), {}, "NaN"),
        (np.zeros((1, 4)), {"count": -1}, "count"),
        (np.zeros((1, 4)), {"position": -1}, "position"),
        (np.zeros((1, 4)), {"position": 1 << 32}, "position"),
        (np.zeros((1, 4)), {"temperature": -1.0}, "temperature"),
        (np.zeros(4), {}, "shape"),
    ],
)
def test_a_race_that_cannot_be_run(logits, given, said):
    with pytest.raises(ValueError, match=said):
        race(tw.Coupling(bytes(8), 0), logits, **{"count": 1, "position": 0, **given})
