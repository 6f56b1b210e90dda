"""Rules of the specification on frames, verification and releases that no other test would notice broken."""

from __future__ import annotations

import json

import numpy as np
import pytest
from frame_samples import FRAMES, SAMPLES

import tslt_wire as tw
from spec import make_vectors
from tslt_wire.lists.sibling_sampling import Siblings
from tslt_wire.verification.list_rule import DenseResidual

PROFILES = [tw.Profile(vocab_size=size, entropy=coder) for size in (1, 300, 1 << 20) for coder in ("none", "range")]


@pytest.mark.parametrize("name", ["hello", "welcome", "error", "bye", "bye-extended"])
def test_frames_that_need_no_profile(name):
    for profile in PROFILES:
        assert tw.decode(FRAMES[name], profile) == SAMPLES[name]
        assert tw.encode(SAMPLES[name], profile) == FRAMES[name]


def crc(data: bytes) -> int:
    """[FRAME-2], bit by bit: reflected polynomial, initial value and final XOR."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xEDB88320 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def test_the_checksum_is_the_one_that_is_described():
    assert int(f"{0x04C11DB7:032b}"[::-1], 2) == 0xEDB88320
    assert crc(b"123456789") == 0xCBF43926
    for data in FRAMES.values():
        assert int.from_bytes(data[-4:], "little") == crc(data[:-4])


def test_the_prefix_hash_is_the_one_that_is_described():
    tokens = [1, 2, 3, 1 << 19, 0]
    assert tw.prefix_hash(tokens) == crc(b"".join(token.to_bytes(4, "little") for token in tokens)) & 0xFFFF
    assert tw.prefix_hash([]) == 0


@pytest.mark.parametrize("replacement", [True, False])
def test_an_empty_residual_keeps_the_value_before(replacement):
    q = tw.sparsify([0.0, -1.0, -2.0], precision="f32")
    residual = DenseResidual(q.dense(), Siblings(q, replacement=replacement))
    for token in (0, 1):
        residual.reject(token)
    assert residual.owed == 1
    assert residual.rest.sum() == pytest.approx(1.0)
    if replacement:
        np.testing.assert_array_equal(residual.rest, q.dense())


def test_codes_of_decoders_are_below_32():
    for name in ("lists.json", "frames.json"):
        for group in json.loads((make_vectors.VECTORS / name).read_text())["groups"]:
            for test in group["tests"]:
                assert test["result"] == "valid" or tw.ErrorCode[test["error"].upper()] < 32


def test_a_released_vector_cannot_change_or_go_away(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(make_vectors, "VECTORS", tmp_path)
    monkeypatch.setattr(make_vectors, "contents", lambda: files)
    monkeypatch.setattr(make_vectors, "ErrorCode", ())
    test = {"id": "a", "flags": [], "hex": "05", "result": "valid"}
    files = {"x.json": {"notes": {}, "groups": [{"limits": {}, "tests": [test]}]}}
    assert make_vectors.main(["--release"]) == 0
    before = (tmp_path / "x.json").read_text()
    assert make_vectors.main([]) == 0
    for tests in ([{**test, "hex": "06"}], [{**test, "id": "b"}]):
        files["x.json"]["groups"] = [{"limits": {}, "tests": tests}]
        assert make_vectors.main([]) == 1
        assert (tmp_path / "x.json").read_text() == before
    files["x.json"]["groups"] = [{"limits": {}, "tests": [test, {**test, "id": "b"}]}]
    assert make_vectors.main([]) == 0
    assert list(json.loads((tmp_path / "released.json").read_text())) == ["a"]
    assert "released vectors would change" in capsys.readouterr().out


def test_limits_may_be_reached():
    """A count that equals its limit: lists under the range coder (test_codec_limits.py has all others)."""
    q = tw.sparsify(np.zeros(20), truncation=tw.TopK(9), precision="log2/0")
    profile = tw.Profile(vocab_size=20, precision="log2/0", entropy="range")
    data = tw.encode_list(q, profile)
    assert tw.decode_list(data, profile, limits=tw.DecodeLimits(max_entries=9)) == q
    with pytest.raises(tw.DecodeError, match="limit_exceeded"):
        tw.decode_list(data, profile, limits=tw.DecodeLimits(max_entries=8))
    draft = SAMPLES["draft-chain"]
    entries = sum(map(len, draft.evidence.lists.values()))
    profile = tw.Profile(vocab_size=12, entropy="range")
    assert tw.decode(tw.encode(draft, profile), profile, limits=tw.DecodeLimits(max_entries=entries)) == draft
    with pytest.raises(tw.DecodeError, match="limit_exceeded"):
        tw.decode(tw.encode(draft, profile), profile, limits=tw.DecodeLimits(max_entries=entries - 1))
