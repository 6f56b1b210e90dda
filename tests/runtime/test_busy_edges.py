"""An edge that works for others says so to devices that ask, and a planner sends what costs these less."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from table_engine import TableDraft, TableTarget
from two_ends import KINDS, hello, one_edge, tables

import tslt_wire as tw
from tslt_runtime.device import Device
from tslt_runtime.rounds import Round
from tslt_runtime.seeds import device_rng
from tslt_runtime.timing import MOST_OTHERS, WANTED, others_of, verify_seconds, with_others
from tslt_runtime.verifiers.local import LocalVerifier
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
    assert sorted(each.others for each in rounds_of([True] * 4)) == [0, 1, 2, 3]
    assert [each.others for each in rounds_of([True])] == [0]


def test_only_devices_that_ask_are_told():
    found = rounds_of([False, True, False])
    assert [each.others > 0 for each in found] in ([False, True, False], [False, False, False])
    assert [each.verify_s > 0 for each in found] == [False, True, False]


def test_what_cannot_be_read_is_ignored():
    assert with_others(VERDICT, 0) == VERDICT
    for told, said in ((1, 1), (MOST_OTHERS, 255), (1000, 255)):
        answer = with_others(replace(VERDICT, extensions=(tw.Extension(2, b"\1"),)), told)
        assert others_of(answer.extensions) == said
        assert verify_seconds(answer.extensions) == pytest.approx(1e-6)
    for data in (b"", b"\1\0"):
        assert others_of((tw.Extension(10, data),)) == 0
    assert others_of((tw.Extension(12, b"\1"),)) == 0


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


@pytest.mark.parametrize("bad", [-1, 1.5, True])
def test_numbers_of_others_that_are_none(bad):
    given = {"expansion": (1,), "accepted": 1, "tried": 1, "uplink_bytes": 1, "downlink_bytes": 1}
    with pytest.raises((TypeError, ValueError), match="others"):
        Observation(mode=default_modes()[0], draft_s=0.1, link_s=0.1, others=bad, **given)
