"""Rules of spec sections 7 and 6.2 on sessions that no conversation of test_session.py would notice broken."""

from __future__ import annotations

import ast
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tslt_wire as tw
from tslt_wire.session import session as session_module

V = 50
FINGERPRINT = bytes(range(32))
NO_PROFILE = tw.Profile(vocab_size=1)
PROFILE = tw.Profile(vocab_size=V)
HELLO = tw.Hello(vocab_size=V, tokenizer=FINGERPRINT, precisions=("log2/2", "f16"))
EMPTY = (tw.TokenTree([], []), tw.ListEvidence({}))


def settings(**changes):
    return tw.EdgeSettings(**{"vocab_size": V, "tokenizer": FINGERPRINT, "eos_tokens": (7,), "context": 9} | changes)


def handed(sender, receiver):
    """Carry one frame; the frame."""
    frame = sender.data_to_send()
    receiver.receive_data(frame)
    return frame


def prompted():
    """Both ends of a session with the prefix 1 2 3, and the frames of its handshake."""
    device, edge = tw.DeviceSession(HELLO), tw.EdgeSession(settings())
    frames = handed(device, edge) + handed(edge, device)
    device.send_prompt([1, 2, 3])
    handed(device, edge)
    return device, edge, frames


def chain(*tokens, precision="log2/2"):
    logits = np.full(V, -np.inf)
    logits[list(tokens)] = 0.0
    q = tw.sparsify(logits, precision=precision)
    return tw.TokenTree.chain(tokens), tw.ListEvidence({i - 1: q for i in range(len(tokens))})


def refusal(receiver, message, profile=PROFILE):
    """The code that ``message`` gets; the receiver has said so to its peer and failed."""
    with pytest.raises(tw.RemoteProtocolError) as caught:
        receiver.receive_data(message if isinstance(message, bytes) else tw.encode(message, profile))
    assert tw.decode(receiver.data_to_send(), NO_PROFILE).code == caught.value.code
    assert receiver.state is tw.State.FAILED
    return caught.value.code.name.lower()


# ----------------------------------------------------------------------------------------------------------- handshake


def test_a_vocabulary_is_checked_after_the_version():
    wrong = replace(HELLO, vocab_size=V + 1, tokenizer=bytes(32), evidence=(), min_version=2, max_version=2)
    assert refusal(tw.EdgeSession(settings()), wrong) == "version_mismatch"


def test_the_edge_takes_the_highest_common_version_and_ignores_names_it_does_not_know():
    hello = replace(
        HELLO,
        min_version=1,
        max_version=9,
        evidence=("x-mine", "list"),
        precisions=("log2/9", "f16"),
        entropy=("x-other", "none"),
        extra={"later": 1},
    )
    edge = tw.EdgeSession(settings())
    edge.receive_data(tw.encode(hello, NO_PROFILE))
    welcome = tw.decode(edge.data_to_send(), NO_PROFILE)
    assert (welcome.version, welcome.evidence, welcome.precisions, welcome.entropy) == (1, ("list",), ("f16",), "none")


def test_a_device_ignores_fields_of_welcome_that_it_does_not_know():
    device = tw.DeviceSession(HELLO)
    transcript = hashlib.sha256(device.data_to_send()).digest()[:16]
    welcome = tw.Welcome(
        version=1, vocab_size=V, tokenizer=FINGERPRINT, transcript=transcript, precisions=("f16",), extra={"later": [1]}
    )
    assert device.receive_data(tw.encode(welcome, NO_PROFILE)) == [tw.Welcomed(welcome)]


def test_the_order_in_which_a_device_checks_welcome():
    wrong = {
        "transcript": (bytes(16), "transcript_mismatch"),
        "version": (2, "version_mismatch"),
        "vocab_size": (V + 1, "vocabulary_mismatch"),
        "tokenizer": (bytes(32), "tokenizer_mismatch"),
        "evidence": (("x-mine",), "unsupported"),
    }
    for done in range(len(wrong)):
        device = tw.DeviceSession(HELLO)
        right = tw.Welcome(
            version=1,
            vocab_size=V,
            tokenizer=FINGERPRINT,
            transcript=hashlib.sha256(device.data_to_send()).digest()[:16],
            precisions=("f16",),
        )
        left = list(wrong.items())[done:]
        welcome = replace(right, **{name: value for name, (value, _) in left})
        assert refusal(device, welcome, NO_PROFILE) == left[0][1][1]


