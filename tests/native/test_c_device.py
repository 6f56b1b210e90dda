"""The device's session in C: the conversations, frames and states of the specification, as Python has them."""

import ctypes as c
import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from c_device import ANSWERED, CC, NOTHING, PROPOSALS, WHOLE, WRONG_STATE, CDevice, Refused, hello_of, library
from c_frames import decode as c_decode
from c_frames import wanted
from c_kernel import NATIVE
from c_structures import Room
from session_vectors import evidence_with, lists_of
from tslt_transports.control import (
    ControlType,
    PeerLimits,
    encode_challenge,
    encode_consumed,
    encode_greeting,
    encode_ping,
    encode_proof,
    encode_reason,
)
from tslt_transports.proof import statement

import tslt_wire as tw
from tslt_wire.errors import ErrorCode
from tslt_wire.frames.codec import HANDSHAKE_PROFILE
from tslt_wire.frames.kinds import Kind, Role
from tslt_wire.lists.prior import plain_prior
from tslt_wire.session.states import TRANSITIONS, Act, State, may_send

pytestmark = pytest.mark.skipif(shutil.which(CC) is None, reason="there is no C compiler")

VECTORS = Path(__file__).resolve().parents[2] / "spec" / "vectors"
SESSIONS = json.loads((VECTORS / "sessions.json").read_text())
FRAMES = json.loads((VECTORS / "frames.json").read_text())
ACTS = (*(act for act in Act if act not in (Act.FOLLOW, Act.NEXT)), Act.FOLLOW, Act.NEXT)
LEFT_OUT = {"session/settings-unknown": "the C device asks for settings that this version knows"}


def number(what):
    return 0x40 + ACTS.index(what) if isinstance(what, Act) else int(what)


def test_the_table_of_states_is_the_references():
    lib = library()
    for i, state in enumerate(State):
        for what in (*Kind, *ACTS):
            after = TRANSITIONS.get((state, what))
            assert lib.tslt_state_after(i, number(what)) == (-1 if after is None else list(State).index(after)), (
                state,
                what,
            )
        for kind in Kind:
            for request in (Kind.HELLO, *(k for k in Kind if k >= 0x10)):
                for end in Role:
                    found = lib.tslt_may_send(i, int(kind), int(end is Role.EDGE), int(request))
                    assert bool(found) == may_send(state, kind, end, request), (state, kind, end, request)


# -------------------------------------------------------------------------------------------------------- conversations


def say(device, data, lists, profile):
    """Let the device send the message of ``data``."""
    message = tw.decode(data, profile)
    if isinstance(message, tw.Prompt):
        device.send_prompt(message.tokens, keep=message.keep, new_text=True)
    elif isinstance(message, tw.Draft):
        leaf = message.whole[-1] if message.goes_on else None
        device.send_draft(message.tree, evidence_with(message, lists), goes_on=message.goes_on, leaf=leaf)
    elif isinstance(message, tw.More):
        device.ask_more()
    elif isinstance(message, tw.ListReply):
        device.send_list()
    elif isinstance(message, tw.Bye):
        device.close()
    elif isinstance(message, tw.ErrorMessage):
        device.fail(message.code, message.message)


def play(group, test):
    """All steps at the device; the first that differs is an AssertionError."""
    hello = tw.decode(bytes.fromhex(test["steps"][0]["hex"]), HANDSHAKE_PROFILE)
    device, lists = CDevice(hello, vocab_size=64), lists_of(group)
    profile, said = HANDSHAKE_PROFILE, []
    for at, step in enumerate(test["steps"]):
        data = bytes.fromhex(step.get("hex", ""))
        if step["how"] == "reconnects":
            device.reconnect()
        elif step["how"] == "takes":
            device.take(step["index"])
        elif step["from"] == "device" and step["how"] in ("sent", "lost"):
            found = device.data_to_send()
            if not found:
                say(device, data, lists, profile)
                found = device.data_to_send()
            if data[0] == Kind.ERROR:
                assert tw.decode(found, HANDSHAKE_PROFILE).code == tw.decode(data, HANDSHAKE_PROFILE).code, at
            else:
                assert found == data, at
                said.append(data)
        elif step["from"] == "device" and step["how"] == "again":
            waiting = device.again()
            assert set(waiting) <= set(said), at
            assert data in waiting or data != said[-1] or device.state is not State.OPEN, at
        elif step["from"] == "edge" and step["how"] in ("sent", "again", "forged"):
            before = device.prefix
            code = device.receive(data)
            if device.event.kind in (ANSWERED, WHOLE, PROPOSALS):
                assert before + device.event_tokens() == device.prefix, at
            result = "refused" if code else "ignored" if device.event.kind == NOTHING else "taken"
            assert result == step["result"], at
            assert not code or ErrorCode(code).name.lower() == step["error"], at
            if result == "taken" and data[0] & 63 == Kind.WELCOME:
                welcome = tw.decode(data, HANDSHAKE_PROFILE)
                profile = tw.Profile(vocab_size=welcome.vocab_size, entropy=welcome.entropy)
        if "device" in step:
            found = {"state": str(device.state), "prefix": list(device.prefix), "round": device.round}
            assert found == step["device"], at
    assert device.within_block()


