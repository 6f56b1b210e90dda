"""The edge's random numbers and what a round keeps open at the edge: both belong to the session."""

from __future__ import annotations

import hashlib
import hmac

import numpy as np
import pytest
from rejected_rounds import ALL, CHAIN, EOS, LISTS, V, a_list
from session_rounds import FINGERPRINT, PROMPT

import tslt_wire as tw

SECRET = bytes(range(32))
ROWS = np.full((4, V), 1 / V)


def edge_session(**options):
    return tw.EdgeSession(tw.EdgeSettings(vocab_size=V, tokenizer=FINGERPRINT, eos_tokens=(EOS,)), **options)


def answered(edge, frame):
    """Every frame that ``edge`` says to ``frame``, verified with the session's own numbers and rows."""
    for event in edge.receive_data(frame):
        if isinstance(event, tw.DraftReceived):
            answer = tw.verify(event.draft, ROWS, edge.generator(event), coupling=edge.coupling, proposals=2)
            edge.send_answer(answer, row=ROWS[1 + answer.node])
        elif isinstance(event, tw.MoreAsked):
            last, rng = event.proposals, edge.generator(event)
            edge.send_answer(tw.propose(last.round, last.node, event.row, rng, batch=event.step, count=2))
        elif isinstance(event, tw.ListReceived):
            edge.send_answer(tw.verify_list(event.draft, event.node, event.row, event.q, edge.generator(event)))
    return list(iter(edge.data_to_send, b""))


def conversation(*edges, rounds=12):
    """What one device, served by the first edge, sends; and the answers of each edge to it, frame by frame."""
    device = tw.DeviceSession(tw.Hello(vocab_size=V, tokenizer=FINGERPRINT, evidence=ALL))
    said = [[] for _ in edges]
    kinds = {"scalar": tw.ScalarEvidence, "lazy": tw.LazyEvidence}
    rng, batches = np.random.default_rng(0), 0

    def exchange():
        while frame := device.data_to_send():
            for answers, edge in zip(said, edges, strict=True):
                answers.append(answered(edge, frame))
            for answer in said[0][-1]:
                device.receive_data(answer)

    exchange()
    device.send_prompt(PROMPT)
    exchange()
    for number in range(rounds):
        if device.state is tw.State.ENDED:
            device.send_prompt(PROMPT)
            exchange()
        mode = ("scalar", "lazy", "match", "coupled")[number % 4]
        device.send_draft(CHAIN, kinds[mode].of(CHAIN, LISTS) if mode in kinds else EVIDENCE[mode])
        exchange()
        while device.state is tw.State.PROPOSED:
            if batches < 3:
                device.ask_more()
                batches += 1
            else:
                device.choose(rng)
            exchange()
        if device.state is tw.State.ASKED:
            device.send_list()
            exchange()
    assert batches == 3
    return said


EVIDENCE = {"match": tw.MatchEvidence(), "coupled": tw.CoupledEvidence()}


def test_the_same_frames_get_the_same_answers_from_two_edges_with_the_same_secret():
    first, second = conversation(edge_session(secret=SECRET), edge_session(secret=SECRET))
    assert first == second
    assert len({answer for answers in first for answer in answers}) > 15


def test_another_secret_gives_other_answers():
    device = tw.DeviceSession(tw.Hello(vocab_size=V, tokenizer=FINGERPRINT, evidence=("match",)))
    hello, edges = device.data_to_send(), [edge_session(secret=SECRET), edge_session(secret=bytes(32))]
    for edge in edges:
        answered(edge, hello)
    draft = tw.Draft(round=0, prefix_length=3, prefix_hash=0, tree=CHAIN, evidence=tw.MatchEvidence())
    draws = [edge.generator(tw.DraftReceived(draft)).random() for edge in edges]
    assert draws[0] != draws[1]


def test_rounds_and_steps_share_no_numbers():
    edge = edge_session(secret=SECRET)
    seen = set()
    for number in (0, 1, 2, 255, 256, 65536, (1 << 32) - 1):
        draft = tw.Draft(round=number, prefix_length=3, prefix_hash=0, tree=CHAIN, evidence=tw.MatchEvidence())
        place = {"round": number, "node": 0, "proposals": (tw.Proposal(1, 5),)}
        events = [tw.DraftReceived(draft), tw.ListReceived(draft, 0, a_list(11))]
        events += [tw.MoreAsked(draft, tw.Proposals(**place, batch=batch)) for batch in (1, 2, 255, 256)]
        assert [event.step for event in events] == [0, 1, 2, 3, 256, 257]
        for event in events:
            numbers = edge.generator(event).bytes(512)
            assert numbers == edge.generator(event).bytes(512)
            seen |= {numbers[i : i + 8] for i in range(0, 512, 8)}
    assert len(seen) == 7 * 6 * 64
    # MORE for batch 1 and LIST are both step 1 of a round: no round has both.
    more = tw.MoreAsked(draft, tw.Proposals(**place, batch=0))
    assert edge.generator(more).random() == edge.generator(events[1]).random()


def test_a_session_without_a_secret_has_no_generator():
    draft = tw.Draft(round=0, prefix_length=3, prefix_hash=0, tree=CHAIN, evidence=tw.MatchEvidence())
    with pytest.raises(tw.LocalProtocolError, match="secret"):
        edge_session(coupling=bytes(8)).generator(tw.DraftReceived(draft))
    with pytest.raises(ValueError, match="at least 16 bytes, got 15"):
        edge_session(secret=bytes(15))
    with pytest.raises(TypeError, match="must be bytes"):
        edge_session(secret="x" * 32)


def test_the_coupling_key_comes_from_the_secret_and_does_not_tell_it():
    def told(**options):
        device, edge = tw.DeviceSession(tw.Hello(vocab_size=V, tokenizer=FINGERPRINT, evidence=ALL)), None
        edge = edge_session(**options)
        edge.receive_data(device.data_to_send())
        frame = edge.data_to_send()
        device.receive_data(frame)
        assert SECRET not in frame
        return device.welcome.coupling

    assert told(secret=SECRET) == hmac.new(SECRET, b"tslt-wire coupling key 1", hashlib.sha256).digest()[:8]
    assert told(secret=SECRET) != told(secret=bytes(32))
    assert told(secret=SECRET, coupling=b"8 bytes.") == b"8 bytes."
    assert told() == b""


def test_the_row_of_a_rejection_is_the_sessions_until_the_round_is_over():
    from rejected_rounds import drafted, some_proposals, to_device, to_edge

    row, later = object(), object()
    device, edge = drafted(tw.ScalarEvidence)
    edge.send_answer(some_proposals(), row=row)
    to_device(device, edge)
    device.ask_more()
    (event,) = to_edge(device, edge)
    assert event.row is row
    assert event == tw.MoreAsked(event.draft, event.proposals)  # the row is not compared
    edge.send_answer(some_proposals(batch=1))  # no other row: the same one
    to_device(device, edge)
    device.ask_more()
    (event,) = to_edge(device, edge)
    assert event.row is row
    edge.send_answer(some_proposals(batch=2), row=later)
    to_device(device, edge)
    device.ask_more()
    assert to_edge(device, edge)[0].row is later
    edge.send_answer(some_proposals(batch=3))
    to_device(device, edge)
    device.take(0)
    device.send_draft(CHAIN, tw.LazyEvidence.of(CHAIN, LISTS))
    to_edge(device, edge)
    edge.send_answer(tw.AskList(round=1, node=0))
    to_device(device, edge)
    device.send_list()
    assert to_edge(device, edge)[0].row is None  # that of the round before is gone
