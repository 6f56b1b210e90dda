"""What callers give to sessions is checked where it is given, before anything moves."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

import tslt_wire as tw
from tslt_wire.frames.codec import HANDSHAKE_PROFILE

V = 50
HELLO = tw.Hello(vocab_size=V, tokenizer=bytes(32), evidence=("match",))
SETTINGS = tw.EdgeSettings(vocab_size=V, tokenizer=bytes(32))
CHAIN = tw.TokenTree.chain([1, 2])
UNIFORM = tw.sparsify(np.zeros(V))
SCALAR = tw.ScalarEvidence.of(CHAIN, dict.fromkeys(CHAIN.inner, UNIFORM))


def prompted(hello=HELLO):
    device, edge = tw.DeviceSession(hello), tw.EdgeSession(SETTINGS, secret=bytes(16))
    edge.receive_data(device.data_to_send())
    device.receive_data(edge.data_to_send())
    device.send_prompt([1, 2, 3])
    edge.receive_data(device.data_to_send())
    return device, edge


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda frame: np.frombuffer(frame, np.uint8)])
def test_every_frame_may_come_in_any_buffer_and_is_copied(kind):
    """HELLO and WELCOME are hashed, and a draft is kept to know it again, after its buffer has been used again."""
    device, edge = tw.DeviceSession(HELLO), tw.EdgeSession(SETTINGS)

    def handed(sender, receiver):
        frame = sender.data_to_send()
        buffer = bytearray(frame)
        events = receiver.receive_data(buffer if kind is bytearray else kind(buffer))
        buffer[:] = bytes(len(buffer))
        return frame, events

    handed(device, edge)
    handed(edge, device)
    device.send_prompt([1, 2, 3])
    handed(device, edge)
    device.send_draft(CHAIN, tw.MatchEvidence())
    draft, _ = handed(device, edge)
    edge.send_answer(tw.Verdict(round=0, node=-1, token=4))
    answer, _ = handed(edge, device)
    assert device.prefix == edge.prefix == (1, 2, 3, 4)
    assert edge.receive_data(kind(draft)) == []
    assert edge.data_to_send() == answer


@pytest.mark.parametrize("empty", [b"", bytearray(), memoryview(b"")])
def test_a_frame_of_no_bytes_is_refused(empty):
    for session in prompted():
        with pytest.raises(tw.DecodeError) as caught:
            session.receive_data(empty)
        assert caught.value.code is tw.ErrorCode.TRUNCATED
        assert session.state is tw.State.FAILED
        assert tw.decode(session.data_to_send(), HANDSHAKE_PROFILE).code == tw.ErrorCode.TRUNCATED
        assert session.receive_data(empty) == []  # after the end all is ignored


@pytest.mark.parametrize("wrong", ["", "abc", None, 0, 5, [], [1, 2], ()])
def test_a_frame_is_bytes(wrong):
    for session in prompted():
        with pytest.raises(TypeError, match="a frame must be bytes, a bytearray or a memoryview"):
            session.receive_data(wrong)
        assert session.state is tw.State.IDLE
        session.close()
        with pytest.raises(TypeError, match="a frame must be bytes"):
            session.receive_data(wrong)


@pytest.mark.parametrize(
    ("code", "message", "error"),
    [
        (99999, "m", ValueError),
        (-1, "m", ValueError),
        ("x", "m", TypeError),
        (None, "m", TypeError),
        (5, 5, TypeError),
        (5, None, TypeError),
        (5, b"m", TypeError),
        (5, "\ud800", ValueError),
    ],
)
def test_what_no_error_can_carry_does_not_end_a_session(code, message, error):
    for session in prompted():
        with pytest.raises(error):
            session.fail(code, message)
        assert session.state is tw.State.IDLE
        assert session.data_to_send() == b""
        session.fail(tw.ErrorCode.INTERNAL, "m")
        assert tw.decode(session.data_to_send(), HANDSHAKE_PROFILE).message == "m"


@pytest.mark.parametrize("wrong", [None, 5, "hello", {}, SETTINGS])
def test_a_device_is_made_of_a_hello(wrong):
    with pytest.raises(TypeError, match="hello must be a Hello"):
        tw.DeviceSession(wrong)


@pytest.mark.parametrize("wrong", [None, 5, "hello", {}, HELLO])
def test_an_edge_is_made_of_settings(wrong):
    with pytest.raises(TypeError, match="settings must be EdgeSettings"):
        tw.EdgeSession(wrong)


@pytest.mark.parametrize("wrong", [(1,), [None], "ab", "", {}])
def test_tables_are_priors(wrong):
    with pytest.raises(TypeError, match="tables must be a sequence of Prior"):
        tw.DeviceSession(HELLO, wrong)
    with pytest.raises(TypeError, match="tables must be a sequence of Prior"):
        replace(SETTINGS, tables=wrong)


@pytest.mark.parametrize("wrong", [None, "greedy", 0])
def test_a_refusal_is_a_function(wrong):
    with pytest.raises(TypeError, match="refusal must be a function"):
        replace(SETTINGS, refusal=wrong)


@pytest.mark.parametrize("field", ["evidence", "precisions", "entropy", "priors"])
def test_an_offer_has_each_name_once_and_one_at_least(field):
    """Of a caller: a peer may have said it, and hears that nothing is in common."""
    for wrong in ((), getattr(HELLO, field)[:1] * 2):
        with pytest.raises(ValueError, match="must be named once, and one at least"):
            tw.DeviceSession(replace(HELLO, **{field: wrong}))
        with pytest.raises(ValueError, match="must be named once, and one at least"):
            replace(SETTINGS, **{field: wrong})
        said = replace(HELLO, **{field: wrong})
        frame = tw.encode(said, HANDSHAKE_PROFILE)
        assert tw.decode(frame, HANDSHAKE_PROFILE) == said
        edge = tw.EdgeSession(SETTINGS)
        if wrong:
            edge.receive_data(frame)
            assert edge.state is tw.State.READY
            continue
        with pytest.raises(tw.RemoteProtocolError) as caught:
            edge.receive_data(frame)
        assert caught.value.code is tw.ErrorCode.UNSUPPORTED


@pytest.mark.parametrize("wrong", [None, 5, "", "ab", b"ab", {}, [True], [1.0], [None]])
def test_a_prompt_is_of_token_ids(wrong):
    device, _ = prompted()
    with pytest.raises(TypeError):
        device.send_prompt(wrong, keep=2)
    assert (device.prefix, device.data_to_send()) == ((1, 2, 3), b"")


@pytest.mark.parametrize("wrong", [None, 5, tw.More(round=0, batch=1), CHAIN])
def test_an_answer_is_one(wrong):
    device, edge = prompted()
    device.send_draft(CHAIN, tw.MatchEvidence())
    edge.receive_data(device.data_to_send())
    with pytest.raises(TypeError, match="an answer is a Verdict"):
        edge.send_answer(wrong)
    with pytest.raises(TypeError, match="event must be a DraftReceived"):
        edge.generator(wrong)
    assert edge.state is tw.State.OPEN


@pytest.mark.parametrize("wrong", [None, 5, random, np.random, np.random.RandomState(0)])
def test_a_device_chooses_with_numpys_generator(wrong):
    device, edge = prompted(replace(HELLO, evidence=("scalar",)))
    device.send_draft(CHAIN, SCALAR)
    edge.receive_data(device.data_to_send())
    row = np.full(V, 1 / V)
    edge.send_answer(tw.propose(0, 0, row, np.random.default_rng(0)), row=row)
    device.receive_data(edge.data_to_send())
    with pytest.raises(TypeError, match=r"rng must be a numpy\.random\.Generator"):
        device.choose(wrong)
    assert device.state is tw.State.PROPOSED


def test_nothing_is_drafted_before_the_handshake():
    device = tw.DeviceSession(HELLO)
    device.data_to_send()
    with pytest.raises(tw.LocalProtocolError, match="cannot send DRAFT_MATCH when the session is greeted"):
        device.send_draft(CHAIN, tw.MatchEvidence())
    assert device.data_to_send() == b""


def test_a_session_fails_once():
    for session in prompted():
        session.fail(tw.ErrorCode.INTERNAL, "first")
        assert tw.decode(session.data_to_send(), HANDSHAKE_PROFILE).message == "first"
        session.fail(tw.ErrorCode.INTERNAL, "second")
        assert session.data_to_send() == b""
