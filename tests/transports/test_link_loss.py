"""Links that never come to be or are lost: absent, killed, frozen and departing peers, over real sockets."""

from __future__ import annotations

import asyncio
import signal
import time
from dataclasses import replace

import pytest
from link_helpers import PATIENT, QUICK, SOON_S, end_of, numbered
from tslt_transports import ConnectError, LinkClosed, LinkOptions, pair

EDGE_PROGRAM = """
import asyncio, sys
from tslt_transports import LinkOptions, ServerTls, listen
async def main(kind, cert, key):
    tls = ServerTls(cert_file=cert, key_file=key) if kind == "quic" else None
    listener = await listen(kind, "127.0.0.1:0", tls=tls, options=LinkOptions(heartbeat_s=0.25, peer_timeout_s=3.0))
    print(listener.address, flush=True)
    link = await listener.accept()
    while True:
        await link.send(await link.receive())
asyncio.run(main(*sys.argv[1:]))
"""

DEVICE_PROGRAM = """
import asyncio, sys
from tslt_transports import ClientTls, LinkOptions, connect
async def main(kind, address, ca):
    tls = ClientTls(ca_file=ca) if kind == "quic" else None
    patient = LinkOptions(connect_timeout_s=60.0, linger_s=30.0)
    link = await connect(kind, address, tls=tls, options=patient)
    await link.send(b"here")
    await link.receive()
asyncio.run(main(*sys.argv[1:]))
"""

PARTING_PROGRAM = """
import asyncio, sys
from tslt_transports import ClientTls, LinkOptions, connect
async def main(kind, address, ca):
    tls = ClientTls(ca_file=ca) if kind == "quic" else None
    patient = LinkOptions(connect_timeout_s=60.0, linger_s=30.0)
    link = await connect(kind, address, tls=tls, options=patient)
    for index in range(100):
        await link.send(index.to_bytes(4, "little") + bytes(5000))
    await link.close()
asyncio.run(main(*sys.argv[1:]))
"""


def test_an_idle_link_stays(network, run):
    async def main():
        async with network.linked(QUICK, PATIENT) as (device, edge):
            await asyncio.sleep(4.0)
            await device.send(b"still")
            await edge.send(b"here")
            assert (await edge.receive(), await device.receive()) == (b"still", b"here")

    run(main())


def test_no_edge_fails_fast_and_says_where(network, run):
    async def main():
        listener = await network.listen()
        address = listener.address
        await listener.close()
        start = time.monotonic()
        with pytest.raises(ConnectError) as caught:
            await network.dial(address, LinkOptions(connect_timeout_s=5.0))
        assert time.monotonic() - start < SOON_S
        assert caught.value.address == address
        for part in (address, caught.value.reason, caught.value.hint):
            assert part
            assert part in str(caught.value)

    run(main())


def test_unknown_name(network, run):
    async def main():
        with pytest.raises(ConnectError, match=r"does not resolve"):
            await network.dial("no-such-host.invalid:1")

    run(main())


def test_localhost_by_name(network, run):
    async def main():
        listener = await network.listen()
        device = await network.dial(f"localhost:{listener.address.rpartition(':')[2]}")
        await device.send(b"x")
        assert await (await listener.accept()).receive() == b"x"
        await device.close()
        await listener.close()

    run(main())


def test_killed_edge_ends_the_wait(network, run, spawn):
    files = network.certificates
    child = spawn(EDGE_PROGRAM, [network.name, str(files.cert_file), str(files.key_file)])

    async def main():
        device = await network.dial(child.stdout.readline().strip(), QUICK)
        await device.send(b"alive?")
        assert await device.receive() == b"alive?"
        waiting = asyncio.create_task(device.receive())
        await asyncio.sleep(0.1)
        child.send_signal(signal.SIGKILL)
        start = time.monotonic()
        with pytest.raises(LinkClosed) as caught:
            await waiting
        assert not caught.value.clean
        assert time.monotonic() - start < SOON_S
        with pytest.raises(LinkClosed):
            await device.send(b"anyone?")
        await device.close()

    run(main())


def test_a_process_that_closes_and_exits_loses_nothing(network, run, spawn):
    async def main():
        listener = await network.listen()
        child = spawn(PARTING_PROGRAM, [network.name, listener.address, str(network.certificates.ca_file)])
        edge = await listener.accept()
        frames, closed = await end_of(edge)
        assert frames == [numbered(i, 5004) for i in range(100)]
        assert closed.clean
        assert await asyncio.to_thread(child.wait) == 0
        await listener.close()

    run(main())


def test_killed_device_ends_the_edges_link(network, run, spawn):
    async def main():
        listener = await network.listen(QUICK)
        child = spawn(DEVICE_PROGRAM, [network.name, listener.address, str(network.certificates.ca_file)])
        edge = await listener.accept()
        assert await edge.receive() == b"here"
        other = await network.connect(listener)
        child.send_signal(signal.SIGKILL)
        start = time.monotonic()
        with pytest.raises(LinkClosed) as caught:
            await edge.receive()
        assert not caught.value.clean
        assert time.monotonic() - start < SOON_S
        await other.send(b"unharmed")
        assert await (await listener.accept()).receive() == b"unharmed"
        await other.close()
        await listener.close()

    run(main())


def test_frozen_device_is_lost_by_silence(network, run, spawn):
    async def main():
        listener = await network.listen(replace(QUICK, linger_s=0.5))
        child = spawn(DEVICE_PROGRAM, [network.name, listener.address, str(network.certificates.ca_file)])
        edge = await listener.accept()
        assert await edge.receive() == b"here"
        child.send_signal(signal.SIGSTOP)  # its kernel keeps the connection: only silence tells
        with pytest.raises(LinkClosed) as caught:
            await edge.receive()
        assert not caught.value.clean
        await listener.close()

    run(main())


def test_severed_pair(run):
    async def main():
        device, edge = pair()
        await device.send(b"before")
        device.sever("tunnel")
        assert await edge.receive() == b"before"
        for link in (device, edge):
            with pytest.raises(LinkClosed, match="tunnel") as caught:
                await link.receive()
            assert not caught.value.clean

    run(main())
