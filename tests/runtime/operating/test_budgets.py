"""What a device may take: by a simulated clock, to the second; and at real edges."""

from __future__ import annotations

import asyncio
import secrets
from types import SimpleNamespace

import pytest
from table_engine import TableDraft, TableTarget
from travelling import travelled
from tslt_transports import InProcessListener
from two_ends import FINGERPRINT, KINDS, hello, tables

import tslt_wire as tw
from tslt_runtime.connection import EdgeError, Recovery
from tslt_runtime.device import Device
from tslt_runtime.edge import edge_settings, serve
from tslt_runtime.limits import LEAST_PEER_LINKS, EdgeLimits
from tslt_runtime.operating import budgeted
from tslt_runtime.operating.budgeted import BudgetedVerifier
from tslt_runtime.operating.budgets import ACTIVE_S, MOST_ACCOUNTS, Bucket, Budgets, peer_of
from tslt_runtime.operating.meter import EdgeMeter
from tslt_runtime.overload import Overloaded
from tslt_runtime.seeds import device_rng
from tslt_runtime.verifiers.local import LocalVerifier
from tslt_runtime.verifiers.protocol import Reply, Spent
from tslt_wire.frames.kinds import Kind

LIMITS = EdgeLimits(target_ms_per_s=500, prompt_tokens_per_s=100, burst_s=4, pace_s=10)


def link(identity="", address="192.0.2.1"):
    return SimpleNamespace(identity=identity, address=address)


class Clock:
    """Seconds that pass when somebody sleeps."""

    def __init__(self):
        self.now, self.slept = 0.0, []

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def budgets(clock):
    return Budgets(LIMITS, clock=clock, sleep=clock.sleep)


def account_of(budgets, *args):
    with budgets.admitted(link(*args)) as account:
        return account


async def ask(account, *, seconds=0.0, tokens=0):
    """A request that costs this much."""
    async with account.turn():
        account.charge(seconds=seconds, tokens=tokens)


# -------------------------------------------------------------------------------------------------------- the bucket


def test_a_bucket_gives_what_it_saved_and_then_its_rate():
    bucket = Bucket(rate=2.0, most=10.0, now=0.0)
    bucket.take(10, 0.0)
    assert bucket.wait_s(0.0) == 0
    bucket.take(3, 0.0)
    assert bucket.wait_s(0.0) == 1.5
    assert bucket.wait_s(1.0) == 0.5
    assert bucket.wait_s(1.5) == 0
    bucket.take(4, 100.0)
    assert bucket.wait_s(99.0) == 0  # a clock that goes back gives nothing
    bucket.take(6.5, 99.0)
    assert bucket.wait_s(100.0) == 0.25


def test_what_nobody_else_wanted_makes_no_debt():
    bucket = Bucket(rate=1.0, most=5.0, now=0.0)
    bucket.take(100, 0.0, free=True)
    assert bucket.wait_s(0.0) == 0
    bucket.take(1, 0.0)
    assert bucket.wait_s(0.0) == 1
    bucket.take(100, 0.0, free=True)
    assert bucket.wait_s(0.0) == 1  # what was owed before is still owed


# ----------------------------------------------------------------------------------------------- accounts and rates


def test_who_is_alone_is_never_held(budgets, clock):
    one = account_of(budgets, "one")
    for _ in range(100):
        asyncio.run(ask(one, seconds=1.0, tokens=1000))
        clock.now += 1.0
    assert clock.slept == []


def test_who_takes_more_than_the_rate_waits_exactly_for_it_while_others_are_served(budgets, clock):
    one, two = account_of(budgets, "one"), account_of(budgets, "two")

    async def main():
        await ask(two)
        await ask(one, seconds=2.0)  # what was saved: 4 s of the rate
        await ask(one, seconds=0.6)
        assert clock.slept == []
        await ask(two, seconds=0.01)
        await ask(one, seconds=0.25)
        assert clock.slept == [pytest.approx(1.2)]  # 0.6 s at half a second a second
        await ask(two)
        await ask(one)
        assert clock.slept == [pytest.approx(1.2), pytest.approx(0.5)]

    asyncio.run(main())


