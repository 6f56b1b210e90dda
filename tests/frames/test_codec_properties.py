"""Properties of frames and lists: one value, one encoding; hostile bytes are refused.

Spec sections 3 to 7.
"""

from __future__ import annotations

import numpy as np
import pytest
import strategies as own
from frame_samples import (
    FRAMES,
    HEAD,
    KIND_BYTES,
    LOG2_2,
    ONE,
    PROFILE,
    SAMPLES,
    V,
    accepted,
    code_of,
    draft_body,
    few,
    framed,
    thorough,
    usual,
)
from hypothesis import given
from hypothesis import strategies as st

from tslt_wire import (
    Bye,
    DecodeError,
    Draft,
    ErrorCode,
    ErrorMessage,
    Extension,
    Hello,
    MinProb,
    Precision,
    Profile,
    Prompt,
    SparseDistribution,
    TopK,
    Verdict,
    decode,
    decode_list,
    encode,
    encode_list,
    sparsify,
)
from tslt_wire.coding.bits import BitWriter
from tslt_wire.coding.control_map import pack, unpack
from tslt_wire.frames.tree_shapes import Shape, shape_of


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_come_back(name):
    assert decode(FRAMES[name], PROFILE) == SAMPLES[name]
    assert hash(decode(FRAMES[name], PROFILE)) == hash(SAMPLES[name])
    for kind in (bytearray, memoryview):
        assert decode(kind(FRAMES[name]), PROFILE) == SAMPLES[name]


def test_the_samples_use_every_form_of_tree():
    shapes = {shape_of(message.tree) for message in SAMPLES.values() if isinstance(message, Draft)}
    assert shapes == set(Shape)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_truncation_is_refused(name):
    for end in range(len(FRAMES[name])):
        with pytest.raises(DecodeError):
            decode(FRAMES[name][:end], PROFILE)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_truncation_with_a_right_checksum_is_refused_or_canonical(name):
    content = FRAMES[name][:-4]
    assert not any(accepted(framed(content[:end]), PROFILE) for end in range(len(content)))


@pytest.mark.parametrize("name", SAMPLES)
def test_every_flipped_bit_is_refused(name):
    data = FRAMES[name]
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DecodeError):
            decode(flipped, PROFILE)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_flipped_bit_with_a_right_checksum_is_refused_or_canonical(name):
    content = FRAMES[name][:-4]
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        accepted(framed(bytes(flipped)), PROFILE)


# Round trips.


@given(own.messages())
@thorough
def test_messages_come_back(found):
    message, vocab_size = found
    profile = Profile(vocab_size=vocab_size)
    data = encode(message, profile)
    again = decode(data, profile)
    assert again == message
    assert encode(again, profile) == data


@given(own.lists())
@thorough
def test_lists_come_back(q):
    profile = Profile(vocab_size=q.vocab_size, precision=q.precision)
    data = encode_list(q, profile)
    again = decode_list(data, profile)
    assert again == q
    assert hash(again) == hash(q)
    np.testing.assert_array_equal(again.ids, q.ids)
    np.testing.assert_array_equal(again.weights, q.weights)
    assert encode_list(again, profile) == data


@given(own.lists(262144, Precision.LOG2_2))
@few
def test_lists_of_the_largest_vocabulary_come_back(q):
    profile = Profile(vocab_size=q.vocab_size, precision=q.precision)
    again = decode_list(encode_list(q, profile), profile)
    assert again == q
    np.testing.assert_array_equal(again.weights, q.weights)


@pytest.mark.parametrize("precision", list(Precision))
@pytest.mark.parametrize("vocab_size", [1, 2, 3, 255, 256, 257, 5000, 262144])
def test_lists_of_every_precision_and_size_come_back(precision, vocab_size):
    rng = np.random.default_rng(vocab_size)
    profile = Profile(vocab_size=vocab_size, precision=precision)
    for truncation in (None, TopK(max(1, vocab_size - 1)), TopK(5), MinProb(0.01)):
        q = sparsify(rng.normal(size=vocab_size) * 4, precision=precision, truncation=truncation)
        again = decode_list(encode_list(q, profile), profile)
        assert again == q
        np.testing.assert_array_equal(again.weights, q.weights)


