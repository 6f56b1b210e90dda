"""Lists with plain bits: gaps and prefix codes are what they should be, and both backends agree on any bytes."""

import heapq

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tslt_wire as tw
from tslt_wire.coding.plain_bits import PlainReader, PlainWriter, prefix_codes
from tslt_wire.coding.prefix_codes import MAX_LENGTH, RAREST, prefix_lengths
from tslt_wire.lists.list_codec import decode_list_reference, encode_list_reference
from tslt_wire.lists.range_coded import LONG

COUNTS = st.lists(st.one_of(st.integers(0, 6), st.integers(0, 4000)), min_size=1, max_size=60).filter(any)


def cost_of_the_best(weights):
    """Sum of weights times depths of a Huffman tree, by the textbook."""
    heap, cost = list(weights), 0
    heapq.heapify(heap)
    while len(heap) > 1:
        total = heapq.heappop(heap) + heapq.heappop(heap)
        cost += total
        heapq.heappush(heap, total)
    return cost


@settings(deadline=None)
@given(COUNTS)
def test_lengths_are_the_best_there_are(counts):
    size = sum(counts)
    lengths, least = prefix_lengths(counts, size), -(-size // RAREST)
    weights = [max(count, least) if count else 0 for count in counts]
    assert sum(w * x for w, x in zip(weights, lengths, strict=True)) == cost_of_the_best(filter(None, weights))
    several = sum(count > 0 for count in counts) > 1
    assert all((length > 0) == (count > 0 and several) for length, count in zip(lengths, counts, strict=True))
    if several:
        assert sum(2**-length for length in lengths if length) == 1


@pytest.mark.parametrize("levels", [20, 31, 481])
@pytest.mark.parametrize("size", [129, 1024, 1025, 5000, 1 << 20])
def test_no_length_is_above_the_limit(levels, size):
    """Numbers like Fibonacci's make the deepest trees; the last ones are rounded to nothing."""
    for ratio in (0.5, 0.618, 0.7, 0.9):
        counts = [max(1, int(size * (1 - ratio) * ratio**level)) for level in range(min(levels, size // 2))]
        counts[0] += size - sum(counts)
        if counts[0] > 0:
            assert max(prefix_lengths(counts, size)) <= MAX_LENGTH


def test_codewords_are_canonical():
    """First bits lowest; shorter ones first, then lower levels."""
    assert prefix_codes([2, 0, 1, 3, 3]) == [0b01, 0, 0b0, 0b011, 0b111]


def read_back(write, read):
    plain = PlainWriter()
    write(plain)
    data = plain.finish()
    assert len(data) == -(-plain.size // 8)
    reader = PlainReader(b"abc" + data, 3)
    found = read(reader)
    assert reader.finish() == 3 + len(data)
    return found, len(data)


@settings(deadline=None)
@given(st.data(), st.sampled_from([2, 7, 1000, 1 << 20]))
def test_gaps(data, free):
    places = sorted(
        data.draw(st.sets(st.one_of(st.integers(0, free - 1), st.integers(0, min(free, 60) - 1)), min_size=1))
    )
    found, size = read_back(
        lambda plain: plain.gaps(places, len(places), free), lambda r: r.gaps([], len(places), free)
    )
    assert found == places
    assert size <= 6 * len(places)


def test_gaps_of_even_density_cost_little_more_than_they_must():
    rng = np.random.default_rng(1)
    for density in (0.003, 0.03, 0.3):
        places = np.flatnonzero(rng.random(200_000) < density).tolist()
        plain = PlainWriter()
        plain.gaps(places, len(places), 200_000)
        size = len(plain.finish())
        least = -(density * np.log2(density) + (1 - density) * np.log2(1 - density)) * 200_000 / 8
        assert size < 1.06 * least


@settings(deadline=None)
@given(st.data(), st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=300), st.sampled_from([16, 32]))
def test_symbols_and_fields_follow_each_other(data, numbers, width):
    numbers = [number >> 32 - width for number in numbers]
    levels = data.draw(st.lists(st.integers(0, 40), min_size=2, max_size=400).filter(lambda x: len(set(x)) > 1))
    lengths = prefix_lengths(np.bincount(levels).tolist(), len(levels))
    found, _ = read_back(
        lambda plain: (plain.symbols(levels, len(levels), lengths), plain.fields(numbers, len(numbers), width)),
        lambda r: (r.symbols([], len(levels), lengths), r.fields([], len(numbers), width)),
    )
    assert found == (levels, numbers)


@pytest.mark.skipif(tw.backend != "native", reason="there are no two backends to compare")
@pytest.mark.parametrize("vocab_size", [LONG + 1, 257, 1000, 32_000])
@pytest.mark.parametrize("precision", ["log2/0", "log2/1", "log2/4", "f16", "f32"])
def test_damage_is_the_same_to_both_backends(vocab_size, precision):
    rng = np.random.default_rng(vocab_size)
    profile = tw.Profile(vocab_size=vocab_size, precision=precision, entropy="range")

    def outcome(decode, data):
        try:
            return decode(data, profile)
        except tw.DecodeError as error:
            return error.code

    codes = set()
    for count in (LONG, LONG + 1, vocab_size // 2, vocab_size // 2 + 1, vocab_size - 1, vocab_size):
        if not LONG <= count <= min(vocab_size, 2000):
            continue
        logits = rng.normal(size=vocab_size) * rng.choice([0.01, 1.5, 4]) - np.log(np.arange(vocab_size) + 20.0)
        q = tw.sparsify(logits, truncation=tw.TopK(count), precision=precision)
        good = encode_list_reference(q, profile)
        assert tw.encode_list(q, profile) == good
        for _ in range(40):
            data = bytearray(good[: rng.integers(len(good))] if rng.random() < 0.2 else good)
            for _ in range(rng.integers(0, 3)):
                at = rng.integers(12) if rng.random() < 0.5 else rng.integers(len(good))
                if at < len(data):
                    data[at] ^= 1 << rng.integers(8)
            data += bytes(2 * int(rng.random() < 0.1))
            found = outcome(decode_list_reference, bytes(data))
            assert outcome(tw.decode_list, bytes(data)) == found
            if isinstance(found, tw.SparseDistribution):
                assert encode_list_reference(found, profile) == data
            else:
                codes.add(found)
    assert tw.ErrorCode.TRUNCATED in codes
