"""An edge that works for others says so to devices that ask, and a planner sends what costs these less."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from table_engine import TableDraft, TableTarget
from two_ends import KINDS, hello, one_edge, tables

import tslt_wire as tw
from tslt_runtime.device import Device
from tslt_runtime.rounds import Round
from tslt_runtime.seeds import device_rng
from tslt_runtime.timing import MOST_OTHERS, WANTED, others_of, row_seconds, verify_seconds, with_others, with_row_time
from tslt_runtime.verifiers.at_work import AtWork
from tslt_runtime.verifiers.local import LocalVerifier
from tslt_wire.messages.extensions import shortest
from tslt_wire.throughput import Agreed, Compute, Link, Observation, Planner, default_modes

VERDICT = tw.Verdict(round=1, node=0, token=3)


class Patient(LocalVerifier):
    """It answers when so many drafts are there."""

    def __init__(self, *given: Any, many: int) -> None:
        super().__init__(*given)
        self.many, self.there, self.all_there = many, 0, asyncio.Event()

    async def answer(self, text: Any, request: Any) -> Any:
        self.there += 1
        if self.there % self.many == 0:
            self.all_there.set()
            self.all_there = asyncio.Event()
        else:
            await self.all_there.wait()
        return await super().answer(text, request)


def rounds_of(asks: list[bool], way: str = "list") -> list[Round]:
    """One round of each device, all at a time; ``asks``: whether it wants to be told."""
    target, own = tables()

    async def run() -> list[Round]:
        async with one_edge(Patient(TableTarget(target), many=len(asks))) as listener:
            devices = []
            for number, asked in enumerate(asks):
                said = hello(8, extra=WANTED if asked else {}, nonce=bytes([number]) * 16)
                devices.append(Device(await listener.connect(), TableDraft(own), said, rng=device_rng(number)))
                await devices[-1].open()
                await devices[-1].prompt([number])
            found = await asyncio.gather(*(device.round(20, KINDS[way]) for device in devices))
            for device in devices:
                await device.close()
        assert all(found)
        return [each for each in found if each]

    return asyncio.run(run())


def test_a_device_is_told_how_many_others_there_were():
    assert [each.others for each in rounds_of([True] * 4)] == [3] * 4
    assert [each.others for each in rounds_of([True])] == [0]


def test_only_devices_that_ask_are_told():
    found = rounds_of([False, True, False])
    assert [each.others for each in found] == [0, 2, 0]
    assert [each.verify_s > 0 for each in found] == [False, True, False]


def test_those_are_counted_that_were_there_at_any_time():
    """In the order of what happens: also who came later or was answered before, each once."""
    at_work, open_ = AtWork(), dict[str, Any]()

    def begin(text: str, name: str = "") -> None:
        block = at_work.on(text)
        open_[name or text] = block, block.__enter__()

    def end(name: str) -> int:
        block, met = open_.pop(name)
        block.__exit__(None, None, None)
        return met.others

    begin("a")
    assert end("a") == 0
    begin("a")
    begin("b")
    assert end("b") == 1
    begin("b")
    begin("c")
    assert end("a") == 2
    assert end("b") == 2
    assert end("c") == 2
    begin("d")
    begin("d", "again")  # one that nobody waits for any more, say
    assert end("d") == 0
    assert end("again") == 0
    assert not at_work._ended  # nothing is kept of those that nobody may ask for


@pytest.mark.parametrize("seed", range(5))
def test_they_are_those_whose_time_there_meets(seed):
    rng, at_work = np.random.default_rng(seed), AtWork()
    there: dict[int, tuple[Any, Any, int]] = {}
    stays: list[tuple[int, int, int, int]] = []
    for now in range(400):
        text = int(rng.integers(12))
        if text in there:
            block, met, since = there.pop(text)
            block.__exit__(None, None, None)
            stays.append((text, since, now, met.others))
        else:
            block = at_work.on(text)
            there[text] = block, block.__enter__(), now
    for text, since, until, others in stays:
        here = {each for each, begun, ended, _ in stays if begun < until and ended > since}
        here |= {each for each, (_, _, begun) in there.items() if begun < until}
        assert others == len(here - {text})


class Rowing(TableTarget):
    """A target whose pass takes 2 ms, and as much for each row."""

    def score(self, work: Any) -> Any:
        rows = sum(len(item.tokens) + (0 if item.tree is None else len(item.tree)) for item in work)
        time.sleep(0.002 * (1 + rows))
        return super().score(work)


def test_what_a_row_takes_is_told_with_it():
    """To a device that asks, and where there are others."""
    target, own = tables()

    async def run(many: int) -> list[Round]:
        async with one_edge(LocalVerifier(Rowing(target))) as listener:
            devices = []
            for number in range(many):
                said = hello(8, extra=WANTED, nonce=bytes([number]) * 16)
                devices.append(Device(await listener.connect(), TableDraft(own), said, rng=device_rng(number)))
                await devices[-1].open()
                await devices[-1].prompt([number])

            async def write(device: Device, length: int) -> list[Round]:
                settings = replace(KINDS["list"], expansion=(1,) * length)
                return [each async for each in device.generate(40, settings)]

            found = await asyncio.gather(*(write(device, 1 + number) for number, device in enumerate(devices)))
            for device in devices:
                await device.close()
        return [each for some in found for each in some]

    assert not any(each.row_s or each.others for each in asyncio.run(run(1)))
    rounds = [each for each in asyncio.run(run(3)) if each.others]
    assert all(1 <= each.others <= 2 for each in rounds)
    told = [each.row_s for each in rounds if each.row_s]
    assert len(told) > len(rounds) / 2
    assert np.median(told) == pytest.approx(0.002, rel=0.5)


def test_what_cannot_be_read_is_ignored():
    assert with_others(VERDICT, 0) == VERDICT
    for told, said in ((1, 1), (MOST_OTHERS, 255), (1000, 255)):
        answer = with_others(replace(VERDICT, extensions=(tw.Extension(2, b"\1"),)), told)
        assert others_of(answer.extensions) == said
        assert verify_seconds(answer.extensions) == pytest.approx(1e-6)
    for data in (b"", b"\1\0"):
        assert others_of((tw.Extension(10, data),)) == 0
    assert others_of((tw.Extension(12, b"\1"),)) == 0
    assert [shortest(number) for number in (0, 255, 256, 1 << 16)] == [b"\0", b"\xff", b"\0\1", b"\0\0\1"]
    assert with_row_time(VERDICT, 4e-7) == VERDICT
    for seconds, data in ((1e-6, "01"), (0.002, "d007"), (1e9, "ffffffff")):
        (told,) = with_row_time(VERDICT, seconds).extensions
        assert told == tw.Extension(12, bytes.fromhex(data))
        assert row_seconds((told,)) == int.from_bytes(told.data, "little") / 1e6
    for data in (b"", b"\1\0\0\0\0"):
        assert row_seconds((tw.Extension(12, data),)) == 0


def test_a_planner_sends_what_costs_others_less():
    """Shorter chains, as nodes take the edge time; and none of a kind that takes it time a token, where there is one
    that does not."""
    modes = tuple(
        replace(mode, alphas=(0.9,), parent_s=0.0, token_s=0.004 * (mode.evidence == "scalar"))
        for mode in default_modes(temperature=0.7)
        if mode.evidence in {"scalar", "match"}
    )
    link = Link(uplink_bit_s=1e7, downlink_bit_s=1e7, rtt_s=0.05)
    compute = Compute(draft_s=0.002, verify_s=0.03, verify_node_s=0.002)
    found = []
    for others in (0, 2, 8, 30):
        agreed = Agreed(evidence=("scalar", "match"))
        planner = Planner(modes, agreed, shapes=[(1,) * n for n in range(17)], link=link, compute=compute, budget=0)
        for _ in range(60):
            plan = planner.plan()
            length = len(plan.expansion)
            planner.observe(
                Observation(
                    mode=plan.mode, expansion=plan.expansion, accepted=length, tried=length, uplink_bytes=25,
                    downlink_bytes=15, draft_s=0.002 * length, link_s=0.05, others=others,
                    verify_s=0.03 + 0.002 * length + plan.mode.token_s * (length + 1),
                )
            )  # fmt: skip
        plan = planner.plan()
        found.append((len(plan.expansion), plan.mode.evidence))
        assert planner.others == pytest.approx(others, rel=0.01)
        assert ("The edge works for" in planner.explain()) == (others > 0)
    lengths = [length for length, _ in found]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] > lengths[-1]
    assert found[-1][1] == "match"


def test_what_a_node_takes_is_believed_where_the_edge_says():
    """Others send shorter drafts when this one does, so that its own rounds tell of nodes that are dear."""
    mode = next(mode for mode in default_modes(temperature=0.7) if mode.evidence == "match")
    agreed, found = Agreed(evidence=("match",)), {}
    for row_s in (0.0, 0.002):
        planner = Planner((mode,), agreed, shapes=[(1,) * n for n in range(17)], budget=0)
        for turn in range(60):
            length = (8, 6, 4, 3)[turn // 15]
            planner.observe(
                Observation(
                    mode=mode, expansion=(1,) * length, accepted=length, tried=length, uplink_bytes=25,
                    downlink_bytes=15, draft_s=0.008 * length, link_s=0.05, others=5, row_s=row_s,
                    verify_s=0.04 + 0.012 * length,
                )
            )  # fmt: skip
        found[row_s] = planner.compute.verify_node_s
    assert found[0.0] == pytest.approx(0.012, rel=0.2)
    assert found[0.002] == pytest.approx(0.002, rel=0.1)


@pytest.mark.parametrize("bad", [-1, 1.5, True])
def test_numbers_of_others_that_are_none(bad):
    given = {"expansion": (1,), "accepted": 1, "tried": 1, "uplink_bytes": 1, "downlink_bytes": 1}
    with pytest.raises((TypeError, ValueError), match="others"):
        Observation(mode=default_modes()[0], draft_s=0.1, link_s=0.1, others=bad, **given)
