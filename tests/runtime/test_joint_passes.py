"""Drafts in flight that are verified in one pass: their rows, the text, and what may not be joined."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from engine_rounds import TargetRounds
from flights import ALL
from history_engine import HistoryDraft, HistoryTarget, row_after
from table_engine import TableDraft, TableTarget
from tiny_llama import tiny_llama
from tslt_transports import LinkClosed, LinkOptions, pair
from two_ends import FINGERPRINT, hello, one_edge, tables, two_ends

import tslt_wire as tw
from tslt_runtime import scheduler
from tslt_runtime.arrivals import Arrivals
from tslt_runtime.connection import Recovery
from tslt_runtime.device import Device
from tslt_runtime.edge import edge_settings
from tslt_runtime.edge_driver import EdgeDriver, EdgeRound
from tslt_runtime.engines.protocol import EngineFacts, Work
from tslt_runtime.engines.transformers.target import TargetModel
from tslt_runtime.limits import EdgeLimits
from tslt_runtime.seeds import device_rng
from tslt_runtime.verifiers.joint import joined
from tslt_runtime.verifiers.local import LocalVerifier
from tslt_runtime.verifiers.protocol import Reply, Request
from tslt_wire.frames.kinds import Kind
from tslt_wire.messages.flight import Flight

PROMPT = (1, 2, 3)
TARGET, OWN = tables(apart=0.2)
FACTS = EngineFacts(model="any", vocab_size=8, context=100)
TREE = tw.TokenTree((1, 2, 3, 4), (-1, -1, 0, 0))


class Together(LocalVerifier):
    """Counts the answers for whose rows there was no pass."""

    free = 0

    async def answer(self, text: Any, request: Request) -> Reply:
        reply = await super().answer(text, request)
        self.free += reply.scored_before
        return reply


class Alone(Together):
    """A pass for each draft."""

    async def answer(self, text: Any, request: Request) -> Reply:
        return await super().answer(text, replace(request, following=()))


def draft(tree: tw.TokenTree, leaf: int | None = None, *, follows: bool = True, goes_on: bool = True) -> tw.Draft:
    flight = (Flight(follows=follows, goes_on=goes_on, leaf=leaf).extension,) if follows or goes_on else ()
    return tw.Draft(round=0, prefix_length=1, prefix_hash=0, tree=tree, evidence=tw.MatchEvidence(), extensions=flight)


def chain(*tokens: int, **given: Any) -> tw.Draft:
    return draft(tw.TokenTree.chain(tokens), **given)


# --------------------------------------------------------------------------------------------------------------- rows


def test_a_joint_tree():
    drafts = draft(TREE, 2), chain(5, 6), draft(TREE, 1), chain(7, goes_on=False)
    tree, parts = joined((0,), drafts, FACTS, 64)
    assert tree.tokens == (1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 7)
    assert tree.parents == (-1, -1, 0, 0, 2, 4, 5, 5, 6, 6, 7)
    assert [part.prefix for part in parts] == [(0,), (0, 1, 3), (0, 1, 3, 5, 6), (0, 1, 3, 5, 6, 2)]
    assert [part.tree for part in parts] == [each.tree for each in drafts]
    assert [part.rows for part in parts] == [(0, 1, 2, 3, 4), (3, 5, 6), (6, 7, 8, 9, 10), (8, 11)]


@pytest.mark.parametrize("engine", ["history", "transformers", "packed"])
def test_rows_of_a_joint_tree_are_those_of_each_draft(engine):
    if engine == "history":
        model: Any = HistoryTarget(TARGET)
    else:
        model = TargetModel(tiny_llama(vocab_size=8), model_id="tiny", packed=engine == "packed")
    drafts = draft(TREE, 2), chain(5, 6), draft(TREE, 1), draft(tw.TokenTree([], []), goes_on=False)
    tree, parts = joined(PROMPT, drafts, FACTS, 64)
    rounds = TargetRounds(model)
    rounds.set_prefix(PROMPT)
    logits = np.asarray(rounds.score(tree))
    for part in parts:
        rounds = TargetRounds(model)
        rounds.set_prefix(part.prefix)
        assert np.allclose(logits[list(part.rows)], np.asarray(rounds.score(part.tree)), atol=1e-4)


@pytest.mark.parametrize(
    ("facts", "most", "count"),
    [
        ({}, 64, 3),
        ({}, 10, 3),
        ({}, 9, 2),
        ({}, 5, 1),
        ({}, 1, 1),  # the first one is there, whatever its size
        ({"most_leaves": 5}, 64, 3),
        ({"most_leaves": 4}, 64, 2),
        ({"most_leaves": 1}, 64, 1),
        ({"context": 7}, 64, 3),
        ({"context": 6}, 64, 2),
        ({"context": 3}, 64, 1),
    ],
)
def test_as_many_as_fit(facts, most, count):
    drafts = draft(TREE, 2), chain(5, 6), draft(TREE, 1)
    tree, parts = joined((0,), drafts, replace(FACTS, **facts), most)
    assert len(parts) == count
    assert len(tree) == sum(len(each.tree) for each in drafts[:count])


@pytest.mark.parametrize(
    "bad", [draft(TREE, 0), draft(TREE), draft(TREE, 9), chain(5, leaf=0), chain(5, goes_on=False), chain()]
)
def test_nothing_is_joined_behind_a_draft_that_nothing_can_follow(bad):
    for drafts in ((bad, chain(6)), (chain(5), bad, chain(6))):
        tree, parts = joined((0,), drafts, FACTS, 64)
        assert [part.tree for part in parts] == [each.tree for each in drafts[:-1]]
        assert len(tree) == sum(len(part.tree) for part in parts)


def test_a_pass_gets_no_more_than_somewhat_longer():
    """Once it is known what rows take; before that, twice as many, and a few."""
    limits = EdgeLimits(rows=40)
    verifier = LocalVerifier(HistoryTarget(TARGET), limits=limits)
    passes = verifier._scheduler
    assert passes.most_nodes(4) == 4 + 16
    assert passes.most_nodes(18) == 36
    assert passes.most_nodes(30) == 39  # rows of a pass
    for rows in (5, 10, 20):
        passes._times.add(rows, 0.040 + rows * 0.001)
    assert passes.most_nodes(4) == 4 + int((scheduler.WITH_FOLLOWING - 1) * (40 + 5))
    for rows in (5, 10, 20):
        passes._times.add(rows, rows * 1.0)
    assert passes.most_nodes(4) < 8
    verifier.close()


# --------------------------------------------------------------------------------------------------------------- text


def write(
    way: str,
    kind: type[Together] = Together,
    *,
    target: Any = None,
    text: Any = None,
    **given: Any,
) -> tuple[tuple[int, ...], Any, Together]:
    """A text of a target that is slower than the drafts come, so that these wait for it together."""
    target = target or HistoryTarget(TARGET, pass_s=0.008)
    verifier = kind(target, allowed=given.pop("allowed", None))

    async def run() -> tuple[int, ...]:
        edge = edge_settings(verifier.facts, FINGERPRINT)
        ends = {"verifier": verifier, "offered": edge, "window": 4, "priors": ("none",), **given}
        async with two_ends(TARGET, OWN, text=text or HistoryDraft(OWN), **ends) as device:
            await device.prompt(PROMPT)
            async for _ in device.generate(60, replace(ALL[way], temperature=given["sampling"].temperature)):
                pass
            return tuple(device.session.prefix)

    return asyncio.run(run()), target, verifier


def nodes_of(target: HistoryTarget) -> list[int]:
    return [len(item.tree) for work in target.passes for item in work if item.tree is not None]


@pytest.mark.parametrize("way", ALL)
@pytest.mark.parametrize("settings", ["plain", "penalties", "allowed"])
def test_the_text_is_that_of_a_pass_for_each(way, settings, monkeypatch):
    monkeypatch.setattr(scheduler, "WITH_FOLLOWING", 1e6)  # times of so short passes are noise
    given: dict[str, Any] = {"sampling": tw.Sampling(temperature=0.4)}
    if settings == "penalties":
        given["sampling"] = tw.Sampling(temperature=0.4, repetition_penalty=1.3, presence_penalty=0.5)
    if settings == "allowed":
        given["allowed"] = lambda output: None if len(output) % 3 else np.arange(8) < 5
    text, together, verifier = write(way, **given)
    alone, apart, none = write(way, Alone, **given)
    assert text == alone
    assert verifier.free > 0
    assert none.free == 0
    assert max(nodes_of(together)) > max(nodes_of(apart))
    # What was scored together is kept together: no token is read again, but for one whose row there was not.
    assert verifier.counts.prefilled <= len(PROMPT)


def test_what_it_saves():
    """Drafts that are accepted whole: while the first one is verified the others come, and are verified in pairs."""

    class Sleeping(TableTarget):
        passes = 0

        def score(self, work: Sequence[Work]) -> Any:
            self.passes += 1
            time.sleep(0.01)
            return super().score(work)

    found = []
    for kind in (Together, Alone):
        target = Sleeping(TARGET)
        found.append(write("match", kind, target=target, text=TableDraft(TARGET), sampling=tw.Sampling(temperature=0)))
        found[-1] = (found[-1][0], target.passes)
    (text, together), (alone, apart) = found
    assert text == alone
    assert together < 0.8 * apart


@pytest.mark.parametrize("way", ["list", "scalar", "coupled", "match tree"])
def test_links_that_break_meanwhile(way, monkeypatch):
    """A text goes on over another link, with the rows that are there or without them."""
    monkeypatch.setattr(scheduler, "WITH_FOLLOWING", 1e6)
    settings = replace(ALL[way], temperature=0.4)

    async def run(kind: type[Together], cuts: bool) -> tuple[tuple[int, ...], int]:
        rng, links = np.random.default_rng(1), 0
        verifier = kind(HistoryTarget(TARGET, pass_s=0.003))

        async def dial(attempt: int = 0) -> Any:
            nonlocal links
            link, links = await listener.connect(), links + 1
            if cuts:  # each lives for a little longer: a machine with other work must get on, too
                lives = float(rng.uniform(0.01, 0.04)) * (1 + links / 10)
                asyncio.get_running_loop().call_later(lives, lambda: asyncio.ensure_future(link.close()))
            return link

        async with one_edge(verifier) as listener:
            said = hello(8, priors=("none",), nonce=bytes(16), sampling=tw.Sampling(temperature=0.4))
            device = Device(
                await dial(), HistoryDraft(OWN), said, rng=device_rng(1), recovery=Recovery(dial=dial), window=4
            )
            await device.open()
            await device.prompt(PROMPT)
            async for _ in device.generate(60, settings):
                pass
            text = tuple(device.session.prefix)
            await device.close()
        return text, device.reconnects

    calm, none = asyncio.run(run(Alone, False))
    text, reconnects = asyncio.run(run(Together, True))
    assert none == 0
    assert reconnects > 0
    assert text == calm


# --------------------------------------------------------------------------------------------------------------- steps


async def in_flight(tokens: Sequence[Sequence[int]], rounds: list[EdgeRound]) -> Any:
    """A driver with a prompt, the device's session, and the frames of its drafts, each of which follows the last."""
    verifier = LocalVerifier(HistoryTarget(np.eye(8) * 50))  # a token follows another one
    driver = EdgeDriver(
        verifier, edge_settings(verifier.facts, FINGERPRINT), secret=bytes(16), on_round=rounds.append,
        clock=iter(range(1000)).__next__,
    )  # fmt: skip
    device = tw.DeviceSession(hello(8, sampling=tw.Sampling(temperature=0)))
    for answer in await driver.step(device.data_to_send()):
        device.receive_data(answer)
    device.send_prompt(PROMPT)
    assert await driver.step(device.data_to_send()) == []
    frames = []
    for each in tokens:
        device.send_draft(tw.TokenTree.chain(each), tw.MatchEvidence(), goes_on=True)
        frames.append(device.data_to_send())
    return driver, device, frames, verifier


