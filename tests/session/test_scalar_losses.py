"""Sessions with evidence scalar and lazy when frames are lost, repeated or damaged; the number of proposals."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from rejected_rounds import (
    CHAIN,
    LISTS,
    V,
    asked,
    frame,
    prompted,
    proposed,
    some_proposals,
    to_edge,
)
from session_rounds import PROMPT

import tslt_wire as tw
from tslt_wire.frames.kinds import Kind


def test_frames_that_come_twice_are_answered_with_the_same_bytes():
    device, edge = prompted()
    device.send_draft(CHAIN, tw.ScalarEvidence.of(CHAIN, LISTS))
    draft = device.data_to_send()
    edge.receive_data(draft)
    assert edge.receive_data(draft) == []
    assert edge.data_to_send() == b""  # is being verified
    edge.send_answer(some_proposals())
    first = edge.data_to_send()
    assert edge.receive_data(draft) == []
    assert edge.data_to_send() == first
    assert len(device.receive_data(first)) == 1
    assert device.receive_data(first) == []
    device.ask_more()
    more = device.data_to_send()
    assert device.receive_data(first) == []
    assert len(edge.receive_data(more)) == 1
    assert edge.receive_data(more) == edge.receive_data(draft) == []
    assert edge.data_to_send() == b""
    edge.send_answer(some_proposals(batch=1))
    second = edge.data_to_send()
    assert edge.receive_data(draft) == []
    assert edge.data_to_send() == b""  # the device has gone on
    assert edge.receive_data(more) == []
    assert edge.data_to_send() == second
    assert len(device.receive_data(second)) == 1
    assert device.receive_data(first) == device.receive_data(second) == []
    device.take(0)
    assert device.receive_data(first) == device.receive_data(second) == []
    device.send_draft(tw.TokenTree([], []), tw.MatchEvidence())
    third = device.data_to_send()
    assert device.receive_data(second) == []
    assert edge.receive_data(more) == []
    assert edge.data_to_send() == second  # the edge has not heard of the next draft
    assert edge.receive_data(third)[0].chosen == 20
    assert edge.receive_data(third) == edge.receive_data(more) == edge.receive_data(draft) == []
    assert edge.data_to_send() == b""
    edge.send_answer(tw.Verdict(round=1, node=-1, token=3))
    verdict = edge.data_to_send()
    assert edge.receive_data(third) == []
    assert edge.data_to_send() == verdict
    device.receive_data(verdict)
    assert device.receive_data(second) == device.receive_data(verdict) == []
    assert device.prefix == edge.prefix == (*PROMPT, 10, 20, 3)


def test_lists_that_come_twice_are_answered_with_the_same_bytes():
    device, edge = prompted()
    device.send_draft(CHAIN, tw.LazyEvidence.of(CHAIN, LISTS))
    draft = device.data_to_send()
    edge.receive_data(draft)
    edge.send_answer(tw.AskList(round=0, node=0))
    ask = edge.data_to_send()
    assert edge.receive_data(draft) == []
    assert edge.data_to_send() == ask
    assert len(device.receive_data(ask)) == 1
    assert device.receive_data(ask) == []
    device.send_list()
    reply = device.data_to_send()
    assert device.receive_data(ask) == []
    assert len(edge.receive_data(reply)) == 1
    assert edge.receive_data(reply) == edge.receive_data(draft) == []
    assert edge.data_to_send() == b""
    edge.send_answer(tw.Verdict(round=0, node=0, token=3))
    verdict = edge.data_to_send()
    assert edge.receive_data(reply) == []
    assert edge.data_to_send() == verdict
    assert len(device.receive_data(verdict)) == 1
    assert device.receive_data(verdict) == device.receive_data(ask) == []
    assert edge.receive_data(draft) == []
    assert edge.data_to_send() == b""
    assert device.prefix == edge.prefix == (*PROMPT, 10, 3)


def test_another_list_for_the_same_draft_is_not_looked_at():
    device, edge = asked()
    device.send_list()
    to_edge(device, edge)
    assert edge.receive_data(frame(device, tw.ListReply(round=0, q=LISTS[1]))) == []
    assert edge.state is tw.State.OPEN


@pytest.mark.parametrize("seed", range(20))
def test_a_link_that_loses_and_repeats(seed):
    """Whatever is lost, repeated or late, both ends go through the same rounds and end with the same text."""
    rng = np.random.default_rng(seed)
    device, edge = prompted(eos_tokens=())
    old: list[bytes] = []
    modes = []
    row = np.arange(1.0, V + 1)
    rows = np.tile(row / row.sum(), (4, 1))

    def deliver(session, data):
        """Now, perhaps twice, and perhaps with something old before it."""
        old.append(data)
        for again in (old[int(rng.integers(len(old)))], data, data):
            # What the other end sent is not for this one.
            if again[0] & 0x3F in ((8, 9, 10) if session is device else (0x10, 0x11, 0x13, 0x14, 0x15, 0x16)):
                yield from session.receive_data(again)

    for round_ in range(30):
        mode = ("scalar", "lazy", "match")[int(rng.integers(3))]
        modes.append(mode)
        kinds = {"scalar": tw.ScalarEvidence, "lazy": tw.LazyEvidence}
        evidence = kinds[mode].of(CHAIN, LISTS) if mode in kinds else tw.MatchEvidence()
        device.send_draft(CHAIN, evidence)
        request = device.data_to_send()
        while device.open_draft is not None or device.proposals is not None:
            if rng.random() < 0.3:
                continue  # the frame is lost, and is sent again
            for event in deliver(edge, request):
                if isinstance(event, tw.DraftReceived):
                    answer = tw.verify(event.draft, rows, rng, proposals=1)
                elif isinstance(event, tw.MoreAsked):
                    last = event.proposals
                    answer = tw.propose(round_, last.node, rows[0], rng, batch=last.batch + 1, count=1)
                else:
                    answer = tw.verify_list(event.draft, event.node, rows[0], event.q, rng)
                edge.send_answer(answer)
            answers = list(iter(edge.data_to_send, b""))
            assert len(set(answers)) <= 2  # old ones and this one
            for data in answers:
                if rng.random() < 0.3:
                    continue
                for event in deliver(device, data):
                    if isinstance(event, tw.ProposalsReceived):
                        if device.choose(rng) is None:
                            request = device.data_to_send()
                    elif isinstance(event, tw.ListAsked):
                        device.send_list()
                        request = device.data_to_send()
        known = len(device.prefix) - (device._choice is not None)
        assert device.prefix[:known] == edge.prefix
    assert device.round == edge.round == 30
    assert set(modes) == {"scalar", "lazy", "match"}


def test_fuzzed_frames_raise_only_typed_errors():
    rng = np.random.default_rng(3)
    for make, reply in ((proposed, lambda d: d.ask_more()), (asked, lambda d: d.send_list())):
        for _ in range(100):
            device, edge = make()
            reply(device)
            content = bytearray(device.data_to_send()[:-4])
            content[int(rng.integers(len(content)))] ^= int(rng.integers(1, 256))
            data = bytes(content) + zlib.crc32(content).to_bytes(4, "little")
            try:
                edge.receive_data(data)
            except (tw.DecodeError, tw.RemoteProtocolError):
                assert edge.state is tw.State.FAILED
            assert edge.prefix in (PROMPT, (*PROMPT, 10))


def test_bytes_are_counted_by_kind():
    device, edge = proposed()
    device.ask_more()
    to_edge(device, edge)
    assert device.sent == edge.received
    assert {Kind.DRAFT_SCALAR, Kind.MORE} <= set(device.sent)
    assert edge.sent[Kind.VERDICT_PROPOSALS] == device.received[Kind.VERDICT_PROPOSALS] > 0
