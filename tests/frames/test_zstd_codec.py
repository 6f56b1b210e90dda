"""``entropy="zstd"``: what is compressed, that it comes back, and that hostile streams are refused cheaply."""

import re
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import strategies
import zstandard
from frame_samples import SAMPLES, few, framed, thorough, usual
from hypothesis import given
from hypothesis import strategies as st

import tslt_wire as tw
from spec import reference_decoder as ref
from spec.vectorgen import zipped
from tslt_wire.coding import compression
from tslt_wire.coding.bits import BitWriter
from tslt_wire.coding.wide_fields import WideReader, WideWriter
from tslt_wire.frames.kinds import row_of
from tslt_wire.session import negotiation

ROOT = Path(__file__).resolve().parents[2]
V = 3000
PROFILE = tw.Profile(vocab_size=V, precision="bf16", entropy="zstd")
PLAIN = tw.Profile(vocab_size=V, precision="bf16")
RNG = np.random.default_rng(8)
DENSE = tw.sparsify(RNG.normal(size=V) - np.log(np.arange(V) + 1.0), precision="bf16")
DRAFT = tw.Draft(
    round=3,
    prefix_length=5,
    prefix_hash=7,
    tree=tw.TokenTree([4, 9, 9], [-1, -1, 0]),
    evidence=tw.ListEvidence({-1: DENSE, 0: DENSE}, replacement=True),
)
PROMPT = tw.Prompt(tokens=tuple(int(t) for t in RNG.zipf(1.3, 3000) if t < V), transcript=b"\x01" * 8)
always = patch.object(compression, "WORTH_TRYING", 0)
without_zstandard = patch.dict(sys.modules, {"zstandard": None})


def is_compressed(frame: bytes) -> bool:
    return bool(frame[0] & 0x80)


def code_of(decode, data, profile=PROFILE, **limits) -> tw.ErrorCode:
    with pytest.raises(tw.DecodeError) as caught:
        decode(data, profile, limits=tw.DecodeLimits(**limits))
    return caught.value.code


# ---------------------------------------------------------------------------------------------------------- round trips


@given(strategies.messages())
@thorough
def test_messages_come_back(found):
    message, vocab_size = found
    profile = tw.Profile(vocab_size=vocab_size, entropy="zstd")
    with always:
        data = tw.encode(message, profile)
        assert tw.decode(data, profile) == message
        assert tw.encode(tw.decode(data, profile), profile) == data
    packed = tw.encode(message, tw.Profile(vocab_size=vocab_size))
    assert len(data) <= len(packed)
    assert is_compressed(data) == (len(data) < len(packed))


@given(strategies.lists())
@thorough
def test_lists_come_back(q):
    profile = tw.Profile(vocab_size=q.vocab_size, precision=q.precision, entropy="zstd")
    with always:
        data = tw.encode_list(q, profile)
        back = tw.decode_list(data, profile)
        assert back == q
        assert back.weights.tolist() == q.weights.tolist()
        assert tw.encode_list(back, profile) == data
    assert len(data) <= 1 + len(tw.encode_list(q, tw.Profile(vocab_size=q.vocab_size, precision=q.precision)))


@given(strategies.messages())
@thorough
def test_a_wide_reader_knows_the_size_of_the_packed_form(found):
    message, vocab_size = found
    if not row_of(message).compressible:
        return
    profile = tw.Profile(vocab_size=vocab_size, entropy="zstd")
    readers = []

    def note(data: bytes, packed_bytes: int) -> None:
        readers.append(packed_bytes)

    content = zipped.compressed(zipped.wide_body(message, profile))
    kind = bytes([row_of(message).kind | 0x80])
    with patch("tslt_wire.frames.codec.check_shorter", note):
        again = tw.decode(framed(kind + content), profile)
    packed = BitWriter()
    row_of(again).write(packed, again, profile)
    assert readers == [len(packed.finish())]


@given(st.lists(st.integers(0, 2**20 - 1), max_size=20), st.integers(0, 7))
@usual
def test_columns_come_back_from_any_position(values, before):
    array = np.array(values, np.int64)
    out = WideWriter()
    out.bits(0, before)
    out.tokens(array, 20)
    out.bits(1, 1)
    out.codes(array, 20)
    out.ids(np.unique(array), 20)
    data = WideReader(out.finish())
    data.bits(before)
    assert data.tokens(len(values), 20).tolist() == values
    assert data.bits(1) == 1
    assert data.codes(len(values), 20).tolist() == values
    assert data.ids(len(set(values)), 20).tolist() == sorted(set(values))
    data.finish()