@pytest.mark.parametrize("field", ["evidence", "precisions"])
@pytest.mark.parametrize("names", [(), ("bf16", "x-mine")])
def test_a_device_refuses_names_that_it_did_not_offer(field, names):
    device = tw.DeviceSession(HELLO)
    transcript = hashlib.sha256(device.data_to_send()).digest()[:16]
    welcome = tw.Welcome(
        version=1, vocab_size=V, tokenizer=FINGERPRINT, transcript=transcript, **{"precisions": ("f16",), field: names}
    )
    assert refusal(device, welcome, NO_PROFILE) == "unsupported"


def test_frame_hashes_are_over_whole_frames():
    device, edge = tw.DeviceSession(HELLO), tw.EdgeSession(settings())
    hello = handed(device, edge)
    welcome = handed(edge, device)
    assert tw.decode(welcome, NO_PROFILE).transcript == hashlib.sha256(hello).digest()[:16]
    device.send_prompt([1])
    assert tw.decode(handed(device, edge), PROFILE).transcript == hashlib.sha256(hello + welcome).digest()[:8]


# ------------------------------------------------------------------------------------------------------------- prompts


def test_the_order_in_which_an_edge_checks_a_prompt():
    def answer(**fields):
        _, edge, frames = prompted()
        prompt = tw.Prompt(**{"tokens": (), "epoch": 2, "transcript": hashlib.sha256(frames).digest()[:8]} | fields)
        return refusal(edge, prompt)

    assert answer(transcript=bytes(8), epoch=1) == "transcript_mismatch"
    assert answer(transcript=bytes(8), epoch=3, keep=4) == "transcript_mismatch"
    assert answer(epoch=3, keep=3, tokens=(1,) * 7) == "desynchronised"
    assert answer(keep=4, tokens=(1,) * 9) == "desynchronised"
    assert answer(keep=3, tokens=(1,) * 7) == "context_full"
    assert answer() == "protocol_violation"


def test_a_prompt_has_no_answer_and_replaces_the_prefix():
    device, edge, _ = prompted()
    assert edge.data_to_send() == b""
    device.send_prompt([8], keep=2)
    handed(device, edge)
    device.send_prompt([9])
    handed(device, edge)
    assert edge.data_to_send() == b""
    assert device.prefix == edge.prefix == (9,)


def test_a_prompt_that_comes_again_changes_nothing():
    """In every state that there is after it; nor does an older one, whatever it says."""
    device, edge, frames = prompted()
    device.send_prompt([4])
    last = handed(device, edge)
    other = tw.Prompt(tokens=(9,), epoch=1, transcript=hashlib.sha256(frames).digest()[:8])

    def ignores():
        before = edge.state, edge.prefix, edge.round, edge._epoch
        for frame in (last, tw.encode(other, PROFILE), last):
            assert edge.receive_data(frame) == []
        assert edge.data_to_send() == b""
        return before == (edge.state, edge.prefix, edge.round, edge._epoch)

    assert ignores()
    device.send_draft(*EMPTY)
    draft = handed(device, edge)
    assert edge.state is tw.State.OPEN
    assert ignores()
    edge.send_answer(tw.Verdict(round=0, node=-1, token=20))
    handed(edge, device)
    assert edge.state is tw.State.IDLE
    assert ignores()
    answered(device, edge, 7)
    assert edge.state is tw.State.ENDED
    assert ignores()
    assert edge.receive_data(draft) == []
    device.send_prompt([5])
    handed(device, edge)
    assert device.prefix == edge.prefix == (5,)


# -------------------------------------------------------------------------------------------------------------- states