def greedy(count: int) -> list[int]:
    """What the target writes behind the prompt."""
    text = list(PROMPT)
    while len(text) < len(PROMPT) + count:
        text.append(int(row_after(np.eye(8), text).argmax()))
    return text[len(PROMPT) :]


def test_drafts_that_came_together_are_answered_one_a_step():
    async def run() -> None:
        rounds: list[EdgeRound] = []
        own = greedy(6)
        driver, device, frames, verifier = await in_flight([own[:2], own[2:4], own[4:]], rounds)
        answers = await driver.step(*frames)
        assert len(answers) == 1
        while driver.waiting:
            answers += await driver.step()
        assert len(answers) == 3
        assert await driver.step() == []
        text = [token for answer in answers for event in device.receive_data(answer) for token in event.tokens]
        assert text == own
        assert verifier.counts.rounds == 1
        # Each has taken the pass that they shared, and what its own comparing took: a tick of this clock.
        assert [each.seconds for each in rounds] == [1, 2, 2]
        verifier.close()

    asyncio.run(run())


def test_drafts_that_lose_their_ground_go():
    async def run() -> None:
        own = greedy(6)
        wrong = (own[3] + 1) % 8
        driver, device, frames, verifier = await in_flight([own[:2], [own[2], wrong], own[4:]], [])
        answers = await driver.step(*frames)
        answers += await driver.step()
        assert not driver.waiting
        text = [token for answer in answers for event in device.receive_data(answer) for token in event.tokens]
        assert text == own[:4]
        device.send_draft(tw.TokenTree.chain(own[4:5]), tw.MatchEvidence())
        (answer,) = await driver.step(device.data_to_send())
        (event,) = device.receive_data(answer)
        assert event.tokens == tuple(own[4:6])
        assert verifier.counts.rounds == 2
        verifier.close()

    asyncio.run(run())


