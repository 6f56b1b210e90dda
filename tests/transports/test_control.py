"""The codecs, limits and addresses of the transports: no sockets."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tslt_transports import ConnectError, InProcessListener, LinkClosed, LinkOptions, pair
from tslt_transports.address import HostPort, is_loopback, parse_address
from tslt_transports.control import (
    MAX_CONTROL_BYTES,
    ControlError,
    ControlType,
    PeerLimits,
    decode_control,
    decode_varint,
    encode_challenge,
    encode_consumed,
    encode_greeting,
    encode_ping,
    encode_proof,
    encode_reason,
    encode_varint,
)
from tslt_transports.framing import Unit, UnitDecoder, encode_control, encode_frame, prefix_bytes

LIMITS = PeerLimits.of(LinkOptions())


@given(st.integers(0, (1 << 35) - 1))
def test_varint_round_trip(value):
    encoded = encode_varint(value)
    assert decode_varint(encoded, 0, max_bytes=5) == (value, len(encoded))
    assert decode_varint(encoded[:-1], 0, max_bytes=5) is None


@pytest.mark.parametrize("data", [b"\x80\x00", b"\xff\x80\x00", b"\x80\x80\x80\x80\x80", b"\xff\xff\xff\xff\xff\x01"])
def test_varint_rejects(data):
    with pytest.raises(ControlError):
        decode_varint(data, 0, max_bytes=5)


@pytest.mark.parametrize("value", [-1, 1 << 35])
def test_varint_range(value):
    with pytest.raises(ValueError, match="varint"):
        encode_varint(value)


@given(st.binary(max_size=300))
def test_control_decodes_or_complains(data):
    try:
        control = decode_control(data)
    except ControlError:
        return
    match control.type:
        case ControlType.PING:
            assert data == encode_ping()
        case ControlType.CONSUMED:
            assert data == encode_consumed(control.count)
        case ControlType.HELLO | ControlType.WELCOME:
            assert control.limits is not None
            assert data.startswith(encode_greeting(control.type, control.limits))
        case _:
            assert control.reason.isprintable()


def test_greeting_leaves_room_behind_it():
    hello = encode_greeting(ControlType.HELLO, LIMITS)
    assert decode_control(hello).limits == LIMITS
    assert decode_control(hello + b"what a later version says").limits == LIMITS
    for end in range(1, len(hello)):
        with pytest.raises(ControlError):
            decode_control(hello[:end])


def test_greeting_of_another_version():
    with pytest.raises(ControlError, match="version 2"):
        decode_control(b"\x01\x02 a layout of its own")


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "has 0 bytes"),
        (bytes(256), "has 256 bytes"),
        (b"\x63", "unknown control message 99"),
        (encode_reason(ControlType.LOST, "a")[:1] + b"\xff", "not UTF-8"),
        (encode_ping() + b"x", "a PING has a body"),
        (encode_consumed(1)[:1], "CONSUMED"),
        (encode_consumed(0), "CONSUMED"),
        (encode_consumed(1) + b"x", "CONSUMED"),
    ],
)
def test_what_no_encoder_makes(data, complaint):
    with pytest.raises(ControlError, match=complaint):
        decode_control(data)


@pytest.mark.parametrize("field", ["max_frame_bytes", "queue_frames", "queue_bytes", "peer_timeout_ms"])
def test_a_greeting_with_a_limit_of_nothing(field):
    with pytest.raises(ControlError, match="a limit of 0"):
        decode_control(encode_greeting(ControlType.HELLO, replace(LIMITS, **{field: 0})))


def test_reasons_are_cut_and_cleaned():
    data = encode_reason(ControlType.REFUSE, "é" * 400)
    assert len(data) <= MAX_CONTROL_BYTES
    assert set(decode_control(data).reason) == {"é"}
    assert decode_control(encode_reason(ControlType.LOST, "a\n\x1b[31mb")).reason == "a??[31mb"


@given(st.lists(st.one_of(st.binary(min_size=1, max_size=400), st.none())), st.integers(1, 50))
@example([bytes(300), None, b"x"], 1)
def test_units_however_they_are_cut(frames, step):
    stream = b"".join(encode_control(b"\x04") if frame is None else encode_frame(frame) for frame in frames)
    decoder = UnitDecoder(max_frame_bytes=400)
    units = [unit for start in range(0, len(stream), step) for unit in decoder.feed(stream[start : start + step])]
    assert units == [Unit(b"\x04", True) if frame is None else Unit(frame, False) for frame in frames]
    assert decoder.pending_bytes == 0


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (encode_varint(401), "401"),
        (b"\xff\xff\xff\x7f", "limit"),
        (b"\xff\xff\xff\xff", "bytes"),
        (b"\x81\x00", "shortest"),
        (b"\x00\x00", "empty"),
    ],
)
def test_units_rejected_before_their_body(data, complaint):
    with pytest.raises(ControlError, match=complaint):
        list(UnitDecoder(max_frame_bytes=400).feed(data))


@pytest.mark.parametrize("size", [1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, (1 << 28) - 1])
def test_prefix_bytes(size):
    assert prefix_bytes(size) == len(encode_varint(size))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:5", HostPort("127.0.0.1", 5)),
        ("tcp://edge.example:65535", HostPort("edge.example", 65_535)),
        ("[::1]:0", HostPort("::1", 0)),
        ("tcp://[::1]:80", HostPort("::1", 80)),
    ],
)
def test_addresses(text, expected):
    assert parse_address(text, scheme="tcp") == expected
    assert parse_address(str(expected), scheme="tcp") == expected


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("127.8.0.1", True), ("[::1]", True), ("localhost", True), ("10.0.0.1", False),
     ("192.0.2.1", False), ("[::]", False), ("localhost.example", False)],
)  # fmt: skip
def test_what_only_this_machine_reaches(host, local):
    assert is_loopback(f"tcp://{host}:80", scheme="tcp") is local


@pytest.mark.parametrize(
    "text", ["", "host", "host:", ":1", "host:x", "host:70000", "::1:80", "quic://a:1", "a:-1", "a:²"]
)
def test_no_addresses(text):
    with pytest.raises(ValueError, match="is no address"):
        parse_address(text, scheme="tcp")


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_frame_bytes": 0},
        {"max_frame_bytes": 1 << 28},
        {"queue_frames": 0},
        {"queue_bytes": 0},
        {"max_links": 0},
        {"connect_timeout_s": 0.0},
        {"connect_timeout_s": float("nan")},
        {"linger_s": -1.0},
        {"heartbeat_s": 6.0},
    ],
)
def test_impossible_options(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LinkOptions(**wrong)


@pytest.mark.parametrize(
    "break_protocol",
    [
        lambda link: link.deliver_control(b"\x63"),
        lambda link: link.deliver_control(encode_consumed(1)),
        lambda link: link.deliver_control(encode_greeting(ControlType.WELCOME, LIMITS)),
        lambda link: link.deliver_control(encode_reason(ControlType.REFUSE, "late")),
        lambda link: link.deliver_frame(bytes(LinkOptions().max_frame_bytes + 1)),
        lambda link: [link.deliver_frame(b"x") for _ in range(LinkOptions().queue_frames + 1)],
        lambda link: [link.deliver_frame(bytes(1 << 22)) for _ in range(3)],
    ],
)
def test_a_peer_that_breaks_the_rules_loses_the_link(run, break_protocol):
    async def main():
        device, edge = pair()
        break_protocol(edge)
        with contextlib.suppress(LinkClosed):
            while True:
                await edge.receive()
        with pytest.raises(LinkClosed) as caught:
            await edge.send(b"late")
        assert not caught.value.clean
        with pytest.raises(LinkClosed, match="gave it up") as caught:  # the device was told
            await device.receive()
        assert not caught.value.clean

    run(main())


def test_a_loop_that_was_blocked_is_not_the_peers_silence(run):
    async def main():
        device, _ = pair(LinkOptions(heartbeat_s=0.2, peer_timeout_s=0.8))
        keeper = asyncio.create_task(device.keep_alive())
        await asyncio.sleep(0)
        time.sleep(1.0)
        await asyncio.sleep(0.01)
        assert not device.ended
        with pytest.raises(LinkClosed, match="nothing heard"):
            await device.receive()
        await keeper

    run(main())


def test_an_edge_that_is_closed_takes_no_link(run):
    async def main():
        listener = InProcessListener()
        await listener.close()
        with pytest.raises(ConnectError, match="shutting down"):
            await listener.connect()

    run(main())


CHALLENGE = encode_challenge(LIMITS, bytes(range(32)))
PROOF = encode_proof(bytes(32), bytes(range(64)))


def test_challenge_and_proof():
    assert decode_control(CHALLENGE).limits == LIMITS
    proof = decode_control(PROOF)
    assert (proof.key, proof.signature) == (bytes(32), bytes(range(64)))


@pytest.mark.parametrize("data", [CHALLENGE[:-1], CHALLENGE + b"x", CHALLENGE[:3], PROOF[:-1], PROOF + b"x", PROOF[:1]])
def test_challenges_and_proofs_of_another_length(data):
    with pytest.raises(ControlError):
        decode_control(data)
