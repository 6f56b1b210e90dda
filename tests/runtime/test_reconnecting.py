"""A device whose link breaks: a pause for its caller, and the same text."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from itertools import pairwise

import numpy as np
import pytest
from cut_links import OPTIONS, EdgeProcess, prepare
from processes import ENVIRONMENT
from table_engine import TableDraft, TableTarget
from tslt_transports import ClientTls, ConnectError, InProcessListener, LinkClosed, LinkOptions, connect, listen
from two_ends import FINGERPRINT, KINDS, hello, tables

import tslt_wire as tw
from tslt_runtime import connection
from tslt_runtime.connection import EdgeError, Recovery
from tslt_runtime.device import Device
from tslt_runtime.dialing import Dialer
from tslt_runtime.edge import edge_settings, serve
from tslt_runtime.seeds import device_rng
from tslt_runtime.verifiers.local import LocalVerifier

NONCE = bytes(range(16))
TOKENS = 30


class Edge:
    """An edge in this process, on tables."""

    def __init__(self, *, seed=4, master=None, fingerprint=FINGERPRINT, verifier=None):
        self.listener = InProcessListener()
        self.verifier = verifier or LocalVerifier(TableTarget(tables()[0]))
        offered = edge_settings(self.verifier.facts, fingerprint)
        self.task = asyncio.create_task(serve(self.listener, self.verifier, offered, seed=seed, master=master))

    async def dial(self, attempt=0):
        return await self.listener.connect()

    async def stop(self):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.listener.close()


@asynccontextmanager
async def edges(*given):
    found = [Edge(**options) for options in given]
    try:
        yield found
    finally:
        for edge in found:
            await edge.stop()
            edge.verifier.close()


async def device_at(edge, *, recovery=None, timeout=20.0, prompt=True):
    said = hello(8, nonce=NONCE)
    device = Device(
        await edge.dial(), TableDraft(tables()[1]), said, rng=device_rng(1), reply_timeout_s=timeout, recovery=recovery
    )
    await device.open()
    if prompt:
        await device.prompt([0])
    return device


async def break_link(device):
    """As if the network had: the device's end says nothing any more, and hears nothing."""
    await device._edge._link.close()


async def text_of(device, settings, *, disturb=None):
    rounds = []
    async for round_ in device.generate(TOKENS, settings):
        rounds.append(round_)
        if disturb is not None:
            await disturb(len(rounds))
    await device.close()
    return device.session.prefix, rounds