@pytest.mark.parametrize("role", ["device", "edge"])
@pytest.mark.parametrize("greeted", [False, True])
def test_before_welcome_the_kind_byte_is_enough(role, greeted):
    """Whatever follows it, and whatever the frame would be with some profile."""
    for kind in (b"\x03", b"\x10", b"\x08", b"\x43", b"\x50", b"\x48"):
        session = tw.DeviceSession(HELLO) if role == "device" else tw.EdgeSession(settings())
        session._state = tw.State.GREETED if greeted else tw.State.START
        session.data_to_send()
        unknown = role == "edge" and not greeted and kind not in (b"\x08", b"\x48")
        assert refusal(session, kind + b"?") == ("unknown_session" if unknown else "protocol_violation")


def test_an_error_ends_both_sides_and_is_not_answered():
    device, edge, _ = prompted()
    edge.fail(tw.ErrorCode.OVERLOADED, "")
    handed(edge, device)
    assert (device.state, edge.state) == (tw.State.FAILED, tw.State.FAILED)
    assert device.data_to_send() == edge.data_to_send() == b""


@pytest.mark.parametrize("end", ["close", "fail"])
def test_what_comes_after_the_end_is_ignored(end):
    device, edge, _ = prompted()
    device.send_draft(*EMPTY)
    draft = device.data_to_send()
    edge.close() if end == "close" else edge.fail(tw.ErrorCode.INTERNAL, "")
    handed(edge, device)
    for side in (device, edge):
        for frame in (draft, b"noise", tw.encode(tw.Bye(), NO_PROFILE), tw.encode(HELLO, NO_PROFILE)):
            assert side.receive_data(frame) == []
        assert side.data_to_send() == b""


def answered(device, edge, token=20):
    """One round without drafted tokens; the draft's frame and the verdict's."""
    draft = device.send_draft(*EMPTY)
    sent = handed(device, edge)
    edge.send_answer(tw.Verdict(round=draft.round, node=-1, token=token))
    return sent, handed(edge, device)


def test_rounds_go_on_through_prompts():
    device, edge, _ = prompted()
    answered(device, edge)
    device.send_prompt([4])
    handed(device, edge)
    answered(device, edge)
    assert device.send_draft(*EMPTY).round == 2
    assert edge.receive_data(device.data_to_send())[0].draft.round == 2


def test_a_draft_has_one_verdict():
    device, edge, _ = prompted()
    answered(device, edge)
    with pytest.raises(tw.LocalProtocolError, match="no open draft"):
        edge.send_answer(tw.Verdict(round=0, node=-1, token=1))
    assert edge.data_to_send() == b""


def test_a_device_waits_for_the_verdict_and_takes_it():
    """It cannot draft again from the same prefix, nor leave it by a prompt, while a draft is open."""
    device, edge, _ = prompted()
    device.send_draft(*chain(10, 11))
    for again in (lambda: device.send_draft(*EMPTY), lambda: device.send_prompt([1])):
        with pytest.raises(tw.LocalProtocolError, match="open"):
            again()
    handed(device, edge)
    assert device.data_to_send() == b""
    edge.send_answer(tw.Verdict(round=0, node=-1, token=20))
    handed(edge, device)
    assert device.prefix == edge.prefix == (1, 2, 3, 20)


@pytest.mark.parametrize("token", [20, 7])
def test_an_old_draft_is_answered_again_only_if_it_is_the_last_one(token):
    """In IDLE and, where the token ends the text, in ENDED."""
    device, edge, _ = prompted()
    older, _ = answered(device, edge)
    last, verdict = answered(device, edge, token)
    state, prefix = edge.state, edge.prefix
    assert (state is tw.State.ENDED) == (token == 7)
    other = tw.encode(replace(tw.decode(last, PROFILE), prefix_hash=1), PROFILE)
    for frame, again in ((last, verdict), (older, b""), (other, b""), (last, verdict)):
        assert edge.receive_data(frame) == []
        assert edge.data_to_send() == again
        assert (edge.state, edge.prefix, edge.round) == (state, prefix, 2)


