"""Limits of the decoder: each is enforced, exactly, and before anything is allocated.

Spec section 8.
"""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
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
    framed,
    usual,
)
from hypothesis import given
from hypothesis import strategies as st

from tslt_wire import DecodeError, DecodeLimits, ErrorCode, Profile, TopK, decode, decode_list, encode_list, sparsify

# Limits: each is enforced, and exactly.


def _limit(name: str, needed: int, content: bytes, profile: Profile = PROFILE) -> None:
    """A frame needs ``needed`` of a limit: it is read with that many and refused with one less."""
    decode(framed(content), profile, limits=replace(DecodeLimits(), **{name: needed}))
    assert code_of(content, profile, replace(DecodeLimits(), **{name: needed - 1})) == ErrorCode.LIMIT_EXCEEDED


def test_max_frame_bytes():
    data = FRAMES["draft-chain"]
    _limit("max_frame_bytes", len(data), data[:-4])
    q = sparsify([0.0, 1.0, 2.0], truncation=TopK(2))
    profile = Profile(vocab_size=3)
    listed = encode_list(q, profile)
    assert decode_list(listed, profile, limits=DecodeLimits(max_frame_bytes=len(listed))) == q
    with pytest.raises(DecodeError, match="limit_exceeded"):
        decode_list(listed, profile, limits=DecodeLimits(max_frame_bytes=len(listed) - 1))


@pytest.mark.parametrize(
    "name", ["draft-chain", "draft-expansion", "draft-levels", "draft-parents", "draft-match", "draft-coupled"]
)
def test_max_nodes(name):
    _limit("max_nodes", len(SAMPLES[name].tree), FRAMES[name][:-4])


@pytest.mark.parametrize(
    "name", ["draft-chain", "draft-expansion", "draft-levels", "draft-parents", "draft-match", "draft-coupled"]
)
def test_max_depth(name):
    _limit("max_depth", max(SAMPLES[name].tree.depths), FRAMES[name][:-4])


@pytest.mark.parametrize("name", ["draft-expansion", "draft-levels", "draft-parents", "draft-match", "draft-coupled"])
def test_max_leaves(name):
    tree = SAMPLES[name].tree
    leaves = sum(not tree.children(node) for node in range(len(tree)))
    assert 1 < leaves < len(tree)
    _limit("max_leaves", leaves, FRAMES[name][:-4])


@pytest.mark.parametrize("name", ["draft-chain", "draft-empty", "draft-scalar", "draft-lazy"])
def test_a_draft_without_a_fork_has_no_more_leaves_than_any_limit(name):
    assert SAMPLES[name].tree.leaves <= 1
    assert decode(FRAMES[name], PROFILE, limits=DecodeLimits(max_leaves=1)) == SAMPLES[name]


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
    for wrong, kind in ((0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError), ("9", TypeError)):
        with pytest.raises(kind, match=r"max_nodes must be (at least 1|an integer)"):
            DecodeLimits(max_nodes=wrong)
    limits = DecodeLimits(max_nodes=np.int64(7))
    assert (limits, type(limits.max_nodes)) == (DecodeLimits(max_nodes=7), int)


# Memory: a count is checked before anything is allocated for it.

TIGHT = DecodeLimits(
    max_frame_bytes=2048,
    max_nodes=16,
    max_leaves=8,
    max_depth=8,
    max_entries=256,
    max_prompt_tokens=64,
    max_control_bytes=512,
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
    "prompt tokens": b"\x03" + bytes(8) + b"\x01\x00\xff\xff\xff\xff\x0f",
    "chain": draft_body(*HEAD, LOG2_2, ("varint", BIG & ~3)),
    "layers": draft_body(*HEAD, LOG2_2, ("varint", BIG & ~3 | 1)),
    "a wide layer": draft_body(*HEAD, LOG2_2, ("varint", 1 << 2 | 1), ("varint", BIG)),
    "wide layers": draft_body(*HEAD, LOG2_2, ("varint", 8 << 2 | 1), *[("varint", BIG)] * 8),
    "leaves": draft_body(*HEAD, LOG2_2, ("varint", 1 << 2 | 1), ("varint", 16), ("varint", BIG)),
    "levels": draft_body(*HEAD, LOG2_2, ("varint", BIG & ~3 | 2), ("bits", BIG, 32)),
    "parents": draft_body(*HEAD, LOG2_2, ("varint", BIG)),
    "entries": draft_body(*ONE, ("varint", BIG)),
    "all of the vocabulary": draft_body(*ONE, ("varint", (1 << 20) - 1), ("bits", 0, 24)),
    "entries within the vocabulary": draft_body(*ONE, ("varint", (1 << 20) - 2)),
    "full lists": draft_body(
        *HEAD, LOG2_2, ("varint", 16 << 2), *[("varint", 255), ("bits", 0, 4)] * 16, ("bits", 0, 32)
    ),
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
    content = draft_body(*ONE, ("varint", (1 << 20) - 1), ("bits", 0, 4), ("bits", 0, 20))
    tracemalloc.start()
    decode(framed(content), Profile(vocab_size=1 << 20))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20
