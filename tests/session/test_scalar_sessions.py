"""Sessions with evidence scalar and lazy: what follows a rejection, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from rejected_rounds import (
    ALL,
    CHAIN,
    DESYNCHRONISED,
    EOS,
    LISTS,
    ROW,
    VIOLATION,
    a_list,
    asked,
    drafted,
    frame,
    prompted,
    proposed,
    some_proposals,
    to_device,
    to_edge,
)
from session_rounds import PROMPT

import tslt_wire as tw


def refused(session, frame, code, match=None):
    with pytest.raises(tw.RemoteProtocolError, match=match) as caught:
        session.receive_data(frame)
    assert caught.value.code == code
    assert session.state is tw.State.FAILED
    *_, last = iter(session.data_to_send, b"")
    assert tw.decode(last, session.profile).code == code


def test_a_device_takes_a_proposal_and_names_it_in_its_next_draft():
    device, edge = proposed()
    assert (device.state, edge.state) == (tw.State.PROPOSED, tw.State.PROPOSED)
    assert device.prefix == edge.prefix == (*PROMPT, 10)
    assert device.take(1) == 21
    assert device.state is tw.State.IDLE
    assert (device.prefix, edge.prefix) == ((*PROMPT, 10, 21), (*PROMPT, 10))
    draft = device.send_draft(tw.TokenTree.chain([5]), tw.MatchEvidence())
    assert (draft.choice, draft.prefix_length, draft.prefix_hash) == (1, 5, tw.prefix_hash([*PROMPT, 10, 21]))
    (event,) = to_edge(device, edge)
    assert (event.draft.choice, event.chosen) == (1, 21)
    assert device.prefix == edge.prefix
    edge.send_answer(tw.Verdict(round=1, node=0, token=9))
    (event,) = to_device(device, edge)
    assert event.tokens == (5, 9)
    assert device.send_draft(tw.TokenTree([], []), tw.MatchEvidence()).choice is None
    assert to_edge(device, edge)[0].chosen is None


@pytest.mark.parametrize("name", ALL)
def test_a_draft_of_any_kind_names_it(name):
    device, edge = proposed()
    device.take(0)
    tree = tw.TokenTree.chain([10])
    evidence = {
        "list": tw.ListEvidence({-1: a_list(10)}),
        "match": tw.MatchEvidence(),
        "coupled": tw.CoupledEvidence(),
        "scalar": tw.ScalarEvidence((3,)),
        "lazy": tw.LazyEvidence((3,)),
    }[name]
    device.send_draft(tree, evidence)
    (event,) = to_edge(device, edge)
    assert (event.draft.evidence, event.chosen) == (evidence.checked(tree), 20)
    assert device.prefix == edge.prefix == (*PROMPT, 10, 20)
    # The shared numbers of the next position are the same at both ends.
    assert device.coupling == edge.coupling == tw.Coupling(bytes(8), 1)


def test_asking_for_more():
    device, edge = proposed()
    for batch in (1, 2, 3):
        assert device.ask_more() == tw.More(round=0, batch=batch)
        assert device.state is tw.State.OPEN
        (event,) = to_edge(device, edge)
        assert event == tw.MoreAsked(device.open_draft, some_proposals(0, *(20, 21, EOS), batch=batch - 1))
        edge.send_answer(some_proposals(batch=batch))
        (event,) = to_device(device, edge)
        assert (event.proposals.batch, event.tokens) == (batch, (10,))
        assert device.prefix == edge.prefix == (*PROMPT, 10)
    device.take(0)
    device.send_draft(tw.TokenTree([], []), tw.MatchEvidence())
    assert to_edge(device, edge)[0].chosen == 20


def test_all_accepted_and_nothing_drafted_end_with_a_verdict():
    device, edge = drafted(tw.ScalarEvidence)
    edge.send_answer(tw.Verdict(round=0, node=2, token=30))
    (event,) = to_device(device, edge)
    assert event.tokens == (10, 11, 12, 30)
    device.send_draft(tw.TokenTree([], []), tw.ScalarEvidence(()))
    (event,) = to_edge(device, edge)
    edge.send_answer(tw.verify(event.draft, ROW[None], np.random.default_rng(0)))
    assert isinstance(to_device(device, edge)[0], tw.VerdictReceived)
    assert device.prefix == edge.prefix


def test_a_proposal_that_ends_the_text():
    device, edge = proposed()
    assert device.take(2) == EOS
    assert device.state is tw.State.ENDED
    with pytest.raises(tw.LocalProtocolError, match="ended"):
        device.send_draft(tw.TokenTree([], []), tw.MatchEvidence())
    device.send_prompt([4])
    to_edge(device, edge)
    assert device.prefix == edge.prefix == (4,)
    assert device.state is edge.state is tw.State.IDLE


def test_an_accepted_end_token_ends_the_text_as_ever():
    for kind, answer in ((tw.ScalarEvidence, some_proposals(1)), (tw.LazyEvidence, tw.AskList(round=0, node=1))):
        device, edge = drafted(kind, eos_tokens=(11,))
        sent = edge.send_answer(answer)
        assert sent == tw.Verdict(round=0, node=0, token=11, end=True)
        to_device(device, edge)
        assert device.prefix == edge.prefix == (*PROMPT, 10, 11)
        assert device.state is edge.state is tw.State.ENDED


@pytest.mark.parametrize("taken", [True, False])
@pytest.mark.parametrize("keep", range(6))
def test_a_prompt_while_a_choice_is_pending(keep, taken):
    """What the edge has not heard of is sent again; both ends end up with the same prefix and a new epoch."""
    device, edge = proposed()
    if taken:
        device.take(1)
    elif keep == 5:
        return
    wanted = (*device.prefix[:keep], 30, 31)
    device.send_prompt([30, 31], keep=keep, new_text=not taken)
    (event,) = to_edge(device, edge)
    assert event.keep == min(keep, len(PROMPT) + 1)
    assert device.prefix == edge.prefix == wanted
    assert device.prefix_hash == edge.prefix_hash
    assert device.coupling == edge.coupling == tw.Coupling(bytes(8), 2)
    assert device.state is edge.state is tw.State.IDLE
    assert device.send_draft(tw.TokenTree([], []), tw.MatchEvidence()).choice is None
    assert to_edge(device, edge)[0].chosen is None


def test_a_prompt_that_keeps_all_and_adds_nothing_names_the_token():
    device, edge = proposed()
    device.take(0)
    device.send_prompt([], keep=5)
    assert to_edge(device, edge) == [tw.PromptReceived(4, (20,))]
    assert device.prefix == edge.prefix == (*PROMPT, 10, 20)


def test_bye_while_a_choice_is_pending():
    device, edge = proposed()
    device.take(0)
    device.close()
    assert to_edge(device, edge) == [tw.PeerClosed()]


def test_context_counts_the_token_that_was_taken():
    device, edge = proposed(context=6)
    device.take(0)
    with pytest.raises(tw.LocalProtocolError, match="holds 6 tokens"):
        device.send_draft(tw.TokenTree.chain([1, 2]), tw.MatchEvidence())
    device.welcome = replace(device.welcome, context=100)
    device.send_draft(tw.TokenTree.chain([1, 2]), tw.MatchEvidence())
    refused(edge, device.data_to_send(), tw.ErrorCode.CONTEXT_FULL)


@pytest.mark.parametrize(
    ("change", "code", "match"),
    [
        ({"extensions": ()}, DESYNCHRONISED, "took proposal None"),
        ({"extensions": (tw.Extension(1, b"\x03"),)}, DESYNCHRONISED, "took proposal 3"),
        ({"extensions": (tw.Extension(1, b"\x02"),)}, VIOLATION, "has ended"),
        ({"extensions": (tw.Extension(1, b"\x01"),)}, DESYNCHRONISED, "continues 5 tokens"),
        ({"prefix_length": 4}, DESYNCHRONISED, "continues 4 tokens"),
        ({"extensions": (), "round": 2}, DESYNCHRONISED, "drafts round 2"),
    ],
)
def test_a_choice_that_does_not_fit_is_refused(change, code, match):
    device, edge = proposed()
    device.take(0)
    draft = device.send_draft(tw.TokenTree([], []), tw.MatchEvidence())
    refused(edge, frame(device, replace(draft, **change)), code, match)


def test_a_choice_without_proposals_is_refused():
    device, edge = prompted()
    draft = device.send_draft(tw.TokenTree([], []), tw.MatchEvidence())
    refused(edge, frame(device, replace(draft, extensions=(tw.Extension(1, b"\x00"),))), DESYNCHRONISED, "no proposals")


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (tw.More(round=0, batch=2), DESYNCHRONISED),
        (tw.More(round=1, batch=1), DESYNCHRONISED),
        (tw.ListReply(round=0, q=a_list(11)), VIOLATION),
        (tw.Verdict(round=0, node=0, token=1), VIOLATION),
    ],
)
def test_what_an_edge_refuses_while_a_choice_is_pending(message, code):
    device, edge = proposed()
    refused(edge, frame(device, message), code)


@pytest.mark.parametrize("message", [tw.More(round=0, batch=1), tw.ListReply(round=0, q=a_list(11))])
def test_what_an_edge_did_not_ask_for_is_refused(message):
    device, edge = prompted()
    refused(edge, frame(device, message), VIOLATION)
    device, edge = drafted(tw.ScalarEvidence)
    refused(edge, frame(device, message), VIOLATION)
    device, edge = drafted(tw.ScalarEvidence)
    edge.send_answer(tw.Verdict(round=0, node=2, token=30))
    refused(edge, frame(device, message), VIOLATION)


@pytest.mark.parametrize(
    ("kind", "message", "code"),
    [
        (tw.ScalarEvidence, some_proposals(2), DESYNCHRONISED),
        (tw.ScalarEvidence, some_proposals(round=1), DESYNCHRONISED),
        (tw.ScalarEvidence, some_proposals(batch=1), DESYNCHRONISED),
        (tw.ScalarEvidence, tw.AskList(round=0, node=0), VIOLATION),
        (tw.LazyEvidence, some_proposals(), VIOLATION),
        (tw.LazyEvidence, tw.AskList(round=0, node=2), DESYNCHRONISED),
        (tw.LazyEvidence, tw.AskList(round=0, node=99), DESYNCHRONISED),
        (tw.LazyEvidence, tw.AskList(round=3, node=0), DESYNCHRONISED),
        (None, some_proposals(), VIOLATION),
        (None, tw.AskList(round=0, node=0), VIOLATION),
    ],
)
def test_what_a_device_refuses_as_an_answer(kind, message, code):
    device, edge = prompted()
    device.send_draft(CHAIN, tw.MatchEvidence() if kind is None else kind.of(CHAIN, LISTS))
    refused(device, frame(edge, message), code)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (some_proposals(0, batch=2), DESYNCHRONISED),
        (some_proposals(1, batch=1), DESYNCHRONISED),
        (some_proposals(round=1, batch=1), DESYNCHRONISED),
        (tw.Verdict(round=1, node=0, token=1), VIOLATION),
        (tw.AskList(round=1, node=0), VIOLATION),
    ],
)
def test_what_a_device_refuses_as_more(message, code):
    device, edge = proposed()
    device.ask_more()
    refused(device, frame(edge, message), code)


@pytest.mark.parametrize("message", [some_proposals(round=1), some_proposals(batch=1), tw.AskList(round=1, node=0)])
def test_answers_that_nothing_asked_for_are_refused(message):
    device, edge = proposed()
    refused(device, frame(edge, message), VIOLATION)
    device, edge = proposed()
    device.take(0)
    if message.round == 0:  # the round is over, so this is old
        assert device.receive_data(frame(edge, message)) == []
    else:
        refused(device, frame(edge, message), VIOLATION)


def test_misuse_of_proposals_sends_nothing():
    device, edge = drafted(tw.ScalarEvidence)
    for wrong, match in (
        (some_proposals(batch=1), "batch 0"),
        (some_proposals(2), "no token follows"),
        (some_proposals(round=1), "round 0"),
    ):
        with pytest.raises(ValueError, match=match):
            edge.send_answer(wrong)
    with pytest.raises(tw.LocalProtocolError, match="ASK_LIST"):
        edge.send_answer(tw.AskList(round=0, node=0))
    for misuse in (lambda: device.take(0), device.ask_more, device.send_list):
        with pytest.raises(tw.LocalProtocolError):
            misuse()
    assert edge.data_to_send() == device.data_to_send() == b""
    device, edge = proposed()
    with pytest.raises(tw.LocalProtocolError, match="no open draft"):
        edge.send_answer(some_proposals(batch=1))
    with pytest.raises(tw.LocalProtocolError, match="take one"):
        device.send_draft(tw.TokenTree([], []), tw.MatchEvidence())
    with pytest.raises(ValueError, match=r"in 0\.\.2, got 3"):
        device.take(3)
    device.ask_more()
    with pytest.raises(tw.LocalProtocolError, match="no proposals"):
        device.take(0)
    to_edge(device, edge)
    for wrong in (some_proposals(), some_proposals(1, batch=1), some_proposals(batch=2)):
        with pytest.raises(ValueError, match="batch 1 after node 0"):
            edge.send_answer(wrong)
    with pytest.raises(tw.LocalProtocolError, match="VERDICT"):
        edge.send_answer(tw.Verdict(round=0, node=0, token=1))
    assert edge.data_to_send() == device.data_to_send() == b""


def test_only_chains_and_as_many_codes():
    place = {"round": 0, "prefix_length": 0, "prefix_hash": 0}
    for kind in (tw.ScalarEvidence, tw.LazyEvidence):
        with pytest.raises(ValueError, match="chains"):
            tw.Draft(**place, tree=tw.TokenTree([1, 2], [-1, -1]), evidence=kind((0, 0)))
        with pytest.raises(ValueError, match="2 nodes need as many codes"):
            tw.Draft(**place, tree=tw.TokenTree.chain([1, 2]), evidence=kind((0,)))
        with pytest.raises(ValueError, match="codes of probabilities"):
            kind((4095,))
        with pytest.raises(ValueError, match="probability 0"):
            kind.of(tw.TokenTree.chain([1]), {-1: a_list(10)})
    with pytest.raises(ValueError, match="no next larger"):
        tw.Proposal(1, 0, up=True)
    with pytest.raises(ValueError, match="1 to 256 proposals"):
        tw.Proposals(round=0, node=-1, proposals=())
    with pytest.raises(ValueError, match="count must be"):
        tw.propose(0, -1, ROW, np.random.default_rng(0), count=257)
    with pytest.raises(ValueError, match="not for this kind of frame"):
        tw.encode(tw.Bye(extensions=(tw.Extension(1, b"\0"),)), tw.Profile(vocab_size=1))
    with pytest.raises(ValueError, match="extension types"):
        tw.Extension(1, b"")


# ---------------------------------------------------------------------------------------------------------------- lazy


def test_a_list_is_asked_for_and_sent():
    device, edge = asked()
    assert (device.state, edge.state) == (tw.State.ASKED, tw.State.ASKED)
    assert device.prefix == edge.prefix == PROMPT
    device.send_list()
    (event,) = to_edge(device, edge)
    assert event == tw.ListReceived(edge.open_draft, 0, LISTS[0])
    edge.send_answer(tw.verify_list(event.draft, event.node, ROW, event.q, np.random.default_rng(0)))
    (event,) = to_device(device, edge)
    assert event.tokens[:-1] == (10,)
    assert device.prefix == edge.prefix
    assert device.state is edge.state is tw.State.IDLE


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (tw.ListReply(round=1, q=LISTS[0]), DESYNCHRONISED),
        (tw.ListReply(round=0, q=LISTS[1]), VIOLATION),
        (tw.ListReply(round=0, q=a_list(11, temperature=2.0)), VIOLATION),
        (tw.ListReply(round=0, q=a_list(11, precision="bf16")), tw.ErrorCode.UNSUPPORTED),
        (tw.More(round=0, batch=2), VIOLATION),
        (tw.Prompt(tokens=(1,)), VIOLATION),
    ],
)
def test_a_list_that_does_not_fit_is_refused(reply, code):
    device, edge = asked(precisions=("log2/2",))
    refused(edge, frame(device, reply), code)


def test_misuse_of_lists_sends_nothing():
    device, edge = asked(precisions=("log2/2",))
    with pytest.raises(tw.LocalProtocolError, match="no open draft"):
        edge.send_answer(tw.Verdict(round=0, node=0, token=1))
    with pytest.raises(tw.LocalProtocolError, match="asked"):
        device.send_prompt([1])
    evidence = tw.LazyEvidence.of(CHAIN, LISTS)
    for change, match in (
        ({"precisions": ("f16", "bf16")}, "was not agreed on"),
        ({"limits": tw.DecodeLimits(max_entries=2)}, "2 listed tokens"),
    ):
        device, edge = prompted(**change)
        with pytest.raises(ValueError, match=match):
            device.send_draft(CHAIN, evidence)
    with pytest.raises(ValueError, match="made of another tree"):
        device.send_draft(tw.TokenTree.chain([10, 12, 11]), evidence)
    with pytest.raises(tw.LocalProtocolError, match="asked for no list"):
        device.send_list()
    device, edge = asked()
    device.send_list()
    to_edge(device, edge)
    with pytest.raises(tw.LocalProtocolError, match="ASK_LIST"):
        edge.send_answer(tw.AskList(round=0, node=0))