@pytest.mark.parametrize("token", [20, 7])
def test_a_device_ignores_old_verdicts(token):
    device, edge, _ = prompted()
    _, first = answered(device, edge)
    _, second = answered(device, edge, token)
    for frame in (first, second):
        assert device.receive_data(frame) == []
    assert device.state is (tw.State.ENDED if token == 7 else tw.State.IDLE)
    assert device.prefix == (1, 2, 3, 20, token)


def test_the_order_in_which_an_edge_checks_a_draft():
    def answer(state=tw.State.IDLE, precision="log2/2", tokens=(10, 11), **changes):
        device, edge, _ = prompted()
        device.welcome = replace(device.welcome, precisions=("bf16", "log2/2"), context=99)
        device.send_draft(*chain(*tokens, precision=precision))
        draft = tw.decode(device.data_to_send(), PROFILE)
        edge._state = state
        return refusal(edge, replace(draft, **changes))

    long = tuple(range(10, 17))
    assert answer(tw.State.READY, "bf16", long, round=1, prefix_hash=0) == "protocol_violation"
    assert answer(precision="bf16", tokens=long, round=1) == "desynchronised"
    assert answer(precision="bf16", tokens=long, prefix_length=2) == "desynchronised"
    assert answer(precision="bf16", tokens=long, prefix_hash=0) == "desynchronised"
    assert answer(precision="bf16", tokens=long) == "unsupported"
    assert answer(tokens=long) == "context_full"


def test_a_draft_may_fill_the_context():
    device, edge, _ = prompted()
    device.send_draft(*chain(10, 11, 12, 13, 14, 15))
    assert len(edge.receive_data(device.data_to_send())) == 1


def test_one_function_changes_the_state():
    """The table is all of the machine only if nothing goes round it."""
    assigned = []
    for path in sorted(Path(session_module.__file__).parent.glob("*.py")):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef):
                targets = [t for node in ast.walk(function) for t in getattr(node, "targets", [])]
                assigned += [function.name for t in targets if isinstance(t, ast.Attribute) and t.attr == "_state"]
    assert assigned == ["__init__", "_move"]


def test_a_prefix_that_was_handed_out_never_changes():
    device, edge, _ = prompted()
    before = device.prefix, edge.prefix
    assert before == ((1, 2, 3), (1, 2, 3))
    assert device.prefix is before[0]  # no copy where nothing changed
    answered(device, edge)
    device.send_prompt([9], keep=1)
    handed(device, edge)
    assert before == ((1, 2, 3), (1, 2, 3))
    assert device.prefix == edge.prefix == (1, 9)


# ---------------------------------------------------------------------------------------------------------- extensions


def test_an_extension_that_is_not_known_changes_nothing():
    extension = (tw.Extension(65536, b"later"),)
    for message in (HELLO, tw.Prompt(tokens=(1,)), tw.Verdict(round=0, node=-1, token=4), tw.Bye()):
        more = tw.decode(tw.encode(replace(message, extensions=extension), PROFILE), PROFILE)
        assert (more.extensions, replace(more, extensions=())) == (extension, message)
    device, edge, frames = prompted()
    transcript = hashlib.sha256(frames).digest()[:8]
    prompt = tw.Prompt(tokens=(4, 5), epoch=2, keep=1, transcript=transcript, extensions=extension)
    assert edge.receive_data(tw.encode(prompt, PROFILE)) == [tw.PromptReceived(1, (4, 5))]
    device.send_prompt((4, 5), keep=1)
    assert edge.receive_data(device.data_to_send()) == []
    draft = device.send_draft(*EMPTY)
    (event,) = edge.receive_data(tw.encode(replace(draft, extensions=extension), PROFILE))
    edge.send_answer(tw.Verdict(round=0, node=-1, token=6, extensions=extension))
    (event,) = device.receive_data(edge.data_to_send())
    assert (event.tokens, event.verdict.extensions) == ((6,), extension)
