"""The edge's randomness: what it is a function of, that answers are independent, and the law of texts."""

from __future__ import annotations

import hashlib
import hmac

import numpy as np
import pytest
from chi_square import chi_square_p

import tslt_wire as tw

SECRET = bytes(range(16))
P = np.array([0.45, 0.3, 0.15, 0.1])
Q = tw.sparsify(np.log([0.2, 0.2, 0.3, 0.3]), precision="f32")


def numbers(randomness: tw.EdgeRandomness, round: int, step: int, count: int = 8) -> list[float]:
    return randomness.generator(round, step).random(count).tolist()


def test_the_generator_is_the_one_that_is_written_down():
    message = b"tslt-wire edge randomness 1" + (300).to_bytes(4, "little") + (2).to_bytes(4, "little")
    key = int.from_bytes(hmac.new(SECRET, message, hashlib.sha256).digest()[:16], "little")
    wanted = np.random.Generator(np.random.Philox(key=key, counter=0)).random(8).tolist()
    assert numbers(tw.EdgeRandomness(SECRET), 300, 2) == wanted


def test_the_same_place_has_the_same_numbers_on_every_replica():
    here, there = tw.EdgeRandomness(SECRET), tw.EdgeRandomness(bytes(SECRET))
    numbers(here, 7, 0)
    assert numbers(here, 3, 1) == numbers(there, 3, 1) == numbers(here, 3, 1)


def test_another_round_step_or_secret_has_other_numbers():
    places = [(SECRET, 0, 0), (SECRET, 1, 0), (SECRET, 0, 1), (SECRET, 256, 0), (SECRET, 0, 256), (SECRET, 1, 1)]
    places += [(SECRET[::-1], 0, 0), (SECRET + b"\1", 0, 0), (SECRET, (1 << 32) - 1, (1 << 32) - 1)]
    found = {tuple(numbers(tw.EdgeRandomness(secret), *place)) for secret, *place in places}
    assert len(found) == len(places)


def test_numbers_are_uniform_and_those_of_neighbours_independent():
    randomness = tw.EdgeRandomness(SECRET)
    table = np.array([[numbers(randomness, round, step, 2) for step in range(3)] for round in range(4000)])
    assert chi_square_p(np.bincount((table.ravel() * 64).astype(int), minlength=64), np.full(64, 1 / 64)) > 1e-3
    first = table[:, :, 0]
    pairs = ((first[:, 0], first[:, 1]), (first[:-1, 0], first[1:, 0]), (first[:-1, 1], first[1:, 0]), table[:, 0].T)
    for one, other in pairs:
        cells = (one * 4).astype(int) * 4 + (other * 4).astype(int)
        assert chi_square_p(np.bincount(cells, minlength=16), np.full(16, 1 / 16)) > 1e-3


@pytest.mark.parametrize("secret", [b"", bytes(15), "a" * 16, None, 16, bytearray(16)])
def test_weak_secrets_are_refused(secret):
    with pytest.raises((TypeError, ValueError), match="secret must"):
        tw.EdgeRandomness(secret)


@pytest.mark.parametrize("wrong", [-1, 1 << 32, 1.0, True, "0", None])
def test_places_that_there_are_not_are_refused(wrong):
    with pytest.raises((TypeError, ValueError), match="round must be"):
        tw.EdgeRandomness(SECRET).generator(wrong, 0)
    with pytest.raises((TypeError, ValueError), match="step must be"):
        tw.EdgeRandomness(SECRET).generator(0, wrong)
    assert (
        tw.EdgeRandomness(SECRET).generator(np.int64(1), np.uint8(0)).random()
        == numbers(tw.EdgeRandomness(SECRET), 1, 0, 1)[0]
    )


def test_the_secret_is_not_shown():
    assert "\\x01" not in repr(tw.EdgeRandomness(SECRET))
    assert not hasattr(tw.EdgeRandomness(SECRET), "__dict__")


# ------------------------------------------------------------------------------------------------------ whole texts


def sent_again(round: int, step: int) -> int:
    """How often a frame is sent before its answer arrives: a link that loses one frame in two."""
    return 1 + int(np.random.default_rng([9, round, step]).geometric(0.5))


def first_token(round: int, kind: str, generator, ours: np.random.Generator) -> int:
    """The first token of one round; each frame may come several times, the device takes the answer that comes last."""
    token = Q.sample(ours)
    tree = tw.TokenTree.chain([token])
    kinds = {"scalar": tw.ScalarEvidence, "lazy": tw.LazyEvidence}
    evidence = kinds[kind].of(tree, {-1: Q}) if kind in kinds else tw.ListEvidence({-1: Q})
    evidence = tw.MatchEvidence() if kind == "match" else evidence
    draft = tw.Draft(round=round, prefix_length=0, prefix_hash=0, tree=tree, evidence=evidence)
    rows = np.array([P, P])

    def last(answer, step):
        return [answer(generator(round, step)) for _ in range(sent_again(round, step))][-1]

    answer, step = last(lambda rng: tw.verify(draft, rows, rng, proposals=2), 0), 0
    while isinstance(answer, tw.Proposals):
        index = tw.choose(answer, draft, ours)
        if index is not None:
            return answer.proposals[index].token
        step += 1
        at = answer
        answer = last(lambda rng: tw.propose(round, -1, P, rng, batch=at.batch + 1, count=2), step)  # noqa: B023
    if isinstance(answer, tw.AskList):
        answer = last(lambda rng: tw.verify_list(draft, -1, P, Q, rng), 1)
    return answer.tokens(tree)[0]


@pytest.mark.parametrize("kind", ["list", "match", "scalar", "lazy"])
def test_texts_have_the_targets_law_when_frames_are_repeated(kind):
    randomness, ours, counts = tw.EdgeRandomness(SECRET), np.random.default_rng(1), np.zeros(4, int)
    for round in range(4000):
        counts[first_token(round, kind, randomness.generator, ours)] += 1
    assert chi_square_p(counts, P) > 1e-3


def test_the_test_notices_an_edge_that_decides_anew_what_it_had_rejected():
    """A frame that was rejected is lost, drafted again and decided anew, until one is accepted or patience ends."""
    theirs, ours, counts = np.random.default_rng(2), np.random.default_rng(1), np.zeros(4, int)
    for round in range(4000):
        for _ in range(2):
            token = Q.sample(ours)
            tree = tw.TokenTree.chain([token])
            draft = tw.Draft(round=round, prefix_length=0, prefix_hash=0, tree=tree, evidence=tw.ListEvidence({-1: Q}))
            verdict = tw.verify(draft, np.array([P, P]), theirs)
            if verdict.node == 0:
                break
        counts[verdict.tokens(tree)[0]] += 1
    assert chi_square_p(counts, P) < 1e-3


def test_the_test_notices_rounds_that_share_their_numbers():
    randomness, ours, counts = tw.EdgeRandomness(SECRET), np.random.default_rng(1), np.zeros(4, int)
    for round in range(1000):
        counts[first_token(round, "match", lambda round, step: randomness.generator(0, step), ours)] += 1
    assert counts.max() == 1000