@pytest.mark.parametrize("precision", list(tw.Precision))
@pytest.mark.parametrize("vocab_size", [1, 2, 257, 5000, 70000])
def test_lists_of_every_precision_and_size(precision, vocab_size):
    rng = np.random.default_rng(vocab_size)
    profile = tw.Profile(vocab_size=vocab_size, precision=precision, entropy="zstd")
    for truncation in (None, tw.TopK(max(1, vocab_size - 1)), tw.TopK(300), tw.TopK(3)):
        q = tw.sparsify(rng.normal(size=vocab_size) * 4, precision=precision, truncation=truncation)
        data = tw.encode_list(q, profile)
        assert tw.decode_list(data, profile) == q
        assert tw.encode_list(tw.decode_list(data, profile), profile) == data


# --------------------------------------------------------------------------------------------------- what is compressed


def test_what_is_worth_it_is_compressed():
    for message in (DRAFT, PROMPT):
        data, packed = tw.encode(message, PROFILE), tw.encode(message, PLAIN)
        assert is_compressed(data)
        assert len(data) < 0.8 * len(packed)
    assert len(tw.encode_list(DENSE, PROFILE)) < 0.6 * len(tw.encode_list(DENSE, PLAIN))


def test_what_is_not_worth_it_is_packed():
    profile = tw.Profile(vocab_size=12, entropy="zstd")
    for name, message in SAMPLES.items():
        packed = tw.encode(message, tw.Profile(vocab_size=12))
        data = tw.encode(message, profile)
        if not isinstance(message, (tw.Draft, tw.ListReply)):  # their format byte names the coder
            assert data == packed, name
        assert len(data) <= len(packed), name
    noise = tw.Prompt(tokens=tuple(RNG.integers(0, 4096, 500).tolist()))
    assert not is_compressed(tw.encode(noise, tw.Profile(vocab_size=4096, entropy="zstd")))


def test_the_receivers_limit_bounds_what_is_compressed():
    size = len(zipped.wide_body(PROMPT, PROFILE))
    assert is_compressed(tw.encode(PROMPT, PROFILE, max_frame_bytes=size))
    assert not is_compressed(tw.encode(PROMPT, PROFILE, max_frame_bytes=size - 1))
    data = tw.encode(PROMPT, PROFILE)
    assert tw.decode(data, PROFILE, limits=tw.DecodeLimits(max_frame_bytes=size)) == PROMPT
    assert code_of(tw.decode, data, max_frame_bytes=size - 1) is tw.ErrorCode.LIMIT_EXCEEDED


@pytest.mark.parametrize("level", [-5, 1, 9, 19, 22])
def test_other_compressors_are_read(level):
    content = zipped.wide_body(DRAFT, PROFILE)
    data = zipped.varint(len(content)) + zstandard.ZstdCompressor(level=level).compress(content)
    assert tw.decode(framed(b"\x90" + data), PROFILE) == DRAFT


def test_a_compressor_with_a_window_is_read():
    content = zipped.wide_body(DRAFT, PROFILE)
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=10, write_content_size=1)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compress(content)
    assert stream[4] & 0x20 == 0
    assert tw.decode(framed(b"\x90" + zipped.varint(len(content)) + stream), PROFILE) == DRAFT


def test_the_example_of_the_specification():
    text = (ROOT / "spec" / "tslt-wire.md").read_text().split("### 3.5")[1].split("## 4.")[0]
    found = bytes.fromhex("".join(re.findall(r"^>     ((?:[0-9a-f]{2} ?)+)(?:  |$)", text, re.MULTILINE)))
    assert tw.decode(found, tw.Profile(vocab_size=32000, entropy="zstd")) == tw.Prompt(tokens=(0,) * 100)


