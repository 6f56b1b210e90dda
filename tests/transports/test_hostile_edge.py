"""What an edge that is none, or none of ours, can say to a device over ZeroMQ."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest
from link_helpers import SOON_S, end_of
from tslt_transports import ConnectError, LinkClosed, LinkOptions, connect
from tslt_transports.control import ControlType, PeerLimits, encode_consumed, encode_greeting
from tslt_transports.zeromq_device import _start
from tslt_transports.zmtp import COMMAND, MORE, encode, greeting

OPTIONS = LinkOptions(max_frame_bytes=1 << 18, queue_frames=100, connect_timeout_s=SOON_S, peer_timeout_s=SOON_S)
GREETED = greeting(b"NULL") + encode(COMMAND, b"\x05READY\x0bSocket-Type\x00\x00\x00\x06ROUTER")


def control(data):
    return encode(MORE, b"") + encode(0, data)


WELCOME = control(encode_greeting(ControlType.WELCOME, PeerLimits.of(OPTIONS)))


@contextlib.asynccontextmanager
async def edge_that_says(said, *, ends=False):
    """The address of a server that says this to whoever greets it, and its connections; it reads no more."""
    writers, tasks, over = [], [], asyncio.Event()

    async def serve(reader, writer):
        writers.append(writer)
        tasks.append(asyncio.current_task())
        writer.write(GREETED)
        await reader.readuntil(b"Socket-Type\0\0\0\x06DEALER")
        writer.write(said)
        if ends:
            writer.write_eof()
            time.sleep(0.3)
        await over.wait()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}", writers
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        over.set()
        await asyncio.gather(*tasks, return_exceptions=True)


def test_a_frame_before_the_greeting(run):
    async def main():
        async with edge_that_says(encode(0, b"too early")) as (address, _):
            with pytest.raises(ConnectError, match="before its greeting"):
                await connect("zmq", address, options=OPTIONS)

    run(main())


@pytest.mark.parametrize("parts", [[b"", b"a", b"b"], [b"a", b"b"]])
def test_a_message_of_parts_that_is_no_control_message(run, parts):
    said = b"".join(encode(MORE, part) for part in parts[:-1]) + encode(0, parts[-1])

    async def main():
        async with edge_that_says(WELCOME + said) as (address, _):
            link = await connect("zmq", address, options=OPTIONS)
            with pytest.raises(LinkClosed, match=f"a message of {len(parts)} parts") as caught:
                await link.receive()
            assert not caught.value.clean

    run(main())


def test_what_came_before_the_edge_went_is_taken(run):
    """More than is read at a time, and the clean end behind it."""
    frames = [b"%d" % number for number in range(80)]
    said = b"".join(encode(0, frame) for frame in frames) + encode(0, b"")

    async def main():
        async with edge_that_says(WELCOME + said, ends=True) as (address, _):
            link = await connect("zmq", address, options=OPTIONS)
            found, closed = await end_of(link)
            assert found == frames
            assert closed.clean

    run(main())


def test_the_end_waits_for_the_message_that_the_reader_holds(run):
    """Else those behind it would come before it."""

    class Held:
        asked = False

        def done(self):
            self.asked = True
            return True

    async def main():
        async with edge_that_says(WELCOME) as (address, writers):
            link = await connect("zmq", address, options=OPTIONS)
            link._next = held = Held()
            writers[0].transport.abort()
            while not held.asked:
                await asyncio.sleep(0.01)
            assert not link.ended
            link._next = None
            with pytest.raises(LinkClosed, match="went away") as caught:
                await link.receive()
            assert not caught.value.clean

    run(main())


def test_an_edge_that_reports_and_never_reads_is_lost(run):
    async def main():
        async with edge_that_says(WELCOME) as (address, writers):
            link = await connect("zmq", address, options=OPTIONS)

            async def send_on():
                while True:
                    await link.send(bytes(OPTIONS.max_frame_bytes))
                    writers[0].write(control(encode_consumed(1)))

            with pytest.raises(LinkClosed, match="gone or stopped reading") as caught:
                await send_on()
            assert not caught.value.clean

    run(main())


def test_a_device_that_gives_up_dialing_leaves_nothing(run):
    async def main():
        async with edge_that_says(b"") as (address, writers):
            dialing = asyncio.create_task(connect("zmq", address, options=OPTIONS))
            while not writers:
                await asyncio.sleep(0.01)
            dialing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await dialing
            async with asyncio.timeout(SOON_S):
                while not writers[0].transport.is_closing():
                    writers[0].write(b"x" * 1000)
                    await asyncio.sleep(0.01)

    run(main())


def test_a_bug_in_what_serves_a_link_ends_the_link(run):
    async def fails():
        raise ValueError("a bug")

    async def main():
        async with edge_that_says(WELCOME) as (address, _):
            link = await connect("zmq", address, options=OPTIONS)
            _start(link, fails())
            with pytest.raises(LinkClosed, match="internal error: ValueError"):
                await link.receive()

    run(main())
