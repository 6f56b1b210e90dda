"""What only ZeroMQ can get wrong: hostile raw peers, and answers that are no edge's."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from dataclasses import replace

import pytest
import zmq
import zmq.asyncio
from link_helpers import SOON_S
from tslt_transports import (
    ClientTls,
    ConnectError,
    DeviceKeys,
    LinkClosed,
    LinkError,
    LinkOptions,
    SecretKey,
    ServerTls,
    connect,
    listen,
)
from tslt_transports.control import (
    Control,
    ControlType,
    PeerLimits,
    decode_control,
    encode_consumed,
    encode_greeting,
    encode_ping,
)
from tslt_transports.zmtp import COMMAND, GREETING_BYTES, MORE, encode, greeting

HELLO = encode_greeting(ControlType.HELLO, PeerLimits.of(LinkOptions()))
QUICK = LinkOptions(max_frame_bytes=1000, queue_frames=4, heartbeat_s=0.2, peer_timeout_s=3.0, connect_timeout_s=5.0)


@contextlib.contextmanager
def raw_dealer(address: str, routing_id: bytes = b""):
    """A DEALER that says what the test wants."""
    with zmq.asyncio.Context() as context:
        dealer = context.socket(zmq.DEALER)
        dealer.linger = 0
        if routing_id:
            dealer.routing_id = routing_id
        dealer.connect(address)
        yield dealer
        dealer.close()


async def answer(dealer) -> Control:
    """The next control message that is no ping."""
    while True:
        parts = await asyncio.wait_for(dealer.recv_multipart(), 20)
        assert len(parts) == 2
        assert parts[0] == b""
        control = decode_control(parts[1])
        if control.type is not ControlType.PING:
            return control


async def end_of(link) -> LinkClosed:
    """Receive to the end."""
    while True:
        try:
            await link.receive()
        except LinkClosed as closed:
            return closed


@contextlib.asynccontextmanager
async def listening_with_witness(options=QUICK):
    """A listener, and a check afterwards that a well-behaved link on it is unharmed."""
    listener = await listen("zmq", "127.0.0.1:0", options=options)
    device = await connect("zmq", listener.address)
    edge = await listener.accept()
    yield listener
    await device.send(b"unharmed")
    assert await edge.receive() == b"unharmed"
    late = await connect("zmq", listener.address)
    await late.send(b"welcome")
    assert await (await listener.accept()).receive() == b"welcome"
    await device.close()
    await late.close()
    await listener.close()


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\nHost: edge\r\n\r\n", b"\xff" + bytes(200), bytes(range(256)) * 40]
)
def test_plain_tcp_garbage(run, garbage):
    async def main():
        async with listening_with_witness() as listener:
            host, port = listener.address.removeprefix("tcp://").split(":")
            for _ in range(5):
                _, writer = await asyncio.open_connection(host, int(port))
                writer.write(garbage)
                with contextlib.suppress(ConnectionError):
                    await writer.drain()
                writer.close()

    run(main())


@pytest.mark.parametrize(
    ("message", "kind", "reason"),
    [
        ([b"a frame before the greeting"], ControlType.LOST, "no link"),
        ([b"", encode_ping()], ControlType.LOST, "no link"),
        ([b"", b""], ControlType.REFUSE, "malformed"),
        ([b"", HELLO[:3]], ControlType.REFUSE, "cut short"),
        ([b"", b"\x01\x07"], ControlType.REFUSE, "version 7"),
        ([b"1"], ControlType.LOST, "no link"),
    ],
)
def test_strangers_are_told(run, message, kind, reason):
    async def main():
        async with listening_with_witness() as listener:
            with raw_dealer(listener.address) as dealer:
                await dealer.send_multipart(message)
                control = await answer(dealer)
                assert control.type is kind
                assert reason in control.reason

    run(main())


@pytest.mark.parametrize("message", [[b""], [b"1", b"2", b"3"], [b"", b"2", b"3"]])
def test_what_is_no_message_is_not_answered(run, message):
    async def main():
        async with listening_with_witness() as listener:
            with raw_dealer(listener.address) as dealer:
                await dealer.send_multipart(message)
                await dealer.send_multipart([b"", HELLO])
                assert not await dealer.poll(200)

    run(main())


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([[b"x"]] * 5, "window"),
        ([[b"", b"\x63"]], "unknown control"),
        ([[b"", encode_consumed(1)]], "CONSUMED"),
        ([[b"", HELLO]], "HELLO"),
        ([[b"a", b"b"]], "several parts"),
        ([[b"", b"b", b"c"]], "several parts"),
        ([[b"", encode_ping()]] * 101, "100 PINGs"),
    ],
)
def test_a_peer_that_breaks_the_protocol_loses_its_link_and_is_told(run, messages, reason):
    async def main():
        async with listening_with_witness() as listener:
            with raw_dealer(listener.address) as dealer:
                await dealer.send_multipart([b"", HELLO])
                assert (await answer(dealer)).type is ControlType.WELCOME
                edge = await listener.accept()
                for message in messages:
                    await dealer.send_multipart(message)
                control = await answer(dealer)
                assert control.type is ControlType.LOST
                assert reason in control.reason
                closed = await end_of(edge)
                assert reason in str(closed)
                assert not closed.clean

    run(main())


def test_oversized_frame_of_a_raw_peer(run):
    async def main():
        async with listening_with_witness() as listener:
            with raw_dealer(listener.address) as dealer:
                await dealer.send_multipart([b"", HELLO])
                assert (await answer(dealer)).type is ControlType.WELCOME
                edge = await listener.accept()
                await dealer.send(bytes(1001))
                assert "1001 bytes" in (await answer(dealer)).reason
                with pytest.raises(LinkClosed) as caught:
                    await edge.receive()
                assert not caught.value.clean

    run(main())


def test_what_a_peer_calls_itself_counts_for_nothing(run):
    """With libzmq's ROUTER it could take another's name, and end the process with the name that comes next."""

    async def main():
        async with listening_with_witness() as listener, contextlib.AsyncExitStack() as stack:
            peers = [stack.enter_context(raw_dealer(listener.address, b"me")) for _ in range(2)]
            for number, peer in enumerate(peers):
                await peer.send_multipart([b"", HELLO])
                assert (await answer(peer)).type is ControlType.WELCOME
                edge = await listener.accept()
                await peer.send(b"from %d" % number)
                assert await edge.receive() == b"from %d" % number
                await edge.send(b"for %d" % number)
                assert await peer.recv_multipart() == [b"for %d" % number]

    run(main())


def test_a_peer_that_never_reads_is_lost_and_stalls_nobody(run):
    async def main():
        async with listening_with_witness() as listener:
            with raw_dealer(listener.address) as dealer:
                await dealer.send_multipart([b"", HELLO])
                edge = await listener.accept()
                for _ in range(4):
                    await edge.send(b"unread")
                with pytest.raises(LinkClosed):  # the window is full, and a silent peer is a lost one
                    await edge.send(b"never sent")

    run(main())


@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", None])
def test_what_answers_is_no_edge(run, reply):
    async def main():
        async def serve(reader, writer):
            if reply is None:
                writer.close()
                return
            writer.write(reply)
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        address = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(ConnectError, match=address):
            await connect("zmq", address, options=LinkOptions(connect_timeout_s=1.0))
        server.close()

    run(main())


def test_a_router_that_says_nothing(run):
    async def main():
        with zmq.asyncio.Context() as context:
            router = context.socket(zmq.ROUTER)
            router.linger = 0
            port = router.bind_to_random_port("tcp://127.0.0.1")
            with pytest.raises(ConnectError, match="connect_timeout_s"):
                await connect("zmq", f"tcp://127.0.0.1:{port}", options=LinkOptions(connect_timeout_s=0.5))
            router.close()

    run(main())


def test_misuse(run):
    async def main():
        listener = await listen("zmq", "tcp://127.0.0.1:0")
        with pytest.raises(LinkError, match="in use"):
            await listen("zmq", listener.address)
        await listener.close()
        with pytest.raises(ValueError, match="no TLS"):
            await connect("zmq", "127.0.0.1:1", tls=ClientTls())
        with pytest.raises(ValueError, match="no TLS"):
            await listen("zmq", "127.0.0.1:0", tls=ServerTls(cert_file="c", key_file="k"))
        with pytest.raises(ValueError, match="carrier-pigeon"):
            await connect("carrier-pigeon", "127.0.0.1:1")
        with pytest.raises(ValueError, match="--edge-key"):
            await connect("zmq", "127.0.0.1:1", keys=DeviceKeys(own=SecretKey.make("x")))

    run(main())


def test_ipv6(run):
    async def main():
        try:
            listener = await listen("zmq", "tcp://[::1]:0")
        except LinkError:
            pytest.skip("no IPv6 here")
        device = await connect("zmq", listener.address)
        await device.send(b"x")
        assert await (await listener.accept()).receive() == b"x"
        await device.close()
        await listener.close()

    run(main())


READY = encode(COMMAND, b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER")
GREETED = greeting(b"NULL") + READY
LINKED = GREETED + encode(MORE, b"") + encode(0, HELLO)
PING = encode(COMMAND, b"\x04PING\x00\x0acontext")


@contextlib.asynccontextmanager
async def raw_tcp(address: str, said: bytes):
    """A connection on which just this is said."""
    host, port = address.removeprefix("tcp://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(said)
    yield reader, writer
    writer.close()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (greeting(b"NULL") + encode(0, b"a message"), "before the end of the handshake"),
        (greeting(b"NULL") + encode(COMMAND, b"\x05HELLO"), "begins with READY"),
        (greeting(b"CURVE"), "mechanism"),
        (b"GET / HTTP/1.1\r\n\r\n", "does not speak ZMTP"),
        (GREETED + PING * 101, "100 commands a second"),
        (GREETED + encode(0, bytes(256)), "256 bytes, the limit is 255"),
    ],
)
def test_what_is_no_zmtp_ends_its_connection_alone(run, caplog, said, reason):
    async def main():
        async with listening_with_witness() as listener:
            async with raw_tcp(listener.address, said) as (reader, _):
                await asyncio.wait_for(reader.read(), 20)
            assert listener.refusals["protocol"] >= 1
            while listener.half_open:
                await asyncio.sleep(0.01)

    run(main())
    assert reason in caplog.text


def test_zmtp_pings_are_answered_and_other_commands_are_not(run):
    async def main():
        async with listening_with_witness() as listener:
            said = LINKED + PING + encode(COMMAND, b"\x09SUBSCRIBE") + PING
            async with raw_tcp(listener.address, said) as (reader, _):
                edge = await listener.accept()
                answer = b""
                while answer.count(b"\x04PONGcontext") < 2:
                    answer += await asyncio.wait_for(reader.read(4096), 20)
                assert not edge.ended
                found = edge._connection._transport.get_extra_info("socket")
                assert found.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)  # else 40 ms are lost now and then
                await edge.close()

    run(main())


def test_who_pings_and_never_reads_loses_its_link(run):
    async def main():
        async with listening_with_witness() as listener, raw_tcp(listener.address, LINKED) as (_, writer):
            edge = await listener.accept()
            edge._connection._most_unsent = -1  # megabytes would take long
            writer.write(PING)
            with pytest.raises(LinkClosed, match="stopped reading"):
                await edge.receive()

    run(main())


@pytest.mark.parametrize("writes", ["a frame", "a report"])
def test_who_lets_frames_wait_and_never_reads_loses_its_link(run, writes):
    async def main():
        async with listening_with_witness() as listener, raw_tcp(listener.address, LINKED) as (_, writer):
            edge = await listener.accept()
            edge._connection._most_unsent = -1  # megabytes would take long
            writer.write(encode(0, b"x") * 2)  # half of its window: then the edge reports
            with pytest.raises(LinkClosed, match="stopped reading") as caught:
                await (edge.send(b"y") if writes == "a frame" else end_after(edge, 2))
            assert not caught.value.clean

    run(main())


async def end_after(link, frames):
    for _ in range(frames + 1):
        await link.receive()


def test_what_a_refused_peer_still_says_is_not_looked_at(run):
    """And it is the first that goes where there are too many."""

    async def main():
        async with (
            listening_with_witness(replace(QUICK, linger_s=60.0)) as listener,
            contextlib.AsyncExitStack() as stack,
        ):
            listener.half_open.most = 2  # 64 would take long
            refused = []
            for _ in range(2):
                refused.append(await stack.enter_async_context(raw_tcp(listener.address, b"GET / HTTP/1.1\r\n\r\n")))
                await asyncio.wait_for(refused[-1][0].read(), SOON_S)
            assert listener.refusals == {"protocol": 2}
            silent, _ = await stack.enter_async_context(raw_tcp(listener.address, b""))
            await asyncio.wait_for(silent.readexactly(GREETING_BYTES), SOON_S)
            refused[1][1].write(b"GET / HTTP/1.1\r\n\r\n")
            refused[1][1].write_eof()
            async with asyncio.timeout(SOON_S):
                while len(listener.half_open) > 1:
                    await asyncio.sleep(0.01)
            assert listener.refusals == {"protocol": 2}

    run(main())


def test_a_star_is_every_address(run):
    async def main():
        listener = await listen("zmq", "tcp://*:0")
        port = listener.address.rpartition(":")[2]
        device = await connect("zmq", f"tcp://127.0.0.1:{port}")
        await device.send(b"x")
        assert await (await listener.accept()).receive() == b"x"
        await device.close()
        await listener.close()

    run(main())


def test_a_device_that_is_killed_is_noticed_at_once(run):
    async def main():
        options = LinkOptions(heartbeat_s=20.0, peer_timeout_s=60.0)
        listener = await listen("zmq", "127.0.0.1:0", options=options)
        async with raw_tcp(listener.address, LINKED) as (_, writer):
            edge = await listener.accept()
            writer.transport.abort()
            with pytest.raises(LinkClosed, match="the device is gone") as caught:
                await asyncio.wait_for(edge.receive(), 10)
            assert not caught.value.clean
        await listener.close()

    run(main())


def test_an_edge_without_files_takes_connections_again_when_it_has_some(run, caplog):
    resource = pytest.importorskip("resource", reason="there is no limit of files here")

    async def main():
        listener = await listen("zmq", "127.0.0.1:0", options=QUICK)
        host, port = listener.address.removeprefix("tcp://").split(":")
        stranger = socket.socket()
        stranger.setblocking(False)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        next_one = os.dup(stranger.fileno())
        os.close(next_one)
        resource.setrlimit(resource.RLIMIT_NOFILE, (next_one, hard))
        try:
            await asyncio.get_running_loop().sock_connect(stranger, (host, int(port)))
            async with asyncio.timeout(SOON_S):
                while "cannot be taken" not in caplog.text:
                    await asyncio.sleep(0.01)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        said = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(stranger, 10), SOON_S)
        assert said[:1] == b"\xff"  # a greeting
        stranger.close()
        device, edge = await asyncio.gather(connect("zmq", listener.address, options=QUICK), listener.accept())
        await asyncio.gather(device.close(), edge.close())
        await listener.close()

    run(main())
