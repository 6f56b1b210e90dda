"""A device that does not wait: its drafts follow each other, and the text is the target's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise, permutations
from typing import Any

import numpy as np
import pytest
from flights import ALL, CHAINS
from path_draft import PathDraft
from table_engine import TableDraft, TableTarget
from text_law import transition_law
from tslt_transports import Link, LinkOptions, pair
from two_ends import FINGERPRINT, KINDS, hello, one_edge, tables, two_ends

import tslt_wire as tw
from tslt_runtime.connection import Recovery
from tslt_runtime.device import Device
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.edge import edge_settings
from tslt_runtime.engines.protocol import Node
from tslt_runtime.limits import EdgeLimits
from tslt_runtime.rounds import Round
from tslt_runtime.seeds import device_rng
from tslt_runtime.verifiers.local import LocalVerifier

PROMPT = (1, 2, 3)


class Slow:
    """A link whose frames come late, so that drafts are in flight."""

    def __init__(self, link: Link, wait_s: float) -> None:
        self.link, self.wait_s = link, wait_s

    def __getattr__(self, name: str) -> Any:
        return getattr(self.link, name)

    async def receive(self) -> bytes:
        frame = await self.link.receive()
        await asyncio.sleep(self.wait_s)
        return frame


Written = tuple[tuple[int, ...], list[Round], Device]


def write(
    settings: DraftSettings,
    *,
    tokens: int = 60,
    apart: float = 0.4,
    wait_s: float = 0.001,
    offered: int = 16,
    pieces: int = 1,
    **given: Any,
) -> Written:
    """A text, its rounds and the device; ``offered``: the edge's window; ``pieces``: prompts of it."""
    target, own = tables(apart=apart)

    async def run() -> Written:
        mine, theirs = pair(LinkOptions())
        verifier = LocalVerifier(TableTarget(target))
        edge = edge_settings(verifier.facts, FINGERPRINT, limits=EdgeLimits(window=offered))
        rounds: list[Round] = []
        async with two_ends(
            target, own, links=(Slow(mine, wait_s), theirs), verifier=verifier, offered=edge, **given
        ) as device:
            await device.prompt(PROMPT)
            for piece in range(pieces):
                if piece:
                    await device.prompt((), keep=len(device.session.prefix))
                rounds += [each async for each in device.generate(tokens // pieces, settings)]
            return tuple(device.session.prefix), rounds, device

    return asyncio.run(run())


def own(limit: int = 1 << 20) -> dict[str, Any]:
    """A draft model that sees more of a text than its last token, and holds so many tokens of it."""
    return {"text": PathDraft(tables(apart=0.4)[1], limit)}


@pytest.mark.parametrize("way", ALL)
def test_the_text_does_not_depend_on_how_many_are_in_flight(way):
    given = {"priors": ("none",)}  # the scale of tails is learned from verdicts, as they come
    text, rounds, _ = write(ALL[way], window=2, **given, **own())
    assert len(text) == len(PROMPT) + 60
    assert sum(len(each.tokens) for each in rounds) == 60
    assert any(each.token is None for each in rounds)
    for other in (
        {"window": 4},
        {"window": 16, "wait_s": 0},
        {"window": 4, "ahead": 12},
        {"window": 2, "wait_s": 0.01},
        {"window": 4, "offered": 2},
        {"window": 4, **own(30)},  # there is no room for nodes of several drafts
    ):
        assert write(ALL[way], **{**given, **own(), **other})[0] == text


@pytest.mark.parametrize("limit", [40, 400])
@pytest.mark.parametrize("way", CHAINS)
def test_nor_on_what_was_guessed_nor_on_how_much_a_draft_model_holds(way, limit):
    """Where there is room drafts for likely rejections hang off those in flight; where there is none they do not."""
    given = {"priors": ("none",), "tokens": 80}
    text, *_ = write(CHAINS[way], window=2, **given, **own())
    found, rounds, device = write(CHAINS[way], window=3, ahead=120, wait_s=0.004, **given, **own(limit))
    assert found == text
    assert limit > 40 or device.ahead.rounds == 0  # no room for any
    if limit == 400:
        assert device.ahead.right > 1
        assert sum(each.ahead > 0 for before, each in pairwise(rounds) if before.token is not None) > 1


@pytest.mark.parametrize("limit", [8, 20])
def test_a_draft_model_that_holds_few_tokens_costs_none(limit):
    target, _ = tables(apart=0.4)
    chain, tree = (DraftSettings(expansion=way, temperature=0, evidence="match") for way in ((1, 1, 1), (2, 2)))
    for greedy, ahead in ((chain, 0), (chain, 40), (tree, 0)):
        text, *_ = write(greedy, window=4, ahead=ahead, sampling=tw.Sampling(temperature=0), **own(limit))
        assert all(token == target[before].argmax() for before, token in pairwise(text[len(PROMPT) - 1 :]))


@pytest.mark.parametrize(("way", "most"), [("list", 1), ("list", 2), ("list", 4), ("match tree", 2), ("match tree", 3)])
def test_no_more_leaves_are_run_than_the_engine_has(way, most):
    leaves = 0

    class Counting(PathDraft):
        def expand(self, nodes: Sequence[Node]) -> Any:
            nonlocal leaves
            found = super().expand(nodes)
            leaves = max(leaves, len(set(range(len(self.nodes))) - {node.parent for node in self.nodes}))
            return found

    model = Counting(tables(apart=0.4)[1])
    write(ALL[way], window=3, ahead=60, most_leaves=most, text=model, wait_s=0.004)
    assert leaves <= most
    assert leaves > 1 or most == 1


def test_lengths_that_change_while_drafts_are_in_flight():
    """Drafts that were begun are cut, go on or are thrown away: greedy, and so the target's own text."""
    target, _ = tables(apart=0.4)
    lengths = [(1,), (1, 1, 1), (1, 1), (1, 1, 1, 1, 1), (), (2, 2)]
    kinds = [DraftSettings(expansion=turn, temperature=0, evidence="match") for turn in lengths]
    turns = np.random.default_rng(0).integers(0, len(kinds), 200)

    async def run() -> tuple[int, ...]:
        mine, theirs = pair(LinkOptions())
        given = {"window": 4, "ahead": 24, "sampling": tw.Sampling(temperature=0)}
        async with two_ends(target, target, links=(Slow(mine, 0.002), theirs), **own(), **given) as device:
            await device.prompt(PROMPT)
            while (left := 80 - len(device.session.prefix)) > 0:
                await device.round(left, kinds[turns[left]])
            return tuple(device.session.prefix)

    text = asyncio.run(run())
    assert all(token == target[before].argmax() for before, token in pairwise(text[len(PROMPT) - 1 :]))


@pytest.mark.parametrize(("one", "other"), [*permutations(("list", "coupled tree", "scalar", "match tree"), 2)])
def test_ways_that_change_while_drafts_are_in_flight(one, other, caplog):
    """As a planner changes them: what was begun one way is no draft of the other, and guesses are of their own."""
    target, _ = tables(apart=0.2)
    kinds = [replace(ALL[way], temperature=0.0) for way in (one, other)]

    async def run() -> tuple[int, ...]:
        mine, theirs = pair(LinkOptions())
        given = {"window": 4, "ahead": 60, "sampling": tw.Sampling(temperature=0)}
        async with two_ends(target, target, links=(Slow(mine, 0.002), theirs), **own(), **given) as device:
            await device.prompt(PROMPT)
            turn = 0
            while (left := 60 - len(device.session.prefix)) > 0:
                turn += 1
                device.window = 4 if turn // 5 % 2 else 1
                await device.round(left, kinds[turn // 2 % 2])
            return tuple(device.session.prefix)

    text = asyncio.run(run())
    assert all(token == target[before].argmax() for before, token in pairwise(text[len(PROMPT) - 1 :]))
    assert "failed" not in caplog.text


def test_one_at_a_time_is_as_ever():
    """Whoever allows one: what is sent says nothing of drafts in flight."""
    chain = CHAINS["list"]
    text, rounds, device = write(chain, window=1)
    assert all(each.token is not None for each in rounds)
    assert not any(each.dropped for each in rounds)
    assert write(chain, window=4, offered=1)[0] == text
    assert device.window == 1


@pytest.mark.parametrize("way", ALL)
def test_the_law(way):
    target, _ = tables(apart=0.4)
    text, rounds, _ = write(ALL[way], window=3, tokens=800, wait_s=0, ahead=24)
    assert transition_law(target, text[len(PROMPT) - 1 :]) > 1e-3
    assert sum(each.token is None for each in rounds) > 50
    assert any(each.dropped for each in rounds)


@pytest.mark.parametrize("way", ALL)
def test_greedy_text_is_the_targets_own(way):
    target, _ = tables(apart=0.4)
    settings = replace(ALL[way], temperature=0.0)
    text, *_ = write(settings, window=4, sampling=tw.Sampling(temperature=0))
    assert all(token == target[before].argmax() for before, token in pairwise(text[len(PROMPT) - 1 :]))


def test_drafts_leave_before_verdicts_come():
    """One model at both ends: a verdict in 30 ms, and three drafts on their way."""
    greedy = DraftSettings(expansion=(1, 1), evidence="match")
    given = {"apart": 0, "wait_s": 0.03, "sampling": tw.Sampling(temperature=0)}
    _, rounds, _ = write(greedy, window=3, **given)
    assert all(each.token is None for each in rounds[:-1])
    assert sum(each.ahead == 2 for each in rounds) > len(rounds) / 2
    waits = [each.link_s for each in rounds[:-1]]
    assert np.median(waits) > 0.03  # each was sent before the one before it was answered


@pytest.mark.parametrize("tokens", [1, 2, 3, 4, 7])
def test_no_more_than_was_asked_for(tokens):
    for way in ("match", "scalar"):
        text, rounds, device = write(CHAINS[way], window=4, tokens=tokens)
        assert len(text) == len(PROMPT) + tokens
        assert sum(len(each.tokens) for each in rounds) == tokens
        assert device.session.in_flight == ()


def test_trees_and_chains_in_flight_and_drafts_to_their_end():
    target, own = tables(apart=0.4)

    async def run() -> Any:
        async with two_ends(target, own, window=4) as device:
            await device.prompt(PROMPT)
            for turn in range(12):
                await device.round(40, KINDS["list tree" if turn % 3 == 2 else "list"])
            found = [await device.round(0, KINDS["list"]) for _ in device.session.in_flight]
            assert await device.round(0, KINDS["list"]) is None
            return found, tuple(device.session.prefix)

    found, text = asyncio.run(run())
    assert all(found)
    assert len(text) > len(PROMPT) + 12


def test_a_prompt_brings_what_is_in_flight_to_its_end():
    target, own = tables(apart=0)
    greedy = DraftSettings(expansion=(1, 1), evidence="match")

    async def run() -> tuple[int, ...]:
        mine, theirs = pair(LinkOptions())
        async with two_ends(
            target, own, links=(Slow(mine, 0.01), theirs), window=4, sampling=tw.Sampling(temperature=0)
        ) as device:
            await device.prompt(PROMPT)
            await device.round(60, greedy)
            assert len(device.session.in_flight) > 1
            await device.prompt((5,), keep=len(PROMPT) + 2)
            assert device.session.in_flight == ()
            assert device.session.prefix == (*device.session.prefix[: len(PROMPT) + 2], 5)
            await device.round(60, greedy)
            return tuple(device.session.prefix)

    text = asyncio.run(run())
    assert all(token == target[before].argmax() for before, token in pairwise(text[len(PROMPT) + 2 :]))


class Failing(PathDraft):
    """It fails now and then, behind a draft that was sent."""

    failures = 0

    def expand(self, nodes: Sequence[Node]) -> Any:
        if len(self.prefix) % 7 == 0 and self.failures < 5:
            self.failures += 1
            raise RuntimeError("out of memory")
        return super().expand(nodes)


@pytest.mark.parametrize("ahead", [0, 24])
def test_a_draft_model_that_fails_meanwhile_costs_no_token(ahead):
    settings = CHAINS["list"]
    target, drafts = tables(apart=0)
    model = Failing(drafts)

    async def run() -> tuple[int, ...]:
        mine, theirs = pair(LinkOptions())
        links = Slow(mine, 0.002), theirs
        async with two_ends(target, drafts, links=links, window=4, ahead=ahead, text=model) as device:
            await device.prompt((1, 2, 3, 4))
            left = 60
            while left > 0:
                try:
                    round_ = await device.round(left, settings)
                except RuntimeError:
                    continue  # of the draft that nothing waits for: the caller's to see
                left -= len(round_.tokens)
            return tuple(device.session.prefix)

    assert len(asyncio.run(run())) == 64
    assert model.failures > 0


@pytest.mark.parametrize("window", [2, 4])
@pytest.mark.parametrize("way", [*CHAINS, "match tree"])
def test_links_that_break(way, window):
    """At any moment, with drafts in flight: the same text."""
    given = {"priors": ("none",), "nonce": bytes(range(16))}

    async def run(cuts: bool) -> tuple[tuple[int, ...], int]:
        target, own = tables(apart=0.4)
        rng, links = np.random.default_rng(window), 0

        async def dial(attempt: int = 0) -> Any:
            nonlocal links
            link, links = Slow(await listener.connect(), 0.001), links + 1
            if cuts:
                # Each lives for a little longer: a machine with other work must get on, too.
                asyncio.get_running_loop().call_later(
                    float(rng.uniform(0.005, 0.03)) * (1 + (links / 10) ** 2),
                    lambda: asyncio.ensure_future(link.link.close()),
                )
            return link

        async with one_edge(LocalVerifier(TableTarget(target))) as listener:
            device = Device(
                await dial(),
                TableDraft(own),
                hello(8, **given),
                rng=device_rng(1),
                recovery=Recovery(dial=dial),
                window=window,
                ahead=24 if window > 2 else 0,
            )
            await device.open()
            await device.prompt([0])
            async for _ in device.generate(50, ALL[way]):
                pass
            text = tuple(device.session.prefix)
            await device.close()
        return text, device.reconnects

    calm, none = asyncio.run(run(False))
    text, reconnects = asyncio.run(run(True))
    assert none == 0
    assert reconnects > 0
    assert text == calm


def test_a_window_that_is_none():
    with pytest.raises(ValueError, match="window"):
        asyncio.run(_device(window=17))
    with pytest.raises(ValueError, match="window"):
        EdgeLimits(window=0)


async def _device(**given: Any) -> Device:
    mine, _ = pair(LinkOptions())
    return Device(mine, TableDraft(tables()[1]), hello(8), rng=device_rng(0), **given)


def test_a_session_that_begins_among_many_has_one_at_a_time():
    """It is told so, and one that goes on there sends no more."""

    async def run() -> list[int]:
        target, own = tables()
        verifier, limits = LocalVerifier(TableTarget(target)), EdgeLimits(window=3, window_links=2)
        offered = edge_settings(verifier.facts, FINGERPRINT, limits=limits)
        devices = []
        async with one_edge(verifier, offered, limits=limits) as listener:
            for number in range(3):
                link = await listener.connect()
                devices.append(Device(link, TableDraft(own), hello(8), rng=device_rng(number), window=4))
                await devices[-1].open()
            for device in devices:
                await device.prompt(PROMPT)
                assert sum([len(each.tokens) async for each in device.generate(20, CHAINS["list"])]) == 20
            found = [device.session.window for device in devices]
            for device in devices:
                await device.close()
        return found

    assert asyncio.run(run()) == [3, 3, 1]
