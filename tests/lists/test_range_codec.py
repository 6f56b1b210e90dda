"""``entropy="range"``: lists and drafts round-trip, have one encoding, and hostile bytes are refused."""

import numpy as np
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st

import tslt_wire as tw
from tslt_wire.lists.sibling_sampling import sample_children


def list_profile(q):
    return tw.Profile(vocab_size=q.vocab_size, precision=q.precision, entropy="range")


@settings(deadline=None)
@given(strategies.lists())
def test_lists_round_trip(q):
    profile = list_profile(q)
    data = tw.encode_list(q, profile)
    back = tw.decode_list(data, profile)
    assert back == q
    assert back.weights.tolist() == q.weights.tolist()
    assert tw.encode_list(back, profile) == data


@settings(deadline=None)
@given(st.data())
def test_drafts_round_trip(data):
    vocab_size = data.draw(st.one_of(st.integers(1, 40), st.sampled_from([255, 256, 257, 5000])))
    draft = data.draw(strategies.drafts(vocab_size))
    profile = tw.Profile(vocab_size=vocab_size, entropy="range")
    frame = tw.encode(draft, profile)
    assert tw.decode(frame, profile) == draft
    assert tw.encode(tw.decode(frame, profile), profile) == frame


def refused_or_canonical(data, profile):
    try:
        q = tw.decode_list(data, profile, limits=tw.DecodeLimits(max_entries=5000))
    except tw.DecodeError:
        return
    assert tw.encode_list(q, profile) == data


@settings(deadline=None)
@given(st.binary(max_size=60), strategies.VOCAB_SIZES, st.sampled_from(list(tw.Precision)))
def test_random_bytes_are_refused_or_canonical(data, vocab_size, precision):
    refused_or_canonical(data, tw.Profile(vocab_size=vocab_size, precision=precision, entropy="range"))


@settings(deadline=None)
@given(strategies.lists(), st.data())
def test_damaged_lists_are_refused_or_canonical(q, data):
    profile, good = list_profile(q), tw.encode_list(q, list_profile(q))
    if good:
        bit = data.draw(st.integers(0, 8 * len(good) - 1))
        refused_or_canonical(bytes(b ^ (1 << bit % 8 if i == bit // 8 else 0) for i, b in enumerate(good)), profile)
        refused_or_canonical(good[: data.draw(st.integers(0, len(good) - 1))], profile)
    refused_or_canonical(good + data.draw(st.binary(min_size=1, max_size=12)), profile)


@pytest.mark.parametrize("vocab_size", [1, 2, 512, 4096, 32000, 128256, 262144])
@pytest.mark.parametrize("count", [1, 2, 16, 32, 64, 320])
def test_sizes(vocab_size, count):
    logits = np.random.default_rng(count).normal(size=vocab_size) - np.log(np.arange(vocab_size) + 1.0)
    for precision in ("log2/0", "log2/4", "f16"):
        q = tw.sparsify(logits, truncation=tw.TopK(count), precision=precision)
        profile = list_profile(q)
        data = tw.encode_list(q, profile)
        assert tw.decode_list(data, profile) == q
        plain = tw.encode_list(q, tw.Profile(vocab_size=vocab_size, precision=precision))
        assert len(data) <= len(plain) + 1


def test_the_limit_on_entries_holds_before_anything_is_allocated():
    q = tw.sparsify(np.zeros(1000), truncation=tw.TopK(999), precision="log2/0")
    data = tw.encode_list(q, list_profile(q))
    with pytest.raises(tw.DecodeError) as caught:
        tw.decode_list(data, list_profile(q), limits=tw.DecodeLimits(max_entries=998))
    assert caught.value.code is tw.ErrorCode.LIMIT_EXCEEDED


def test_every_flip_and_truncation_of_a_frame_is_an_error():
    rng = np.random.default_rng(3)
    lists = {
        parent: tw.sparsify(rng.normal(size=500) * 3, truncation=tw.TopK(12), precision="log2/1")
        for parent in (-1, 0, 1)
    }
    tokens = [t for parent in (-1, 0, 1) for t in sample_children(lists[parent], 2, rng, replacement=True)]
    draft = tw.Draft(
        round=1,
        prefix_length=4,
        prefix_hash=7,
        tree=tw.TokenTree.expand(tokens, (2, 2)),
        evidence=tw.ListEvidence(lists, replacement=True),
    )
    profile = tw.Profile(vocab_size=500, entropy="range")
    frame = tw.encode(draft, profile)
    assert tw.decode(frame, profile) == draft
    for bit in range(8 * len(frame)):
        with pytest.raises(tw.DecodeError):
            tw.decode(bytes(b ^ (1 << bit % 8 if i == bit // 8 else 0) for i, b in enumerate(frame)), profile)
    for size in range(len(frame)):
        with pytest.raises(tw.DecodeError):
            tw.decode(frame[:size], profile)


@pytest.mark.parametrize("count", [4096, 4097, 4999, 5000])
@pytest.mark.parametrize("precision", ["log2/0", "log2/4", "bf16"])
def test_long_lists(count, precision):
    logits = np.random.default_rng(count).normal(size=5000) * 2
    q = tw.sparsify(logits, truncation=tw.TopK(count), precision=precision)
    profile = list_profile(q)
    assert tw.decode_list(tw.encode_list(q, profile), profile) == q


def test_a_frame_forgets_when_it_has_seen_too_much():
    rng = np.random.default_rng(5)
    sizes = (2040, 1, 16, 2049, 3, 2048, 2048)
    lists = {
        parent: tw.sparsify(rng.normal(size=6000), truncation=tw.TopK(size), precision="log2/0")
        for parent, size in enumerate(sizes, -1)
    }
    draft = tw.Draft(
        round=0,
        prefix_length=1,
        prefix_hash=0,
        tree=tw.TokenTree.chain([int(q.ids[0]) for q in lists.values()]),
        evidence=tw.ListEvidence(lists, replacement=True),
    )
    profile = tw.Profile(vocab_size=6000, entropy="range")
    assert tw.decode(tw.encode(draft, profile), profile) == draft


def test_few_bytes_cannot_say_many_entries():
    """A list or a draft of E entries has at least (E - 256) / 8 bytes, so decoding is linear in what arrives."""
    profile = tw.Profile(vocab_size=32000, precision="log2/0", entropy="range")
    everything = tw.SparseDistribution(
        32000, tw.Precision.LOG2_0, np.arange(32000, dtype=np.int32), np.zeros(32000, np.uint32)
    )
    data = tw.encode_list(everything, profile)
    assert len(data) == (32000 - 256) // 8
    assert tw.decode_list(data, profile) == everything
    for bad, code in (
        (data[:-1], tw.ErrorCode.TRUNCATED),
        (data[:8], tw.ErrorCode.TRUNCATED),
        (data + b"\0", tw.ErrorCode.TRAILING_BYTES),
        (data[:-1] + b"\1", tw.ErrorCode.NON_CANONICAL),
    ):
        with pytest.raises(tw.DecodeError) as caught:
            tw.decode_list(bad, profile)
        assert caught.value.code == code
    tree = tw.TokenTree.chain([5, 6])
    draft = tw.Draft(
        round=0,
        prefix_length=1,
        prefix_hash=0,
        tree=tree,
        evidence=tw.ListEvidence({-1: everything, 0: everything}, replacement=True),
    )
    frame = tw.encode(draft, profile)
    assert len(frame) >= (64000 - 256) // 8
    assert tw.decode(frame, profile) == draft
