"""Properties of frames, lists and control maps: one value, one encoding; hostile bytes are refused and cheap.

Spec sections 3 to 8.
"""

from __future__ import annotations

import tracemalloc
import zlib
from dataclasses import replace

import msgpack
import numpy as np
import pytest
import strategies as own
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tslt_wire import (
    Bye,
    DecodeError,
    DecodeLimits,
    Draft,
    Error,
    ErrorCode,
    Extension,
    Hello,
    ListEvidence,
    MinProb,
    Precision,
    Profile,
    Prompt,
    SparseDistribution,
    TokenTree,
    TopK,
    Verdict,
    Welcome,
    decode,
    decode_list,
    encode,
    encode_list,
    sparsify,
)
from tslt_wire.bits import BitReader, BitWriter, id_bits
from tslt_wire.control import MAX_CONTROL_DEPTH, pack, unpack
from tslt_wire.tree_codec import Shape, shape_of

settings.register_profile(
    "wire",
    deadline=None,
    derandomize=True,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
thorough = settings(settings.get_profile("wire"), max_examples=150)
usual = settings.get_profile("wire")
few = settings(settings.get_profile("wire"), max_examples=15)


def framed(content: bytes) -> bytes:
    """Content with the checksum that makes it a frame."""
    return content + zlib.crc32(content).to_bytes(4, "little")


def accepted(data: bytes, profile: Profile, limits: DecodeLimits | None = None) -> bool:
    """Whether ``data`` is a frame; if so its message is written as exactly ``data``.  Only DecodeError may escape."""
    try:
        message = decode(data, profile, limits=limits)
    except DecodeError:
        return False
    assert encode(message, profile) == data
    return True


# Sample frames: every kind of message and every form of tree, small.

V = 12
PROFILE = Profile(vocab_size=V)
TOP_3 = TopK(3)


def _draft(parents, *, precision="log2/2", replacement=True, extensions=(), truncation=TOP_3):
    rng = np.random.default_rng(len(parents))
    evidence = {
        parent: sparsify(rng.normal(size=V) * 2, precision=precision, truncation=truncation)
        for parent in sorted(set(parents))
    }
    seen: dict[int, int] = {}
    tokens = []
    for parent in parents:
        seen[parent] = seen.get(parent, -1) + 1
        tokens.append(int(evidence[parent].ids[seen[parent] % len(evidence[parent])]))
    return Draft(
        round=300,
        prefix_length=1000,
        prefix_hash=0xBEEF,
        tree=TokenTree(tokens, parents),
        evidence=ListEvidence(evidence, replacement),
        extensions=extensions,
    )


SAMPLES = {
    "hello": Hello(vocab_size=V, tokenizer=bytes(range(32)), model="a draft", extra={"colour": [1, None, "x"]}),
    "welcome": Welcome(version=1, vocab_size=V, tokenizer=bytes(32), transcript=bytes(16), eos_tokens=(2,)),
    "prompt": Prompt(tokens=(1, 2, 11), keep=200),
    "error": Error(code=3, message="expected one thing, found another"),
    "bye": Bye(),
    "bye-extended": Bye(extensions=(Extension(0, b""), Extension(6, b"abc"))),
    "verdict": Verdict(round=70000, node=3, token=11),
    "verdict-end": Verdict(round=0, node=-1, token=0, end=True),
    "draft-empty": _draft(()),
    "draft-chain": _draft((-1, 0, 1), precision="log2/4"),
    "draft-expansion": _draft((-1, -1, 0, 0, 1, 1), precision="f16"),
    "draft-levels": _draft((-1, -1, -1, 0, 2, 2), replacement=False),
    "draft-parents": _draft((-1, 0, -1, 1, 0), precision="bf16", extensions=(Extension(2, b"!"),)),
    "draft-dense": _draft((-1, 0), precision="f32", truncation=None),
}
FRAMES = {name: encode(message, PROFILE) for name, message in SAMPLES.items()}


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


KIND_BYTES = st.sampled_from([1, 2, 3, 4, 5, 8, 0x10, 0x10, 0x50, 0x48, 0x44, 0x43, 0x90])


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


def _code(content: bytes, profile: Profile = PROFILE, limits: DecodeLimits | None = None) -> ErrorCode:
    with pytest.raises(DecodeError) as caught:
        decode(framed(content), profile, limits=limits)
    return caught.value.code


def _body(*fields: tuple[str, int, int] | tuple[str, int]) -> bytes:
    """A DRAFT frame's content from ("varint", n) and ("bits", n, width)."""
    out = BitWriter()
    out.bits(0x10, 8)
    for field in fields:
        getattr(out, field[0])(*field[1:])
    return out.finish()


HEAD = (("varint", 0), ("varint", 0), ("bits", 0, 16))
LOG2_2 = ("bits", 5, 8)
ONE = (*HEAD, LOG2_2, ("varint", 1 << 2))
"""A draft of one node, up to its list."""


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
        (b"\x03" + bytes(9) + b"\x01\x0c", ErrorCode.OUT_OF_RANGE),
        (b"\x03" + bytes(9) + b"\x01\x10", ErrorCode.RESERVED_BITS),
        (b"\x01HTTP", ErrorCode.TRUNCATED),
        (b"\x01HTTP/1.1", ErrorCode.NOT_TSLT),
        (b"\x04\x81\xa4code\x01", ErrorCode.BAD_CONTROL),
        (b"\x04" + pack({"code": 1, "message": "", "more": 1}), ErrorCode.BAD_CONTROL),
        (b"\x04" + pack({"code": True, "message": ""}), ErrorCode.BAD_CONTROL),
        (b"\x04" + pack({"code": 1 << 16, "message": ""}), ErrorCode.OUT_OF_RANGE),
        (_body(*HEAD, ("bits", 0x45, 8), ("varint", 0)), ErrorCode.RESERVED_BITS),
        (_body(*HEAD, ("bits", 0x0F, 8), ("varint", 0)), ErrorCode.OUT_OF_RANGE),
        (_body(*HEAD, ("bits", 0x15, 8), ("varint", 0)), ErrorCode.OUT_OF_RANGE),
        (_body(*HEAD, LOG2_2, ("varint", 0)), ErrorCode.NON_CANONICAL),
        (_body(*HEAD, ("bits", 0, 8), ("varint", 1)), ErrorCode.NON_CANONICAL),
        (_body(*HEAD, LOG2_2, ("varint", 2 << 2 | 1), ("varint", 1), ("varint", 1)), ErrorCode.NON_CANONICAL),
        (_body(*HEAD, LOG2_2, ("varint", 1 << 2 | 1), ("varint", 0)), ErrorCode.BAD_TREE),
        (_body(*HEAD, LOG2_2, ("varint", 2 << 2 | 2), ("bits", 0b11, 2)), ErrorCode.NON_CANONICAL),
        (_body(*HEAD, LOG2_2, ("varint", 2 << 2 | 2), ("bits", 0, 8)), ErrorCode.BAD_TREE),
        (_body(*HEAD, LOG2_2, ("varint", 3 << 2 | 3), ("bits", 0, 1), ("bits", 3, 2)), ErrorCode.BAD_TREE),
        (_body(*ONE, ("varint", 12)), ErrorCode.BAD_LIST),
        (_body(*ONE, ("varint", 0), ("bits", 12, 4), ("bits", 0, 4)), ErrorCode.BAD_LIST),
        (_body(*ONE, ("varint", 0), ("bits", 3, 4), ("bits", 8, 4)), ErrorCode.OUT_OF_RANGE),
        (
            _body(*ONE, ("varint", 0), ("bits", 3, 4), ("bits", 1, 4), ("bits", 0, 1)),
            ErrorCode.NON_CANONICAL,
        ),
        (
            _body(*ONE, ("varint", 0), ("bits", 3, 4), ("bits", 1, 4), ("bits", 1, 1)),
            ErrorCode.BAD_LIST,
        ),
        (
            _body(*ONE, ("varint", 1), ("bits", 0x33, 8), ("bits", 0, 4), ("bits", 0, 1)),
            ErrorCode.BAD_LIST,
        ),
        (
            _body(*ONE, ("varint", 2), ("bits", 0x210, 12), ("bits", 0, 4), ("bits", 3, 2)),
            ErrorCode.OUT_OF_RANGE,
        ),
        (
            _body(
                *HEAD, ("bits", 0x85, 8), ("varint", 1 << 2 | 1), ("varint", 2), ("varint", 1), ("bits", 0x10, 8),
                ("bits", 0, 4), ("bits", 0, 2),
            ),
            ErrorCode.BAD_TREE,
        ),
    ],
)  # fmt: skip
def test_each_way_to_be_no_message_has_its_code(content, code):
    assert _code(content) == code


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


