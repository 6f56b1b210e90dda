"""ZMTP without sockets: every byte of a peer's gives a step or a ``ZmtpError``, in bounded memory."""

from __future__ import annotations

import random

import pytest
from nacl.bindings import (
    crypto_box_afternm,
    crypto_box_beforenm,
    crypto_box_keypair,
    crypto_box_open_afternm,
    crypto_scalarmult_base,
)
from tslt_transports.zmtp import (
    COMMAND,
    GREETING_BYTES,
    MAX_COMMAND_BYTES,
    MORE,
    FrameDecoder,
    Null,
    ZmtpError,
    ZmtpFrame,
    check_greeting,
    encode,
    encode_error,
    greeting,
    pong,
)
from tslt_transports.zmtp_curve import CurveServer

DEALER = b"\x0bSocket-Type\x00\x00\x00\x06DEALER\x08Identity\x00\x00\x00\x04name"
SECRET = bytes(range(32))
PUBLIC = crypto_scalarmult_base(SECRET)


def frames(data: bytes, *, most: int = 1000) -> list[ZmtpFrame]:
    decoder = FrameDecoder()
    decoder.max_body_bytes = most
    return list(decoder.feed(data))


def test_frames_come_out_as_they_went_in_however_they_are_cut():
    said = [ZmtpFrame(0, b""), ZmtpFrame(MORE, b"x" * 255), ZmtpFrame(COMMAND, b"y" * 256), ZmtpFrame(0, b"z")]
    wire = b"".join(encode(frame.flags, frame.body) for frame in said)
    assert frames(wire) == said
    rng = random.Random(0)
    for _ in range(50):
        decoder, rest, found = FrameDecoder(), wire, []
        while rest:
            size = rng.randrange(1, 60)
            found += decoder.feed(rest[:size])
            rest = rest[size:]
        assert found == said


@pytest.mark.parametrize(
    ("wire", "said"),
    [
        (b"\x08\x00", "flags"),
        (b"\x05\x00", "flags"),
        (b"\x02" + (1001).to_bytes(8, "big"), "1001 bytes, the limit is 1000"),
        (b"\x02" + b"\xff" * 8, "the limit is 1000"),
    ],
)
def test_a_frame_that_cannot_be_is_refused_before_its_body_comes(wire, said):
    with pytest.raises(ZmtpError, match=said):
        frames(wire)


def test_a_command_is_short_until_more_is_allowed():
    decoder = FrameDecoder()
    with pytest.raises(ZmtpError, match=f"limit is {MAX_COMMAND_BYTES}"):
        list(decoder.feed(encode(COMMAND, bytes(MAX_COMMAND_BYTES + 1))))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({0: 0}, "does not speak ZMTP"),
        ({9: 0x7E}, "does not speak ZMTP"),
        ({10: 2}, "version 2"),
        ({12: ord("P")}, "mechanism"),
        ({32: 1}, "a server"),
    ],
)
def test_greetings(change, said):
    good = bytearray(greeting(b"NULL"))
    assert len(good) == GREETING_BYTES
    for size in range(GREETING_BYTES + 1):
        check_greeting(good[:size], b"NULL")
    for place, value in change.items():
        good[place] = value
    with pytest.raises(ZmtpError, match=said):
        check_greeting(good, b"NULL")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (b"\x05HELLO", "READY"),
        (b"\x05READY", "DEALER was expected"),
        (b"\x05READY\x0bSocket-Type\x00\x00\x00\x03PUB", "DEALER was expected"),
        (b"\x05READY\x0bSocket-Type\x00\x00\x00\x07DEALER", "cut short"),
        (b"\x05READY\x0b", "cut short"),
    ],
)
def test_null_refuses(command, said):
    with pytest.raises(ZmtpError, match=said):
        Null().take(command)


def test_null_takes_a_dealer_whatever_it_calls_itself():
    null = Null()
    assert b"ROUTER" in null.take(b"\x05READY" + DEALER)
    assert null.ready
    assert null.identity == ""


def test_pings_are_answered_with_their_context_and_no_more():
    assert pong(b"\x04PING\x00\x0a" + b"context") == b"\x04PONGcontext"
    assert pong(b"\x04PING\x00\x0a" + bytes(100)) == b"\x04PONG" + bytes(16)
    assert pong(b"\x04PING") == b"\x04PONG"
    assert pong(b"\x09SUBSCRIBE") is None


