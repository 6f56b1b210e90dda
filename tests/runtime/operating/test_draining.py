"""An edge that ends in good order: rounds are finished, devices are told why, nothing new begins."""

from __future__ import annotations

import asyncio
import gc
import threading
from contextlib import asynccontextmanager
from functools import partial

import pytest
from table_engine import TableDraft, TableTarget
from tslt_transports import ClientTls, InProcessListener, LinkClosed, LinkOptions, ServerTls, connect, listen
from tslt_transports.devcert import make_dev_certificates
from two_ends import FINGERPRINT, KINDS, hello, tables

import tslt_wire as tw
from tslt_runtime.connection import EdgeError
from tslt_runtime.device import Device
from tslt_runtime.drafting import Drawing, draw_tree
from tslt_runtime.edge import LEAVE_S, edge_settings, serve, serve_link
from tslt_runtime.edge_driver import EdgeDriver
from tslt_runtime.evidence import kind_of_evidence
from tslt_runtime.limits import EdgeLimits
from tslt_runtime.operating.draining import SETTLE_S, Drain
from tslt_runtime.operating.meter import EdgeMeter
from tslt_runtime.seeds import device_rng
from tslt_runtime.sessions import Sessions
from tslt_runtime.verifiers.local import LocalVerifier


class HeldTarget(TableTarget):
    """One whose passes wait until they are let go."""

    def __init__(self, table):
        super().__init__(table)
        self.go, self.entered = threading.Event(), threading.Event()
        self.go.set()

    def score(self, work):
        self.entered.set()
        assert self.go.wait(20)
        return super().score(work)


class Edge:
    """An edge, and what a command does with it."""

    def __init__(self, listener, dial):
        self.dial = dial
        self.listener, self.meter, self.drain = listener, EdgeMeter(), Drain()
        self.target = HeldTarget(tables()[0])
        self.verifier = LocalVerifier(self.target)
        settings = edge_settings(self.verifier.facts, FINGERPRINT)
        work = serve(listener, self.verifier, settings, seed=0, meter=self.meter, drain=self.drain)
        self.serving = asyncio.create_task(work)

    async def device(self):
        device = Device(await self.dial(), TableDraft(tables()[1]), hello(8), rng=device_rng(0), reply_timeout_s=20)
        await device.open()
        await device.prompt([1, 2, 3])
        return device

    async def close(self):
        self.target.go.set()
        self.serving.cancel()
        await asyncio.gather(self.serving, return_exceptions=True)
        await self.listener.close()
        self.verifier.close()


@asynccontextmanager
async def edge(kind="inprocess", folder=None):
    if kind == "inprocess":
        listener = InProcessListener()
        dial = listener.connect
    else:
        client = server = None
        if kind == "quic":
            files = make_dev_certificates(folder)
            client = ClientTls(ca_file=files.ca_file)
            server = ServerTls(cert_file=files.cert_file, key_file=files.key_file)
        listener = await listen(kind, "127.0.0.1:0", tls=server)
        dial = partial(connect, kind, listener.address, tls=client)
    found = Edge(listener, dial)
    try:
        yield found
    finally:
        await found.close()


def run(work):
    return asyncio.run(asyncio.wait_for(work, 30))


@pytest.mark.parametrize("kind", ["inprocess", "zmq", "quic"])
def test_a_round_under_way_is_answered_and_the_next_one_hears_why_not(kind, tmp_path):
    async def main():
        async with edge(kind, tmp_path) as found:
            device = await found.device()
            await device.round(100, KINDS["list"])
            found.target.go.clear()
            found.target.entered.clear()
            under_way = asyncio.create_task(device.round(100, KINDS["list"]))
            await asyncio.to_thread(found.target.entered.wait)
            found.drain.begin()
            assert not await found.drain.over(0.1)
            found.target.go.set()
            round_ = await under_way
            assert await found.drain.over(5)
            with pytest.raises(EdgeError, match="shutting down"):
                await device.round(100, KINDS["list"])
            await device.close()
            return round_, device.session.prefix, found.meter

    round_, prefix, meter = run(main())
    assert prefix[-len(round_.tokens) :] == round_.tokens
    assert meter.errors == {("edge", "going_away"): 1}
    assert meter.links == 0


@pytest.mark.parametrize("kind", ["inprocess", "zmq", "quic"])
def test_an_idle_device_is_told_at_once_and_hears_it_when_it_asks(kind, tmp_path):
    async def main():
        async with edge(kind, tmp_path) as found:
            device = await found.device()
            await device.round(100, KINDS["list"])
            started = asyncio.get_running_loop().time()
            found.drain.begin()
            found.drain.begin()  # harmless
            assert await found.drain.over(5)
            took = asyncio.get_running_loop().time() - started
            await asyncio.sleep(0.1)
            with pytest.raises(EdgeError, match="come back, or go to another edge"):
                await device.round(100, KINDS["list"])
            await device.close()
            return took

    assert run(main()) < SETTLE_S