@pytest.mark.parametrize("gap", [1e-41, 4e-41, 1e-38, 1e-320])
@pytest.mark.parametrize("precision", list(Precision))
def test_gaps_below_the_smallest_float_come_back(precision, gap):
    """Shifted logits that round to -0.0 are written +0.0."""
    q = sparsify([0.0, -gap], precision=precision)
    profile = Profile(vocab_size=2, precision=precision)
    assert decode_list(encode_list(q, profile), profile) == q
    assert q.weights.tolist() == [1 << 30, 1 << 30]


# Bytes from strangers.


@given(st.binary(max_size=60), st.integers(1, 40))
@thorough
def test_any_bytes_are_a_message_or_a_decode_error(data, vocab_size):
    accepted(data, Profile(vocab_size=vocab_size))


@given(KIND_BYTES, st.binary(max_size=80), st.integers(1, 40))
@thorough
def test_any_content_with_a_right_checksum_is_a_message_or_a_decode_error(kind, body, vocab_size):
    accepted(framed(bytes([kind]) + body), Profile(vocab_size=vocab_size))


@given(st.binary(max_size=40), st.integers(1, 20), st.sampled_from(list(Precision)))
@thorough
def test_any_bytes_are_a_list_or_a_decode_error(data, vocab_size, precision):
    profile = Profile(vocab_size=vocab_size, precision=precision)
    try:
        q = decode_list(data, profile)
    except DecodeError:
        return
    assert encode_list(q, profile) == data


@given(st.binary(max_size=80))
@thorough
def test_any_bytes_are_a_control_map_or_a_decode_error(data):
    try:
        value = unpack(data)
    except DecodeError:
        return
    assert pack(value) == data


def test_mutated_frames_with_a_right_checksum():
    """2,500 random edits of the samples: bits, bytes, cuts, insertions, repeats and splices of two frames."""
    rng = np.random.default_rng(20)
    contents = [data[:-4] for data in FRAMES.values()]
    survived = 0
    for _ in range(2500):
        content = bytearray(contents[rng.integers(len(contents))])
        other = contents[rng.integers(len(contents))]
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(len(content) + 1))
            edit = rng.integers(7)
            if edit == 0 and at < len(content):
                content[at] ^= 1 << rng.integers(8)
            elif edit == 1 and at < len(content):
                content[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.integers(256)])
            elif edit == 2:
                del content[at : at + rng.integers(1, 5)]
            elif edit == 3:
                content[at:at] = rng.bytes(int(rng.integers(1, 5)))
            elif edit == 4:
                content[at:at] = content[at : at + rng.integers(1, 9)]
            elif edit == 5:
                content[at:] = other[int(rng.integers(len(other))) :]
            else:
                content[at:at] = b"\xff\xff\xff\xff\x0f"
        survived += accepted(framed(bytes(content)), PROFILE)
    assert survived > 100  # the mutations get past the checksum, and many are messages