# -------------------------------------------------------------------------------------------------------------- CURVE


class Client:
    """CURVE's other side, each step of which may be spoilt."""

    def __init__(self, *, server: bytes = PUBLIC) -> None:
        self.server = server
        self.public, self.secret = crypto_box_keypair()
        self.short_public, self.short_secret = crypto_box_keypair()

    def hello(self, *, nonce: int = 1, signature: bytes = bytes(64)) -> bytes:
        key = crypto_box_beforenm(self.server, self.short_secret)
        short = nonce.to_bytes(8, "big")
        box = crypto_box_afternm(signature, b"CurveZMQHELLO---" + short, key)
        return b"\x05HELLO\x01\x00" + bytes(72) + self.short_public + short + box

    def welcome(self, wire: bytes) -> None:
        body = frames(wire)[0].body
        key = crypto_box_beforenm(self.server, self.short_secret)
        plain = crypto_box_open_afternm(body[24:], b"WELCOME-" + body[8:24], key)
        self.cookie = plain[32:]
        self.short_server = plain[:32]
        self.key = crypto_box_beforenm(self.short_server, self.short_secret)

    def initiate(
        self, *, nonce: int = 2, vouched: bytes | None = None, metadata: bytes = DEALER, most: int = 1000
    ) -> bytes:
        """``most``: bytes of what is inside."""
        vouch_key = crypto_box_beforenm(self.short_server, self.secret)
        long_nonce = bytes(16)
        vouch = crypto_box_afternm(vouched or self.short_public + self.server, b"VOUCH---" + long_nonce, vouch_key)
        short = nonce.to_bytes(8, "big")
        inside = (self.public + long_nonce + vouch + metadata)[:most]
        return b"\x08INITIATE" + self.cookie + short + crypto_box_afternm(inside, b"CurveZMQINITIATE" + short, self.key)

    def message(self, body: bytes, *, nonce: int, flags: int = 0) -> ZmtpFrame:
        short = nonce.to_bytes(8, "big")
        box = crypto_box_afternm(bytes([flags]) + body, b"CurveZMQMESSAGEC" + short, self.key)
        return ZmtpFrame(0, b"\x07MESSAGE" + short + box)


def server(names=lambda key: "kitchen") -> CurveServer:
    return CurveServer(secret=SECRET, public=PUBLIC, name_of=names)


def shaken() -> tuple[Client, CurveServer]:
    client, edge = Client(), server()
    client.welcome(edge.take(client.hello()))
    edge.take(client.initiate())
    return client, edge


def test_a_client_is_known_by_its_long_term_key_and_not_before_it_proved_it():
    asked = []
    client, edge = Client(), server(lambda key: asked.append(key) or "kitchen")
    client.welcome(edge.take(client.hello()))
    assert (asked, edge.ready, edge.identity) == ([], False, "")
    edge.take(client.initiate())
    assert (asked, edge.ready, edge.identity) == ([client.public], True, "kitchen")
    assert edge.unseal(client.message(b"x", nonce=3, flags=1)) == ZmtpFrame(MORE, b"x")
    assert edge.unseal(client.message(b"", nonce=9, flags=2)) == ZmtpFrame(COMMAND, b"")
    sealed = frames(edge.seal(MORE, b"answer"))[0]
    assert len(sealed.body) == len(b"answer") + edge.overhead
    short = sealed.body[8:16]
    assert crypto_box_open_afternm(sealed.body[16:], b"CurveZMQMESSAGES" + short, client.key) == b"\x01answer"


def test_a_client_that_is_not_on_the_list_is_told_400():
    client, edge = Client(), server(lambda key: None)
    client.welcome(edge.take(client.hello()))
    with pytest.raises(ZmtpError, match="allow-list") as caught:
        edge.take(client.initiate())
    assert caught.value.reply == encode_error(b"400")
    assert not edge.ready


def spoilt_initiate(change):
    def spoil(client, edge):
        client.welcome(edge.take(client.hello()))
        change(client)
        return client.initiate()

    return spoil


def with_another_cookie(client):
    client.cookie = bytes(96)


def with_another_key(client):
    client.key = crypto_box_beforenm(client.short_server, crypto_box_keypair()[1])


