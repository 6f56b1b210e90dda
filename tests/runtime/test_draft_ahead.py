"""What a device drafts while it waits: nothing of it is sent that would not be sent without, and the law stays."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from table_engine import TableDraft
from text_law import transition_law
from tslt_transports import Link, LinkOptions, pair
from two_ends import KINDS, tables, two_ends

import tslt_wire as tw
from tslt_runtime.ahead import MOST_AHEAD
from tslt_runtime.commands.device import parse
from tslt_runtime.device import Device
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.engines.protocol import Node
from tslt_runtime.rounds import Round

PROMPT = (1, 2, 3)
CHAINS = [name for name in KINDS if max(KINDS[name].expansion) == 1]
CHAINS_OF_IDS = {
    "match": DraftSettings(expansion=(1, 1, 1), evidence="match"),
    "coupled": DraftSettings(expansion=(1, 1, 1), truncation=None, evidence="coupled"),
}
WAYS = {name: KINDS[name] for name in CHAINS} | CHAINS_OF_IDS


class Noted:
    """A link that notes what is sent over it, and holds what comes until the device has drafted ahead."""

    def __init__(self, link: Link, wait_s: float = 0.002) -> None:
        self.link, self.frames, self.wait_s = link, list[bytes](), wait_s

    def __getattr__(self, name: str) -> Any:
        return getattr(self.link, name)

    async def send(self, frame: bytes) -> None:
        self.frames.append(frame)
        await self.link.send(frame)

    async def receive(self) -> bytes:
        frame = await self.link.receive()
        await asyncio.sleep(self.wait_s)
        return frame


def write(
    settings: DraftSettings | Sequence[DraftSettings],
    *,
    ahead: int,
    tokens: int = 60,
    draft: Any = None,
    seed: int = 0,
    apart: float = 0.5,
    wait_s: float = 0.002,
    **changes: Any,
) -> tuple[list[bytes], tuple[int, ...], list[Round], Device]:
    """The frames of a device and its text; several ``settings`` take turns."""
    target, own = tables(seed=seed, apart=apart)
    several = [settings] if isinstance(settings, DraftSettings) else settings

    async def run() -> tuple[list[bytes], tuple[int, ...], list[Round], Device]:
        mine, theirs = pair(LinkOptions())
        noted = Noted(mine, wait_s)
        async with two_ends(
            target, own, links=(noted, theirs), seed=seed, ahead=ahead, text=draft, **changes
        ) as device:
            await device.prompt(PROMPT)
            rounds: list[Round] = []
            while left := tokens - sum(len(round_.tokens) for round_ in rounds):
                rounds.append(await device.round(left, several[len(rounds) % len(several)]))
            return noted.frames, tuple(device.session.prefix), rounds, device

    return asyncio.run(run())


@pytest.mark.parametrize("ahead", [1, 4, 40])
@pytest.mark.parametrize("way", WAYS)
def test_what_is_sent_is_what_is_sent_without(way, ahead):
    given = {"priors": ("none",)}  # the scale of tails is learned from the verdict that a guess does not know
    frames, text, *_ = write(WAYS[way], ahead=0, **given)
    ahead_frames, ahead_text, rounds, device = write(WAYS[way], ahead=ahead, **given)
    assert ahead_text == text
    assert ahead_frames == frames
    assert device.ahead.nodes > 0
    assert device.ahead.nodes <= ahead * len(rounds)
    if ahead == 40:
        assert sum(round_.ahead for round_ in rounds) > len(rounds) / 10
        assert device.ahead.right > len(rounds) / 10


def test_all_of_a_draft_is_there_where_the_guess_is_right():
    """Greedy, one model at both ends: each verdict is the likeliest."""
    greedy = DraftSettings(expansion=(1, 1, 1), evidence="match")
    *_, rounds, device = write(greedy, ahead=4, apart=0, wait_s=0.03, sampling=tw.Sampling(temperature=0))
    assert [round_.ahead for round_ in rounds[1:]].count(3) > len(rounds) / 2  # the others: a slow machine
    assert device.ahead.right == device.ahead.rounds


@pytest.mark.parametrize(
    "turns",
    [
        [(1, 1, 1), (1,)],  # what was drafted is cut
        [(1,), (1, 1, 1, 1)],  # and goes on
        [(1, 1), (2, 2), ()],  # no chains between
    ],
)
def test_lengths_that_change(turns):
    settings = [DraftSettings(expansion=turn, truncation=tw.TopK(4)) for turn in turns]
    given = {"priors": ("none",)}
    frames, text, *_ = write(settings, ahead=0, **given)
    assert write(settings, ahead=20, **given)[:2] == (frames, text)


def test_other_settings_begin_anew():
    chain = DraftSettings(expansion=(1, 1), truncation=tw.TopK(4))
    settings = [chain, replace(chain, truncation=tw.TopK(2)), replace(chain, temperature=0.5)]
    given = {"priors": ("none",)}
    frames, text, *_ = write(settings, ahead=0, **given)
    ahead_frames, ahead_text, rounds, _ = write(settings, ahead=20, **given)
    assert (ahead_frames, ahead_text) == (frames, text)
    assert not any(round_.ahead for round_ in rounds)


@pytest.mark.parametrize("way", ["list", "lazy"])
def test_the_law_with_tails(way):
    """Their scale is an older one in drafts that were there before the verdict: these frames are others."""
    target, _ = tables(apart=0.5)
    _, text, rounds, _ = write(WAYS[way], ahead=12, tokens=800, wait_s=0)
    assert transition_law(target, text[len(PROMPT) - 1 :]) > 1e-3
    assert sum(round_.ahead for round_ in rounds) > 10


class Failing(TableDraft):
    """It fails now and then, where a draft has more nodes than are sent."""

    failures = 0

    def expand(self, nodes: Sequence[Node]) -> Any:
        if len(self.nodes) + len(nodes) > 5 and np.random.default_rng(len(self.prefix)).random() < 0.5:
            self.failures += 1
            raise RuntimeError("out of memory")
        return super().expand(nodes)


def test_a_model_that_fails_while_it_drafts_ahead():
    failing = Failing(tables(apart=0.5)[1])
    chain = WAYS["scalar"]
    frames, text, *_ = write(chain, ahead=0)
    assert write(chain, ahead=20, draft=failing)[:2] == (frames, text)
    assert failing.failures > 3


def test_no_more_leaves_than_the_engine_takes():
    leaves = 0

    class Counting(TableDraft):
        def expand(self, nodes: Sequence[Node]) -> Any:
            nonlocal leaves
            found = super().expand(nodes)
            leaves = max(leaves, len(set(range(len(self.nodes))) - {node.parent for node in self.nodes}))
            return found

    for most in (1, 2, 3):
        leaves = 0
        write(WAYS["scalar"], ahead=60, draft=Counting(tables(apart=0.5)[1]), most_leaves=most)
        assert leaves <= most
    assert leaves > 1


@pytest.mark.parametrize("ahead", [-1, MOST_AHEAD + 1, 1.5, "many"])
def test_numbers_that_are_none(ahead):
    with pytest.raises((TypeError, ValueError), match="ahead"):
        write(WAYS["list"], ahead=ahead)


@pytest.mark.parametrize("ahead", ["-1", "257", "some"])
def test_the_command_line_says_what_it_takes(ahead, capsys):
    with pytest.raises(SystemExit):
        parse(["--model", "draft", "--ahead", ahead])
    assert f"--ahead: expected 0 to 256 tokens, got '{ahead}'" in capsys.readouterr().err
