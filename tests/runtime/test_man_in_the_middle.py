"""Somebody on the way who changes the handshake: caught by the transcript, and with keys never there at all."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from dataclasses import replace

import pytest
from table_engine import TableDraft, TableTarget
from tslt_transports import AllowList, ConnectError, DeviceKeys, EdgeKeys, LinkClosed, SecretKey, connect, listen
from tslt_transports.allow_list import allow
from two_ends import FINGERPRINT, KINDS, hello, tables

import tslt_wire as tw
from tslt_runtime.connection import EdgeError
from tslt_runtime.device import Device
from tslt_runtime.edge import edge_settings, serve
from tslt_runtime.seeds import device_rng
from tslt_runtime.verifiers.local import LocalVerifier
from tslt_wire.frames.kinds import Kind

TARGET, DRAFT = tables(8)


class Middle:
    """Ends the device's link, opens one of its own to the edge, and passes frames on as it likes."""

    def __init__(self, up, down=lambda frame: frame) -> None:
        self.up, self.down = up, down
        self.passed: list[bytes] = []

    async def __call__(self, listener, address):
        with contextlib.suppress(LinkClosed):
            device = await listener.accept()
            edge = await connect("zmq", address)

            async def pump(source, sink, change):
                while True:
                    try:
                        frame = change(await source.receive())
                    except LinkClosed:
                        await sink.close()
                        return
                    self.passed.append(frame)
                    with contextlib.suppress(LinkClosed):  # what it said last is still on its way to the other end
                        await sink.send(frame)

            await asyncio.gather(pump(device, edge, self.up), pump(edge, device, self.down))


async def five_tokens(link) -> list[int]:
    """What a device gets over ``link``; the edge's error, or its own, is raised."""
    device = Device(link, TableDraft(DRAFT), hello(len(DRAFT), max_version=2), rng=device_rng(0), reply_timeout_s=20)
    try:
        await device.open()
        await device.prompt([1, 2])
        return [token async for round_ in device.generate(5, KINDS["list"]) for token in round_.tokens]
    finally:
        await device.close()


async def through(middle: Middle) -> list[int]:
    verifier = LocalVerifier(TableTarget(TARGET))
    edge, between = await listen("zmq", "127.0.0.1:0"), await listen("zmq", "127.0.0.1:0")
    tasks = [
        asyncio.create_task(serve(edge, verifier, edge_settings(verifier.facts, FINGERPRINT), seed=0)),
        asyncio.create_task(middle(between, edge.address)),
    ]
    try:
        return await asyncio.wait_for(five_tokens(await connect("zmq", between.address)), 60)
    finally:
        await between.close()
        await edge.close()
        await asyncio.gather(*tasks)
        verifier.close()


PROFILE = tw.Profile(vocab_size=len(DRAFT))


def changed(frame: bytes, kind: type, **changes) -> bytes:
    """A message of this kind with other fields; all other frames as they are."""
    message = tw.decode(frame, PROFILE) if frame[0] in (Kind.HELLO, Kind.WELCOME) else None
    return tw.encode(replace(message, **changes), PROFILE) if isinstance(message, kind) else frame


def older(frame: bytes) -> bytes:
    return changed(frame, tw.Hello, max_version=1)


def stripped(frame: bytes) -> bytes:
    return changed(frame, tw.Hello, evidence=("list", "match"))


def other_limits(frame: bytes) -> bytes:
    return changed(frame, tw.Hello, limits=tw.DecodeLimits(max_nodes=16))


def test_without_changes_it_goes_unnoticed():
    middle = Middle(lambda frame: frame)
    assert len(asyncio.run(through(middle))) >= 5
    assert len(middle.passed) > 4


@pytest.mark.parametrize("change", [older, stripped, other_limits])
def test_a_hello_that_was_changed_is_noticed_by_the_device(change):
    with pytest.raises(EdgeError, match="transcript"):
        asyncio.run(through(Middle(change)))


def test_a_welcome_that_was_changed_is_noticed_by_the_edge():
    middle = Middle(lambda frame: frame, lambda frame: changed(frame, tw.Welcome, model="another"))
    with pytest.raises(EdgeError, match="transcript_mismatch"):
        asyncio.run(through(middle))


def test_a_welcome_that_hides_the_change_is_noticed_by_the_edge():
    """The device is told its own hash; what it says next has the hash of both frames as it saw them."""
    said = []

    def up(frame: bytes) -> bytes:
        said.append(frame)
        return stripped(frame)

    def down(frame: bytes) -> bytes:
        return changed(frame, tw.Welcome, transcript=hashlib.sha256(said[0]).digest()[:16])

    middle = Middle(up, down)
    with pytest.raises(EdgeError, match="transcript_mismatch"):
        asyncio.run(through(middle))


@pytest.mark.parametrize("transport", ["zmq", "quic"])
def test_with_keys_nobody_is_in_between(transport, tmp_path):
    """Who ends the device's link must have the edge's secret, and who opens one to the edge a device's."""
    own, lab, mallory = (SecretKey.make(name) for name in ("kitchen", "lab", "mallory"))
    allow(tmp_path / "devices", own.public)
    allow(tmp_path / "anybody", own.public)

    async def main():
        edge = await listen(transport, "127.0.0.1:0", keys=EdgeKeys(own=lab, allowed=AllowList(tmp_path / "devices")))
        between = await listen(
            transport, "127.0.0.1:0", keys=EdgeKeys(own=mallory, allowed=AllowList(tmp_path / "anybody"))
        )
        with pytest.raises(ConnectError, match="key"):
            await connect(transport, between.address, keys=DeviceKeys(own=own, edge=lab.public))
        with pytest.raises(ConnectError, match="not on"):
            await connect(transport, edge.address, keys=DeviceKeys(own=mallory, edge=lab.public))
        assert edge.backlog.links == between.backlog.links == []
        await between.close()
        await edge.close()

    asyncio.run(main())


def test_a_byte_that_is_changed_on_an_encrypted_link_ends_it(tmp_path):
    own, lab = SecretKey.make("kitchen"), SecretKey.make("lab")
    allow(tmp_path / "devices", own.public)

    async def main():
        edge = await listen("zmq", "127.0.0.1:0", keys=EdgeKeys(own=lab, allowed=AllowList(tmp_path / "devices")))
        host, port = edge.address.removeprefix("tcp://").split(":")
        flip = asyncio.Event()

        async def proxy(reader, writer):
            up_reader, up_writer = await asyncio.open_connection(host, int(port))

            async def pump(source, sink, *, may_flip):
                with contextlib.suppress(ConnectionError):
                    while data := await source.read(65536):
                        if may_flip and flip.is_set():
                            data = data[:-1] + bytes([data[-1] ^ 1])
                        sink.write(data)
                sink.close()

            await asyncio.gather(pump(reader, up_writer, may_flip=True), pump(up_reader, writer, may_flip=False))

        server = await asyncio.start_server(proxy, "127.0.0.1", 0)
        address = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        device = await connect("zmq", address, keys=DeviceKeys(own=own, edge=lab.public))
        theirs = await edge.accept()
        await device.send(b"as it is")
        assert await theirs.receive() == b"as it is"
        flip.set()
        await device.send(b"another")
        with pytest.raises(LinkClosed, match="changed on the way"):
            await theirs.receive()
        with pytest.raises(LinkClosed, match="changed on the way"):
            await device.receive()
        server.close()
        await edge.close()

    asyncio.run(main())
