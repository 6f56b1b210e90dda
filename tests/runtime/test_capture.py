"""Captures: the file, what a session notices of them (nothing), and that they replay byte for byte."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import resource
import signal
import stat
from contextlib import contextmanager

import pytest
from table_engine import TableDraft, TableTarget
from tslt_transports import InProcessListener, Link, LinkClosed, Listener, connect, listen
from two_ends import FINGERPRINT, hello, tables

import tslt_wire as tw
from tslt_runtime.capture import MAGIC, Capture, CaptureError, Record, capturing, read_capture
from tslt_runtime.device import Device
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.edge import edge_settings, serve
from tslt_runtime.edge_driver import EdgeDriver
from tslt_runtime.seeds import device_rng
from tslt_runtime.sessions import Sessions
from tslt_runtime.verifiers.local import LocalVerifier
from tslt_wire.frames.kinds import Role

V, SEED, PROMPT = 40, 3, [1, 2, 3]
TARGET, DRAFT = tables(V)
DRAFTED = [
    DraftSettings(expansion=(2, 2), truncation=tw.TopK(6), precision="log2/1"),
    DraftSettings(expansion=(1, 1, 1), evidence="scalar"),
    DraftSettings(expansion=(1, 1), truncation=tw.TopK(9), evidence="lazy"),
    DraftSettings(expansion=(1, 1, 1), evidence="coupled"),
]
"""What each device does, and so each link."""


def records(path) -> list[Record]:
    return list(read_capture(io.BytesIO(path.read_bytes())))


async def device_on(link, number):
    """A whole session of the device with that number; returns its text."""
    said = hello(V, nonce=bytes([number + 1]) * 16)
    device = Device(link, TableDraft(DRAFT), said, rng=device_rng(number), reply_timeout_s=20)
    await device.open()
    await device.prompt(PROMPT)
    async for _ in device.generate(12, DRAFTED[number]):
        pass
    await device.close()
    return device.session.prefix


async def sessions(kind, edge: Capture | None = None, devices: Capture | None = None):
    """All devices, one after another on one edge; returns their texts."""
    verifier = LocalVerifier(TableTarget(TARGET))
    offered = edge_settings(verifier.facts, FINGERPRINT)
    listener = InProcessListener() if kind == "inprocess" else await listen(kind, "tcp://127.0.0.1:0")
    door = edge.listener(listener) if edge else listener
    assert isinstance(door, Listener)
    assert door.address == listener.address
    task, texts = asyncio.create_task(serve(door, verifier, offered, seed=SEED)), []
    for number in range(len(DRAFTED)):
        link = await (listener.connect() if kind == "inprocess" else connect(kind, listener.address))
        if devices:
            link = devices.link(link, end=Role.DEVICE)
        texts.append(await device_on(link, number))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await door.close()
    verifier.close()
    return texts


@pytest.fixture(scope="module")
def captured(tmp_path_factory):
    """Captures of the same sessions over ZeroMQ, at the edge and at the devices; the texts."""
    folder = tmp_path_factory.mktemp("captures")
    with Capture(folder / "edge") as edge, Capture(folder / "devices") as devices:
        texts = asyncio.run(sessions("zmq", edge, devices))
    return records(folder / "edge"), records(folder / "devices"), texts


def of(found, link, sender):
    return [record.frame for record in found if (record.link, record.sender) == (link, sender)]


def test_both_ends_capture_the_same_frames(captured):
    edge, devices, _ = captured
    for link in range(len(DRAFTED)):
        for sender in Role:
            assert of(edge, link, sender) == of(devices, link, sender)
            assert of(edge, link, sender)
    assert {record.link for record in edge} == set(range(len(DRAFTED)))
    assert [record.time_s for record in devices] == sorted(record.time_s for record in devices)
    assert edge[0].time_s == 0


def test_a_fresh_edge_answers_captured_frames_with_the_captured_bytes(captured):
    async def replay(link, seed=SEED):
        verifier = LocalVerifier(TableTarget(TARGET))
        driver = EdgeDriver(
            verifier, edge_settings(verifier.facts, FINGERPRINT), sessions=Sessions(seed=seed), peer="replay"
        )
        answers = [frame for sent in of(captured[0], link, Role.DEVICE) for frame in await driver.step(sent)]
        driver.close()
        verifier.close()
        return answers

    for link in range(len(DRAFTED)):
        assert asyncio.run(replay(link)) == of(captured[0], link, Role.EDGE)
        assert asyncio.run(replay(link, seed=SEED + 1)) != of(captured[0], link, Role.EDGE)


class Replayed:
    """A link whose other end is a capture."""

    peer = "capture"
    identity = address = ""
    bytes_sent = bytes_received = frames_sent = frames_received = 0

    def __init__(self, answers):
        self.answers, self.sent = list(answers), []

    def frame_overhead(self, size):
        return 0

    async def send(self, frame):
        self.sent.append(frame)

    async def receive(self):
        if not self.answers:
            raise LinkClosed(peer=self.peer, clean=True, reason="the capture is over")
        return self.answers.pop(0)

    async def close(self): ...


def test_a_fresh_device_sends_the_captured_bytes_again(captured):
    for number in range(len(DRAFTED)):
        link = Replayed(of(captured[1], number, Role.EDGE))
        assert asyncio.run(device_on(link, number)) == captured[2][number]
        assert link.sent == of(captured[1], number, Role.DEVICE)


def test_a_capture_changes_nothing(captured, tmp_path):
    assert asyncio.run(sessions("inprocess")) == captured[2]


# ---------------------------------------------------------------------------------------------------------------- links


def test_a_captured_link_is_a_link(tmp_path):
    async def run():
        listener = InProcessListener()
        with Capture(tmp_path / "x") as capture:
            mine = capture.link(await listener.connect(), end=Role.DEVICE)
            theirs = await listener.accept()
            assert isinstance(mine, Link)
            await mine.send(b"one")
            await theirs.send(b"two!")
            assert await theirs.receive() == b"one"
            assert await mine.receive() == b"two!"
            assert (mine.frames_sent, mine.frames_received, mine.bytes_sent, mine.bytes_received) == (1, 1, 3, 4)
            assert (mine.peer, mine.frame_overhead(9)) == ("inproc:edge", 0)
            assert (mine.identity, mine.address) == ("", "")
            await listener.connect(identity="kitchen", address="::1")
            named = capture.link(await listener.accept(), end=Role.EDGE)
            assert (named.identity, named.address) == ("kitchen", "::1")
            with pytest.raises(TypeError):
                await mine.send("no frame")
            await theirs.close()
            with pytest.raises(LinkClosed):
                await mine.receive()
            await mine.close()
        found = records(tmp_path / "x")
        assert [record[1:] for record in found] == [(0, Role.DEVICE, b"one"), (0, Role.EDGE, b"two!")]

    asyncio.run(run())


@contextmanager
def files_of_at_most(size):
    """No file of this process grows beyond ``size`` bytes meanwhile: what a full disk does."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_ends_the_capture_and_not_the_sessions(captured, tmp_path, caplog):
    with caplog.at_level(logging.ERROR, "tslt.capture"), Capture(tmp_path / "x") as capture:
        with files_of_at_most(1700):
            texts = asyncio.run(sessions("inprocess", edge=capture))
        assert isinstance(capture.failure, OSError)
    assert texts == captured[2]
    (line,) = [entry.getMessage() for entry in caplog.records if entry.name == "tslt.capture"]
    assert "too large" in line
    assert "the session goes on" in line
    assert (tmp_path / "x").stat().st_size == 1700
    found = []
    with pytest.raises(CaptureError, match="ends within the record at byte"):
        walk((tmp_path / "x").read_bytes(), found)
    assert [record.frame for record in found] == [record.frame for record in captured[0]][: len(found)]
    assert len(found) > 3


