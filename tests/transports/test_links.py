"""What every transport promises, over all of them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from link_helpers import PATIENT, echo, end_of, numbered
from tslt_transports import ConnectError, FrameTooLarge, Link, LinkClosed, LinkError, Listener, listen


def test_interface(harness, run):
    async def main():
        async with harness.linked() as (device, edge):
            assert isinstance(device, Link)
            assert isinstance(edge, Link)
            assert device.peer
            assert edge.peer
            where = "" if harness.name == "inproc" else "127.0.0.1"
            assert (device.address, edge.address) == (where, where)
            assert device.identity == (where if harness.name == "quic" else "")  # what the certificate is for
            assert edge.identity == ""
        listener = await harness.listen()
        assert isinstance(listener, Listener)
        await listener.close()
        await listener.close()

    run(main())


def test_echo_in_order(harness, run):
    async def main():
        async with harness.linked() as (device, edge):
            echoing = asyncio.create_task(echo(edge))
            frames = [f"frame {i}".encode() for i in range(500)]

            async def send_all():
                for frame in frames:
                    await device.send(frame)

            sending = asyncio.create_task(send_all())
            assert [await device.receive() for _ in frames] == frames
            await sending
            await device.close()
            await echoing

    run(main())


def test_sizes_and_counters(harness, run):
    sizes = [1, 2, 127, 128, 255, 256, 16_383, 16_384, 65_537, 1024 * 1024]

    async def main():
        async with harness.linked() as (device, edge):
            echoing = asyncio.create_task(echo(edge))
            for size in sizes:
                frame = bytes(i % 251 for i in range(min(size, 4096))) * (size // 4096 + 1)
                await device.send(frame[:size])
                assert await device.receive() == frame[:size]
            expected = sum(size + device.frame_overhead(size) for size in sizes)
            for link in (device, edge):
                assert (link.bytes_sent, link.bytes_received) == (expected, expected)
                assert (link.frames_sent, link.frames_received) == (len(sizes), len(sizes))
            await device.close()
            await echoing

    run(main())


def test_what_is_no_frame(harness, run):
    async def main():
        async with harness.linked() as (device, edge):
            with pytest.raises(ValueError, match="never empty"):
                await device.send(b"")
            with pytest.raises(TypeError, match="bytearray"):
                await device.send(bytearray(b"x"))
            await device.send(b"x")
            assert await edge.receive() == b"x"

    run(main())


def test_own_frame_too_large(harness, run):
    async def main():
        async with harness.linked(replace(PATIENT, max_frame_bytes=1000)) as (device, edge):
            for one, two in ((device, edge), (edge, device)):
                with pytest.raises(FrameTooLarge, match=r"1001.*1000") as caught:
                    await one.send(bytes(1001))
                assert (caught.value.size, caught.value.limit) == (1001, 1000)
                await one.send(bytes(1000))
                assert await two.receive() == bytes(1000)

    run(main())


def test_smaller_limit_of_the_peer_counts(harness, run):
    small = replace(PATIENT, max_frame_bytes=1000, queue_frames=2, queue_bytes=1500)

    async def main():
        for edge_options, device_options in ((small, PATIENT), (PATIENT, small)):
            async with harness.linked(edge_options, device_options) as (device, edge):
                for one, two in ((device, edge), (edge, device)):
                    with pytest.raises(FrameTooLarge):
                        await one.send(bytes(1001))
                    sending = asyncio.create_task(send_numbered(one, 40, 900))
                    assert [await two.receive() for _ in range(40)] == [numbered(i, 900) for i in range(40)]
                    await sending

    run(main())


async def send_numbered(link: Link, count: int, size: int) -> None:
    for index in range(count):
        await link.send(numbered(index, size))


@pytest.mark.parametrize("limits", [{"queue_frames": 8}, {"queue_bytes": 8000}, {"queue_frames": 1}])
def test_slow_consumer_holds_the_sender_and_loses_nothing(harness, run, limits):
    options = replace(PATIENT, **limits)
    count = 40

    async def main():
        async with harness.linked(options) as (device, edge):
            for one, two in ((device, edge), (edge, device)):
                before = one.frames_sent
                sending = asyncio.create_task(send_numbered(one, count, 1000))
                await asyncio.sleep(0.2)
                assert 1 <= one.frames_sent - before <= 8
                assert not sending.done()
                received = []
                for _ in range(count):
                    received.append(await two.receive())
                    await asyncio.sleep(0)
                assert received == [numbered(i, 1000) for i in range(count)]
                await sending

    run(main())


def test_frames_larger_than_the_window(harness, run):
    async def main():
        async with harness.linked(replace(PATIENT, queue_bytes=1)) as (device, edge):
            sending = asyncio.create_task(send_numbered(device, 10, 100_000))
            assert [await edge.receive() for _ in range(10)] == [numbered(i, 100_000) for i in range(10)]
            await sending

    run(main())


def test_a_slow_peer_does_not_stall_others(harness, run):
    async def main():
        listener = await harness.listen(replace(PATIENT, queue_frames=8))
        slow = await harness.connect(listener)
        slow_edge = await listener.accept()
        quick = await harness.connect(listener)
        quick_edge = await listener.accept()
        up = asyncio.create_task(send_numbered(slow, 50, 2000))
        down = asyncio.create_task(send_numbered(slow_edge, 50, 2000))
        echoing = asyncio.create_task(echo(quick_edge))
        for index in range(100):
            await quick.send(numbered(index, 50))
            assert await quick.receive() == numbered(index, 50)
        assert not up.done()
        assert not down.done()
        assert [await slow_edge.receive() for _ in range(50)] == [numbered(i, 2000) for i in range(50)]
        assert [await slow.receive() for _ in range(50)] == [numbered(i, 2000) for i in range(50)]
        await asyncio.gather(up, down)
        await asyncio.gather(slow.close(), quick.close())
        await echoing
        await listener.close()

    run(main())


def test_many_devices_at_once(harness, run):
    async def main():
        listener = await harness.listen()
        tasks = []

        async def accept_all():
            for _ in range(20):
                tasks.append(asyncio.create_task(echo(await listener.accept())))

        async def device(number: int):
            link = await harness.connect(listener)
            for index in range(20):
                frame = f"device {number} frame {index}".encode()
                await link.send(frame)
                assert await link.receive() == frame
            await link.close()

        await asyncio.gather(accept_all(), *(device(number) for number in range(20)))
        await asyncio.gather(*tasks)
        await listener.close()

    run(main())


def test_concurrent_senders_keep_their_order(harness, run):
    async def main():
        async with harness.linked(replace(PATIENT, queue_frames=4)) as (device, edge):

            async def send(name: str):
                for index in range(50):
                    await device.send(f"{name} {index}".encode())

            sending = asyncio.gather(send("a"), send("b"))
            received = [(await edge.receive()).decode().split() for _ in range(100)]
            for name in "ab":
                assert [int(number) for sender, number in received if sender == name] == list(range(50))
            await sending

    run(main())


@pytest.mark.parametrize("closer", ["device", "edge"])
def test_clean_close_after_everything_sent(harness, run, closer):
    async def main():
        async with harness.linked() as (device, edge):
            one, two = (device, edge) if closer == "device" else (edge, device)
            for index in range(50):
                await one.send(numbered(index, 2000))
            await one.close()
            await one.close()
            frames, closed = await end_of(two)
            assert frames == [numbered(i, 2000) for i in range(50)]
            assert closed.clean
            assert closed.peer == two.peer
            assert two.peer in str(closed)
            for link in (one, two):
                with pytest.raises(LinkClosed) as caught:
                    await link.send(b"late")
                assert caught.value.clean
                with pytest.raises(LinkClosed):
                    await link.receive()
            await two.close()

    run(main())


def test_both_close_at_once(harness, run):
    async def main():
        async with harness.linked() as (device, edge):
            await asyncio.gather(device.close(), edge.close())
            for link in (device, edge):
                with pytest.raises(LinkClosed) as caught:
                    await link.receive()
                assert caught.value.clean

    run(main())


def test_listener_close_ends_its_links_cleanly(harness, run):
    async def main():
        listener = await harness.listen()
        devices = [await harness.connect(listener) for _ in range(3)]
        first = await listener.accept()
        await first.send(b"last words")
        waiting = asyncio.create_task(accept_beyond(listener, 2))
        await asyncio.sleep(0.05)
        await listener.close()
        with pytest.raises(LinkClosed) as caught:
            await waiting
        assert caught.value.clean
        ends = [await end_of(device) for device in devices]
        assert [frame for frames, _ in ends for frame in frames] == [b"last words"]
        assert all(closed.clean for _, closed in ends)
        await asyncio.gather(*(device.close() for device in devices))

    async def accept_beyond(listener: Listener, count: int) -> None:
        for _ in range(count + 1):
            await listener.accept()

    run(main())


def test_close_while_receiving_and_sending(harness, run):
    async def main():
        async with harness.linked(replace(PATIENT, queue_frames=2)) as (device, _edge):
            receiving = asyncio.create_task(device.receive())
            sending = asyncio.create_task(send_numbered(device, 10, 100))
            await asyncio.sleep(0.1)
            await device.close()
            for task in (receiving, sending):
                with pytest.raises(LinkClosed) as caught:
                    await task
                assert caught.value.clean
                assert "this side" in str(caught.value)

    run(main())


def test_cancelling_loses_nothing(harness, run):
    async def main():
        async with harness.linked(replace(PATIENT, queue_frames=2)) as (device, edge):
            for index in range(20):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(edge.receive(), 0.001)
                await device.send(numbered(index, 10))
                assert await edge.receive() == numbered(index, 10)
            await device.send(b"a")
            await device.send(b"b")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(device.send(b"never sent"), 0.05)
            assert [await edge.receive(), await edge.receive()] == [b"a", b"b"]
            await device.send(b"c")
            assert await edge.receive() == b"c"

    run(main())


def test_full_edge_refuses_with_a_reason(harness, run):
    async def main():
        listener = await harness.listen(replace(PATIENT, max_links=2))
        devices = [await harness.connect(listener) for _ in range(2)]
        edges = [await listener.accept() for _ in range(2)]
        with pytest.raises(ConnectError, match="max_links"):
            await harness.connect(listener)
        await devices[0].close()
        with pytest.raises(LinkClosed):
            await edges[0].receive()  # the place is free once the edge's application knows
        third = await harness.connect(listener)
        await third.send(b"room")
        assert await (await listener.accept()).receive() == b"room"
        await asyncio.gather(devices[1].close(), third.close())
        await listener.close()

    run(main())


def test_a_peer_that_takes_nothing_loses_its_link_and_its_place(network, run):
    """It is alive, its transport answers, and it never receives: not for ever."""

    async def main():
        options = replace(PATIENT, send_timeout_s=0.3, queue_frames=2, max_links=1)
        listener = await network.listen(options)
        device = await network.connect(listener, PATIENT)
        edge = await listener.accept()
        for _ in range(2):
            await edge.send(b"unread")
        with pytest.raises(LinkClosed, match="send_timeout_s"):
            await edge.send(b"one more")
        await edge.close()
        _, closed = await end_of(device)
        assert "send_timeout_s" in closed.reason
        again = await network.connect(listener, PATIENT)
        await again.close()
        await device.close()
        await listener.close()

    run(main())


def test_one_listener_for_both_families(network, run):
    """And a device of the older one is called what it is called where it lives."""

    async def main():
        try:
            listener = await listen(network.name, "[::]:0", options=PATIENT, tls=network.server_tls)
        except LinkError:
            pytest.skip("no IPv6 here")
        port = listener.address.rpartition(":")[2]
        for host in ("127.0.0.1", "[::1]"):
            device = await network.dial(f"{host}:{port}", PATIENT)
            edge = await listener.accept()
            assert edge.address == host.strip("[]")
            assert host in edge.peer
            await device.close()
            await edge.close()
        await listener.close()

    run(main())