async def undisturbed(kind):
    async with edges({}) as (edge,):
        return (await text_of(await device_at(edge), KINDS[kind]))[0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_link_that_breaks_between_rounds(kind):
    async def run():
        async with edges({}) as (edge,):
            device = await device_at(edge, recovery=Recovery(dial=edge.dial))

            async def disturb(number):
                if number % 2:
                    await break_link(device)

            text, rounds = await text_of(device, KINDS[kind], disturb=disturb)
            assert device.reconnects >= len(rounds) // 2
            assert sum(round_.reconnects for round_ in rounds) == device.reconnects
            assert all(round_.uplink_bytes > 0 < round_.downlink_bytes for round_ in rounds)
            return text

    assert asyncio.run(run()) == asyncio.run(undisturbed(kind))


class Fragile:
    """A link that loses a frame, and itself, after some of them."""

    def __init__(self, inner, after, *, answers):
        self._inner, self._left, self._answers = inner, after, answers

    def __getattr__(self, name):
        return getattr(self._inner, name)

    async def _count(self):
        self._left -= 1
        if self._left < 0:
            await self._inner.close()
            raise LinkClosed(peer="edge", clean=False, reason="cut")

    async def send(self, frame):
        if not self._answers:
            await self._count()
        await self._inner.send(frame)

    async def receive(self):
        frame = await self._inner.receive()
        if self._answers:
            await self._count()
        return frame


class Told(LocalVerifier):
    """Counts drafts whose rejection the device knew; few proposals, so that rounds are long."""

    def __init__(self):
        super().__init__(TableTarget(tables()[0]), proposals=1)
        self.told = 0

    async def answer(self, text, request):
        self.told += isinstance(request.asked, tw.DraftReceived) and request.asked.rejection is not None
        return await super().answer(text, request)


@pytest.mark.parametrize("kind", ["scalar", "lazy"])
@pytest.mark.parametrize("others", [False, True], ids=["the same secret", "other secrets"])
def test_a_link_that_breaks_inside_of_rounds(kind, others):
    """A rejection that was heard of goes along, also with log probabilities, which say how many tokens there are."""

    async def run(breaking):
        verifiers = [Told(), Told()]
        numbers = random.Random(1)
        async with edges(
            *({"verifier": verifier, "seed": 4 + n * others} for n, verifier in enumerate(verifiers))
        ) as two:
            asked = 0

            async def dial(attempt):
                nonlocal asked
                asked += 1
                link = await two[asked % 2 if others else 0].dial()
                return Fragile(link, numbers.randrange(3, 9), answers=bool(numbers.randrange(2))) if breaking else link

            said = hello(8, nonce=NONCE, extra={"logprobs": True})
            recovery = Recovery(dial=dial)
            device = Device(
                await dial(0), TableDraft(tables()[1]), said, rng=device_rng(1), reply_timeout_s=20, recovery=recovery
            )
            await device.open()
            await device.prompt([0])
            text, rounds = [], []
            async for round_ in device.generate(150, KINDS[kind]):
                rounds.append(round_)
                text += round_.tokens
            await device.close()
            assert device.session.prefix == (0, *text)
            assert all(len(round_.log_probs) == len(round_.tokens) for round_ in rounds)
            target = tw.target_probs(tables()[0], tw.Sampling())
            told = [p for round_ in rounds for p in round_.log_probs]
            wanted = np.log([target[before, token] for before, token in pairwise(device.session.prefix)])
            assert np.abs(np.array(told) - wanted).max() < 1e-3
            return text, device.reconnects, sum(verifier.told for verifier in verifiers)

    text, reconnects, told = asyncio.run(run(True))
    assert reconnects > 10
    assert told > 3
    if not others:
        assert text == asyncio.run(run(False))[0]


def test_prompts_and_ends_over_links_that_break():
    async def run(broken):
        async with edges({}) as (edge,):
            device = await device_at(edge, recovery=Recovery(dial=edge.dial), prompt=False)
            for tokens, keep in (([0], 0), ([1, 2], 1), ([3], 3)):
                if broken:
                    await break_link(device)
                await device.prompt(tokens, keep=keep)
                for _ in range(2):
                    await device.round(9, KINDS["scalar"])
                    if broken:
                        await break_link(device)
            await device.close()
            return device.session.prefix

    assert asyncio.run(run(True)) == asyncio.run(run(False))


def test_the_next_edge_takes_over():
    async def run():
        async with edges({}, {"seed": 5}) as (first, second):
            asked = []

            async def dial(attempt):
                asked.append(attempt)
                return await (first if attempt == 0 else second).dial()

            device = await device_at(first, recovery=Recovery(dial=dial))
            before = None

            async def disturb(number):
                nonlocal before
                if number == 2:
                    await first.stop()
                    before = device.session.prefix

            text, rounds = await text_of(device, KINDS["coupled"], disturb=disturb)
            assert text[: len(before)] == before
            assert sum(len(round_.tokens) for round_ in rounds) == TOKENS
            assert asked == [0, 1]
            assert not device.welcome.resumed
            assert device.reconnects == 1

    asyncio.run(run())


def test_an_edge_that_does_not_fit_is_passed_over():
    async def run():
        async with edges({}, {"fingerprint": bytes(31) + b"\1"}, {"seed": 9}) as (first, other, last):
            row = [first, other, last]
            device = await device_at(first, recovery=Recovery(dial=lambda attempt: row[attempt].dial()))
            await first.stop()
            await text_of(device, KINDS["lazy"])
            assert device.reconnects == 1

    asyncio.run(run())


def test_patience_ends_and_the_next_call_tries_again(monkeypatch):
    monkeypatch.setattr(connection, "FIRST_PAUSE_S", 0.01)

    async def run():
        async with edges({}) as (edge,):
            there, asked = False, []

            async def dial(attempt):
                asked.append(attempt)
                if not there:
                    raise ConnectError(address="x", reason="nobody answered", hint="wait")
                return await edge.dial()

            device = await device_at(edge, recovery=Recovery(dial=dial, patience_s=0.3))
            first = await device.round(TOKENS, KINDS["scalar"])
            await break_link(device)
            for call in (device.round(TOKENS, KINDS["scalar"]), device.round(TOKENS, KINDS["scalar"])):
                started = time.perf_counter()
                with pytest.raises(EdgeError, match=r"tried to go on for 0.3 s: .*nobody answered"):
                    await call
                assert time.perf_counter() - started < 1.5
            assert asked[:4] == [0, 1, 2, 3]
            assert 4 < len(asked) < 20
            there = True
            await device.round(TOKENS, KINDS["scalar"])
            await break_link(device)
            asked.clear()
            left = TOKENS - (len(device.session.prefix) - 1)
            async for _ in device.generate(left, KINDS["scalar"]):
                pass
            assert asked == [0]  # it begins anew after an answer
            await device.close()
            assert first.tokens == device.session.prefix[1 : 1 + len(first.tokens)]
            return device.session.prefix

    assert asyncio.run(run()) == asyncio.run(undisturbed("scalar"))


def test_an_answer_that_does_not_come_is_asked_for_on_another_link():
    class Deaf(LocalVerifier):
        """Never answers the second draft that it gets."""

        asked = 0

        async def answer(self, text, request):
            self.asked += 1
            if self.asked == 2:
                await asyncio.sleep(60)
            return await super().answer(text, request)

    async def run():
        async with edges({"verifier": Deaf(TableTarget(tables()[0]))}) as (edge,):
            device = await device_at(edge, recovery=Recovery(dial=edge.dial), timeout=0.5)
            text, _ = await text_of(device, KINDS["scalar"])
            assert device.reconnects == 1
            return text

    assert asyncio.run(run()) == asyncio.run(undisturbed("scalar"))


def test_without_recovery_a_lost_link_is_an_error():
    async def run():
        async with edges({}) as (edge,):
            device = await device_at(edge)
            await break_link(device)
            for _ in range(2):
                with pytest.raises(EdgeError, match="the text so far is good"):
                    await device.round(9, KINDS["match"])
            await device.close()

    asyncio.run(run())
    with pytest.raises(TypeError, match="dial must be a function"):
        Recovery(dial=None)
    with pytest.raises(ValueError, match="patience_s"):
        Recovery(dial=print, patience_s=-1)


def test_a_session_moves_to_its_new_link_and_the_old_one_ends():
    async def run():
        async with edges({}) as (edge,):
            device = await device_at(edge, recovery=Recovery(dial=edge.dial))
            await device.round(9, KINDS["list"])
            session, old, new = device.session, device._edge._link, await edge.dial()
            session.reconnect()
            await new.send(session.data_to_send())
            (resumed,) = session.receive_data(await new.receive())
            assert resumed.welcome.resumed
            assert 0 < resumed.kept <= len(session.prefix)
            error = tw.decode(await old.receive(), session.profile)
            assert error.code == tw.ErrorCode.UNKNOWN_SESSION
            with pytest.raises(LinkClosed):
                await old.receive()
            await new.close()
            await device.close()

    asyncio.run(run())


def test_a_stranger_who_comes_first_changes_nothing():
    async def run(strangers):
        async with edges({}) as (edge,):
            for number in range(strangers):
                said = hello(8, nonce=bytes([number + 1]) * 16)
                other = Device(await edge.dial(), TableDraft(tables()[1]), said, rng=device_rng(number))
                await other.open()
                await other.prompt([0])
                await other.round(9, KINDS["match"])
            return (await text_of(await device_at(edge), KINDS["scalar"]))[0]

    assert asyncio.run(run(0)) == asyncio.run(run(3))


def test_dialers_go_round(monkeypatch):
    called = []

    async def fake(transport, address, *, options, tls, keys):
        called.append(address)
        if address == "b":
            raise ConnectError(address=address, reason="nobody answered", hint="wait")
        return address

    monkeypatch.setattr("tslt_runtime.dialing.connect", fake)

    async def run():
        dialer = Dialer("zmq", ["b", "a", "c"])
        assert await dialer.reach(5) == "a"
        assert [await dialer(attempt) for attempt in (0, 1)] == ["a", "c"]
        assert await dialer(0) == "c"
        with pytest.raises(ConnectError):
            await dialer(1)
        assert await dialer(2) == "a"

    asyncio.run(run())
    assert called == ["b", "a", "a", "c", "c", "b", "a"]
    with pytest.raises(ValueError, match="address of an edge"):
        Dialer("zmq", [])


KILLED = """
import asyncio, sys
from pathlib import Path
from cut_links import OPTIONS
from tslt_transports import ClientTls, connect
async def main():
    tls = ClientTls(ca_file=Path(sys.argv[3]) / "ca.pem") if sys.argv[1] == "quic" else None
    link = await connect(sys.argv[1], sys.argv[2], options=OPTIONS, tls=tls)
    print("here", flush=True)
    await link.receive()
asyncio.run(main())
"""


@pytest.mark.parametrize("transport", ["zmq", "quic"])
def test_the_place_of_a_device_that_was_killed_is_free_in_time(transport, tmp_path):
    """No later than ``peer_timeout_s``, for a device that says no more."""
    prepare(tmp_path)
    edge = EdgeProcess(transport, tmp_path, max_links=1)
    path = {**ENVIRONMENT, "PYTHONPATH": f"tests/long:tests/helpers:{ENVIRONMENT['PYTHONPATH']}"}
    command = [sys.executable, "-c", KILLED, transport, edge.address, str(tmp_path)]
    device = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=path)
    try:
        assert device.stdout.readline() == "here\n"
        tls = ClientTls(ca_file=tmp_path / "ca.pem") if transport == "quic" else None

        async def until_free():
            with pytest.raises(ConnectError, match=r"full|links|room"):
                await connect(transport, edge.address, options=OPTIONS, tls=tls)
            device.kill()
            killed = time.perf_counter()
            while True:
                try:
                    link = await connect(transport, edge.address, options=OPTIONS, tls=tls)
                except ConnectError:
                    await asyncio.sleep(0.02)
                    continue
                took = time.perf_counter() - killed
                await link.close()
                return took

        assert asyncio.run(until_free()) < OPTIONS.peer_timeout_s + 2
    finally:
        device.kill()
        device.wait()
        device.stdout.close()
        edge.kill()


def test_a_device_waits_for_a_place_as_it_does_for_an_edge():
    async def main():
        listener = await listen("zmq", "127.0.0.1:0", options=LinkOptions(max_links=1))
        first = await connect("zmq", listener.address)
        coming = asyncio.create_task(Dialer("zmq", listener.address).reach(20))
        while not listener.refusals["full"]:
            await asyncio.sleep(0.01)
        await (await listener.accept()).close()
        link = await coming
        for one in (first, link, listener):
            await one.close()

    asyncio.run(asyncio.wait_for(main(), 30))