@given(own.messages(), st.data())
@usual
def test_mutated_messages_with_a_right_checksum(found, data):
    message, vocab_size = found
    profile = Profile(vocab_size=vocab_size)
    content = bytearray(encode(message, profile)[:-4])
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    accepted(framed(bytes(content)), profile)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", ErrorCode.TRUNCATED),
        (b"\x85", ErrorCode.RESERVED_BITS),
        (b"\x3f", ErrorCode.UNKNOWN_KIND),
        (b"\x00", ErrorCode.UNKNOWN_KIND),
        (b"\x05\x00", ErrorCode.TRAILING_BYTES),
        (b"\x45\x00", ErrorCode.NON_CANONICAL),
        (b"\x45\x01\x03\x00", ErrorCode.UNKNOWN_CRITICAL_EXTENSION),
        (b"\x45\x02\x04\x00\x02\x00", ErrorCode.NON_CANONICAL),
        (b"\x45\x02\x04\x00\x04\x00", ErrorCode.NON_CANONICAL),
        (b"\x45\x01\x02\x05abc", ErrorCode.TRUNCATED),
        (b"\x08\x80\x00\x00\x00", ErrorCode.NON_CANONICAL),
        (b"\x08\xff\xff\xff\xff\x1f\x00\x00", ErrorCode.OUT_OF_RANGE),
        (b"\x08\xff\xff\xff\xff\xff\x00\x00", ErrorCode.OUT_OF_RANGE),
        (b"\x08\x00\x00\x0c", ErrorCode.OUT_OF_RANGE),
        (b"\x08\x00\x00\x20", ErrorCode.RESERVED_BITS),
        (b"\x03" + bytes(8) + b"\x01\x00\x01\x0c", ErrorCode.OUT_OF_RANGE),
        (b"\x03" + bytes(8) + b"\x01\x00\x01\x10", ErrorCode.RESERVED_BITS),
        (b"\x01HTTP", ErrorCode.TRUNCATED),
        (b"\x01HTTP/1.1", ErrorCode.NOT_TSLT),
        (b"\x04\x81\xa4code\x01", ErrorCode.BAD_CONTROL),
        (b"\x04" + pack({"code": 1, "message": "", "more": 1}), ErrorCode.BAD_CONTROL),
        (b"\x04" + pack({"code": True, "message": ""}), ErrorCode.BAD_CONTROL),
        (b"\x04" + pack({"code": 1 << 16, "message": ""}), ErrorCode.OUT_OF_RANGE),
        (draft_body(*HEAD, ("bits", 0x45, 8), ("varint", 0)), ErrorCode.RESERVED_BITS),
        (draft_body(*HEAD, ("bits", 0x0F, 8), ("varint", 0)), ErrorCode.OUT_OF_RANGE),
        (draft_body(*HEAD, ("bits", 0x15, 8), ("varint", 0)), ErrorCode.OUT_OF_RANGE),
        (draft_body(*HEAD, LOG2_2, ("varint", 0)), ErrorCode.NON_CANONICAL),
        (draft_body(*HEAD, ("bits", 0, 8), ("varint", 1)), ErrorCode.NON_CANONICAL),
        (draft_body(*HEAD, LOG2_2, ("varint", 2 << 2 | 1), ("varint", 1), ("varint", 1)), ErrorCode.NON_CANONICAL),
        (draft_body(*HEAD, LOG2_2, ("varint", 1 << 2 | 1), ("varint", 0)), ErrorCode.BAD_TREE),
        (draft_body(*HEAD, LOG2_2, ("varint", 2 << 2 | 2), ("bits", 0b11, 2)), ErrorCode.NON_CANONICAL),
        (draft_body(*HEAD, LOG2_2, ("varint", 2 << 2 | 2), ("bits", 0, 8)), ErrorCode.BAD_TREE),
        (draft_body(*HEAD, LOG2_2, ("varint", 3 << 2 | 3), ("bits", 0, 1), ("bits", 3, 2)), ErrorCode.BAD_TREE),
        (draft_body(*ONE, ("varint", 12)), ErrorCode.BAD_LIST),
        (draft_body(*ONE, ("varint", 0), ("bits", 12, 4), ("bits", 0, 4)), ErrorCode.BAD_LIST),
        (draft_body(*ONE, ("varint", 0), ("bits", 3, 4), ("bits", 8, 4)), ErrorCode.OUT_OF_RANGE),
        (
            draft_body(*ONE, ("varint", 0), ("bits", 3, 4), ("bits", 1, 4), ("bits", 0, 1)),
            ErrorCode.NON_CANONICAL,
        ),
        (
            draft_body(*ONE, ("varint", 0), ("bits", 3, 4), ("bits", 1, 4), ("bits", 1, 1)),
            ErrorCode.BAD_LIST,
        ),
        (
            draft_body(*ONE, ("varint", 1), ("bits", 0x33, 8), ("bits", 0, 4), ("bits", 0, 1)),
            ErrorCode.BAD_LIST,
        ),
        (
            draft_body(*ONE, ("varint", 2), ("bits", 0x210, 12), ("bits", 0, 4), ("bits", 3, 2)),
            ErrorCode.OUT_OF_RANGE,
        ),
        (
            draft_body(
                *HEAD, ("bits", 0x85, 8), ("varint", 1 << 2 | 1), ("varint", 2), ("varint", 1), ("bits", 0x10, 8),
                ("bits", 0, 4), ("bits", 0, 2),
            ),
            ErrorCode.BAD_TREE,
        ),
    ],
)  # fmt: skip
def test_each_way_to_be_no_message_has_itscode_of(content, code):
    assert code_of(content) == code


