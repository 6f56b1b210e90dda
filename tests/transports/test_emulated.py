"""The emulated link: exact in virtual time, close in real time, a link like the others in both."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest
from link_helpers import PATIENT, end_of, numbered
from tslt_transports import FrameTooLarge, Line, Link, LinkClosed, Network, VirtualClock, emulated_pair

SLOW = Network(uplink_bit_s=8000, downlink_bit_s=32000, rtt_s=0.1)
"""1 ms a byte up, 0.25 ms down."""


def clocks():
    return VirtualClock(), VirtualClock(100.0)


def test_virtual_times_are_exact(run):
    async def main():
        mine, theirs = VirtualClock(), VirtualClock()
        device, edge = emulated_pair(SLOW, clocks=(mine, theirs))
        assert isinstance(device, Link)
        mine.advance(1.0)
        await device.send(bytes(99))  # with its prefix 100
        assert mine() == 1.0
        assert len(await edge.receive()) == 99
        assert theirs() == pytest.approx(1.0 + 0.1 + 0.05, abs=1e-12)
        theirs.advance(0.5)
        await edge.send(bytes(199))  # the prefix has two bytes
        await device.receive()
        assert mine() == pytest.approx(1.65 + 201 / 4000 + 0.05, abs=1e-12)
        assert (device.bytes_sent, device.bytes_received) == (100, 201) == (edge.bytes_received, edge.bytes_sent)

    run(main())


def test_frames_queue_for_the_line_and_keep_their_order(run):
    async def main():
        mine, theirs = VirtualClock(), VirtualClock()
        device, edge = emulated_pair(SLOW, clocks=(mine, theirs))
        for i in range(5):
            await device.send(numbered(i, 49))
            mine.advance(0.01)
        for i in range(5):
            assert await edge.receive() == numbered(i, 49)
            assert theirs() == pytest.approx(0.05 * (i + 1) + 0.05, abs=1e-12)
        mine.advance(10)
        await device.send(b"x")  # the line is free again
        await edge.receive()
        assert theirs() == pytest.approx(mine() + 0.002 + 0.05, abs=1e-12)

    run(main())


def test_both_ends_compute_at_the_same_time(run):
    """An end that is later than an arrival does not go back, and the other end does not wait for it."""

    async def main():
        mine, theirs = clocks()
        device, edge = emulated_pair(SLOW, clocks=(mine, theirs))
        await device.send(b"early")
        await edge.receive()
        assert theirs() == 100.0
        assert mine() == 0.0

    run(main())


def arrivals(network, sizes=(50, 3000, 10, 10, 20_000), uplink=True):
    line = Line(network, uplink=uplink)
    return [line.arrival(0.01 * i, size) for i, size in enumerate(sizes)]


def test_jitter_and_loss_are_seeded_delays_in_order():
    clean = arrivals(SLOW)
    rough = replace(SLOW, jitter_s=0.5, loss=0.3)
    assert arrivals(rough) == arrivals(rough) != arrivals(replace(rough, seed=1))
    for network in (replace(SLOW, jitter_s=0.5), replace(SLOW, loss=0.3), rough):
        found = arrivals(network)
        assert found == sorted(found)
        assert all(late >= on_time for late, on_time in zip(found, clean, strict=True))
        assert found[-1] > clean[-1]
    many = Line(replace(SLOW, uplink_bit_s=float("inf"), loss=0.25), uplink=True)
    waits = [many.arrival(1000.0 * i, 10) - 1000.0 * i - 0.05 for i in range(4000)]
    # Each try is lost with probability 1/4 and costs a round trip: 0.1 * (1/4) / (3/4) in the mean.
    assert sum(waits) / len(waits) == pytest.approx(0.1 / 3, rel=0.1)


def test_headers_take_time_and_are_not_counted():
    line, bare = Line(replace(SLOW, packet_overhead=60), uplink=True), Line(SLOW, uplink=True)
    assert line.arrival(0, 2500) - bare.arrival(0, 2500) == pytest.approx(3 * 0.060)


@pytest.mark.parametrize(
    "wrong", [{"uplink_bit_s": 0}, {"downlink_bit_s": -1}, {"rtt_s": -1}, {"jitter_s": float("nan")}, {"loss": 1.0}]
)
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        Network(**wrong)


def test_a_clock_does_not_go_back(run):
    clock = VirtualClock(2.0)
    with pytest.raises(ValueError, match="back"):
        clock.advance(-1)
    clock.advance_to(1.0)
    assert clock() == 2.0

    async def main():
        with pytest.raises(ValueError, match="its own"):
            emulated_pair(SLOW, clocks=(clock, clock))

    run(main())


@pytest.mark.parametrize("virtual", [True, False])
def test_closing(virtual, run):
    fast = Network(uplink_bit_s=1e6, downlink_bit_s=1e6, rtt_s=0.02)

    async def main():
        device, edge = emulated_pair(fast, clocks=clocks() if virtual else None, options=PATIENT)
        for i in range(20):
            await device.send(numbered(i, 300))
        await device.close()
        frames, closed = await end_of(edge)
        assert frames == [numbered(i, 300) for i in range(20)]
        assert closed.clean
        with pytest.raises(LinkClosed):
            await device.send(b"late")
        with pytest.raises(LinkClosed):
            await edge.send(b"late")
        one, two = emulated_pair(fast, clocks=clocks() if virtual else None, options=PATIENT)
        one.sever()
        for link in (one, two):
            with pytest.raises(LinkClosed) as caught:
                await link.receive()
            assert not caught.value.clean

    run(main())


@pytest.mark.parametrize("virtual", [True, False])
def test_windows_hold_the_sender_and_limits_hold(virtual, run):
    async def main():
        options = replace(PATIENT, queue_frames=4, max_frame_bytes=1000)
        fast = Network(uplink_bit_s=1e7, downlink_bit_s=1e7, rtt_s=0.004)
        device, edge = emulated_pair(fast, clocks=clocks() if virtual else None, options=options)
        with pytest.raises(FrameTooLarge):
            await device.send(bytes(1001))

        async def send_all():
            for i in range(40):
                await device.send(numbered(i, 100))

        sending = asyncio.create_task(send_all())
        await asyncio.sleep(0.1)
        assert device.frames_sent == 4
        assert [await edge.receive() for _ in range(40)] == [numbered(i, 100) for i in range(40)]
        await sending

    run(main())


def test_real_time_is_close(run):
    """20 kB at 400 kbit/s take 0.4 s, ten echoes over 40 ms 0.4 s: never less, and not many times as much."""
    network = Network(uplink_bit_s=400e3, downlink_bit_s=1e9, rtt_s=0.04)

    async def main():
        device, edge = emulated_pair(network, options=PATIENT)
        started = time.perf_counter()
        for i in range(10):
            await device.send(numbered(i, 2000))
        assert time.perf_counter() - started < 0.2  # sending is not what waits
        assert [await edge.receive() for _ in range(10)] == [numbered(i, 2000) for i in range(10)]
        assert 0.4 <= time.perf_counter() - started < 2.0
        started = time.perf_counter()
        for _ in range(10):
            await device.send(b"ping")
            await edge.receive()
            await edge.send(b"pong")
            await device.receive()
        assert 0.4 <= time.perf_counter() - started < 2.0
        await device.close()
        await end_of(edge)

    run(main())