def test_in_the_long_run_each_has_the_rate(budgets, clock):
    greedy, honest = account_of(budgets, "greedy"), account_of(budgets, "honest")

    async def main():
        taken = 0.0
        while clock.now < 1000:
            await ask(honest, seconds=0.001)
            await ask(greedy, seconds=0.1)
            taken += 0.1
            clock.now += 0.01
        return taken

    assert asyncio.run(main()) == pytest.approx(0.5 * (1000 + LIMITS.burst_s), rel=0.01)


def test_tokens_of_prompts_have_a_rate_of_their_own(budgets, clock):
    one, two = account_of(budgets, "one"), account_of(budgets, "two")
    waited = []
    budgets.on_wait = waited.append

    async def main():
        await ask(two)
        await ask(one, tokens=1000)  # 400 were saved, at 100 a second
        assert one.owes() == ("prompt tokens", 6.0)
        await ask(one, tokens=1001)
        assert clock.slept == [6.0]
        await ask(two)
        with pytest.raises(Overloaded, match="prompt tokens of this device are used up") as told:
            await ask(one)
        assert told.value.retry_after_s == pytest.approx(10.01)

    asyncio.run(main())
    assert waited == ["prompt tokens"] * 2


def test_when_the_others_are_gone_nobody_is_held(budgets, clock):
    one, two = account_of(budgets, "one"), account_of(budgets, "two")

    async def main():
        await ask(two)
        await ask(one, seconds=4.0)
        assert one.owes() == ("target milliseconds", 4.0)
        clock.now += ACTIVE_S + 0.001
        assert one.owes() == ("", 0.0)
        await ask(one, seconds=100.0)
        await ask(two)
        assert one.owes()[1] == 0.0  # what was taken alone is not owed now
        assert two.owes()[1] == 0.0

    asyncio.run(main())


def test_a_budget_outlives_the_link(budgets, clock):
    async def main():
        await ask(account_of(budgets, "two"))
        await ask(account_of(budgets, "one"), seconds=4.0)
        assert account_of(budgets, "one").owes()[1] == 4.0
        assert account_of(budgets, "", "192.0.2.1").owes()[1] == 0.0

    asyncio.run(main())


def test_requests_of_one_device_have_so_many_places(clock):
    limits = EdgeLimits(peer_queue=2)
    one = account_of(Budgets(limits, clock=clock, sleep=clock.sleep), "one")
    inside, most = 0, 0

    async def request():
        nonlocal inside, most
        async with one.turn():
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    async def main():
        await asyncio.gather(*(request() for _ in range(20)))

    asyncio.run(main())
    assert most == 2


# --------------------------------------------------------------------------------------------------------- places