@pytest.mark.parametrize("precision", [Precision.F32, Precision.F16, Precision.BF16])
@pytest.mark.parametrize("bits", ["-0.0", "positive", "-inf", "nan", "too small"])
def test_floats_no_encoder_writes_are_refused(precision, bits):
    sign = 1 << (precision.code_bits - 1)
    infinity = {Precision.F32: 0x7F800000, Precision.F16: 0x7C00, Precision.BF16: 0x7F80}[precision]
    small = {Precision.F32: 0xC2000000, Precision.F16: 0xD000, Precision.BF16: 0xC200}[precision]  # -32 nat
    code = {"-0.0": sign, "positive": 1, "-inf": sign | infinity, "nan": sign | infinity | 1, "too small": small}[bits]
    out = BitWriter()
    out.varint(1)
    out.array(np.array([0, 1]), 2)
    out.array(np.array([0, code]), precision.code_bits)
    with pytest.raises(DecodeError) as caught:
        decode_list(out.finish(), Profile(vocab_size=3, precision=precision))
    assert caught.value.code == ErrorCode.BAD_LIST


# What encode refuses.


@pytest.mark.parametrize(
    ("message", "match"),
    [
        (Verdict(round=0, node=-1, token=13), "token 13"),
        (Prompt(tokens=(0, 15)), "token 15"),
        (Bye(extensions=(Extension(4, b""), Extension(2, b""))), "ascending"),
        (Bye(extensions=(Extension(4, b""), Extension(4, b""))), "ascending"),
        (Hello(vocab_size=V, tokenizer=bytes(32), extra={"model": "x"}), "must not repeat"),
        (Hello(vocab_size=V, tokenizer=bytes(32), extra={"x": object()}), "hold no object"),
        (ErrorMessage(code=1, message="\ud800"), "surrogates"),
    ],
)
def test_encode_refuses_what_decode_would(message, match):
    with pytest.raises(ValueError, match=match):
        encode(message, PROFILE)


def test_encode_refuses_lists_of_another_vocabulary():
    with pytest.raises(ValueError, match="the profile is for V = 13"):
        encode(SAMPLES["draft-chain"], Profile(vocab_size=13))
    q = sparsify([0.0, 1.0])
    for profile in (Profile(vocab_size=3), Profile(vocab_size=2, precision="f16")):
        with pytest.raises(ValueError, match="the profile"):
            encode_list(q, profile)


def test_profiles_refuse_what_is_not_there():
    with pytest.raises(ValueError, match=r"vocab_size must be 1\.\.|vocab_size must be in 1\.\."):
        Profile(vocab_size=0)
    with pytest.raises(ValueError, match="log2/9"):
        Profile(vocab_size=5, precision="log2/9")
    with pytest.raises(ValueError, match="entropy must be one of"):
        Profile(vocab_size=5, entropy="gzip")


def test_lists_are_not_shared_with_the_frame():
    """What decode returns does not change when the caller's buffer does."""
    buffer = bytearray(FRAMES["draft-dense"])
    message = decode(buffer, PROFILE)
    buffer[:] = bytes(len(buffer))
    assert message == SAMPLES["draft-dense"]
    assert isinstance(message, Draft)
    q = message.evidence.lists[-1]
    assert isinstance(q, SparseDistribution)
    with pytest.raises(ValueError, match="read-only"):
        q.weights[0] = 1