TESTS = [(group, test) for group in SESSIONS["groups"] for test in group["tests"] if "device" in test["steps"][0]]


def test_every_conversation_goes_as_in_python():
    played = 0
    for group, test in TESTS:
        if test["id"] in LEFT_OUT:
            with pytest.raises(AssertionError):
                play(group, test)
            continue
        try:
            play(group, test)
        except (AssertionError, Refused) as error:
            raise AssertionError(f"{test['id']}: {error}") from error
        played += 1
    assert played >= 230


@pytest.mark.parametrize("change", ["state", "prefix", "result", "frame"])
def test_a_difference_is_noticed(change):
    group, test = next((g, json.loads(json.dumps(t))) for g, t in TESTS if t["id"] == "session/lazy")
    verdict = test["steps"][6]
    if change == "result":
        verdict["result"] = "ignored"
    elif change == "frame":
        verdict["hex"] = test["steps"][-1]["hex"]
    else:
        verdict["device"][change] = {"state": "open", "prefix": [3]}[change]
    with pytest.raises(AssertionError):
        play(group, test)


# ------------------------------------------------------------------------------------------------------------- frames


def test_every_frame_vector_is_read_as_in_python():
    tables = {
        table.name: table for table in (tw.table_from_bytes(bytes.fromhex(data)) for data in FRAMES["tables"].values())
    }
    valid = invalid = 0
    for group in FRAMES["groups"]:
        given = group["profile"]
        if given["entropy"] == "zstd":
            continue  # the kernel has no zstd, and the C device does not offer it
        prior = tables.get(given["prior"]) or plain_prior(given["prior"], given["vocab_size"])
        profile = tw.Profile(**{**given, "prior": prior})
        limits = tw.DecodeLimits(**group["limits"])
        for test in group["tests"]:
            data = bytes.fromhex(test["hex"])
            found = c_decode(data, profile, limits)
            if test["result"] == "valid":
                assert found == wanted(tw.decode(data, profile, limits=limits)), test["id"]
                valid += 1
            else:
                assert found == ErrorCode[test["error"].upper()], test["id"]
                invalid += 1
    assert valid > 800
    assert invalid > 650


# ------------------------------------------------------------------------------------------------------ what is refused


def hello(**changes):
    return tw.Hello(vocab_size=16, tokenizer=bytes(range(32)), **changes)


