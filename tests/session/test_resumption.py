"""Sessions that go on over another link: tokens, secrets, and whole texts whose links break at random."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from broken_links import FORGOT, KEPT, OTHER, PROMPT, World, arrive
from faulty_texts import CALM, KINDS, TARGET, Faults, Texts, V, p_value
from session_rounds import evidence_of

import tslt_wire as tw

# ------------------------------------------------------------------------------------------------------------- secrets


def test_a_token_is_of_one_device_and_one_master_secret():
    keys, nonce = tw.SessionKeys(bytes(range(32))), bytes(range(16))
    first = keys.new(nonce, "me")
    assert len(first.token) == 32
    again = keys.resumed(first.token, "me", (1, 2))
    assert again == tw.Opening(first.secret, first.token, resumed=True, held=(1, 2))
    assert tw.SessionKeys(bytes(range(32))).resumed(first.token, "me").secret == first.secret
    assert keys.resumed(first.token, "you") is None
    assert keys.resumed(first.token) is None
    assert tw.SessionKeys(bytes(32)).resumed(first.token, "me") is None
    for bad in (b"", first.token[:-1], first.token + b"\0", bytes(32), bytes(64), first.token[:16]):
        assert keys.resumed(bad, "me") is None
    for i in range(32):
        changed = bytes(byte ^ (i == at) for at, byte in enumerate(first.token))
        assert keys.resumed(changed, "me") is None
    assert keys.new(bytes(16), "me").secret != first.secret


def test_bad_arguments_of_secrets_are_refused():
    with pytest.raises(TypeError, match="master must be bytes"):
        tw.SessionKeys("secret")
    with pytest.raises(ValueError, match="master must have at least 16 bytes, got 15"):
        tw.SessionKeys(bytes(15))
    with pytest.raises(ValueError, match="nonce must have 16 bytes, got 8"):
        tw.SessionKeys(bytes(16)).new(bytes(8))
    settings = tw.EdgeSettings(vocab_size=V, tokenizer=bytes(32))
    with pytest.raises(ValueError, match="a secret, or an opening"):
        tw.EdgeSession(settings, secret=bytes(16), opening=lambda hello, frame: tw.Opening(bytes(16)))


def test_the_key_of_a_session_tells_no_secret():
    world = World(V, TARGET)
    key, secret, token = world.device.welcome.coupling, world.secret, world.device.welcome.resume
    assert len(key) == 8
    assert key not in secret
    assert secret[:8] not in token
    world.break_link(FORGOT)
    assert (world.device.welcome.coupling, world.secret, world.device.welcome.resumed) == (key, secret, True)
    world.break_link(OTHER)
    assert world.device.welcome.coupling != key
    assert world.secret != secret
    assert not world.device.welcome.resumed


def test_hello_asks_for_what_was_agreed_on():
    world = World(V, TARGET)
    agreed = world.device.welcome
    world.edge.receive_data(world.device.data_to_send())  # the prompt
    world.device.reconnect()
    profile = tw.Profile(vocab_size=V)
    hello = tw.decode(world.device.data_to_send(), profile)
    assert hello.resume == agreed.resume != b""
    assert hello.sampling.named() == tw.Sampling().named()
    assert (hello.entropy, hello.priors) == ((agreed.entropy,), (agreed.prior,))
    assert (hello.evidence, hello.precisions) == (agreed.evidence, agreed.precisions)
    assert world.device.hello.resume == b""


# -------------------------------------------------------------------------------------------------------------- misuse


def rejected(kind: str) -> World:
    """A world whose device has heard of a rejection."""
    world = World(V, lambda context: np.array([0.0, 0.5, 0.5, 0.0]), proposals=1)
    q = tw.sparsify(np.array([0.0, -9e9, -9e9, -9e9]), precision=tw.Precision.F32)
    tree = tw.TokenTree.chain([0])
    world.device.send_draft(tree, evidence_of(kind, tree, {-1: q}))
    for event in arrive(world.edge, list(iter(world.device.data_to_send, b""))):
        world.answer(event)
    arrive(world.device, [world.edge.data_to_send()])
    return world


def test_proposals_are_settled_before_the_link():
    world = rejected("scalar")
    with pytest.raises(tw.LocalProtocolError, match="neither needs a link"):
        world.device.reconnect()
    world.device.ask_more()
    world.break_link(OTHER)
    assert world.device.state is tw.State.OPEN


def test_proposals_that_are_open_when_the_edge_gives_up_are_settled_all_the_same():
    for takes in (True, False):
        world = rejected("scalar")
        world.edge.fail(tw.ErrorCode.INTERNAL, "out of memory")
        arrive(world.device, [world.edge.data_to_send()])
        assert world.device.state is tw.State.FAILED
        if takes:
            token = world.device.take(0)
            assert world.device.prefix == (*PROMPT, token)
        else:
            world.device.ask_more()
        assert world.device.state is tw.State.FAILED
        assert world.device.data_to_send() == b""
        world.break_link(OTHER)
        assert world.device.state is (tw.State.IDLE if takes else tw.State.OPEN)


@pytest.mark.parametrize("kind", ["scalar", "lazy"])
def test_an_edge_must_answer_given_what_the_device_knows(kind):
    world = rejected(kind)
    if kind == "scalar":
        world.device.ask_more()
    world.break_link(OTHER)
    (resumed, event) = arrive(world.edge, list(iter(world.device.data_to_send, b"")))
    assert resumed == tw.TextResumed(0, PROMPT)
    wanted = tw.Rejection(-1, 1 if kind == "scalar" else 0)
    assert (event.rejection, event.step) == (wanted, wanted.batch)
    wrong: Any = [tw.Verdict(round=0, node=-1, token=1), tw.Verdict(round=0, node=0, token=1)]
    if kind == "scalar":
        wrong.append(tw.Proposals(round=0, node=-1, proposals=(tw.Proposal(1, 0),)))
    for answer in wrong:
        with pytest.raises(ValueError, match=r"the device knows of|proposals of batch 1 after node -1"):
            world.edge.send_answer(answer)
    rows, rng = np.full((2, V), 0.25), np.random.default_rng(0)
    with pytest.raises(ValueError, match="is none of a draft of 1 nodes"):
        tw.verify(event.draft, rows, rng, rejection=tw.Rejection(0, wanted.batch))
    with pytest.raises(ValueError, match="is none of a draft of 1 nodes"):
        tw.verify(event.draft, rows, rng, rejection=tw.Rejection(-1, 1 - wanted.batch))
    world.edge.send_answer(tw.verify(event.draft, rows, rng, rejection=event.rejection))


# --------------------------------------------------------------------------------------------------------- whole texts


@pytest.mark.parametrize("name", KINDS)
def test_a_text_over_broken_links_is_the_undisturbed_one(name):
    """Token for token, where the edges share the master secret: nothing is drawn twice."""
    calm, faulty = Texts(name, CALM), Texts(name, Faults(edges=(KEPT, FORGOT), cut=0.3, lost=0.2, again=0.2, late=0.5))
    for _ in range(25):
        assert faulty.next() == calm.next()
    assert faulty.world.reconnects == faulty.world.resumed > 12
    assert min(faulty.link.lost, faulty.link.again, faulty.link.late) > 0


@pytest.mark.parametrize("name", KINDS)
def test_texts_over_broken_links_have_the_law_of_the_target(name):
    texts = Texts(name, Faults(edges=(KEPT, FORGOT, OTHER), cut=0.3, lost=0.1, again=0.1, late=0.1))
    counts = np.zeros((V, V))
    for _ in range(250):
        counts[texts.next()[:2]] += 1
    assert p_value(counts) > 1e-3
    assert texts.world.reconnects > 50