def test_a_dictionary_without_an_id_is_refused():
    content = zipped.wide_body(PROMPT, PROFILE)
    dictionary = zstandard.ZstdCompressionDict(content[:4000], dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    stream = zstandard.ZstdCompressor(dict_data=dictionary).compress(content)
    data = framed(b"\x83" + zipped.varint(len(content)) + stream)
    assert code_of(tw.decode, data) is tw.ErrorCode.BAD_COMPRESSION


# -------------------------------------------------------------------------------------------------------- hostile bytes


def outcome(data: bytes, profile: tw.Profile, limits: tw.DecodeLimits) -> str:
    """An error's name, or ``"message"``; the reference decoder must give the same."""
    try:
        message = tw.decode(data, profile, limits=limits)
        found = "message"
    except tw.DecodeError as error:
        found = error.code.name.lower()
    else:
        with always:
            assert tw.decode(tw.encode(message, profile), profile) == message
    try:
        ref.decode_frame(data, {"vocab_size": profile.vocab_size, "entropy": "zstd"}, dict(limits_of(limits)))
        other = "message"
    except ref.DecodeError as error:
        other = error.code
    assert other == found
    return found


def limits_of(limits: tw.DecodeLimits) -> list[tuple[str, int]]:
    return [(name, getattr(limits, name)) for name in limits.__slots__]


def mutated(rng: np.random.Generator, data: bytes, first: int) -> bytes:
    out = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        at, edit = int(rng.integers(first, len(out))) if len(out) > first else len(out), rng.integers(5)
        if edit == 0 and at < len(out):
            out[at] ^= 1 << rng.integers(8)
        elif edit == 1 and at < len(out):
            out[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.integers(256)])
        elif edit == 2:
            del out[at : at + rng.integers(1, 5)]
        elif edit == 3:
            out[at:at] = rng.bytes(int(rng.integers(1, 5)))
        else:
            out[at:at] = out[at : at + rng.integers(1, 9)]
    return bytes(out)


def small_frames() -> list[tuple[tw.Profile, bytes]]:
    """Compressed frames of a few hundred bytes, and with them the content that is in them."""
    profile = tw.Profile(vocab_size=300, entropy="zstd")
    q = tw.sparsify(np.round(RNG.normal(size=300)), precision="f16")
    part = tw.sparsify(np.round(RNG.normal(size=300)), precision="log2/2", truncation=tw.TopK(120))
    prompt = tw.Prompt(tokens=tuple((RNG.zipf(1.5, 200) % 300).tolist()))
    drafts = [
        tw.Draft(
            round=1,
            prefix_length=2,
            prefix_hash=3,
            tree=tw.TokenTree([int(q.ids[0])] * 3, [-1, -1, 0]),
            evidence=tw.ListEvidence({-1: q, 0: q}, replacement=True),
        )
        for q in (q, part)
    ]
    found = [(profile, tw.encode(message, profile)) for message in (prompt, *drafts)]
    assert all(is_compressed(data) for _, data in found)
    return found


LIMITS = tw.DecodeLimits(max_frame_bytes=5000, max_entries=2000, max_prompt_tokens=1000)


def test_mutated_streams():
    """The compressed bytes are changed: nearly all are errors, whatever the change, and both decoders agree."""
    rng, found = np.random.default_rng(1), {}
    for profile, data in small_frames():
        for _ in range(1000):
            name = outcome(framed(mutated(rng, data[:-4], 1)), profile, LIMITS)
            found[name] = found.get(name, 0) + 1
    assert {"bad_compression", "truncated", "trailing_bytes", "limit_exceeded"} <= set(found)


def test_mutated_contents():
    """The wide body is changed, and compressed again."""
    rng, found = np.random.default_rng(2), {}
    for profile, data in small_frames():
        content = zstandard.ZstdDecompressor().decompress(data[data.index(zipped.MAGIC) : -4])
        for _ in range(600):
            other = mutated(rng, content, 0)
            stream = zstandard.ZstdCompressor(level=1).compress(other)
            name = outcome(framed(data[:1] + zipped.varint(len(other)) + stream), profile, LIMITS)
            found[name] = found.get(name, 0) + 1
    assert {"message", "bad_list", "out_of_range", "truncated", "trailing_bytes", "reserved_bits"} <= set(found)


