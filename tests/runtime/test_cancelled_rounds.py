"""Rounds that are cancelled, time out or fail half way: they go on, and the text stays the target's."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager

import pytest
from table_engine import TableTarget
from two_ends import FINGERPRINT, hello, tables, two_ends

import tslt_wire as tw
from tslt_runtime.connection import EdgeError
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.edge import edge_settings
from tslt_runtime.edge_driver import EdgeDriver
from tslt_runtime.verifiers.local import LocalVerifier

SETTINGS = DraftSettings(expansion=(1, 1), truncation=tw.TopK(4))


class Slow(LocalVerifier):
    """A verifier that waits for a sign before it answers."""

    def __init__(self, target):
        super().__init__(TableTarget(target))
        self.go = asyncio.Event()
        self.asked = 0

    async def answer(self, text, request):
        self.asked += 1
        await self.go.wait()
        return await super().answer(text, request)


@asynccontextmanager
async def slow_ends(kind=Slow):
    """A device with a prompt, and the verifier of its edge."""
    verifier = kind(tables()[0])
    async with two_ends(*tables(), verifier=verifier, seed=7) as device:
        await device.prompt([0])
        yield device, verifier


async def cancelled(device):
    """Start a round, and cancel it while the edge scores."""
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(device.round(30, SETTINGS), 0.1)


async def plain(tokens, prompts=((0,),)):
    """The same session without cancelling."""
    async with two_ends(*tables(), seed=7) as device:
        for prompt in prompts:
            await device.prompt(list(prompt))
            _ = [round_ async for round_ in device.generate(tokens, SETTINGS)]
        return device.session.prefix


def test_its_tokens_come_first_in_the_next_call():
    async def run():
        async with slow_ends() as (device, verifier):
            await cancelled(device)
            await cancelled(device)  # waiting for it is cancelled, too
            assert verifier.asked == 1
            assert device.session.prefix == (0,)
            verifier.go.set()
            first = await device.round(30, SETTINGS)
            assert device.session.prefix == (0, *first.tokens)
            left = 40 - len(first.tokens)
            found = [first, *[round_ async for round_ in device.generate(left, SETTINGS)]]
            assert sum(len(round_.tokens) for round_ in found) == 40
            return device.session.prefix

    assert asyncio.run(run()) == asyncio.run(plain(40))  # nothing was drawn anew


def test_a_generator_that_is_cancelled_goes_on():
    async def run():
        async with slow_ends() as (device, verifier):

            async def all_of_it(tokens):
                return [round_ async for round_ in device.generate(tokens, SETTINGS)]

            with pytest.raises(TimeoutError):
                await asyncio.wait_for(all_of_it(40), 0.1)
            verifier.go.set()
            await asyncio.sleep(0.1)  # the round ends while nobody waits for it
            await all_of_it(40)
            return device.session.prefix

    assert asyncio.run(run()) == asyncio.run(plain(40))


def test_a_prompt_after_it_starts_another_text():
    async def run():
        async with slow_ends() as (device, verifier):
            await cancelled(device)
            verifier.go.set()
            await device.prompt([1], keep=1)
            assert device.session.prefix == (0, 1)
            _ = [round_ async for round_ in device.generate(12, SETTINGS)]
            assert len(device.session.prefix) == 14

    asyncio.run(run())


def test_a_device_that_is_closed_meanwhile_says_goodbye():
    async def run():
        async with slow_ends() as (device, verifier):
            await cancelled(device)
            verifier.go.set()
        assert device.session.state is tw.State.CLOSED

    asyncio.run(run())


def test_an_edge_that_fails_meanwhile_is_heard_of_in_the_next_call():
    class Broken(Slow):
        async def answer(self, text, request):
            await self.go.wait()
            raise RuntimeError("out of memory")

    async def run():
        async with slow_ends(Broken) as (device, verifier):
            await cancelled(device)
            verifier.go.set()
            await asyncio.sleep(0.1)
            with pytest.raises(EdgeError, match="its log says why"):
                await device.round(30, SETTINGS)

    asyncio.run(run())


def test_two_tasks_at_once_are_refused():
    async def run():
        async with slow_ends() as (device, verifier):
            first = asyncio.create_task(device.round(30, SETTINGS))
            await asyncio.sleep(0.05)
            for call in (device.round(30, SETTINGS), device.prompt([1]), device.open()):
                with pytest.raises(tw.LocalProtocolError, match="one call at a time"):
                    await call
            verifier.go.set()
            assert device.session.prefix == (0,)
            assert (await first).tokens == device.session.prefix[1:]

    asyncio.run(run())


class SlowText:
    """A draft text that takes its time to read."""

    def __init__(self, inner):
        self._inner, self.go = inner, threading.Event()

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def set_prefix(self, tokens):
        self.go.wait(20)
        self._inner.set_prefix(tokens)


def test_a_prompt_that_is_cancelled_is_read_all_the_same():
    async def run():
        async with two_ends(*tables(), seed=7) as device:
            text = device._text = SlowText(device._text)
            device._flight.hold(text)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(device.prompt([0, 1]), 0.1)
            text.go.set()
            found = await device.round(30, SETTINGS)
            assert device.session.prefix == (0, 1, *found.tokens)
            assert tuple(text.prefix) == device.session.prefix

    asyncio.run(run())


# ------------------------------------------------------------------------------------------- answers that come too late


def test_a_round_that_timed_out_is_asked_for_again_and_not_drafted_anew():
    async def run():
        async with slow_ends() as (device, verifier):
            device._edge.reply_timeout_s = 0.1
            for _ in range(2):
                with pytest.raises(EdgeError, match="the next round asks again"):
                    await device.round(30, SETTINGS)
            verifier.go.set()
            device._edge.reply_timeout_s = 20
            first = await device.round(30, SETTINGS)
            assert device.session.prefix == (0, *first.tokens)
            _ = [round_ async for round_ in device.generate(40 - len(first.tokens), SETTINGS)]
            return device.session.prefix

    assert asyncio.run(run()) == asyncio.run(plain(40))


def test_a_prompt_after_a_round_that_timed_out_settles_it_first():
    async def run():
        async with slow_ends() as (device, verifier):
            device._edge.reply_timeout_s = 0.1
            with pytest.raises(EdgeError):
                await device.round(30, SETTINGS)
            verifier.go.set()
            device._edge.reply_timeout_s = 20
            await device.prompt([1], keep=1)
            _ = [round_ async for round_ in device.generate(12, SETTINGS)]
            assert len(device.session.prefix) == 14

    asyncio.run(run())


def test_a_device_that_cannot_go_on_says_so_each_time():
    async def run():
        async with two_ends(*tables(), seed=7) as device:
            with pytest.raises(tw.LocalProtocolError, match=r"prompt\(\) comes first"):
                await device.round(5, SETTINGS)
            with pytest.raises(tw.LocalProtocolError, match="shaken hands already"):
                await device.open()
            await device.prompt([0])
            device.session.fail(tw.ErrorCode.INTERNAL, "given up")
            for call in (device.round(5, SETTINGS), device.round(5, SETTINGS), device.prompt([1])):
                with pytest.raises(EdgeError, match="is over"):
                    await call
            await device.close()
            await device.close()
            with pytest.raises(EdgeError, match="is over"):
                await device.round(5, SETTINGS)

    asyncio.run(run())


def test_who_waits_for_a_device_that_is_closed_is_told():
    async def run():
        async with slow_ends() as (device, verifier):
            waiting = asyncio.create_task(device.round(30, SETTINGS))
            await asyncio.sleep(0.05)
            await device.close()
            with pytest.raises(tw.LocalProtocolError, match="closed meanwhile"):
                await waiting
            verifier.go.set()

    asyncio.run(run())


def test_an_engine_that_fails_after_a_round_costs_no_tokens():
    async def run():
        async with two_ends(*tables(), seed=7) as device:
            await device.prompt([0])
            good, broken = device._text.commit, [True]

            def commit(path, token):
                if broken:
                    broken.pop()
                    raise RuntimeError("out of memory")
                good(path, token)

            device._text.commit = commit
            found = [round_ async for round_ in device.generate(40, SETTINGS)]
            assert not broken
            assert device.session.prefix == (0, *(token for round_ in found for token in round_.tokens))
            assert tuple(device._text.prefix) == device.session.prefix
            return device.session.prefix

    assert asyncio.run(run()) == asyncio.run(plain(40))


# ----------------------------------------------------------------------------------------------------- at the edge


def test_a_step_of_an_edge_that_is_cancelled_goes_on():
    async def run():
        target, draft = tables()
        verifier = Slow(target)
        settings = edge_settings(verifier.facts, FINGERPRINT)
        edge, alone = (
            EdgeDriver(who, settings, secret=bytes(32)) for who in (verifier, LocalVerifier(TableTarget(target)))
        )
        device = tw.DeviceSession(hello(len(draft)))
        frame = device.data_to_send()
        (welcome,) = await edge.step(frame)
        await alone.step(frame)
        device.receive_data(welcome)
        device.send_prompt([0])
        q = tw.sparsify(draft[0])
        prompt = device.data_to_send()
        device.send_draft(tw.TokenTree.chain([3]), tw.ListEvidence({-1: q}))
        sent = device.data_to_send()
        for end in (edge, alone):
            assert await end.step(prompt) == []
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(edge.step(sent), 0.1)
        verifier.go.set()
        (wanted,) = await alone.step(sent)
        answers = await edge.step(sent)  # the device sends it again
        assert set(answers) == {wanted}
        edge.close()
        verifier.close()

    asyncio.run(run())
