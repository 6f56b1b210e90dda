"""A gateway and replicas in processes of their own: the text is that of one edge, whatever becomes of replicas."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from process_pool import ProcessPool
from table_engine import TableDraft, TableTarget
from table_replica import table_replica
from travelling import travelled
from tslt_transports import InProcessListener
from two_ends import FINGERPRINT, KINDS, hello, tables, two_ends

import tslt_wire as tw
from tslt_runtime.connection import EdgeError, Recovery
from tslt_runtime.device import Device
from tslt_runtime.edge import edge_settings, serve
from tslt_runtime.engines.protocol import ContextFull, EngineError
from tslt_runtime.overload import Overloaded
from tslt_runtime.seeds import device_rng
from tslt_runtime.verifiers.local import LocalVerifier
from tslt_runtime.verifiers.pool.protocol import Call, Offer, ReplicaLost
from tslt_runtime.verifiers.pool.replica import Replica
from tslt_runtime.verifiers.pool.verifier import PoolVerifier, connect
from tslt_runtime.verifiers.protocol import Numbers, Request
from tslt_wire.messages.log_probs import WANTED

TOKENS = 40


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    pool = ProcessPool("table_replica:table_replica", tmp_path_factory.mktemp("replicas"), 3)
    yield pool
    pool.stop()


async def text_of(kind, verifier=None, *, between=lambda _: None, log_probs=False):
    """The tokens of a text, and the log probabilities that the device was told; ``between`` rounds it may happen."""
    changes = {"extra": WANTED} if log_probs else {}
    async with two_ends(*tables(), verifier=verifier, **changes) as device:
        await device.prompt([0])
        rounds = []
        async for round_ in device.generate(TOKENS, KINDS[kind]):
            rounds.append(round_)
            between(len(rounds))
        return device.session.prefix, [round_.log_probs for round_ in rounds]


@pytest.mark.parametrize("kind", KINDS)
def test_the_text_is_that_of_one_edge(pool, kind):
    async def both():
        return await text_of(kind, await connect(pool)), await text_of(kind)

    fleet, alone = asyncio.run(both())
    assert fleet == alone


def test_log_probabilities_come_along(pool):
    async def both():
        fleet = await text_of("list", await connect(pool), log_probs=True)
        return fleet, await text_of("list", log_probs=True)

    fleet, alone = asyncio.run(both())
    assert fleet == alone
    assert all(fleet[1])


@pytest.mark.parametrize("kind", ["list", "scalar", "lazy", "coupled"])
def test_a_replica_that_is_killed_costs_no_token(pool, kind):
    """The one that has the text, and then the next one that has."""

    async def both():
        verifier, killed = watched(await connect(pool)), []

        def between(number):
            if number in (3, 8):
                (name,) = {text.name for text in verifier.opened}
                killed.append(pool.at(name))
                pool.kill(killed[-1])

        return await text_of(kind, verifier, between=between), await text_of(kind), killed

    fleet, alone, killed = asyncio.run(both())
    for number in killed:
        pool.start(number)
    assert fleet == alone
    assert len(killed) == 2


def watched(verifier):
    """``verifier``, which remembers what it opened."""
    opened = verifier.open

    def open_(name=""):
        text = opened(name)
        verifier.opened = [*getattr(verifier, "opened", []), text]
        return text

    verifier.open = open_
    return verifier


def test_other_random_numbers_give_another_text(pool):
    """What the test above would see, were the numbers of an answer those of the replica that gives it."""

    class Forgetful(PoolVerifier):
        async def answer(self, text, request):
            return await super().answer(text, replace(request, numbers=Numbers(np.random.default_rng)))

    async def both():
        return await text_of("list", Forgetful(pool, await pool.offer())), await text_of("list")

    fleet, alone = asyncio.run(both())
    assert fleet != alone


def test_replicas_that_are_all_gone_are_waited_for(tmp_path):
    """The edge says that it is overloaded, and the device comes back with its session until there is one again."""
    pool = ProcessPool("table_replica:table_replica", tmp_path, 1)

    async def over_serve(verifier, happens):
        listener = InProcessListener()
        task = asyncio.create_task(serve(listener, verifier, edge_settings(verifier.facts, FINGERPRINT), seed=4))

        async def dial(_):
            return await listener.connect()

        recovery = Recovery(dial=dial, patience_s=30)
        said = hello(8, nonce=bytes(16))
        device = Device(
            await dial(0), TableDraft(tables()[1]), said, rng=device_rng(1), reply_timeout_s=20, recovery=recovery
        )
        await device.open()
        await device.prompt([0])
        number = 0
        async for _ in device.generate(TOKENS, KINDS["list"]):
            number += 1
            await happens(number)
        await device.close()
        await listener.close()
        await task
        return device.session.prefix, device.reconnects

    async def both():
        starting = []

        async def kill(number):
            if number == 3:
                pool.kill(0)
                starting.append(asyncio.create_task(start()))

        async def start():
            await asyncio.sleep(1.0)
            await asyncio.to_thread(pool.start, 0)

        async def nothing(_):
            pass

        fleet = await over_serve(await connect(pool, patience_s=0.2), kill)
        await asyncio.gather(*starting)
        return fleet, await over_serve(LocalVerifier(TableTarget(tables()[0])), nothing)

    (fleet, reconnects), (alone, _) = asyncio.run(both())
    pool.stop()
    assert fleet == alone
    assert reconnects >= 1


def test_nobody_answers_within_patience(tmp_path):
    pool = ProcessPool("table_replica:table_replica", tmp_path, 0)

    async def ask():
        with pytest.raises(ReplicaLost, match="all are gone"):
            await connect(pool, start_s=0.1)
        verifier = PoolVerifier(pool, table_replica().offer(), patience_s=0.1)
        with pytest.raises(Overloaded, match=r"no replica of the target answers: all are gone; try again in 2\.0 s"):
            await verifier.read(verifier.open("a"), (0, 1))
        return verifier.again

    assert asyncio.run(ask()) >= 2


def test_replicas_of_another_model_are_not_believed(tmp_path):
    pool = ProcessPool("table_replica:other_replica", tmp_path, 1)

    async def ask():
        verifier = PoolVerifier(pool, table_replica().offer())
        with pytest.raises(EngineError, match="another model"):
            await verifier.read(verifier.open("a"), (0, 1))
        with pytest.raises(EdgeError, match="the edge failed"):
            await text_of("list", verifier)

    asyncio.run(ask())
    pool.stop()


# ------------------------------------------------------------------------------------------------------- one replica


class InOneProcess:
    """A pool of one replica, here; calls are pickled all the same."""

    def __init__(self, replica):
        self.replica = replica

    async def offer(self):
        return travelled(self.replica.offer())

    async def call(self, method, call):
        return travelled(await getattr(self.replica, method)(travelled(call)))

    def release(self, call):
        self.replica.release(call)

    async def turn(self):
        await self.replica.turn()

    def close(self): ...


def one_replica(**given):
    verifier = LocalVerifier(TableTarget(tables()[0]))
    return verifier, Replica(verifier, Offer(verifier.facts, FINGERPRINT), **given)


@pytest.mark.parametrize("kind", ["scalar", "lazy"])
def test_the_row_of_a_rejected_token_stays_at_the_replica(kind):
    """A round takes one pass, and its follow-ups none: as many as at a local verifier."""

    async def both():
        verifier, replica = one_replica()
        fleet = await text_of(kind, await connect(InOneProcess(replica)))
        local = LocalVerifier(TableTarget(tables()[0]))
        return fleet, verifier.counts, await text_of(kind, local), local.counts

    fleet, counts, alone, others = asyncio.run(both())
    assert fleet == alone
    assert counts.passes == others.passes


def test_gateways_share_the_cache_of_a_session_that_moves():
    """The text's name follows from the session's token, which is good at every gateway with the master secret."""
    verifier, replica = one_replica()
    master = b"m" * 32

    async def text():
        listeners = [InProcessListener(), InProcessListener()]
        tasks = []
        for listener in listeners:
            gateway = await connect(InOneProcess(replica))
            offered = edge_settings(gateway.facts, FINGERPRINT)
            tasks.append(asyncio.create_task(serve(listener, gateway, offered, seed=None, master=master)))

        async def dial(_):
            return await listeners[1].connect()

        recovery = Recovery(dial=dial, patience_s=10)
        given = {"rng": device_rng(1), "reply_timeout_s": 20, "recovery": recovery}
        first = await listeners[0].connect()
        device = Device(first, TableDraft(tables()[1]), hello(8), **given)
        await device.open()
        await device.prompt([0, 1, 2, 3])
        counted = []
        async for _ in device.generate(TOKENS, KINDS["list"]):
            counted.append(verifier.counts.prefilled)
            if len(counted) == 3:
                await first.close()
        await device.close()
        for listener in listeners:
            await listener.close()
        await asyncio.gather(*tasks)
        return device.reconnects, counted, len(replica)

    reconnects, counted, left = asyncio.run(text())
    assert reconnects == 1
    assert counted[0] == counted[-1] == 3  # the prompt's, but for its last token, once
    assert left <= 1


def test_a_replica_remembers_so_many_texts():
    verifier, replica = one_replica(texts=2)

    async def ask():
        for name in "abc":
            await replica.read(Call(name, "g", prefix=(0, 1, 2)))
        assert len(replica) == 2
        before = verifier.counts.prefilled
        await replica.read(Call("c", "g", prefix=(0, 1, 2)))
        assert verifier.counts.prefilled == before
        await replica.read(Call("a", "g", prefix=(0, 1, 2)))
        assert verifier.counts.prefilled == before + 2

    asyncio.run(ask())


def test_who_called_last_may_drop_a_text():
    _, replica = one_replica()

    async def ask():
        await replica.read(Call("a", "one", prefix=(0, 1)))
        await replica.read(Call("a", "two", prefix=(0, 1)))
        replica.release(Call("a", "one"))
        assert len(replica) == 1
        replica.release(Call("a", "two"))
        replica.release(Call("a", "two"))
        assert len(replica) == 0

    asyncio.run(ask())


def test_two_gateways_that_ask_at_once_are_both_answered():
    _, replica = one_replica()

    def request(round_):
        draft = tw.Draft(
            round=round_,
            prefix_length=1,
            prefix_hash=tw.prefix_hash([0]),
            tree=tw.TokenTree.chain([1]),
            evidence=tw.MatchEvidence(),
        )
        randomness = tw.EdgeRandomness(b"s" * 32)
        return Request(
            prefix=(0,),
            sampling=tw.Sampling(),
            asked=tw.DraftReceived(draft),
            numbers=Numbers(lambda: randomness.generator(round_, 0)),
        )

    async def ask():
        calls = [Call("a", who, request=request(1)) for who in ("one", "two", "one")]
        return [told.reply.answer for told in await asyncio.gather(*(replica.answer(call) for call in calls))]

    first, second, third = asyncio.run(ask())
    assert first == second == third
    assert isinstance(first, tw.Verdict)


def test_a_call_without_a_request_is_a_fault():
    _, replica = one_replica()
    with pytest.raises(ValueError, match="needs a request"):
        asyncio.run(replica.answer(Call("a", "g")))


@pytest.mark.parametrize("error", [ContextFull(needed=5, limit=4), Overloaded("too much", retry_after_s=3.0)])
def test_a_verifiers_own_errors_come_from_the_replica(error):
    class Full(LocalVerifier):
        async def read(self, text, prefix):
            raise error

    verifier = Full(TableTarget(tables()[0]))
    replica = Replica(verifier, Offer(verifier.facts, FINGERPRINT))

    async def ask():
        pooled = await connect(InOneProcess(replica))
        with pytest.raises(type(error)) as raised:
            await pooled.read(pooled.open(), (0, 1))
        return raised.value

    found = asyncio.run(ask())
    assert str(found) == str(error)
    assert vars(found) == vars(error)


def test_offers_are_told_apart():
    offer = table_replica().offer()
    assert offer.digest == travelled(offer).digest
    assert offer.digest != replace(offer, chat_template=b"x" * 32).digest
    assert offer.digest != replace(offer, vocabulary=b"x" * 32).digest
