"""Bit fields, and control maps against the msgpack package.

Spec sections 3 and 7.1.
"""

from __future__ import annotations

import msgpack
import numpy as np
import pytest
import strategies as own
from frame_samples import usual
from hypothesis import example, given
from hypothesis import strategies as st

from tslt_wire import DecodeError
from tslt_wire.coding.bits import BitReader, BitWriter, id_bits
from tslt_wire.coding.control_map import MAX_CONTROL_DEPTH, pack, unpack

# Bits.


@given(st.lists(st.tuples(st.integers(0, 32), st.integers(0, 2**32 - 1)), max_size=20))
@usual
def test_bit_fields_come_back(fields):
    out = BitWriter()
    wanted = [(value & ((1 << width) - 1), width) for width, value in fields]
    for value, width in wanted:
        out.bits(value, width)
    data = out.finish()
    assert len(data) == (sum(width for width, _ in fields) + 7) // 8
    whole = sum(value << sum(w for _, w in wanted[:i]) for i, (value, _) in enumerate(wanted))
    assert int.from_bytes(data, "little") == whole
    reader = BitReader(data)
    assert [(reader.bits(width), width) for _, width in wanted] == wanted
    reader.finish()


@given(own.U32)
@example(0)
@example(127)
@example(128)
def test_varints_come_back(value):
    out = BitWriter()
    out.varint(value)
    data = out.finish()
    assert len(data) == max(1, (value.bit_length() + 6) // 7)
    assert BitReader(data).varint() == value


def test_bits_refuse_what_does_not_fit():
    for value, width in ((4, 2), (1, 0), (-1, 8), (2**32, 32)):
        with pytest.raises(ValueError, match="does not fit"):
            BitWriter().bits(value, width)
        with pytest.raises((ValueError, OverflowError)):
            BitWriter().array(np.array([0, value]), width)
    for value in (-1, 2**32):
        with pytest.raises(ValueError, match="a varint holds"):
            BitWriter().varint(value)


def test_ids_take_the_fewest_bits():
    assert [id_bits(v) for v in (1, 2, 3, 4, 5, 32000, 262144, 1 << 20)] == [0, 1, 2, 2, 3, 15, 18, 20]


# Control maps against the msgpack package.


def _sorted(value):
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value, key=str.encode)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


@given(own.control_maps())
@usual
def test_control_maps_are_msgpack(value):
    data = pack(value)
    assert data == msgpack.packb(_sorted(value), use_bin_type=True)
    assert msgpack.unpackb(data, raw=False, strict_map_key=True) == value
    assert unpack(data) == value


@pytest.mark.parametrize("length", [0, 15, 16, 31, 32, 255, 256, 65535, 65536])
def test_control_heads_are_msgpack(length):
    for value in ("x" * length, b"x" * length, [None] * length, {f"{i:06}": i for i in range(min(length, 300))}):
        data = pack({"": value})
        assert data == msgpack.packb({"": value}, use_bin_type=True)
        assert unpack(data) == {"": value}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x80",
        b"\x01",
        b"\x90",
        b"\x81\xa1a",
        b"\x81\x01\x01",
        b"\x82\xa1b\x01\xa1a\x01",
        b"\x82\xa1a\x01\xa1a\x01",
        b"\x81\xa1a\xcc\x7f",
        b"\x81\xa1a\xcd\x00\xff",
        b"\x81\xa1a\xd0\xff",
        b"\x81\xa1a\xd0\x01",
        b"\x81\xa1a\xd3\x00\x00\x00\x00\x00\x00\x00\x01",
        b"\x81\xd9\x01a\x01",
        b"\x81\xa1a\xc5\x00\x01x",
        b"\x81\xa1a\xdc\x00\x00",
        b"\xde\x00\x00",
        b"\x81\xa1\xff\x01",
        b"\x81\xa3\xed\xa0\x80\x01",
        b"\x81\xa1a\xca\x00\x00\x00\x00",
        b"\x81\xa1a\xcb\x80\x00\x00\x00\x00\x00\x00\x00",
        b"\x81\xa1a\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",
        b"\x81\xa1a\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00",
        b"\x81\xa1a\xc1",
        b"\x81\xa1a\xc7\x01\x01x",
        b"\x81\xa1a\xd4\x01x",
    ],
)
def test_other_msgpack_is_refused(data):
    with pytest.raises(DecodeError):
        unpack(data)


def test_pack_refuses_what_is_not_in_the_subset():
    deep: list = []
    for _ in range(MAX_CONTROL_DEPTH + 1):
        deep = [deep]
    for value in ({1: 2}, 2**64, -(2**63) - 1, float("nan"), float("inf"), {"a": {1}}, object(), deep, np.int64(3)):
        with pytest.raises(ValueError, match="control"):
            pack(value)
