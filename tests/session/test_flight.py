"""Drafts in flight between two sessions: what an end may do, and what it is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from session_rounds import FINGERPRINT, PROMPT, V

import tslt_wire as tw
from tslt_wire.messages.flight import MOST_WINDOW, naming_window, window_of
from tslt_wire.session.outgoing import resumed_flight

MATCH = tw.MatchEvidence()


def ends(window: int = 3, **changes: Any) -> tuple[tw.DeviceSession, tw.EdgeSession]:
    """Two with a prefix."""
    hello = tw.Hello(vocab_size=V, tokenizer=FINGERPRINT, evidence=("match", "list"))
    settings = tw.EdgeSettings(vocab_size=V, tokenizer=FINGERPRINT, window=window, **changes)
    device, edge = tw.DeviceSession(hello), tw.EdgeSession(settings, secret=bytes(16))
    edge.receive_data(device.data_to_send())
    device.receive_data(edge.data_to_send())
    device.send_prompt(PROMPT)
    edge.receive_data(device.data_to_send())
    return device, edge


def sent(device: tw.DeviceSession, *tokens: int, goes_on: bool = True) -> tw.Draft:
    return device.send_draft(tw.TokenTree.chain(tokens), MATCH, goes_on=goes_on)


def test_a_window_is_told_in_welcome():
    device, edge = ends(4)
    assert device.welcome.extra == {"window": 4}
    assert device.window == window_of(device.welcome) == 4
    assert ends(1)[0].welcome.extra == naming_window(1) == {}
    for said in (0, 1, MOST_WINDOW + 1, True, "2", 2.0):
        assert window_of(replace(device.welcome, extra={"window": said})) == 1
    assert edge.settings.window == 4
    for bad in (0, MOST_WINDOW + 1):
        with pytest.raises(ValueError, match="window"):
            tw.EdgeSettings(vocab_size=V, tokenizer=FINGERPRINT, window=bad)


def test_what_a_device_may_have_in_flight():
    device, _ = ends()
    first = sent(device, 1, 2)
    assert device.may_follow
    second = sent(device, 3)
    assert (second.round, second.prefix_length) == (1, len(PROMPT) + 2)
    assert second.prefix_hash == tw.prefix_hash([*PROMPT, 1, 2])
    assert second.flight == tw.Flight(follows=True, goes_on=True, run=0)
    third = sent(device, 4, goes_on=False)
    assert device.in_flight == (first, second, third)
    assert device.open_draft == first
    assert not device.may_follow
    with pytest.raises(tw.LocalProtocolError, match="cannot send DRAFT_MATCH"):
        sent(device, 5)
    with pytest.raises(tw.LocalProtocolError, match="cannot send PROMPT"):
        device.send_prompt((1,))
    frames = [device.data_to_send() for _ in range(3)]
    assert list(device.unanswered) == frames
    assert device.prefix == PROMPT  # nothing of it is agreed on


@pytest.mark.parametrize(
    ("tree", "leaf", "message"),
    [
        (tw.TokenTree.chain([1, 2]), 1, "a chain goes on from its last token, which is not named; got 1"),
        (tw.TokenTree([1, 2, 3], [-1, -1, 0]), 0, "node 0 is no leaf of this tree of 3"),
        (tw.TokenTree([1, 2], [-1, -1]), 2, "node 2 is no leaf of this tree of 2"),
        (tw.TokenTree([1, 2], [-1, -1]), -1, "leaf"),
    ],
)
def test_leaves_that_a_draft_cannot_go_on_from(tree, leaf, message):
    device, _ = ends()
    with pytest.raises(ValueError, match=message):
        device.send_draft(tree, MATCH, goes_on=True, leaf=leaf)
    with pytest.raises(ValueError, match=r"names no leaf|neither follows"):
        device.send_draft(tree, MATCH, leaf=max(leaf, 0))
    assert device.data_to_send() == b""
    with pytest.raises(ValueError, match="not accepted whole"):
        _ = sent(device, 1, goes_on=False).whole


def test_a_tree_goes_on_from_the_leaf_that_it_names():
    device, edge = ends()
    tree = tw.TokenTree([1, 2, 5, 6], [-1, -1, 1, 1])
    first = device.send_draft(tree, MATCH, goes_on=True, leaf=2)
    assert (first.flight, first.whole, first.whole_tokens) == (tw.Flight(goes_on=True, leaf=2), (1, 2), (2, 5))
    second = sent(device, 3)
    assert second.prefix_hash == tw.prefix_hash([*PROMPT, 2, 5])
    for _ in range(2):
        edge.receive_data(device.data_to_send())
    told = (tw.Extension(4, bytes(6)),)
    whole = edge.send_answer(tw.Verdict(round=0, node=2, token=7, extensions=told))
    assert whole == tw.Whole(round=0, extensions=(tw.Extension(4, bytes(4)),))
    assert edge.prefix == (*PROMPT, 2, 5)
    assert edge.next_events() == [tw.DraftReceived(second, None, None)]
    assert device.receive_data(edge.data_to_send()) == [tw.WholeReceived(first, whole, (2, 5))]


def test_a_draft_that_does_not_go_on_is_the_last_one():
    device, _ = ends()
    sent(device, 1, goes_on=False)
    assert not device.may_follow
    with pytest.raises(tw.LocalProtocolError):
        sent(device, 2)


@pytest.mark.parametrize(
    ("window", "tree", "message"),
    [
        (1, tw.TokenTree.chain([1]), "one draft at a time"),
        (2, tw.TokenTree.chain([]), "this one has none"),
        (2, tw.TokenTree([1, 2], [-1, -1]), "a tree goes on from a leaf that it names; got None"),
    ],
)
def test_drafts_that_cannot_go_on(window, tree, message):
    device, _ = ends(window)
    with pytest.raises(ValueError, match=message):
        device.send_draft(tree, MATCH, goes_on=True)
    assert device.data_to_send() == b""
    with pytest.raises(TypeError, match="goes_on"):
        device.send_draft(tree, MATCH, goes_on=1)


def test_an_edge_holds_what_comes_early_and_hands_it_out_in_turn():
    device, edge = ends()
    drafts = [sent(device, 1), sent(device, 2), sent(device, 3, goes_on=False)]
    (first,) = edge.receive_data(device.data_to_send())
    assert [edge.receive_data(device.data_to_send()) for _ in range(2)] == [[], []]
    assert (first.draft, edge.following) == (drafts[0], tuple(drafts[1:]))
    assert edge.next_events() == []  # the first one is not answered yet
    whole = edge.send_answer(tw.Verdict(round=0, node=0, token=5))
    assert whole == tw.Whole(round=0)
    assert edge.prefix == (*PROMPT, 1)
    (second,) = edge.next_events()
    assert (second.draft, edge.following) == (drafts[1], (drafts[2],))
    (event,) = device.receive_data(edge.data_to_send())
    assert event == tw.WholeReceived(drafts[0], whole, (1,))
    assert (device.open_draft, device.prefix, device.state) == (drafts[1], (*PROMPT, 1), tw.State.OPEN)
    edge.send_answer(tw.Verdict(round=1, node=-1, token=6))
    assert (edge.next_events(), edge.following) == ([], ())
    device.receive_data(edge.data_to_send())
    assert (device.in_flight, device.prefix, device.round) == ((), edge.prefix, 2)
    assert device.prefix == (*PROMPT, 1, 6)
    assert list(device.unanswered) == []
    again = sent(device, 7)
    assert (again.round, again.flight) == (2, tw.Flight(goes_on=True, run=1))


def test_a_held_draft_that_is_wrong_ends_the_session_when_its_turn_comes():
    device, edge = ends()
    sent(device, 1)
    wrong = replace(sent(device, 2), prefix_hash=0)
    edge.receive_data(device.data_to_send())
    assert edge.receive_data(tw.encode(wrong, device.profile)) == []
    edge.send_answer(tw.Verdict(round=0, node=0, token=5))
    with pytest.raises(tw.RemoteProtocolError, match="continues 4 tokens"):
        edge.next_events()
    assert edge.state is tw.State.FAILED


def test_log_probabilities_are_those_of_the_draft():
    device, edge = ends()
    sent(device, 1)
    edge.receive_data(device.data_to_send())
    told = (tw.Extension(4, bytes(4)),)
    whole = edge.send_answer(tw.Verdict(round=0, node=0, token=5, extensions=told))
    assert whole.extensions == (tw.Extension(4, bytes(2)),)
    assert device.receive_data(edge.data_to_send())[0].verdict == whole


def test_how_a_draft_says_that_it_is_in_flight():
    for follows, goes_on, run, leaf, named in (
        (True, False, 0, None, ""),
        (False, True, 63, 0, "00"),
        (True, True, 5, 255, "ff"),
        (True, True, 5, 256, "0001"),
        (False, True, 0, 2**32 - 1, "ffffffff"),
    ):
        flight = tw.Flight(follows=follows, goes_on=goes_on, run=run, leaf=leaf)
        assert flight.extension == tw.Extension(3, bytes([follows + 2 * goes_on + 4 * run]) + bytes.fromhex(named))
        draft = tw.Draft(
            round=0,
            prefix_length=0,
            prefix_hash=0,
            tree=tw.TokenTree.chain([1]),
            evidence=MATCH,
            extensions=(flight.extension,),
        )
        assert (draft.flight, draft.follows, draft.goes_on) == (flight, follows, goes_on)
    with pytest.raises(ValueError, match="neither follows"):
        tw.Flight()
    with pytest.raises(ValueError, match="run"):
        tw.Flight(follows=True, run=64)
    with pytest.raises(ValueError, match="names no leaf, got 1"):
        tw.Flight(follows=True, leaf=1)
    with pytest.raises(TypeError, match="follows"):
        tw.Flight(follows=1)


@pytest.mark.parametrize(
    ("window", "flights"),
    [
        (3, [(False, True), (True, True), (True, True)]),
        (2, [(False, True), (True, False)]),
        (1, [None]),
    ],
)
def test_what_is_sent_over_another_link(window, flights):
    device, _ = ends()
    for token in (1, 2, 3):
        sent(device, token)
    found = [draft.flight for draft in resumed_flight(device.in_flight, window)]
    assert [flight and (flight.follows, flight.goes_on) for flight in found] == flights
    assert resumed_flight((), window) == ()
