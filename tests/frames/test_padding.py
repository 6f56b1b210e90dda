"""Frames of a few sizes only."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from frame_samples import FRAMES, PROFILE, SAMPLES
from session_rounds import FINGERPRINT, PROMPT, V
from two_ends import KINDS, tables, two_ends

import tslt_wire as tw
from tslt_wire.frames.padding import padded
from tslt_wire.messages.extensions import PADDING

AMPLE = {"max_frame_bytes": 1 << 20, "max_extensions": 16}


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_becomes_a_multiple_and_says_the_same(name):
    frame, message = FRAMES[name], SAMPLES[name]
    for multiple in (*range(2, 300), 16500):
        longer = padded(frame, multiple, **AMPLE)
        assert len(longer) % multiple == 0
        assert len(frame) <= len(longer) <= len(frame) + 3 * multiple + 6
        found = tw.decode(longer, PROFILE)
        assert tw.encode(found, PROFILE) == longer
        *others, last = found.extensions or (None,)
        if longer == frame:
            assert len(frame) % multiple == 0
        else:
            assert last == tw.Extension(PADDING, bytes(len(last.data)))
            assert replace(found, extensions=tuple(others)) == message
        assert padded(longer, multiple, **AMPLE) == longer


def test_all_sizes_are_reached_but_those_between_two_lengths_of_a_length():
    frame = FRAMES["bye"]
    reached = {len(padded(frame, multiple, **AMPLE)) for multiple in range(len(frame) + 1, 20000)}
    missing = set(range(len(frame) + 3, 20000)) - reached
    assert missing == {
        len(frame) + 3 + 128,
        len(frame) + 4 + 16384,
    }  # a byte more for the length, and one more of zeros


def test_a_frame_stays_as_it_is_where_there_is_no_room():
    frame = FRAMES["draft-chain"]
    assert padded(frame, 64, max_frame_bytes=63, max_extensions=16) == frame
    assert len(padded(frame, 64, max_frame_bytes=64, max_extensions=1)) == 64
    assert padded(frame, 64, max_frame_bytes=64, max_extensions=0) == frame
    assert padded(FRAMES["draft-choice"], 64, max_frame_bytes=1000, max_extensions=2) == FRAMES["draft-choice"]
    for type_ in (PADDING, PADDING + 2):
        late = tw.encode(tw.Bye(extensions=(tw.Extension(type_, b""),)), PROFILE)
        assert padded(late, 64, **AMPLE) == late


def test_padding_is_zeros():
    with pytest.raises(ValueError, match="is padding and must be zeros, got 0001"):
        tw.encode(tw.Bye(extensions=(tw.Extension(PADDING, b"\0\1"),)), PROFILE)


@pytest.mark.parametrize(("device", "edge"), [(64, 0), (0, 64), (48, 96), (1, 0), (True, 0), ("64", 0), (1 << 17, 0)])
def test_both_ends_pad_for_who_asks_and_the_edge_for_all_where_it_was_told_to(device, edge):
    ours, theirs = ends(device, edge)
    sizes: dict[str, set[int]] = {"device": set(), "edge": set()}

    def carry(sender, receiver):
        for frame in iter(sender.data_to_send, b""):
            sizes[sender.role].add(len(frame))
            receiver.receive_data(frame)

    def answer(token):
        theirs.send_answer(tw.Verdict(round=theirs.round - 1, node=-1, token=token))

    carry(ours, theirs), carry(theirs, ours)
    ours.send_prompt(PROMPT)
    for token in (1, 2):
        ours.send_draft(tw.TokenTree.chain([4, 5]), tw.MatchEvidence())
        carry(ours, theirs)
        answer(token)
        carry(theirs, ours)
    assert ours.prefix == theirs.prefix == (*PROMPT, 1, 2)
    theirs.fail(tw.ErrorCode.OVERLOADED, "later", retry_after_s=1)
    carry(theirs, ours)
    asked = device if type(device) is int and 2 <= device <= 1 << 16 else 0
    for role, multiple in (("device", asked), ("edge", edge or asked)):
        if multiple:
            assert {size % multiple for size in sizes[role]} == {0}
        else:
            assert len(sizes[role]) > 2


def ends(device, edge) -> tuple[tw.DeviceSession, tw.EdgeSession]:
    hello = tw.Hello(vocab_size=V, tokenizer=FINGERPRINT, evidence=("match",), extra={"padding": device})
    settings = tw.EdgeSettings(vocab_size=V, tokenizer=FINGERPRINT, padding=edge)
    return tw.DeviceSession(hello), tw.EdgeSession(settings)


def test_a_peer_that_takes_one_extension_gets_no_second():
    one = tw.DecodeLimits(max_extensions=1)
    hello = tw.Hello(vocab_size=V, tokenizer=FINGERPRINT, evidence=("match",), extra={"padding": 64}, limits=one)
    ours, theirs = tw.DeviceSession(hello), tw.EdgeSession(tw.EdgeSettings(vocab_size=V, tokenizer=FINGERPRINT))
    theirs.receive_data(ours.data_to_send())
    welcome = theirs.data_to_send()
    assert len(welcome) % 64 == 0
    ours.receive_data(welcome)
    theirs.fail(tw.ErrorCode.OVERLOADED, "later", retry_after_s=1)
    (failed,) = ours.receive_data(theirs.data_to_send())
    assert failed.error.retry_after_s == 1
    assert len(failed.error.extensions) == 1


def test_what_an_edge_cannot_pad_to():
    for wrong in (-1, 1 << 17):
        with pytest.raises(ValueError, match="padding must be"):
            tw.EdgeSettings(vocab_size=V, tokenizer=FINGERPRINT, padding=wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_no_text(kind):
    async def text(padding):
        target, draft = tables()
        found = []
        async with two_ends(target, draft, extra={"padding": padding}) as device:
            await device.prompt([1, 2])
            async for round_ in device.generate(24, KINDS[kind]):
                found.append((round_.tokens, round_.uplink_bytes % 128, round_.trips))
        return found

    plain, longer = asyncio.run(text(0)), asyncio.run(text(128))
    assert [tokens for tokens, _, _ in plain] == [tokens for tokens, _, _ in longer]
    assert {size for _, size, trips in longer if trips == 1} == {0}
    assert {size for _, size, _ in plain} != {0}