# Limits: each is enforced, and exactly.


def _limit(name: str, needed: int, content: bytes, profile: Profile = PROFILE) -> None:
    """A frame needs ``needed`` of a limit: it is read with that many and refused with one less."""
    decode(framed(content), profile, limits=replace(DecodeLimits(), **{name: needed}))
    assert _code(content, profile, replace(DecodeLimits(), **{name: needed - 1})) == ErrorCode.LIMIT_EXCEEDED


def test_max_frame_bytes():
    data = FRAMES["draft-chain"]
    _limit("max_frame_bytes", len(data), data[:-4])
    q = sparsify([0.0, 1.0, 2.0], truncation=TopK(2))
    profile = Profile(vocab_size=3)
    listed = encode_list(q, profile)
    assert decode_list(listed, profile, limits=DecodeLimits(max_frame_bytes=len(listed))) == q
    with pytest.raises(DecodeError, match="limit_exceeded"):
        decode_list(listed, profile, limits=DecodeLimits(max_frame_bytes=len(listed) - 1))


@pytest.mark.parametrize("name", ["draft-chain", "draft-expansion", "draft-levels", "draft-parents"])
def test_max_nodes(name):
    _limit("max_nodes", len(SAMPLES[name].tree), FRAMES[name][:-4])


@pytest.mark.parametrize("name", ["draft-chain", "draft-expansion", "draft-levels", "draft-parents"])
def test_max_depth(name):
    _limit("max_depth", max(SAMPLES[name].tree.depths), FRAMES[name][:-4])