def test_rows_of_drafts_that_lost_their_ground_are_not_kept():
    async def run() -> None:
        own = greedy(6)
        driver, _, frames, verifier = await in_flight([own[:2], [own[2], (own[3] + 1) % 8], own[4:]], [])
        await driver.step(*frames)
        assert [len(each) for each in verifier._scored.values()] == [2]
        await driver.step()
        assert [len(each) for each in verifier._scored.values()] == [0]
        verifier.close()

    asyncio.run(run())


def test_steps_that_are_cancelled_go_on_all_of_them():
    async def run() -> None:
        own = greedy(6)
        driver, device, frames, verifier = await in_flight([own[:2], own[2:4], own[4:]], [])
        for frame in frames:
            step = asyncio.create_task(driver.step(frame))
            await asyncio.sleep(0)
            step.cancel()
            await asyncio.gather(step, return_exceptions=True)
        answers = await driver.step()
        assert await driver.step() == []
        text = [token for answer in answers for event in device.receive_data(answer) for token in event.tokens]
        assert text == own
        verifier.close()

    asyncio.run(run())


def test_what_is_no_draft_is_taken_once_those_before_it_are_answered(caplog):
    async def run() -> None:
        driver, device, frames, verifier = await in_flight([greedy(2), [1]], [])
        device.close()
        (answer,) = await driver.step(*frames, device.data_to_send())
        assert answer[0] & 63 == Kind.VERDICT_WHOLE
        assert driver.over
        assert not driver.waiting
        assert await driver.step() == []
        verifier.close()

    asyncio.run(run())
    assert "failed" not in caplog.text