def test_a_device_that_comes_too_late_is_told_so():
    async def main():
        async with edge() as found:
            found.drain.begin()
            with pytest.raises(EdgeError, match="shutting down"):
                await found.device()
            return found.meter

    meter = run(main())
    assert meter.errors == {("edge", "going_away"): 1}
    assert meter.sessions == 0


def test_a_link_that_says_nothing_does_not_hold_the_edge():
    async def main():
        async with edge() as found:
            link = await found.listener.connect()
            while not found.meter.links:
                await asyncio.sleep(0.01)
            found.drain.begin()
            assert await found.drain.over(5 * SETTLE_S)
            return tw.decode(await link.receive(), tw.EdgeSession(edge_settings_()).profile)

    assert run(main()).code == tw.ErrorCode.GOING_AWAY


def test_a_device_that_takes_nothing_does_not_hold_up_the_end():
    async def main():
        async with edge() as found:
            deaf = await found.listener.connect(options=LinkOptions(queue_frames=1))
            session = tw.DeviceSession(hello(8))
            await deaf.send(session.data_to_send())
            session.receive_data(await deaf.receive())
            session.send_prompt([1, 2, 3])
            await deaf.send(session.data_to_send())
            tree = tw.TokenTree.chain([1])
            session.send_draft(tree, tw.MatchEvidence())
            draft = session.data_to_send()
            for _ in range(3):  # each is answered, and no answer is taken
                await deaf.send(draft)
            await asyncio.sleep(0.2)
            found.drain.begin()
            assert not await found.drain.over(0.1)
            started = asyncio.get_running_loop().time()
            found.serving.cancel()
            await asyncio.wait([found.serving], timeout=20)
            return asyncio.get_running_loop().time() - started

    assert LEAVE_S / 2 < run(main()) < LEAVE_S + 5


def test_a_device_that_takes_no_answer_of_our_size_is_let_go_without_a_trace():
    async def main():
        unseen = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: unseen.append(context))
        async with edge() as found:
            link = await found.listener.connect(options=LinkOptions(max_frame_bytes=1))
            await link.send(b"\xff")
            while not link.ended:
                await asyncio.sleep(0.01)
            while found.meter.links:
                await asyncio.sleep(0.01)
        gc.collect()
        return unseen

    assert run(main()) == []


class DeadLink:
    """One that is lost, which is noticed as something is sent."""

    peer = "a device"

    async def receive(self):
        await asyncio.sleep(60)

    async def send(self, frame):
        raise LinkClosed(peer=self.peer, clean=False, reason="nothing heard")

    async def close(self):
        pass


def test_a_link_that_is_lost_as_its_time_is_up_is_parked():
    async def main():
        verifier = LocalVerifier(TableTarget(tables()[0]))
        driver = EdgeDriver(
            verifier, edge_settings(verifier.facts, FINGERPRINT), sessions=Sessions(release=verifier.release)
        )
        parked = []
        driver.park = lambda: parked.append(True)
        meter = EdgeMeter()
        await serve_link(DeadLink(), driver, limits=EdgeLimits(hello_timeout_s=0.01), meter=meter)
        verifier.close()
        return parked, meter.links

    assert run(main()) == ([True], 0)


def edge_settings_():
    verifier = LocalVerifier(TableTarget(tables()[0]))
    try:
        return edge_settings(verifier.facts, FINGERPRINT)
    finally:
        verifier.close()


def test_a_round_that_needs_more_frames_is_brought_to_its_end():
    async def main():
        async with edge() as found:
            device = await found.device()
            session, link = device.session, device._edge._link
            asked = 0
            while asked < 20:
                drafting = KINDS["lazy"]
                # By hand, to stop in the middle of a round: a list that was asked for, and not sent yet.
                kind = kind_of_evidence("lazy")
                drawing = Drawing(
                    rng=device_rng(0),
                    position=len(session.prefix),
                    prior=device.prior,
                    tail_scale=0.0,
                    pick=kind.pick(session),
                )
                device._text.set_prefix(session.prefix)
                drafted = draw_tree(device._text, drafting, drawing)
                session.send_draft(drafted.tree, kind.make(drafted.tree, drafted.lists, True))
                await link.send(session.data_to_send())
                (event,) = session.receive_data(await link.receive())
                if isinstance(event, tw.ListAsked):
                    break
                asked += 1
            found.drain.begin()
            assert not await found.drain.over(0.1)
            session.send_list()
            await link.send(session.data_to_send())
            (verdict,) = session.receive_data(await link.receive())
            (why,) = session.receive_data(await link.receive())
            assert await found.drain.over(5)
            return verdict, why

    verdict, why = run(main())
    assert isinstance(verdict, tw.VerdictReceived)
    assert why.error.code == tw.ErrorCode.GOING_AWAY