@pytest.mark.parametrize("name", ["draft-chain", "draft-expansion", "draft-dense"])
def test_max_entries(name):
    _limit("max_entries", sum(map(len, SAMPLES[name].evidence.lists.values())), FRAMES[name][:-4])
    q = SAMPLES[name].evidence.lists[-1]
    profile = Profile(vocab_size=V, precision=q.precision)
    with pytest.raises(DecodeError, match="limit_exceeded"):
        decode_list(encode_list(q, profile), profile, limits=DecodeLimits(max_entries=len(q) - 1))


def test_max_prompt_tokens():
    _limit("max_prompt_tokens", 3, FRAMES["prompt"][:-4])


@pytest.mark.parametrize(("name", "head"), [("hello", 6), ("welcome", 5), ("error", 0)])
def test_max_control_bytes(name, head):
    _limit("max_control_bytes", len(FRAMES[name]) - 5 - head, FRAMES[name][:-4])


def test_max_extensions():
    _limit("max_extensions", 2, FRAMES["bye-extended"][:-4])


def test_limits_are_positive_integers():
    for wrong in (0, -1, 1.5, True, "9"):
        with pytest.raises(ValueError, match="max_nodes must be a positive integer"):
            DecodeLimits(max_nodes=wrong)


# Memory: a count is checked before anything is allocated for it.

TIGHT = DecodeLimits(
    max_frame_bytes=2048, max_nodes=16, max_depth=8, max_entries=256, max_prompt_tokens=64, max_control_bytes=512
)
BOUND = 16 * TIGHT.max_frame_bytes + 64 * TIGHT.max_entries + 2048 * TIGHT.max_nodes + 64 * TIGHT.max_prompt_tokens
BOUND += 200 * TIGHT.max_control_bytes + 16384
"""8 bytes a frame bit and its copies; 16 bytes an entry and its copies; Python objects of nodes, tokens, map values."""


