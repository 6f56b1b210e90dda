"""Sessions without any transport: frames are handed from one to the other."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

import tslt_wire as tw
from tslt_wire.frames.kinds import DRAFT_KINDS, Kind, Role
from tslt_wire.messages.draft import prefix_crc
from tslt_wire.session.states import ANSWERS, OVER, SENDERS, TRANSITIONS, Act, may_send

V = 50
FINGERPRINT = bytes(range(32))
EOS = 7


def hello(**changes):
    return tw.Hello(vocab_size=V, tokenizer=FINGERPRINT, model="draft", **changes)


def settings(**changes):
    return replace(tw.EdgeSettings(vocab_size=V, tokenizer=FINGERPRINT, model="target", eos_tokens=(EOS,)), **changes)


def pump(device, edge):
    """Carry frames until both are silent; return the events of each."""
    seen = {"device": [], "edge": []}
    while True:
        up, down = device.data_to_send(), edge.data_to_send()
        if not up and not down:
            return seen
        if up:
            seen["edge"] += edge.receive_data(up)
        if down:
            seen["device"] += device.receive_data(down)


def connected(device_hello=None, edge_settings=None):
    device, edge = tw.DeviceSession(device_hello or hello()), tw.EdgeSession(edge_settings or settings())
    pump(device, edge)
    return device, edge


def prompted(tokens=(1, 2, 3), **kwargs):
    device, edge = connected(**kwargs)
    device.send_prompt(tokens)
    pump(device, edge)
    return device, edge


def a_list(*ids, precision="log2/2"):
    logits = np.full(V, -np.inf)
    logits[list(ids)] = np.arange(len(ids), 0, -1) / 3
    return tw.sparsify(logits, precision=precision)


def chain(*tokens):
    tree = tw.TokenTree.chain(tokens)
    return tree, tw.ListEvidence({i - 1: a_list(token, 40, 41) for i, token in enumerate(tokens)})


def send_chain(device, edge, *tokens):
    device.send_draft(*chain(*tokens))
    (event,) = pump(device, edge)["edge"]
    return event.draft


def test_whole_conversation():
    device, edge = tw.DeviceSession(hello(sampling=tw.Sampling(temperature=0.7, top_k=5))), tw.EdgeSession(settings())
    seen = pump(device, edge)
    assert isinstance(seen["edge"][0], tw.SessionOpened)
    assert seen["device"] == [tw.Welcomed(device.welcome)]
    assert edge.sampling == tw.Sampling(temperature=0.7, top_k=5)
    assert device.welcome.model == "target"
    device.send_prompt([1, 2, 3])
    assert pump(device, edge)["edge"] == [tw.PromptReceived(0, (1, 2, 3))]
    draft = send_chain(device, edge, 10, 11)
    assert (draft.round, draft.prefix_length) == (0, 3)
    edge.send_answer(tw.Verdict(round=0, node=0, token=20))
    (event,) = pump(device, edge)["device"]
    assert event.tokens == (10, 20)
    assert device.prefix == edge.prefix == (1, 2, 3, 10, 20)
    assert device.prefix_hash == edge.prefix_hash == tw.prefix_hash(device.prefix)
    device.send_prompt([9], keep=2)
    pump(device, edge)
    assert device.prefix == edge.prefix == (1, 2, 9)
    device.close()
    assert pump(device, edge)["edge"] == [tw.PeerClosed()]
    assert device.state is edge.state is tw.State.CLOSED


def test_empty_draft_asks_for_one_token():
    device, edge = prompted()
    device.send_draft(tw.TokenTree([], []), tw.ListEvidence({}))
    (event,) = pump(device, edge)["edge"]
    edge.send_answer(tw.verify(event.draft, np.full((1, V), 1 / V), np.random.default_rng(0)))
    pump(device, edge)
    assert len(device.prefix) == 4
    assert device.prefix == edge.prefix


def test_bytes_are_counted_by_kind():
    device, edge = prompted()
    send_chain(device, edge, 10)
    edge.send_answer(tw.Verdict(round=0, node=-1, token=20))
    pump(device, edge)
    assert device.sent == edge.received
    assert device.received == edge.sent
    assert device.sent[Kind.DRAFT_LIST] > 0
    assert device.received[Kind.VERDICT] > 0


@pytest.mark.parametrize(
    ("node", "token", "want_node", "want_token"),
    [(2, 20, 0, EOS), (1, 20, 0, EOS), (0, EOS, 0, EOS), (0, 20, 0, 20)],
)
def test_text_stops_at_the_first_end_token(node, token, want_node, want_token):
    device, edge = prompted()
    send_chain(device, edge, 10, EOS, 12)
    sent = edge.send_answer(tw.Verdict(round=0, node=node, token=token))
    assert (sent.node, sent.token, sent.end) == (want_node, want_token, want_token == EOS)
    pump(device, edge)
    assert device.prefix == edge.prefix == (1, 2, 3, 10, want_token)
    if sent.end:
        assert device.state is edge.state is tw.State.ENDED
        with pytest.raises(tw.LocalProtocolError, match="ended"):
            device.send_draft(*chain(10))
        device.send_prompt([4])
        pump(device, edge)
        assert device.state is tw.State.IDLE


def refused(device_hello, edge_settings):
    device, edge = tw.DeviceSession(device_hello), tw.EdgeSession(edge_settings)
    with pytest.raises(tw.RemoteProtocolError) as caught:
        edge.receive_data(device.data_to_send())
    (event,) = device.receive_data(edge.data_to_send())
    assert isinstance(event, tw.PeerFailed)
    assert event.error.code == caught.value.code
    assert device.state is edge.state is tw.State.FAILED
    return event.error


def test_another_vocabulary_is_refused_and_both_are_named():
    error = refused(replace(hello(), vocab_size=60, tokenizer=bytes(32)), settings())
    assert error.code == tw.ErrorCode.VOCABULARY_MISMATCH
    assert "60 tokens" in error.message
    assert f"{V} tokens" in error.message
    assert "draft" in error.message
    assert "target" in error.message


def test_another_tokenizer_is_refused_and_both_are_named():
    error = refused(replace(hello(), tokenizer=bytes(32)), settings())
    assert error.code == tw.ErrorCode.TOKENIZER_MISMATCH
    assert FINGERPRINT[:8].hex() in error.message
    assert bytes(8).hex() in error.message


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"min_version": 2, "max_version": 3}, tw.ErrorCode.VERSION_MISMATCH),
        ({"evidence": ("match",)}, tw.ErrorCode.UNSUPPORTED),
        ({"precisions": ("f16",)}, tw.ErrorCode.UNSUPPORTED),
    ],
)
def test_nothing_in_common_is_refused(changes, code):
    assert refused(hello(**changes), settings(evidence=("list",), precisions=("bf16",))).code == code


def test_negotiation_keeps_the_devices_order():
    device, _ = connected(hello(precisions=("f16", "log2/1", "bf16")), settings(precisions=("log2/1", "f16")))
    assert device.welcome.precisions == ("f16", "log2/1")
    assert device.profile == tw.Profile(vocab_size=V, precision="f16")
    device.send_prompt([1])
    tree = tw.TokenTree.chain([3])
    with pytest.raises(ValueError, match="was not agreed on"):
        device.send_draft(tree, tw.ListEvidence({-1: a_list(3, precision="bf16")}))


def welcome_for(device, **changes):
    frame = device.data_to_send()
    welcome = tw.Welcome(version=1, vocab_size=V, tokenizer=FINGERPRINT, transcript=hashlib.sha256(frame).digest()[:16])
    return tw.encode(replace(welcome, **changes), tw.Profile(vocab_size=1))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"transcript": bytes(16)}, tw.ErrorCode.TRANSCRIPT_MISMATCH),
        ({"version": 2}, tw.ErrorCode.VERSION_MISMATCH),
        ({"vocab_size": V + 1, "tokenizer": bytes(32)}, tw.ErrorCode.VOCABULARY_MISMATCH),
        ({"tokenizer": bytes(32)}, tw.ErrorCode.TOKENIZER_MISMATCH),
        ({"precisions": ("f64",)}, tw.ErrorCode.UNSUPPORTED),
        ({"evidence": ()}, tw.ErrorCode.UNSUPPORTED),
        ({"entropy": "magic"}, tw.ErrorCode.UNSUPPORTED),
    ],
)
def test_device_refuses_a_welcome_that_does_not_fit(changes, code):
    device = tw.DeviceSession(hello())
    with pytest.raises(tw.RemoteProtocolError) as caught:
        device.receive_data(welcome_for(device, **changes))
    assert caught.value.code == code
    assert tw.decode(device.data_to_send(), tw.Profile(vocab_size=1)).code == code


def test_a_changed_handshake_is_noticed_by_the_edge():
    device, edge = connected()
    device._transcript = bytes(8)
    device.send_prompt([1])
    with pytest.raises(tw.RemoteProtocolError) as caught:
        edge.receive_data(device.data_to_send())
    assert caught.value.code == tw.ErrorCode.TRANSCRIPT_MISMATCH


def test_a_draft_sent_twice_is_answered_twice_with_the_same_bytes():
    device, edge = prompted()
    device.send_draft(*chain(10, 11))
    frame = device.data_to_send()
    assert len(edge.receive_data(frame)) == 1
    assert edge.receive_data(frame) == []  # still being verified
    edge.send_answer(tw.Verdict(round=0, node=1, token=20))
    first = edge.data_to_send()
    assert edge.receive_data(frame) == []
    assert edge.data_to_send() == first
    assert len(device.receive_data(first)) == 1
    assert device.receive_data(first) == []
    assert device.prefix == edge.prefix
    send_chain(device, edge, 5)
    assert device.receive_data(first) == []  # stale while the next round is open
    assert edge.receive_data(frame) == []
    assert edge.data_to_send() == b""
    edge.send_answer(tw.Verdict(round=1, node=0, token=20))
    pump(device, edge)
    assert device.prefix == edge.prefix == (1, 2, 3, 10, 11, 20, 5, 20)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"prefix_length": 4}, tw.ErrorCode.DESYNCHRONISED),
        ({"prefix_hash": 1}, tw.ErrorCode.DESYNCHRONISED),
        ({"round": 5}, tw.ErrorCode.DESYNCHRONISED),
    ],
)
def test_a_draft_on_another_prefix_is_refused(change, code):
    device, edge = prompted()
    device.send_draft(*chain(10))
    draft = replace(tw.decode(device.data_to_send(), device.profile), **change)
    with pytest.raises(tw.RemoteProtocolError) as caught:
        edge.receive_data(tw.encode(draft, device.profile))
    assert caught.value.code == code
    (event,) = device.receive_data(edge.data_to_send())
    assert event.error.code == code
    assert device.prefix == (1, 2, 3)


@pytest.mark.parametrize("verdict", [{"round": 1, "node": -1}, {"round": 0, "node": 2}])
def test_a_verdict_on_something_else_is_refused(verdict):
    device, edge = prompted()
    send_chain(device, edge, 10, 11)
    with pytest.raises(tw.RemoteProtocolError) as caught:
        device.receive_data(tw.encode(tw.Verdict(token=1, **verdict), device.profile))
    assert caught.value.code == tw.ErrorCode.DESYNCHRONISED
    assert device.prefix == (1, 2, 3)


def test_a_device_that_takes_no_welcome_is_told():
    edge = tw.EdgeSession(settings())
    frame = tw.encode(hello(limits=tw.DecodeLimits(max_frame_bytes=1)), tw.Profile(vocab_size=1))
    with pytest.raises(tw.RemoteProtocolError) as caught:
        edge.receive_data(frame)
    assert caught.value.code == tw.ErrorCode.UNSUPPORTED
    assert edge.state is tw.State.FAILED


@pytest.mark.parametrize(("limit", "frames", "has_text"), [(1, 0, False), (60, 1, False), (600, 1, True)])
def test_an_error_keeps_to_the_peers_limit(limit, frames, has_text):
    edge = tw.EdgeSession(settings())
    edge.receive_data(tw.encode(hello(), tw.Profile(vocab_size=1)))
    edge.data_to_send()
    edge._max_frame_bytes = limit
    edge.fail(tw.ErrorCode.INTERNAL, "x" * 200)
    found = [data for data in iter(edge.data_to_send, b"")]
    assert len(found) == frames
    for data in found:
        assert len(data) <= limit
        message = tw.decode(data, tw.Profile(vocab_size=1))
        assert isinstance(message, tw.ErrorMessage)
        assert (message.code, bool(message.message)) == (tw.ErrorCode.INTERNAL, has_text)
    assert edge.state is tw.State.FAILED


def test_a_precision_that_was_not_agreed_on_is_refused_by_the_edge():
    device, edge = prompted(edge_settings=settings(precisions=("f16",)), device_hello=hello(precisions=("f16",)))
    device.welcome = replace(device.welcome, precisions=("bf16",))
    device.send_draft(tw.TokenTree.chain([3]), tw.ListEvidence({-1: a_list(3, precision="bf16")}))
    with pytest.raises(tw.RemoteProtocolError) as caught:
        edge.receive_data(device.data_to_send())
    assert caught.value.code == tw.ErrorCode.UNSUPPORTED


def test_context_is_bounded_at_both_ends():
    device, edge = prompted(edge_settings=settings(context=5))
    with pytest.raises(ValueError, match="holds 5 tokens"):
        device.send_prompt(range(6))
    with pytest.raises(tw.LocalProtocolError, match="holds 5 tokens"):
        device.send_draft(*chain(10, 11, 12))
    device.welcome = replace(device.welcome, context=100)
    device.send_draft(*chain(10, 11, 12))
    with pytest.raises(tw.RemoteProtocolError) as caught:
        edge.receive_data(device.data_to_send())
    assert caught.value.code == tw.ErrorCode.CONTEXT_FULL


def test_limits_of_the_edge_are_kept_by_the_device():
    limits = tw.DecodeLimits(max_nodes=2, max_entries=8, max_prompt_tokens=4)
    device, _ = prompted(edge_settings=settings(limits=limits))
    with pytest.raises(ValueError, match="2 nodes"):
        device.send_draft(*chain(10, 11, 12))
    with pytest.raises(ValueError, match="8 listed tokens"):
        device.send_draft(tw.TokenTree.chain([1]), tw.ListEvidence({-1: a_list(*range(1, 10))}))
    with pytest.raises(ValueError, match="prompts of 4"):
        device.send_prompt(range(5))
    assert device.state is tw.State.IDLE


def test_leaves_are_bounded_at_both_ends():
    """As nodes are: the device refuses its caller, and the edge a device that does not."""
    fork = (
        tw.TokenTree([10, 11, 12, 13], [-1, -1, 0, 0]),
        tw.ListEvidence({-1: a_list(10, 11), 0: a_list(12, 13)}, True),
    )
    device, edge = prompted(edge_settings=settings(limits=tw.DecodeLimits(max_leaves=2)))
    assert device.welcome.limits.max_leaves == 2
    with pytest.raises(ValueError, match="2 leaves and depth 256, got 4, 3 and 2"):
        device.send_draft(*fork)
    assert device.data_to_send() == b""
    assert len(send_chain(device, edge, *range(10, 30)).tree) == 20
    device, edge = prompted(edge_settings=settings(limits=tw.DecodeLimits(max_leaves=3)))
    device.send_draft(*fork)
    assert pump(device, edge)["edge"][0].draft.tree == fork[0]
    device, edge = prompted(edge_settings=settings(limits=tw.DecodeLimits(max_leaves=2)))
    device.welcome = replace(device.welcome, limits=tw.DecodeLimits())
    device.send_draft(*fork)
    with pytest.raises(tw.DecodeError) as caught:
        edge.receive_data(device.data_to_send())
    assert caught.value.code == tw.ErrorCode.LIMIT_EXCEEDED
    (told,) = device.receive_data(edge.data_to_send())
    assert told.error.code == tw.ErrorCode.LIMIT_EXCEEDED


def test_a_frame_too_large_for_the_edge_is_not_sent():
    device, _ = prompted(edge_settings=settings(limits=tw.DecodeLimits(max_frame_bytes=600)))
    with pytest.raises(ValueError, match="600 bytes"):
        device.send_prompt([1] * 1000)
    assert device.state is tw.State.IDLE
    assert device.data_to_send() == b""


def test_local_misuse_sends_nothing():
    device = tw.DeviceSession(hello())
    device.data_to_send()
    with pytest.raises(tw.LocalProtocolError, match="PROMPT"):
        device.send_prompt([1])
    device, edge = connected()
    with pytest.raises(tw.LocalProtocolError, match="DRAFT"):
        device.send_draft(*chain(1))
    with pytest.raises(ValueError, match="at least one token"):
        device.send_prompt([])
    with pytest.raises(ValueError, match="below the vocabulary size"):
        device.send_prompt([V])
    with pytest.raises(ValueError, match="keep"):
        device.send_prompt([1], keep=1)
    with pytest.raises(tw.LocalProtocolError, match="no open draft"):
        edge.send_answer(tw.Verdict(round=0, node=-1, token=1))
    device.send_prompt([1])
    pump(device, edge)
    send_chain(device, edge, 3)
    with pytest.raises(ValueError, match="round 0"):
        edge.send_answer(tw.Verdict(round=1, node=-1, token=1))
    with pytest.raises(tw.LocalProtocolError, match="open"):
        device.send_prompt([1])
    assert device.data_to_send() == edge.data_to_send() == b""


@pytest.mark.parametrize("field", ["evidence", "precisions", "entropy", "priors"])
def test_unknown_names_are_a_callers_error_at_both_ends(field):
    with pytest.raises(ValueError, match="magic"):
        tw.DeviceSession(hello(**{field: ("magic",)}))
    with pytest.raises(ValueError, match="magic"):
        settings(**{field: ("magic",)})


def test_garbage_fails_the_session_and_tells_the_peer():
    device, edge = connected()
    with pytest.raises(tw.DecodeError) as caught:
        edge.receive_data(b"GET / HTTP/1.1")
    assert caught.value.code == tw.ErrorCode.BAD_CHECKSUM
    (event,) = device.receive_data(edge.data_to_send())
    assert event.error.name == "bad_checksum"
    assert edge.receive_data(b"more") == []
    assert device.receive_data(b"more") == []
    edge.close()
    assert edge.data_to_send() == b""


def test_fail_tells_the_peer():
    device, edge = connected()
    edge.fail(tw.ErrorCode.OVERLOADED, "too many devices")
    (event,) = device.receive_data(edge.data_to_send())
    assert event.error == tw.ErrorMessage(code=tw.ErrorCode.OVERLOADED, message="too many devices")
    assert device.state is tw.State.FAILED


MESSAGES = {
    Kind.HELLO: hello(),
    Kind.WELCOME: tw.Welcome(version=1, vocab_size=V, tokenizer=FINGERPRINT, transcript=bytes(16)),
    Kind.PROMPT: tw.Prompt(tokens=(1,)),
    Kind.DRAFT_LIST: tw.Draft(
        round=0, prefix_length=3, prefix_hash=0, tree=tw.TokenTree([], []), evidence=tw.ListEvidence({})
    ),
    Kind.VERDICT: tw.Verdict(round=0, node=-1, token=1),
}
MESSAGES[Kind.DRAFT_MATCH] = replace(MESSAGES[Kind.DRAFT_LIST], evidence=tw.MatchEvidence())
MESSAGES[Kind.DRAFT_COUPLED] = replace(MESSAGES[Kind.DRAFT_LIST], evidence=tw.CoupledEvidence())
MESSAGES[Kind.DRAFT_SCALAR] = replace(MESSAGES[Kind.DRAFT_LIST], evidence=tw.ScalarEvidence(()))
MESSAGES[Kind.DRAFT_LAZY] = replace(MESSAGES[Kind.DRAFT_LIST], evidence=tw.LazyEvidence(()))
MESSAGES[Kind.VERDICT_PROPOSALS] = tw.Proposals(round=0, node=-1, proposals=(tw.Proposal(1, 0),))
MESSAGES[Kind.RESUME] = tw.Resume(tokens=(1,), prefix_crc=prefix_crc((1,)), round=0, prompt_length=1)
MESSAGES[Kind.MORE] = tw.More(round=0, batch=1)
MESSAGES[Kind.ASK_LIST] = tw.AskList(round=0, node=-1)
MESSAGES[Kind.LIST] = tw.ListReply(round=0, q=a_list(1, 2))


@pytest.mark.parametrize("state", [s for s in tw.State if s not in (tw.State.CLOSED, tw.State.FAILED)])
@pytest.mark.parametrize("kind", MESSAGES)
@pytest.mark.parametrize("role", Role)
def test_every_message_in_every_state_is_allowed_or_refused_as_the_table_says(state, kind, role):
    session = tw.DeviceSession(hello()) if role is Role.DEVICE else tw.EdgeSession(settings())
    peer = Role.EDGE if role is Role.DEVICE else Role.DEVICE
    session.data_to_send()
    session._state = state
    session.profile = tw.Profile(vocab_size=V)
    if state in (tw.State.OPEN, tw.State.PROPOSED, tw.State.ASKED):
        q = MESSAGES[Kind.LIST].q
        tree = tw.TokenTree.chain([1])
        session.open_draft = replace(MESSAGES[Kind.DRAFT_LIST], tree=tree, evidence=tw.LazyEvidence.of(tree, {-1: q}))
        if role is Role.EDGE:  # what it has sent
            session.proposals, session._asked = MESSAGES[Kind.VERDICT_PROPOSALS], MESSAGES[Kind.ASK_LIST]
    frame = tw.encode(MESSAGES[kind], session.profile)
    if not may_send(state, kind, peer, session._request):
        unknown = role is Role.EDGE and state is tw.State.START and kind in (Kind.PROMPT, Kind.RESUME, *ANSWERS)
        code = tw.ErrorCode.UNKNOWN_SESSION if unknown else tw.ErrorCode.PROTOCOL_VIOLATION
        with pytest.raises(tw.RemoteProtocolError) as caught:
            session.receive_data(frame)
        assert caught.value.code == code
        assert session.state is tw.State.FAILED
        assert tw.decode(session.data_to_send(), session.profile).code == code
    else:
        found = None
        try:
            session.receive_data(frame)
        except tw.RemoteProtocolError as error:
            found = error.code
        assert found != tw.ErrorCode.PROTOCOL_VIOLATION


def test_the_table_is_complete():
    assert {state for state, _ in TRANSITIONS} == set(tw.State)
    assert {what for state, what in TRANSITIONS if state in OVER} == {Act.RECONNECT}
    assert {what for _, what in TRANSITIONS} == {*Kind, *Act}
    assert set(SENDERS) == set(Kind)
    assert set(ANSWERS) == {Kind.HELLO, Kind.MORE, Kind.LIST, *DRAFT_KINDS.values()}
    assert all(SENDERS[kind] == {Role.DEVICE} for kind in ANSWERS)
    assert all(SENDERS[kind] == {Role.EDGE} for kinds in ANSWERS.values() for kind in kinds)
    reachable = {tw.State.START}
    for _ in tw.State:
        reachable |= {after for (state, _), after in TRANSITIONS.items() if state in reachable}
    assert reachable == set(tw.State)


def test_fuzzed_sessions_raise_only_typed_errors():
    rng = np.random.default_rng(5)
    for _ in range(300):
        device, edge = prompted()
        device.send_draft(*chain(10, 11))
        frame = bytearray(device.data_to_send())
        for _ in range(int(rng.integers(1, 4))):
            frame[int(rng.integers(len(frame)))] ^= int(rng.integers(1, 256))
        with pytest.raises((tw.DecodeError, tw.RemoteProtocolError)):
            edge.receive_data(bytes(frame))
        assert edge.prefix == (1, 2, 3)