@pytest.mark.parametrize("bad", [b"\x10", b"\x10" * 2000])
def test_a_draft_behind_another_that_is_none_ends_the_session(bad):
    async def run() -> None:
        driver, device, frames, verifier = await in_flight([[1, 2]], [])
        (answer,) = await driver.step(frames[0], bad)
        (event,) = device.receive_data(answer)
        assert isinstance(event, tw.PeerFailed)
        assert driver.over
        assert not driver.waiting
        verifier.close()

    asyncio.run(run())


def test_what_is_taken_together():
    """Drafts that are there; all else is taken alone, in its order, and the link's end behind it."""

    async def run() -> None:
        *_, frames, verifier = await in_flight([[1, 2], [3], [4], [5]], [])
        verifier.close()
        mine, theirs = pair(LinkOptions())
        arrivals = Arrivals(theirs, 3)
        taken = asyncio.create_task(arrivals.take())
        await asyncio.sleep(0.01)
        taken.cancel()
        await asyncio.gather(taken, return_exceptions=True)
        bye = b"\x05"
        for frame in (*frames, bye, frames[0], bye):
            await mine.send(frame)
        await mine.close()
        for wanted in (frames[:3], frames[3:], [bye], frames[:1], [bye]):
            assert await arrivals.take() == wanted
        with pytest.raises(LinkClosed):
            await arrivals.take()

    asyncio.run(run())


def test_a_taking_that_is_cancelled_loses_nothing():
    """At every turn of the event loop."""

    async def run() -> None:
        *_, frames, verifier = await in_flight([[1, 2], [3], [4]], [])
        verifier.close()
        for turns in range(8):
            mine, theirs = pair(LinkOptions())
            for frame in frames:
                await mine.send(frame)
            arrivals, found = Arrivals(theirs, 8), list[bytes]()
            taken = asyncio.create_task(arrivals.take())
            for _ in range(turns):
                await asyncio.sleep(0)
            taken.cancel()
            (done,) = await asyncio.gather(taken, return_exceptions=True)
            found += [] if isinstance(done, BaseException) else done
            while len(found) < 3:
                async with asyncio.timeout(1):
                    found += await arrivals.take()
            assert found == frames
            await mine.close()

    asyncio.run(run())


def test_one_at_a_time_where_one_is_allowed():
    async def run() -> None:
        *_, frames, verifier = await in_flight([[1, 2], [3]], [])
        verifier.close()
        mine, theirs = pair(LinkOptions())
        arrivals = Arrivals(theirs, 1)
        for frame in frames:
            await mine.send(frame)
        assert [await arrivals.take() for _ in frames] == [[frame] for frame in frames]
        await mine.close()

    asyncio.run(run())