def _peak(data: bytes, profile: Profile) -> int:
    tracemalloc.start()
    try:
        decode(data, profile, limits=TIGHT)
    except DecodeError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak


BIG = 2**32 - 1
HOSTILE = {
    "extensions": b"\x45\xff\xff\xff\xff\x0f",
    "extension bytes": b"\x45\x01\x02\xff\xff\xff\xff\x0f",
    "prompt tokens": b"\x03" + bytes(9) + b"\xff\xff\xff\xff\x0f",
    "chain": _body(*HEAD, LOG2_2, ("varint", BIG & ~3)),
    "layers": _body(*HEAD, LOG2_2, ("varint", BIG & ~3 | 1)),
    "a wide layer": _body(*HEAD, LOG2_2, ("varint", 1 << 2 | 1), ("varint", BIG)),
    "wide layers": _body(*HEAD, LOG2_2, ("varint", 8 << 2 | 1), *[("varint", BIG)] * 8),
    "levels": _body(*HEAD, LOG2_2, ("varint", BIG & ~3 | 2), ("bits", BIG, 32)),
    "parents": _body(*HEAD, LOG2_2, ("varint", BIG)),
    "entries": _body(*ONE, ("varint", BIG)),
    "all of the vocabulary": _body(*ONE, ("varint", (1 << 20) - 1), ("bits", 0, 24)),
    "entries within the vocabulary": _body(*ONE, ("varint", (1 << 20) - 2)),
    "full lists": _body(*HEAD, LOG2_2, ("varint", 16 << 2), *[("varint", 255), ("bits", 0, 4)] * 16, ("bits", 0, 32)),
    "control array": b"\x04\xdd\xff\xff\xff\xff",
    "control map": b"\x04\xdf\xff\xff\xff\xff",
    "control string": b"\x04\xdb\xff\xff\xff\xff",
    "control bytes": b"\x04\x81\xa1a\xc6\xff\xff\xff\xff",
    "control nesting": b"\x04" + b"\x91" * 500,
    "zeros": b"\x10" + bytes(2043),
    "ones": b"\x10" + b"\xff" * 2043,
    "a long control map": b"\x04" + b"\xdc\x07\xff" + b"\x80" * 2030,
    "a full control map": b"\x04" + b"\xdc\x01\xfa" + b"\x80" * 506,
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("vocab_size", [1, 256, 1 << 20])
def test_hostile_counts_allocate_little(name, vocab_size):
    data, profile = framed(HOSTILE[name]), Profile(vocab_size=vocab_size)
    accepted(data, profile, TIGHT)
    assert _peak(data, profile) < BOUND


@given(KIND_BYTES, st.binary(max_size=200))
@usual
def test_any_content_allocates_little(kind, body):
    data = framed(bytes([kind]) + body)
    assert _peak(data, Profile(vocab_size=256)) < BOUND


def test_the_default_limits_bound_the_cost_of_one_small_frame():
    """The widest list of the format in 17 bytes: its memory is the entries', some 50 bytes each while it is read."""
    content = _body(*ONE, ("varint", (1 << 20) - 1), ("bits", 0, 4), ("bits", 0, 20))
    tracemalloc.start()
    decode(framed(content), Profile(vocab_size=1 << 20))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20


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
        (Error(code=1, message="\ud800"), "surrogates"),
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
        with pytest.raises(ValueError, match="the profile is for V ="):
            encode_list(q, profile)


def test_profiles_refuse_what_is_not_there():
    with pytest.raises(ValueError, match=r"vocab_size must be 1\.\.|vocab_size must be in 1\.\."):
        Profile(vocab_size=0)
    with pytest.raises(ValueError, match="log2/9"):
        Profile(vocab_size=5, precision="log2/9")
    with pytest.raises(ValueError, match="entropy must be one of"):
        Profile(vocab_size=5, entropy="gzip")


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
