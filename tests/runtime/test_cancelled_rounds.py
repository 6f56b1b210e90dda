"""A round that is cancelled: it goes on in the background, and the text stays the target's."""

from __future__ import annotations

import asyncio

import pytest
from table_engine import TableTarget
from two_ends import tables, two_ends

import tslt_wire as tw
from tslt_runtime.device import EdgeError
from tslt_runtime.drafting import DraftSettings
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
        verifier = Slow(tables()[0])
        async with two_ends(*tables(), verifier=verifier, seed=7) as device:
            await device.prompt([0])
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
        verifier = Slow(tables()[0])
        async with two_ends(*tables(), verifier=verifier, seed=7) as device:
            await device.prompt([0])

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
        verifier = Slow(tables()[0])
        async with two_ends(*tables(), verifier=verifier, seed=7) as device:
            await device.prompt([0])
            await cancelled(device)
            verifier.go.set()
            await device.prompt([1], keep=1)
            assert device.session.prefix == (0, 1)
            _ = [round_ async for round_ in device.generate(12, SETTINGS)]
            assert len(device.session.prefix) == 14

    asyncio.run(run())


def test_a_device_that_is_closed_meanwhile_says_goodbye():
    async def run():
        verifier = Slow(tables()[0])
        async with two_ends(*tables(), verifier=verifier, seed=7) as device:
            await device.prompt([0])
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
        verifier = Broken(tables()[0])
        async with two_ends(*tables(), verifier=verifier, seed=7) as device:
            await device.prompt([0])
            await cancelled(device)
            verifier.go.set()
            await asyncio.sleep(0.1)
            with pytest.raises(EdgeError, match="its log says why"):
                await device.round(30, SETTINGS)

    asyncio.run(run())
