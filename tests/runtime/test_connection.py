"""A device's way to its edge, where the edge says what no edge of ours would."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
from tslt_transports import LinkError, LinkOptions, pair
from two_ends import FINGERPRINT, hello

import tslt_wire as tw
from tslt_runtime.connection import Connection, EdgeError, Recovery

SETTINGS = tw.EdgeSettings(vocab_size=8, tokenizer=FINGERPRINT)


class RawEdge:
    """The edge's end of a link, with a session that nobody serves."""

    def __init__(self, link):
        self.link = link
        self.session = tw.EdgeSession(SETTINGS, secret=bytes(16))

    async def greet(self):
        self.session.receive_data(await self.link.receive())
        await self.say()

    async def say(self):
        while frame := self.session.data_to_send():
            await self.link.send(frame)


@asynccontextmanager
async def greeted(*, options=None, recovery=None, timeout=20.0):
    """A connection that has shaken hands, its session, and the edge's end."""
    device_end, edge_end = pair(options or LinkOptions())
    edge, session = RawEdge(edge_end), tw.DeviceSession(hello(8))
    connection = Connection(device_end, session, reply_timeout_s=timeout, recovery=recovery)
    event, _ = await asyncio.gather(connection.exchange(), edge.greet())
    assert isinstance(event, tw.Welcomed)
    yield connection, session, edge
    await connection.close()


def test_a_recovery_is_one():
    async def run():
        with pytest.raises(TypeError, match="recovery must be a Recovery or None"):
            Connection(pair()[0], tw.DeviceSession(hello(8)), reply_timeout_s=1, recovery=5.0)

    asyncio.run(run())


def test_an_edge_that_ends_the_session():
    async def run():
        async with greeted() as (connection, session, edge):
            session.send_prompt([1])
            edge.session.close()
            await edge.say()
            with pytest.raises(EdgeError, match="ended the session"):
                await connection.exchange()

    asyncio.run(run())


@pytest.mark.parametrize("said", [b"\x07garbage", tw.encode(tw.More(round=0, batch=1), tw.Profile(vocab_size=8))])
def test_an_edge_that_breaks_the_protocol_is_told_so(said):
    async def run():
        async with greeted() as (connection, _, edge):
            await edge.link.send(said)
            with pytest.raises(EdgeError, match="broke the protocol"):
                await connection.exchange()
            (event,) = edge.session.receive_data(await edge.link.receive())
            assert isinstance(event, tw.PeerFailed)

    asyncio.run(run())


@pytest.mark.parametrize("known", [False, True])
def test_what_was_said_before_the_link_went_is_heard(known):
    """Where it is a reason; a goodbye is none."""

    async def run():
        async with greeted() as (connection, session, edge):
            session.send_prompt([1])
            if known:
                edge.session.fail(tw.ErrorCode.INTERNAL, "the model is gone")
            else:
                edge.session.close()
            await edge.say()
            await edge.link.close()
            with pytest.raises(EdgeError, match="the model is gone" if known else "closed by the peer"):
                await connection.flush()

    asyncio.run(run())


def test_an_edge_that_takes_no_frames():
    async def run():
        async with greeted(options=LinkOptions(queue_frames=1, linger_s=0.1), timeout=0.2) as (connection, session, _):
            for token in range(2):
                session.send_prompt([token])
                if token == 0:
                    await connection.flush()
            with pytest.raises(EdgeError, match="takes no frames"):
                await connection.flush()

    asyncio.run(run())


def test_a_session_without_a_text_begins_anew():
    """And what the new edge says to that is no answer to anything."""
    ends = []

    async def dial(attempt):
        if ends:
            raise LinkError("no more edges")
        device_end, edge_end = pair()
        ends.append(RawEdge(edge_end))
        return device_end

    async def run():
        recovery = Recovery(dial=dial, patience_s=0.3)
        async with greeted(recovery=recovery) as (connection, session, edge):
            await edge.link.close()

            async def serve_the_next():
                while not ends:
                    await asyncio.sleep(0.01)
                await ends[0].greet()

            waiting = asyncio.create_task(connection.exchange())
            await serve_the_next()
            while not connection.reconnects:
                await asyncio.sleep(0.01)
            waiting.cancel()
            await asyncio.wait([waiting])
            session.send_prompt([1])
            await connection.flush()
            await ends[0].link.close()
            session.send_prompt([2])
            await connection.flush()  # it is known to be broken now
            assert connection.may_go_on
            for ask in (connection.exchange, connection.mend):
                with pytest.raises(EdgeError, match=r"tried to go on for 0\.3 s: no more edges"):
                    await ask()

    asyncio.run(run())


def test_what_is_unanswered_is_sent_again_and_what_is_queued_is_pushed():
    async def run():
        async with greeted() as (connection, session, edge):
            await connection.again()  # there is nothing to be answered
            session.send_prompt([1])
            session.send_draft(tw.TokenTree.chain([2]), tw.MatchEvidence())
            await connection.push()
            await connection.again()
            _, first, second = [await edge.link.receive() for _ in range(3)]
            assert first == second == session.unanswered[0]
            await edge.link.close()
            session.close()
            await connection.push()  # who waits for an answer finds out
            assert not connection.may_go_on

    asyncio.run(run())


def test_the_next_edge_may_be_busy_too():
    busy = []

    async def dial(attempt):
        device_end, edge_end = pair()
        busy.append(asyncio.create_task(refuse(RawEdge(edge_end))))
        return device_end

    async def refuse(edge):
        await edge.link.receive()
        edge.session.fail(tw.ErrorCode.OVERLOADED, "too many texts", retry_after_s=0.01)
        await edge.say()

    async def run():
        async with greeted(recovery=Recovery(dial=dial, patience_s=0.3)) as (connection, session, edge):
            session.send_prompt([1])
            session.send_draft(tw.TokenTree.chain([2]), tw.MatchEvidence())
            await connection.flush()
            await edge.link.close()
            with pytest.raises(EdgeError, match=r"tried to go on for 0\.3 s: .*too many texts") as caught:
                await connection.again()
            assert caught.value.code == tw.ErrorCode.OVERLOADED
            await asyncio.gather(*busy)

    asyncio.run(run())