def walk(data, found):
    """Append the records of a capture, until it is bad."""
    for record in read_capture(io.BytesIO(data)):
        found.append(record)


# ----------------------------------------------------------------------------------------------------------------- file


def test_nobody_else_may_read_it_and_nothing_is_overwritten(tmp_path):
    before = os.umask(0)
    try:
        with Capture(tmp_path / "x") as capture:
            capture.record(0, Role.DEVICE, b"frame")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o600
    with pytest.raises(OSError, match="is there already, and a capture overwrites nothing"):
        Capture(tmp_path / "x")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="is there already"):
        Capture(tmp_path / "link")
    with pytest.raises(OSError, match="No such file"):
        Capture(tmp_path / "nowhere" / "x")


def test_a_capture_of_nothing_leaves_no_file(tmp_path):
    with capturing(tmp_path / "x") as capture:
        assert (tmp_path / "x").exists()
    assert not (tmp_path / "x").exists()
    capture.close()
    with capturing(None) as none:
        assert none is None


def test_layout(tmp_path):
    times = iter([10.0, 10.25, 9.0])
    with Capture(tmp_path / "x", clock=lambda: next(times)) as capture:
        for number, sender, frame in ((0, Role.DEVICE, b"ab"), (7, Role.EDGE, b"c"), (1, Role.EDGE, b"d")):
            capture.record(number, sender, frame)
    text = "54534c54636170 01" + "02000000 00000000 00 0000000000000000 6162"
    text += "01000000 07000000 01 90d0030000000000 63" + "01000000 01000000 01 0000000000000000 64"
    assert (tmp_path / "x").read_bytes() == bytes.fromhex(text)
    assert records(tmp_path / "x") == [
        (0.0, 0, Role.DEVICE, b"ab"),
        (0.25, 7, Role.EDGE, b"c"),
        (0.0, 1, Role.EDGE, b"d"),
    ]


HEAD = MAGIC + b"\x01"
GOOD = HEAD + bytes.fromhex("01000000 07000000 01 90d0030000000000 63")


@pytest.mark.parametrize(
    ("data", "said", "before"),
    [
        (b"", "no capture", 0),
        (b"TSLTtab1 and more", "no capture", 0),
        (MAGIC, "no version", 0),
        (MAGIC + b"\x02", "version 2", 0),
        (GOOD + b"\x01", "ends within the record at byte 26", 1),
        (GOOD + GOOD[8:-1], "ends within the record at byte 26", 1),
        (GOOD + bytes(17), "damaged at byte 26", 1),
        (GOOD + b"\xff\xff\xff\x7f" + bytes(13), "damaged at byte 26", 1),
        (GOOD + b"\xff\xff\xff\x0f" + bytes(13), "ends within the record at byte 26", 1),
        (GOOD + GOOD[8:16] + b"\x02" + GOOD[17:], "damaged at byte 26", 1),
    ],
)
def test_a_bad_file_is_read_up_to_where_it_is_bad(data, said, before):
    found = []
    with pytest.raises(CaptureError, match=said):
        walk(data, found)
    assert len(found) == before


def test_what_was_read_already_is_not_read_again():
    for count in range(9):
        assert len(list(read_capture(io.BytesIO(GOOD[count:]), start=GOOD[:count]))) == 1
