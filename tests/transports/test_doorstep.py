"""Connections that have no link: how many there are, and which of them goes; and rates."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace

import pytest
from link_helpers import PATIENT
from tslt_transports import ConnectError, connect, listen
from tslt_transports.accepting import Doorstep
from tslt_transports.quic_edge import QuicListener
from tslt_transports.rates import LOG_LINES_A_SECOND, LimitedLog, RateLimit


class Stranger:
    def __init__(self, gone: list[Stranger]) -> None:
        self.gone = gone

    def give_way(self) -> None:
        self.gone.append(self)

    def abort(self) -> None:
        self.gone.append(self)


def test_the_oldest_gives_way_and_who_left_does_not_count():
    gone: list[Stranger] = []
    doorstep = Doorstep[Stranger](most=1)
    strangers = [Stranger(gone) for _ in range(doorstep.most + 3)]
    for stranger in strangers[: doorstep.most]:
        doorstep.add(stranger)
    doorstep.add(strangers[0])  # it is there already
    assert gone == []
    doorstep.discard(strangers[0])
    doorstep.discard(strangers[0])
    for stranger in strangers[doorstep.most :]:
        doorstep.add(stranger)
    assert gone == strangers[1:3]
    assert len(doorstep) == doorstep.most


def test_what_does_not_go_by_itself_is_aborted():
    async def main():
        gone: list[Stranger] = []
        doorstep = Doorstep[Stranger](most=1)
        await doorstep.emptied(timeout_s=10)
        one, two = Stranger(gone), Stranger(gone)
        doorstep.add(one)
        doorstep.add(two)
        asyncio.get_running_loop().call_later(0.05, doorstep.discard, one)
        await doorstep.emptied(timeout_s=0.2)
        assert gone == [two]

    asyncio.run(main())


def test_silent_connections_keep_nobody_out(run):
    """Twice as many as have a place, and a device comes in all the same; those that are left are closed in time."""

    async def main():
        listener = await listen("zmq", "127.0.0.1:0", options=replace(PATIENT, max_links=2, connect_timeout_s=1.5))
        host, port = listener.address.removeprefix("tcp://").split(":")
        writers = [(await asyncio.open_connection(host, int(port)))[1] for _ in range(2 * listener.half_open.most)]
        device = await connect("zmq", listener.address, options=PATIENT)
        await device.send(b"x")
        assert await (await listener.accept()).receive() == b"x"
        assert len(listener.half_open) <= listener.half_open.most
        assert listener.refusals["crowded"] >= listener.half_open.most
        while listener.half_open:
            await asyncio.sleep(0.05)
        assert listener.refusals["silent"] >= 1
        for writer in writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        await device.close()
        await listener.close()

    run(main())


def test_a_full_edge_says_so_and_counts(network, run):
    async def main():
        listener = await network.listen(replace(PATIENT, max_links=1))
        device = await network.connect(listener, PATIENT)
        with pytest.raises(ConnectError, match="max_links"):
            await network.connect(listener, PATIENT)
        assert listener.refusals == {"full": 1}
        await device.close()
        await listener.close()

    run(main())


def test_an_edge_under_load_makes_strangers_prove_their_address(quic_harness, run, monkeypatch):
    """With a sixteenth of the places taken a device needs a round trip more, and gets in."""

    async def main():
        listener = await quic_harness.listen()
        for crowded in (False, True, False):
            monkeypatch.setattr(QuicListener, "is_crowded", crowded)
            device = await quic_harness.connect(listener, PATIENT)
            assert (device._endpoint._quic._retry_count > 0) == crowded
            await device.send(b"x")
            assert await (await listener.accept()).receive() == b"x"
            await device.close()
        await listener.close()

    run(main())


def test_a_rate_is_of_each_second():
    now = [10.0]
    limit = RateLimit(2, clock=lambda: now[0])
    assert [limit.take() for _ in range(4)] == [True, True, False, False]
    now[0] = 10.9
    assert not limit.take()
    now[0] = 11.0
    assert [limit.take() for _ in range(3)] == [True, True, False]


def test_a_log_that_cannot_be_flooded(caplog):
    now = [0.0]
    limited = LimitedLog(logging.getLogger("tslt.test"), clock=lambda: now[0])
    for number in range(100):
        limited.warning("line %d", number)
    assert len(caplog.records) == LOG_LINES_A_SECOND
    now[0] = 2.0
    limited.warning("line %s", "last")
    limited.warning("line %s", "after")
    assert caplog.messages[-2:] == ["line last (and 90 lines like it that were left out)", "line after"]
