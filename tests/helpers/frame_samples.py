"""Sample frames of every kind and form, and tools to break them; what the codec's suites share."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tslt_wire import (
    AskList,
    Bye,
    CoupledEvidence,
    DecodeError,
    DecodeLimits,
    Draft,
    ErrorCode,
    ErrorMessage,
    Extension,
    Flight,
    Hello,
    LazyEvidence,
    ListEvidence,
    ListReply,
    MatchEvidence,
    Message,
    More,
    Profile,
    Prompt,
    Proposal,
    Proposals,
    Rejection,
    Resume,
    ScalarEvidence,
    TokenTree,
    TopK,
    Verdict,
    Welcome,
    Whole,
    decode,
    encode,
    sparsify,
)
from tslt_wire.coding.bits import BitWriter

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


def sample_draft(
    parents: tuple[int, ...],
    *,
    precision: str = "log2/2",
    replacement: bool = True,
    extensions: tuple[Extension, ...] = (),
    truncation: TopK | None = TOP_3,
) -> Draft:
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


_one = sample_draft((-1,)).evidence
assert isinstance(_one, ListEvidence)
ONE_LIST = _one.lists[-1]
SAMPLES: dict[str, Message] = {
    "hello": Hello(vocab_size=V, tokenizer=bytes(range(32)), model="a draft", extra={"colour": [1, None, "x"]}),
    "welcome": Welcome(version=1, vocab_size=V, tokenizer=bytes(32), transcript=bytes(16), eos_tokens=(2,)),
    "prompt": Prompt(tokens=(1, 2, 11), keep=200),
    "resume": Resume(
        tokens=(1, 11), prefix_crc=0x89ABCDEF, round=300, prompt_length=4, keep=9, rejection=Rejection(2, 1)
    ),
    "error": ErrorMessage(code=3, message="expected one thing, found another"),
    "bye": Bye(),
    "bye-extended": Bye(extensions=(Extension(0, b""), Extension(6, b"abc"))),
    "verdict": Verdict(round=70000, node=3, token=11),
    "verdict-end": Verdict(round=0, node=-1, token=0, end=True),
    "draft-empty": sample_draft(()),
    "draft-chain": sample_draft((-1, 0, 1), precision="log2/4"),
    "draft-expansion": sample_draft((-1, -1, 0, 0, 1, 1), precision="f16"),
    "draft-levels": sample_draft((-1, -1, -1, 0, 2, 2), replacement=False),
    "draft-parents": sample_draft((-1, 0, -1, 1, 0), precision="bf16", extensions=(Extension(2, b"!"),)),
    "draft-match": replace(sample_draft((-1, 0, 0, 1, 1)), evidence=MatchEvidence()),
    "draft-coupled": replace(sample_draft((-1, -1, 0)), evidence=CoupledEvidence()),
    "draft-scalar": replace(sample_draft((-1, 0)), evidence=ScalarEvidence((0, 4094))),
    "draft-lazy": replace(
        sample_draft((-1,)), evidence=LazyEvidence((777,)), extensions=(Extension(1, b"\x05"), Extension(2, b""))
    ),
    "draft-choice": sample_draft((-1, 0), extensions=(Extension(0, b""), Extension(1, b"\xff"))),
    "proposals": Proposals(
        round=1, node=2, batch=3, proposals=(Proposal(11, 4095), Proposal(0, 0), Proposal(3, 9, up=True))
    ),
    "more": More(round=200, batch=1),
    "ask-list": AskList(round=200, node=-1),
    "whole": Whole(round=200),
    "draft-flight": sample_draft((-1, 0), extensions=(Flight(follows=True, goes_on=True, run=2).extension,)),
    "list": ListReply(round=3, q=ONE_LIST),
    "draft-dense": sample_draft((-1, 0), precision="f32", truncation=None),
}
FRAMES = {name: encode(message, PROFILE) for name, message in SAMPLES.items()}


def code_of(content: bytes, profile: Profile = PROFILE, limits: DecodeLimits | None = None) -> ErrorCode:
    with pytest.raises(DecodeError) as caught:
        decode(framed(content), profile, limits=limits)
    return caught.value.code


def draft_body(*fields: tuple[str, int, int] | tuple[str, int]) -> bytes:
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


KIND_BYTES = st.sampled_from(
    [
        1,
        2,
        3,
        4,
        5,
        8,
        9,
        10,
        0x10,
        0x10,
        0x11,
        0x12,
        0x13,
        0x14,
        0x15,
        0x16,
        0x50,
        0x51,
        0x53,
        0x49,
        0x48,
        0x44,
        0x43,
        0x90,
    ]
)
