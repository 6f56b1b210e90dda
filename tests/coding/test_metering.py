"""Bits by part: they add up to the frame's, for every message of the vectors, and are what the parts are worth."""

from __future__ import annotations

import json
from math import comb, log2
from pathlib import Path

import numpy as np
import pytest

import tslt_wire as tw
from spec.vectorgen.tools import profile_from
from tslt_wire.coding.metering import CODER_END, Meter
from tslt_wire.frames.codec import decode_metered
from tslt_wire.frames.kinds import Kind

VECTORS = json.loads((Path(__file__).parents[2] / "spec" / "vectors" / "frames.json").read_text(encoding="utf-8"))
FRAMES = [(group, test) for group in VECTORS["groups"] for test in group["tests"]]


def read(group, test):
    """The message of a vector, its error, and the meter that watched."""
    meter, profile = Meter(), profile_from(group["profile"], VECTORS["tables"])
    try:
        limits = tw.DecodeLimits(**group["limits"])
        return decode_metered(bytes.fromhex(test["hex"]), profile, meter, limits=limits), None, meter
    except tw.DecodeError as error:
        return None, error, meter


def test_the_parts_of_every_valid_vector_are_its_frame():
    kinds = set()
    for group, test in FRAMES:
        if test["result"] != "valid":
            continue
        message, error, meter = read(group, test)
        assert error is None
        profile, limits = profile_from(group["profile"], VECTORS["tables"]), tw.DecodeLimits(**group["limits"])
        assert message == tw.decode(bytes.fromhex(test["hex"]), profile, limits=limits)
        assert sum(bits for _, bits in meter.parts) == 4 * len(test["hex"]), test["id"]
        assert all(bits >= 0 or (name == CODER_END and bits > -8) for name, bits in meter.parts), test["id"]
        kinds.add(test["value"]["kind"])
        assert ("compressed" in {name for name, _ in meter.parts}) == bool(meter.inside.parts)
        assert sum(bits for _, bits in meter.inside.parts) % 8 == 0
    assert len(kinds) == len(Kind)


def test_an_invalid_vector_gives_its_error_and_where_it_was():
    named = set()
    for group, test in FRAMES:
        if test["result"] == "valid":
            continue
        message, error, meter = read(group, test)
        assert message is None
        assert error.code.name.lower() == test["error"], test["id"]
        assert 0 <= meter.start <= 4 * len(test["hex"]), test["id"]
        named.add(meter.name)
    assert {"ids", "codes", "tree", "tokens", "fields", "extensions", "padding", CODER_END} <= named


def draft(q, profile):
    tree = tw.TokenTree.chain([int(q.ids[0])])
    message = tw.Draft(round=300, prefix_length=5, prefix_hash=9, tree=tree, evidence=tw.ListEvidence({-1: q}, True))
    meter = Meter()
    decode_metered(tw.encode(message, profile), profile, meter)
    return dict(meter.parts)


@pytest.mark.parametrize("precision", ["f16", "f32"])
def test_what_has_a_known_cost_has_that_cost_under_the_range_coder(precision):
    vocab_size, size = 30, 4
    q = tw.sparsify(np.random.default_rng(1).normal(size=vocab_size), precision=precision, truncation=tw.TopK(size))
    bits = draft(q, tw.Profile(vocab_size=vocab_size, entropy="range"))
    assert (bits["round"], bits["prefix_length"], bits["prefix_hash"]) == (16, 8, 16)
    assert bits["codes"] == size * q.precision.code_bits
    assert bits["ids"] == pytest.approx(log2(comb(vocab_size, size)), abs=1e-3)
    assert bits["tokens"] == pytest.approx(-log2(q.prob_of(int(q.ids[0]))), abs=1e-3)
    assert bits["tail"] == 0


def test_a_long_list_has_plain_bits_and_symbols_in_its_parts():
    q = tw.sparsify(np.random.default_rng(1).normal(size=4096), precision="f16", truncation=tw.TopK(200))
    bits = draft(q, tw.Profile(vocab_size=4096, entropy="range"))
    assert bits["codes"] == 200 * 16
    packed = draft(q, tw.Profile(vocab_size=4096))
    assert packed["ids"] == 200 * 12
    assert 200 * 4 < bits["ids"] < packed["ids"]