def test_memory_is_counted_and_kept_to():
    made, kept = hello_of(hello())
    lib, room = library(), Room(most_tokens=16, most_nodes=4, most_entries=16, most_listed=8)
    size = lib.tslt_device_size(c.byref(made), c.byref(room))
    block, device = c.create_string_buffer(size + 16), c.c_void_p()
    start = c.c_void_p((c.addressof(block) + 15) // 16 * 16)
    given = (c.byref(made), c.byref(room), c.byref(device))
    assert lib.tslt_device_new(start, c.c_size_t(size - 1), *given) == -3
    for none in (None, c.c_void_p(start.value + 4)):
        assert lib.tslt_device_new(none, c.c_size_t(size), *given) == -1
    assert lib.tslt_device_new(start, c.c_size_t(size), *given) == 0
    assert lib.tslt_device_size(c.byref(made), c.byref(Room())) == 0
    del kept


@pytest.mark.parametrize(
    "call",
    [
        lambda d: d.send_prompt((1,)),
        lambda d: d.send_draft(tw.TokenTree((), ()), tw.MatchEvidence()),
        lambda d: d.take(0),
        lambda d: d.ask_more(),
        lambda d: d.send_list(),
        lambda d: d.choose(np.random.default_rng(0)),
        lambda d: d.draft("match", (1,), None, np.random.default_rng(0)),
    ],
)
def test_what_the_state_does_not_allow_changes_nothing(call):
    device = CDevice(hello())
    first = device.data_to_send()
    assert first[0] == Kind.HELLO
    with pytest.raises(Refused) as refused:
        call(device)
    assert refused.value.code == WRONG_STATE
    assert (device.state, device.data_to_send()) == (State.GREETED, b"")
    assert device.again() == []


def test_every_code_has_a_name_which_is_pythons():
    lib = library()
    lib.tslt_error_name.restype = c.c_char_p
    names = {code.value: code.name.lower() for code in ErrorCode}
    text = "".join(
        re.sub(r"/\*.*?\*/", "", (NATIVE / f"tslt_{h}.h").read_text(), flags=re.DOTALL) for h in ("wire", "device")
    )
    codes = re.findall(
        r"TSLT_(\w+) = (-?\d+)", "".join(re.findall(r"enum \{[^}]*(?:BAD_TREE|BAD_CONTROL)[^}]*\}", text))
    )
    declared = {int(value): name.lower() for name, value in codes}
    assert {code: name for code, name in declared.items() if code > 0} == names
    assert {code: lib.tslt_error_name(code).decode() for code in declared} == declared
    assert {lib.tslt_error_name(code) for code in (-7, 15, 44, 1 << 30)} == {b"unknown"}


def test_hashes_are_sha256():
    digest = (c.c_uint8 * 32)()
    for size in (0, 1, 55, 56, 63, 64, 65, 119, 120, 1000):
        data = bytes(i * 7 & 255 for i in range(size))
        library().tslt_sha256(data, c.c_size_t(size), digest)
        assert bytes(digest) == hashlib.sha256(data).digest()


# --------------------------------------------------------------------------------------------------------------- links


class LinkControl(c.Structure):
    _fields_ = [
        ("type", c.c_int),
        ("limits", c.c_uint64 * 4),
        ("count", c.c_uint64),
        ("reason", c.c_void_p),
        ("reason_size", c.c_size_t),
    ]


LIMITS = PeerLimits(max_frame_bytes=1 << 20, queue_frames=64, queue_bytes=1 << 23, peer_timeout_ms=10_000)
NUMBERS = [1 << 20, 64, 1 << 23, 10_000]


def test_control_messages_of_links_are_the_transports():
    lib, out = library(), (c.c_uint8 * 255)()
    size = lib.tslt_link_hello((c.c_uint64 * 4)(*NUMBERS), out)
    assert bytes(out[:size]) == encode_greeting(ControlType.HELLO, LIMITS)
    size = lib.tslt_link_consumed(c.c_uint32(300), out)
    assert bytes(out[:size]) == encode_consumed(300)

    def read(data):
        found = LinkControl()
        code = lib.tslt_link_read(data, c.c_size_t(len(data)), c.byref(found))
        return code or (found.type, list(found.limits), found.count, c.string_at(found.reason, found.reason_size))

    none = [0] * 4
    assert read(encode_greeting(ControlType.WELCOME, LIMITS) + b"later") == (2, NUMBERS, 0, b"")
    assert read(encode_challenge(LIMITS, bytes(32))) == (7, NUMBERS, 0, b"")
    assert read(encode_consumed(300)) == (5, none, 300, b"")
    assert read(encode_ping()) == (4, none, 0, b"")
    assert read(encode_reason(ControlType.REFUSE, "full")) == (3, none, 0, b"full")
    bad = [b"", b"\x09", b"\x01\x01", b"\x05\x00", b"\x05\x80\x00", b"\x04\x04", b"\x02\x01\x01", bytes(300)]
    bad += [
        b"\x02\x00",
        b"\x05\x80",
        b"\x05\x01\x01",
        b"\x05" + b"\x80" * 5,
        b"\x07\x01\x00",
        encode_challenge(LIMITS, bytes(32))[:-1],
    ]
    assert [read(data) for data in bad] == [ErrorCode.BAD_CONTROL] * len(bad)
    assert read(b"\x02\x02") == ErrorCode.VERSION_MISMATCH


def test_the_proof_of_a_key_signs_what_the_edge_checks():
    parts = [b"certificate", encode_greeting(ControlType.HELLO, LIMITS), encode_challenge(LIMITS, bytes(32))]
    signed = []

    @c.CFUNCTYPE(c.c_int, c.c_void_p, c.POINTER(c.c_uint8), c.c_size_t, c.POINTER(c.c_uint8))
    def sign(_, data, size, signature):
        signed.append(bytes(data[:size]))
        signature[0] = 9
        return 0

    class Bytes(c.Structure):
        _fields_ = [("at", c.c_char_p), ("size", c.c_size_t)]

    out, size, key = (c.c_uint8 * 255)(), c.c_size_t(), bytes(range(32))
    given = [Bytes(part, len(part)) for part in parts]
    assert library().tslt_link_proof(*given, key, sign, None, out, c.byref(size)) == 0
    assert signed == [statement(certificate=parts[0], hello=parts[1], challenge=parts[2])]
    assert bytes(out[: size.value]) == encode_proof(key, bytes([9, *bytes(63)]))
    size.value = 0
    for refusal in (-1, 11):
        fails = type(sign)(lambda *_, code=refusal: code)
        assert library().tslt_link_proof(*given, key, fails, None, out, c.byref(size)) == -6
    assert size.value == 0


def test_the_symbols_of_the_library_are_the_functions_of_the_headers():
    text = "".join(path.read_text() for path in (NATIVE / "tslt_wire.h", NATIVE / "tslt_device.h"))
    declared = set(re.findall(r"\b(tslt_[a-z0-9_]+)\(", re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)))
    library_folder = NATIVE.parents[1] / "library"
    for name in ("symbols.map", "device.map"):
        listed = set(re.findall(r"^    (tslt_\w+);", (library_folder / name).read_text(), re.MULTILINE))
        assert listed <= declared
        if name == "symbols.map":
            assert listed == declared