def with_anothers_public_key(client):
    client.public = crypto_box_keypair()[0]


def after_welcome(make):
    def spoil(client, edge):
        client.welcome(edge.take(client.hello()))
        return make(client)

    return spoil


@pytest.mark.parametrize(
    ("last", "said"),
    [
        (lambda client, edge: client.hello()[:-1], "malformed HELLO"),
        (lambda client, edge: client.hello(signature=bytes(63) + b"x"), "malformed HELLO"),
        (lambda client, edge: client.hello(nonce=0), "nonce"),
        (lambda client, edge: Client(server=crypto_box_keypair()[0]).hello(), "not made for this edge's key"),
        (lambda client, edge: client.hello()[:80] + bytes(32) + client.hello()[112:], "not made for this edge's key"),
        (lambda client, edge: b"\x08INITIATE" + bytes(300), "HELLO, then INITIATE"),
        (lambda client, edge: b"", "HELLO, then INITIATE"),
        (after_welcome(lambda client: client.hello(nonce=5)), "HELLO, then INITIATE"),
        (after_welcome(lambda client: client.initiate(nonce=1)), "used before"),
        (after_welcome(lambda client: client.initiate(vouched=bytes(64))), "vouches for another"),
        (after_welcome(lambda client: client.initiate(vouched=client.short_public + bytes(32))), "vouches for another"),
        (after_welcome(lambda client: client.initiate()[:-1]), "is a copy"),
        (after_welcome(lambda client: client.initiate()[:110]), "nonce"),
        (after_welcome(lambda client: client.initiate(most=127)), "malformed INITIATE"),
        (after_welcome(lambda client: client.initiate(metadata=b"")), "DEALER"),
        (spoilt_initiate(with_another_cookie), "cookie"),
        (spoilt_initiate(with_another_key), "is a copy"),
        (spoilt_initiate(with_anothers_public_key), "is a copy"),
    ],
)
def test_curve_refuses(last, said):
    client, edge = Client(), server()
    command = last(client, edge)
    with pytest.raises(ZmtpError, match=said):
        edge.take(command)
    assert not edge.ready


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda client: ZmtpFrame(0, b"plain text"), "something else"),
        (lambda client: ZmtpFrame(MORE, client.message(b"x", nonce=3).body), "something else"),
        (lambda client: client.message(b"x", nonce=2), "used before"),
        (lambda client: ZmtpFrame(0, b"\x07MESSAGE"), "nonce"),
        (lambda client: ZmtpFrame(0, b"\x07MESSAGE" + bytes(7) + b"\x09"), "changed on the way"),
        (lambda client: ZmtpFrame(0, client.message(b"x", nonce=3).body[:-1]), "changed on the way"),
        (lambda client: client.message(b"x", nonce=3, flags=3), "malformed MESSAGE"),
        (lambda client: client.message(b"x", nonce=3, flags=4), "malformed MESSAGE"),
    ],
)
def test_messages_that_curve_refuses(make, said):
    client, edge = shaken()
    with pytest.raises(ZmtpError, match=said):
        edge.unseal(make(client))


def test_a_message_is_taken_once():
    client, edge = shaken()
    message = client.message(b"x", nonce=3)
    edge.unseal(message)
    with pytest.raises(ZmtpError, match="used before"):
        edge.unseal(message)


def test_no_bytes_give_anything_but_a_step_or_a_zmtp_error():
    rng = random.Random(0)
    client, edge = Client(), server()
    hello = client.hello()
    client.welcome(edge.take(hello))
    initiate = client.initiate()
    message = client.message(b"x" * 40, nonce=3).body
    for _ in range(1500):
        for good, step in (
            (hello, server().take),
            (b"\x05READY" + DEALER, Null().take),
            (initiate, edge.take),
            (message, lambda data: edge.unseal(ZmtpFrame(0, data))),
            (greeting(b"CURVE"), lambda data: check_greeting(data, b"CURVE")),
            (encode(MORE, b"") + encode(0, b"x" * 300), frames),
        ):
            data = bytearray(good)
            for _ in range(rng.randrange(1, 4)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            try:
                step(bytes(data[: rng.randrange(len(data) + 1)] if rng.random() < 0.3 else data))
            except ZmtpError:
                edge._heard = 1  # so that its nonces are as good as new