@pytest.mark.parametrize(
    ("identity", "address", "whose"),
    [
        ("phone", "192.0.2.1", "key phone"),
        ("", "192.0.2.1", "192.0.2.1"),
        ("", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("", "fe80::1%eth0", "fe80::/64"),
        ("", "::ffff:192.0.2.1", "192.0.2.1"),
        ("", "a-name", "a-name"),
        ("", "", ""),
    ],
)
def test_whose_budget_a_link_draws_on(identity, address, whose):
    assert peer_of(link(identity, address)) == whose


def test_half_of_the_places_and_no_more():
    limits = EdgeLimits(devices=20)
    assert limits.peer_links == 10
    assert EdgeLimits(devices=1).peer_links == LEAST_PEER_LINKS
    budgets = Budgets(limits)
    held = [budgets.admitted(link()) for _ in range(11)]
    for one in held[:10]:
        one.__enter__()
    with pytest.raises(Overloaded, match=r"10 links of this device are open; try again in 1\.0 s"):
        held[10].__enter__()
    with budgets.admitted(link("", "192.0.2.2")), budgets.admitted(link("phone")):
        pass
    held[0].__exit__(None, None, None)
    with budgets.admitted(link()):
        pass
    local = [budgets.admitted(link("", "")) for _ in range(11)]
    for one in local:  # within one process there is nobody to tell apart
        one.__enter__()
    with pytest.raises(Overloaded, match="20 devices are served, no more fit"), budgets.admitted(link("", "")):
        pass
    held[1].__exit__(None, None, None)
    with budgets.admitted(link("", "")):
        pass


def test_accounts_are_bounded_and_those_with_links_are_kept(clock):
    budgets = Budgets(LIMITS, clock=clock, sleep=clock.sleep)
    with budgets.admitted(link("stays")) as stays:
        for number in range(2 * MOST_ACCOUNTS):
            account_of(budgets, f"n{number}")
        assert len(budgets._accounts) == MOST_ACCOUNTS
        assert account_of(budgets, "stays") is stays


# ------------------------------------------------------------------------------------------------------ the verifier


class Costly:
    """A verifier whose requests cost what it is told."""

    def __init__(self):
        self.facts, self.seconds, self.tokens = None, 0.0, 0
        self.cost = (0.0, 0)

    def spent(self, text):
        return Spent(self.seconds, self.tokens)

    async def read(self, text, prefix):
        self.seconds, self.tokens = self.seconds + self.cost[0], self.tokens + self.cost[1]

    async def answer(self, text, request):
        await self.read(text, ())
        return Reply("answer")


def test_requests_are_charged_by_what_they_cost(budgets, clock):
    one, two = account_of(budgets, "one"), account_of(budgets, "two")
    inner = Costly()
    verifier = BudgetedVerifier(inner, one, LIMITS)

    async def main():
        await ask(two)
        inner.cost = (2.0, 7)
        await verifier.read(None, (1,))
        inner.cost = (0.1, 0)
        reply = await verifier.answer(None, SimpleNamespace(asked=None))
        assert reply == Reply("answer")
        return one.owes()

    assert asyncio.run(main()) == ("target milliseconds", pytest.approx(0.2))


def test_mores_without_end_are_slow(budgets, monkeypatch):
    paused = []

    async def pause(seconds):
        paused.append(seconds)

    monkeypatch.setattr(budgeted.asyncio, "sleep", pause)
    verifier = BudgetedVerifier(Costly(), account_of(budgets, "one"), LIMITS)
    draft = tw.Draft(
        round=0, prefix_length=1, prefix_hash=0, tree=tw.TokenTree([0], [-1]), evidence=tw.ScalarEvidence((1,))
    )
    proposals = [tw.Proposal(0, 1)]

    def more(batch):
        last = tw.Proposals(round=0, node=-1, batch=batch, proposals=tuple(proposals))
        return SimpleNamespace(asked=tw.MoreAsked(draft, last, None))

    async def main():
        for batch in range(LIMITS.mores + 3):
            await verifier.answer(None, more(batch))

    asyncio.run(main())
    assert paused == [budgeted.MORE_PAUSE_S] * 3


# ------------------------------------------------------------------------------------------------------- real edges


class Named:
    """A link that proved a name."""

    def __init__(self, inner, identity):
        self._inner, self.identity, self.address = inner, identity, "192.0.2.1"

    def __getattr__(self, name):
        return getattr(self._inner, name)


class Door:
    """A listener whose links have proved names, one after the other."""

    def __init__(self, names):
        self.inner, self._names = InProcessListener(), iter(names)

    async def accept(self):
        return Named(await self.inner.accept(), next(self._names))


def run(work):
    return asyncio.run(asyncio.wait_for(work, 30))


def at_edge(work, *, limits, names):
    """What ``work(opened, meter)`` gives at an edge with these limits; ``opened(patience_s)`` opens a device."""

    async def main():
        meter = EdgeMeter()
        verifier = LocalVerifier(TableTarget(tables()[0]), limits=limits)
        door = Door(names)
        settings = edge_settings(verifier.facts, FINGERPRINT)
        serving = asyncio.create_task(serve(door, verifier, settings, seed=0, limits=limits, meter=meter))

        async def dial(attempt):
            return await door.inner.connect()

        async def opened(patience_s):
            recovery = Recovery(dial=dial, patience_s=patience_s)
            said = hello(8, nonce=secrets.token_bytes(16))
            text = TableDraft(tables()[1])
            device = Device(await dial(0), text, said, rng=device_rng(0), recovery=recovery)
            try:
                await device.open()
            except BaseException:
                await device.close()
                raise
            return device

        try:
            return await work(opened, meter)
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            verifier.close()

    return run(main())


def test_a_device_with_too_many_links_is_told_when_to_come_again_and_comes():
    async def work(opened, meter):
        first = await opened(0)
        with pytest.raises(EdgeError, match="1 links of this device are open") as told:
            await opened(0.5)
        assert told.value.code == tw.ErrorCode.OVERLOADED
        assert told.value.retry_after_s == 1.0
        started = asyncio.get_running_loop().time()
        coming = asyncio.create_task(opened(10))
        while meter.refused["too many links"] < 2:
            await asyncio.sleep(0.01)
        await first.close()
        second = await coming
        took = asyncio.get_running_loop().time() - started
        await second.prompt([1, 2])
        round_ = await second.round(10, KINDS["list"])
        await second.close()
        return round_, took, meter

    round_, took, meter = at_edge(work, limits=EdgeLimits(peer_links=1), names=["phone"] * 9)
    assert round_.tokens
    assert took >= 1.0
    assert meter.refused["too many links"] == 2
    assert meter.errors == {("edge", "overloaded"): 2}


async def flooded(opened, patience_s, tokens):
    """A device whose prompt was too much, beside an honest one."""
    flood, honest = await opened(patience_s), await opened(0)
    await honest.prompt([1, 2])
    await honest.round(10, KINDS["list"])
    await flood.prompt([1] * tokens)
    return flood, honest


def test_over_its_budget_a_device_is_told_how_long_to_stay_away():
    async def work(opened, meter):
        flood, honest = await flooded(opened, 1, 500)
        with pytest.raises(EdgeError, match="prompt tokens of this device are used up") as told:
            await flood.round(10, KINDS["list"])
        assert (await honest.round(10, KINDS["list"])).tokens
        await honest.close()
        await flood.close()
        return told.value.retry_after_s, meter.paced

    limits = EdgeLimits(prompt_tokens_per_s=10, burst_s=1, pace_s=1)
    wait, paced = at_edge(work, limits=limits, names=["flood", "honest"])
    assert 45 < wait <= 49
    assert paced == {"prompt tokens": 1}


def test_who_has_the_patience_comes_back_to_its_text():
    async def work(opened, meter):
        busy, honest = await flooded(opened, 20, 60)
        started = asyncio.get_running_loop().time()
        round_ = await busy.round(10, KINDS["list"])
        took = asyncio.get_running_loop().time() - started
        sent = busy.session.sent[Kind.PROMPT], busy.session.sent[Kind.RESUME]
        await busy.close()
        await honest.close()
        return round_, took, sent, meter

    limits = EdgeLimits(prompt_tokens_per_s=50, burst_s=0.1, pace_s=0.2)
    round_, took, sent, meter = at_edge(work, limits=limits, names=["busy", "honest", "busy"])
    assert round_.tokens
    assert 0.8 < took < 8
    assert meter.errors == {("edge", "overloaded"): 1}
    assert 0 < sent[1] < sent[0]  # the edge has the text still


def test_a_little_over_its_budget_a_device_is_answered_later():
    async def work(opened, meter):
        busy, honest = await flooded(opened, 0, 60)
        started = asyncio.get_running_loop().time()
        round_ = await busy.round(10, KINDS["list"])
        took = asyncio.get_running_loop().time() - started
        await busy.close()
        await honest.close()
        return round_, took, meter

    limits = EdgeLimits(prompt_tokens_per_s=100, burst_s=0.1, pace_s=1)
    round_, took, meter = at_edge(work, limits=limits, names=["busy", "honest"])
    assert round_.tokens
    assert 0.4 < took < 5
    assert meter.paced == {"prompt tokens": 1}
    assert not meter.errors


@pytest.mark.parametrize(
    "changes",
    [
        {"peer_links": 0},
        {"peer_queue": 0},
        {"mores": -1},
        {"target_ms_per_s": 0},
        {"prompt_tokens_per_s": float("inf")},
        {"burst_s": -1},
        {"pace_s": 0},
    ],
)
def test_limits_that_nothing_could_be_served_with(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        EdgeLimits(**changes)


def test_what_an_edge_cannot_take_is_told_from_another_process():
    told = travelled(Overloaded("too many texts", retry_after_s=2.0))
    assert str(told) == "too many texts; try again in 2.0 s"
    assert told.retry_after_s == 2.0
