"""The range coder: round trips, carries, the one shortest ending, hostile bytes."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tslt_wire import DecodeError, ErrorCode
from tslt_wire.coding.range_coder import RangeDecoder, RangeEncoder


@st.composite
def symbols(draw):
    total = draw(st.one_of(st.integers(1, 300), st.sampled_from([1 << 16, (1 << 52) - 1, 1 << 52])))
    start = draw(st.one_of(st.integers(0, total - 1), st.sampled_from([0, total - 1])))
    return start, draw(st.integers(1, total - start)), total


def written(content):
    out = RangeEncoder()
    for start, size, total in content:
        out.put(start, size, total)
    return out.finish()


def read(data, content):
    decoder = RangeDecoder(data)
    for start, size, total in content:
        assert start <= decoder.peek(total) < start + size
        decoder.take(start, size)
    decoder.finish()


@settings(deadline=None)
@given(st.lists(symbols(), max_size=60))
def test_round_trip(content):
    read(written(content), content)


@settings(deadline=None)
@given(st.lists(symbols(), max_size=60))
def test_length_is_that_of_the_code_and_less_than_a_byte_and_a_bit(content):
    bits = sum(math.log2(total / size) for _, size, total in content)
    lost = len(content) * 2**-3.5  # the largest total leaves 4 bits of range
    assert len(written(content)) <= (bits + lost) / 8 + 1.01


@pytest.mark.parametrize("count", [1, 7, 8, 9, 100, 1000])
def test_carries_run_through_all_bytes(count):
    for content in ([(254, 1, 255)] * count + [(254, 1, 255)], [(255, 1, 256)] * count + [(1, 3, 4)]):
        read(written(content), content)


def test_an_ending_lies_below_the_end_of_the_interval():
    """Here the interval ends at the first number that needs no further byte; that number is not in it."""
    content = [((1 << 44) - 1, 1, (1 << 52) - 1)]
    assert written(content) == bytes.fromhex("00fffffffffff0")
    read(written(content), content)


def test_no_symbols_are_no_bytes():
    assert written([]) == b""
    assert written([(0, 1, 256)] * 3) == b"" or written([(0, 1, 256)] * 3) == bytes(3)
    RangeDecoder(b"").finish()


@settings(deadline=None)
@given(st.lists(symbols(), min_size=1, max_size=20), st.data())
def test_only_one_string_of_bytes_is_accepted(content, data):
    good = written(content)
    other = data.draw(
        st.one_of(
            st.binary(max_size=len(good) + 2),
            st.binary(min_size=1, max_size=9).map(lambda tail: good + tail),
            st.integers(0, max(0, len(good) - 1)).map(lambda size: good[:size]),
            st.integers(0, max(0, 8 * len(good) - 1)).map(
                lambda bit: (int.from_bytes(good, "big") ^ 1 << bit).to_bytes(len(good) + 1, "big")[1:]
            ),
        )
    )
    decoder, found = RangeDecoder(other), []
    try:
        for start, size, total in content:
            part = decoder.peek(total)
            found.append((start, size, total) if start <= part < start + size else (part, 1, total))
            decoder.take(*found[-1][:2])
        decoder.finish()
    except DecodeError:
        assert other != good
        return
    assert written(found) == other


def test_bytes_after_the_end_and_missing_bytes():
    good = written([(3, 1, 256)] * 20)
    for data, code in ((good + b"\0", ErrorCode.TRAILING_BYTES), (good[:9], ErrorCode.TRUNCATED)):
        decoder = RangeDecoder(data)
        with pytest.raises(DecodeError) as caught:  # noqa: PT012
            for _ in range(20):
                decoder.take(decoder.peek(256), 1)
            decoder.finish()
        assert caught.value.code is code


@settings(deadline=None)
@given(st.lists(symbols(), min_size=1, max_size=40), st.binary(max_size=20), st.lists(symbols(), max_size=40))
def test_any_bytes_may_follow_symbols_that_were_left(before, plain, after):
    out = RangeEncoder()
    for start, size, total in before:
        out.put(start, size, total)
    out.leave()
    out.resume(plain)
    for start, size, total in after:
        out.put(start, size, total)
    data = out.finish()
    decoder = RangeDecoder(data)
    for start, size, total in before:
        assert start <= decoder.peek(total) < start + size
        decoder.take(start, size)
    first = decoder.leave()
    assert data[first : first + len(plain)] == plain
    assert first <= len(written(before)) + 2
    decoder.resume(first + len(plain))
    for start, size, total in after:
        assert start <= decoder.peek(total) < start + size
        decoder.take(start, size)
    decoder.finish()
    for short in range(first):
        with pytest.raises(DecodeError):
            left_early(data[:short], before)


def left_early(data, content):
    decoder = RangeDecoder(data)
    for start, size, total in content:
        if not start <= decoder.peek(total) < start + size:
            raise DecodeError(ErrorCode.NON_CANONICAL, "another symbol")
        decoder.take(start, size)
    decoder.leave()
