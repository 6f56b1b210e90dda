"""While proposals are open: who chooses, from which list, and that a new prompt does not bias the text."""

from __future__ import annotations

import numpy as np
import pytest
from enumeration import EXACT, NOTICED, outcomes
from rejected_rounds import CHAIN, EOS, LISTS, asked, drafted, proposed, some_proposals, to_device, to_edge
from session_rounds import PROMPT, V, prompted

import tslt_wire as tw
from tslt_wire.verification.proposals import choose_with
from tslt_wire.verification.verdicts import verify_with

P = np.array([0.5, 0.5, *[0.0] * (V - 2)])
Q = tw.sparsify(np.log([0.9, 0.1, *[1e-300] * (V - 2)]), truncation=tw.TopK(2), precision="f32")


def first_token(choices, **prompt):
    """How the first token of a text came out: (what happened, the token or None).

    The device would rather send a prompt than settle the proposals; ``prompt``: what it says with it.
    """
    device, edge = prompted(device=("scalar",), edge=("scalar",), key=b"")
    tree = tw.TokenTree.chain([choices.draw(Q.dense())])
    device.send_draft(tree, tw.ScalarEvidence.of(tree, {-1: Q}))
    (event,) = edge.receive_data(device.data_to_send())
    edge.send_answer(verify_with(event.draft, np.stack([P, P]), choices, proposals=1))
    (event,) = device.receive_data(edge.data_to_send())
    if isinstance(event, tw.VerdictReceived):
        return "accepted", event.tokens[0]
    try:
        device.send_prompt((), keep=len(device.prefix), **prompt)
    except tw.LocalProtocolError:
        index = choose_with(event.proposals, event.draft, choices)
        return ("missed", None) if index is None else ("taken", device.take(index))
    edge.receive_data(device.data_to_send())
    return "again", None


def law_of_first_token(**prompt):
    """Its distribution, float64 (2,): a batch after a miss is like the one before, a text begun again like the text."""
    mass = {"accepted": np.zeros(2), "taken": np.zeros(2), "missed": 0.0, "again": 0.0}
    for (what, token), probability in outcomes(lambda choices: first_token(choices, **prompt)):
        if token is None:
            mass[what] += probability
        else:
            mass[what][token] += probability
    taken = mass["taken"]
    if taken.any():
        taken = taken * (1 + mass["missed"] / taken.sum())
    return (mass["accepted"] + taken) / (1 - mass["again"])


def test_a_prompt_cannot_take_the_place_of_the_proposals():
    """The text keeps the target's law, though the device tries a prompt first."""
    assert np.abs(law_of_first_token() - P[:2]).max() < EXACT


def test_the_text_that_a_prompt_would_give_is_another():
    """Why it is refused: dropping the proposals and going on from the same prefix prefers what was not rejected."""
    biased = law_of_first_token(new_text=True)
    assert np.abs(biased - P[:2]).max() > NOTICED
    assert biased == pytest.approx([5 / 6, 1 / 6], abs=1e-3)


def test_a_refused_prompt_sends_nothing_and_leaves_the_choice():
    device, edge = proposed()
    for tokens, keep in (((), 4), ((9,), 0), ((9,), 2)):
        with pytest.raises(tw.LocalProtocolError, match="new_text=True"):
            device.send_prompt(tokens, keep=keep)
    assert device.data_to_send() == b""
    assert device.state is tw.State.PROPOSED
    assert device.take(0) == 20
    device.send_prompt((9,), keep=2)  # the round is settled: cutting the text back is free
    to_edge(device, edge)
    assert device.prefix == edge.prefix == (*PROMPT[:2], 9)
    with pytest.raises(TypeError, match="new_text"):
        device.send_prompt((9,), new_text="yes")


def test_the_device_chooses_from_the_list_that_its_evidence_keeps():
    device, edge = proposed()
    token = None
    rng = np.random.default_rng(0)
    while token is None:
        token = device.choose(rng)
        if token is None:
            assert device.state is tw.State.OPEN
            (event,) = to_edge(device, edge)
            edge.send_answer(some_proposals(batch=event.proposals.batch + 1))
            to_device(device, edge)
    assert device.prefix == (*PROMPT, 10, token)
    assert device.state is (tw.State.ENDED if token == EOS else tw.State.IDLE)
    with pytest.raises(tw.LocalProtocolError, match="no proposals"):
        device.choose(rng)


def test_none_that_fits_asks_for_more():
    """The target has nothing that the draft did not give: no proposal is ever kept."""
    device, edge = prompted(device=("scalar",), edge=("scalar",))
    tree = tw.TokenTree.chain([0])
    device.send_draft(tree, tw.ScalarEvidence.of(tree, {-1: Q}))
    to_edge(device, edge)
    edge.send_answer(tw.Proposals(round=0, node=-1, proposals=(tw.Proposal(0, 128),) * 3))  # 0.5 < 0.9
    to_device(device, edge)
    assert device.choose(np.random.default_rng(0)) is None
    assert tw.decode(device.data_to_send(), device.profile) == tw.More(round=0, batch=1)


def test_evidence_of_codes_alone_has_no_lists_to_choose_from_or_to_send():
    for kind, act in ((tw.ScalarEvidence, lambda d: d.choose(np.random.default_rng(0))), (tw.LazyEvidence, None)):
        device, edge = drafted(kind)
        codes = device.open_draft.evidence.codes
        device, edge = prompted_with(kind(codes))
        edge.send_answer(some_proposals() if act else tw.AskList(round=0, node=0))
        to_device(device, edge)
        with pytest.raises(tw.LocalProtocolError, match=r"Evidence\.of\(tree, lists\)"):
            act(device) if act else device.send_list()
        assert device.data_to_send() == b""
        assert device.state is (tw.State.PROPOSED if act else tw.State.ASKED)


def prompted_with(evidence):
    from rejected_rounds import prompted as with_all

    device, edge = with_all()
    device.send_draft(CHAIN, evidence)
    to_edge(device, edge)
    return device, edge


def test_lists_are_kept_and_are_no_part_of_what_is_said():
    for kind in (tw.ScalarEvidence, tw.LazyEvidence):
        evidence = kind.of(CHAIN, {**LISTS, 7: LISTS[0]})
        assert dict(evidence.lists) == LISTS
        assert evidence == kind(evidence.codes)
        assert hash(evidence) == hash(kind(evidence.codes))
        assert kind(evidence.codes).lists is None
        device, edge = drafted(kind)
        assert device.open_draft.evidence.lists == LISTS
        assert edge.open_draft.evidence.lists is None


def test_the_list_that_is_sent_is_the_one_that_was_asked_for():
    device, _ = asked()
    assert device.send_list() == tw.ListReply(round=0, q=LISTS[0])


def test_choose_takes_the_draft_that_the_proposals_answer():
    device, _ = proposed()
    draft, rng = device.open_draft, np.random.default_rng(0)
    for wrong in (some_proposals(round=1), some_proposals(2), some_proposals(7)):
        with pytest.raises(ValueError, match=r"round|node"):
            tw.choose(wrong, draft, rng)
    codes = tw.Draft(
        round=0, prefix_length=3, prefix_hash=0, tree=CHAIN, evidence=tw.ScalarEvidence(draft.evidence.codes)
    )
    with pytest.raises(ValueError, match="lists"):
        tw.choose(some_proposals(), codes, rng)