def test_every_flip_and_truncation_is_an_error():
    for profile, data in small_frames():
        for bit in range(8 * len(data)):
            with pytest.raises(tw.DecodeError):
                tw.decode(bytes(b ^ (1 << bit % 8 if i == bit // 8 else 0) for i, b in enumerate(data)), profile)
        for size in range(len(data) - 4):
            with pytest.raises(tw.DecodeError):
                tw.decode(data[:size], profile)
            assert code_of(tw.decode, framed(data[:size]), profile) is tw.ErrorCode.TRUNCATED


@given(st.sampled_from([b"\x83", b"\x90", b"\xc3", b"\xd0", b"\x88"]), st.binary(max_size=60))
@usual
def test_any_bytes_are_a_message_or_a_decode_error(kind, body):
    outcome(framed(kind + body), PROFILE, LIMITS)
    outcome(framed(kind + zipped.compressed(body)), PROFILE, LIMITS)
    for data in (b"\1" + body, b"\0" + body, b"\1" + zipped.compressed(body)):
        try:
            q = tw.decode_list(data, PROFILE)
        except tw.DecodeError:
            continue
        assert tw.decode_list(tw.encode_list(q, PROFILE), PROFILE) == q


def peak_of(data: bytes, **limits: int) -> int:
    tracemalloc.start()
    try:
        code_of(tw.decode, data, **limits)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak


def bombs() -> dict[str, bytes]:
    """Streams that say or hold far more than 64 KiB."""
    giga = zipped.block(zipped.RLE, b"\0", size=zipped.MAX_BLOCK) * 8192
    end = zipped.block(zipped.RAW, b"", last=True)
    small = zipped.varint(60000)
    return {
        "size": zipped.varint(2**32 - 1) + zipped.head(2**32 - 1, size_bytes=4) + giga + end,
        "said": small + zipped.head(2**32 - 1, size_bytes=8) + giga + end,
        "blocks": small + zipped.head(60000, window=13 << 3, size_bytes=4) + giga + end,
        "window": small + zipped.head(60000, window=0xFF, size_bytes=4) + giga + end,
        "zstd": zipped.varint(1 << 28) + zstandard.ZstdCompressor(level=1).compress(bytes(1 << 28)),
        "unknown": small + zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1 << 28)),
    }


BOMBS = bombs()


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_allocate_little(name):
    data = framed(b"\x83" + BOMBS[name])
    assert len(data) < 70_000
    limits = {"max_frame_bytes": 70_000, "max_prompt_tokens": 100}
    assert code_of(tw.decode, data, **limits) in (tw.ErrorCode.LIMIT_EXCEEDED, tw.ErrorCode.BAD_COMPRESSION)
    assert peak_of(data, **limits) < 20 * 70_000


def test_a_full_frame_of_nothing_costs_what_a_packed_one_does():
    """4 MiB of zeros in 150 bytes: a PROMPT without tokens, then too much."""
    size = 1 << 22
    blocks = zipped.block(zipped.RLE, b"\0", size=zipped.MAX_BLOCK) * 32 + zipped.block(zipped.RAW, b"", last=True)
    data = framed(b"\x83" + zipped.varint(size) + zipped.head(size) + blocks)
    assert len(data) < 200
    assert peak_of(data) < 12 * size
    assert peak_of(framed(b"\x03" + bytes(8) + b"\1" + bytes(size - 14))) > 8 * size


# ---------------------------------------------------------------------------------------------------- without zstandard


def test_frames_that_are_not_compressed_need_no_zstandard():
    packed = tw.encode(PROMPT, PLAIN)
    verdict = tw.Verdict(round=1, node=2, token=3)
    short = tw.Prompt(tokens=(1, 2, 3))
    with without_zstandard:
        for message in (verdict, short, tw.Bye()):
            assert tw.decode(tw.encode(message, PROFILE), PROFILE) == message
        assert tw.decode(packed, PROFILE) == PROMPT
        few_ = tw.sparsify(np.arange(V), truncation=tw.TopK(2), precision="bf16")
        assert tw.decode_list(tw.encode_list(few_, PROFILE), PROFILE) == few_


def test_compression_without_zstandard_is_a_clear_error():
    data, listed = tw.encode(PROMPT, PROFILE), tw.encode_list(DENSE, PROFILE)
    with without_zstandard:
        for call in (
            lambda: tw.encode(PROMPT, PROFILE),
            lambda: tw.decode(data, PROFILE),
            lambda: tw.encode_list(DENSE, PROFILE),
            lambda: tw.decode_list(listed, PROFILE),
        ):
            with pytest.raises(tw.MissingPackage, match=r"tslt-wire\[zstd\]"):
                call()
        with pytest.raises(RuntimeError, match=r"Python 3\.14 or the package zstandard"):
            ref.decode_frame(data, {"vocab_size": V, "entropy": "zstd"})


def test_zstandard_is_imported_when_something_is_compressed():
    code = (
        "import sys, tslt_wire as tw; p = tw.Profile(vocab_size=9, entropy='zstd'); "
        "tw.decode(tw.encode(tw.Prompt(tokens=(1, 2)), p), p); tw.EdgeSettings(vocab_size=9, tokenizer=bytes(32)); "
        "assert 'zstandard' not in sys.modules; tw.encode(tw.Prompt(tokens=(1,) * 999), p); "
        "assert 'zstandard' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


# ------------------------------------------------------------------------------------------------------------- sessions

FINGERPRINT = bytes(32)


def sessions(*entropy: str, **limits: int) -> tuple[tw.DeviceSession, tw.EdgeSession]:
    hello = tw.Hello(vocab_size=V, tokenizer=FINGERPRINT, precisions=("bf16",), entropy=entropy)
    device = tw.DeviceSession(hello)
    settings = tw.EdgeSettings(vocab_size=V, tokenizer=FINGERPRINT, limits=tw.DecodeLimits(**limits))
    edge = tw.EdgeSession(settings)
    edge.receive_data(device.data_to_send())
    device.receive_data(edge.data_to_send())
    return device, edge


def test_a_session_with_zstd():
    device, edge = sessions("zstd", "none")
    assert device.welcome is not None
    assert device.welcome.entropy == "zstd"
    device.send_prompt(PROMPT.tokens)
    frame = device.data_to_send()
    assert is_compressed(frame)
    edge.receive_data(frame)
    assert edge.prefix == PROMPT.tokens
    device.send_draft(DRAFT.tree, DRAFT.evidence)
    frame = device.data_to_send()
    assert is_compressed(frame)
    (event,) = edge.receive_data(frame)
    assert event.draft.evidence == DRAFT.evidence
    edge.send_answer(tw.Verdict(round=0, node=0, token=5))
    verdict = edge.data_to_send()
    assert edge.receive_data(frame) == []
    assert edge.data_to_send() == verdict
    device.receive_data(verdict)
    assert device.prefix == edge.prefix


def test_a_session_keeps_to_the_edges_limit():
    """The packed prompt fits the edge's frames, its wide form does not: it is sent packed."""
    packed, wide = len(tw.encode(PROMPT, PLAIN)), len(zipped.wide_body(PROMPT, PROFILE))
    assert packed < wide
    device, edge = sessions("zstd", max_frame_bytes=wide - 1)
    device.send_prompt(PROMPT.tokens)
    frame = device.data_to_send()
    assert not is_compressed(frame)
    edge.receive_data(frame)
    assert edge.prefix == device.prefix


def test_zstd_is_offered_only_where_it_is_installed():
    assert negotiation.our_entropy() == ("none", "range", "zstd")
    hello = tw.Hello(vocab_size=V, tokenizer=FINGERPRINT, entropy=("zstd", "none"))
    with without_zstandard:
        assert negotiation.our_entropy() == ("none", "range")
        with pytest.raises(ValueError, match=r"tslt-wire\[zstd\]"):
            tw.DeviceSession(hello)
        settings = tw.EdgeSettings(vocab_size=V, tokenizer=FINGERPRINT)
        with pytest.raises(ValueError, match=r"tslt-wire\[zstd\]"):
            tw.EdgeSession(tw.EdgeSettings(vocab_size=V, tokenizer=FINGERPRINT, entropy=("zstd",)))
    device, edge = tw.DeviceSession(hello), tw.EdgeSession(settings)
    edge.receive_data(device.data_to_send())
    device.receive_data(edge.data_to_send())
    assert device.welcome is not None
    assert device.welcome.entropy == "none"


def test_an_edge_without_zstd_in_common_refuses():
    device = tw.DeviceSession(tw.Hello(vocab_size=V, tokenizer=FINGERPRINT, entropy=("zstd",)))
    edge = tw.EdgeSession(tw.EdgeSettings(vocab_size=V, tokenizer=FINGERPRINT, entropy=("none", "range")))
    with pytest.raises(tw.RemoteProtocolError) as caught:
        edge.receive_data(device.data_to_send())
    assert caught.value.code is tw.ErrorCode.UNSUPPORTED


@given(strategies.drafts(300))
@few
def test_checksum_is_over_what_is_on_the_wire(draft):
    with always:
        data = tw.encode(draft, tw.Profile(vocab_size=300, entropy="zstd"))
    assert zlib.crc32(data[:-4]) == int.from_bytes(data[-4:], "little")
