"""One device at an edge without its link: what it may say, and when."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest
from table_engine import TableTarget
from tslt_transports import InProcessListener, LinkClosed
from tslt_transports.rates import LimitedLog
from two_ends import FINGERPRINT, hello, tables
from word_tokenizers import words

import tslt_wire as tw
from tslt_runtime import edge_driver, timing
from tslt_runtime.edge import edge_settings, serve
from tslt_runtime.edge_driver import EdgeDriver
from tslt_runtime.engines.protocol import ContextFull
from tslt_runtime.fingerprint import vocabulary_of
from tslt_runtime.limits import EdgeLimits
from tslt_runtime.sessions import Left, Sessions
from tslt_runtime.verifiers.local import LocalVerifier

TARGET = tables()[0]


class Waiting(LocalVerifier):
    """Answers when it is let go."""

    def __init__(self, target):
        super().__init__(TableTarget(target))
        self.go = asyncio.Event()

    async def answer(self, text, request):
        await self.go.wait()
        return await super().answer(text, request)


class Failing(LocalVerifier):
    """A model that fails at every prompt."""

    def __init__(self, error):
        super().__init__(TableTarget(TARGET))
        self.error = error

    async def read(self, text, prefix):
        raise self.error


def frames_of(session):
    return list(iter(session.data_to_send, b""))


async def greeted(verifier, said=None, **options):
    """A driver that has shaken hands, and the device's session."""
    driver = EdgeDriver(verifier, edge_settings(verifier.facts, FINGERPRINT), **(options or {"secret": bytes(16)}))
    device = tw.DeviceSession(said or hello(8))
    for frame in frames_of(device):
        for answer in await driver.step(frame):
            device.receive_data(answer)
    return driver, device


async def drafted(driver, device):
    """Send a prompt; the frame of a draft."""
    device.send_prompt([1])
    for frame in frames_of(device):
        assert await driver.step(frame) == []
    device.send_draft(tw.TokenTree.chain([3]), tw.MatchEvidence())
    return device.data_to_send()


def test_one_step_at_a_time():
    async def run():
        verifier = Waiting(TARGET)
        driver, device = await greeted(verifier)
        frame = await drafted(driver, device)
        first = asyncio.create_task(driver.step(frame))
        await asyncio.sleep(0.01)
        with pytest.raises(tw.LocalProtocolError, match="one step at a time"):
            await driver.step(frame)
        verifier.go.set()
        assert len(await first) == 1
        driver.close()
        verifier.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ContextFull(needed=2, limit=1), 40, "2 positions needed, but the model's context holds 1"),
        (ValueError("a secret of the edge's"), 42, "the edge failed; its log says why"),
    ],
)
def test_a_model_that_fails_ends_the_session(error, code, said):
    async def run():
        verifier = Failing(error)
        driver, device = await greeted(verifier)
        device.send_prompt([1])
        (answer,) = await driver.step(device.data_to_send())
        (event,) = device.receive_data(answer)
        assert (event.error.code, event.error.message) == (code, said)
        assert driver.over
        driver.close()
        verifier.close()

    asyncio.run(run())


def test_a_link_that_goes_inside_of_a_step_leaves_the_tokens():
    """The text still computes: its cache is freed after that."""

    async def run():
        verifier, sessions = Waiting(TARGET), Sessions(master=bytes(32))
        driver, device = await greeted(verifier, sessions=sessions)
        step = asyncio.create_task(driver.step(await drafted(driver, device)))
        await asyncio.sleep(0.01)
        driver.park()
        await asyncio.gather(step, return_exceptions=True)
        assert len(sessions) == 1
        opening, text = sessions.open(
            replace(hello(8), resume=device.welcome.resume), b"back", identity="", holder=driver
        )
        assert (opening.held, text) == ((1,), None)
        sessions.close()
        verifier.close()

    asyncio.run(run())


def test_what_is_kept_without_a_cache_is_dropped_without_one():
    async def run():
        released = []
        sessions = Sessions(master=bytes(32), release=released.append)
        opening, _ = sessions.open(hello(8), b"hello", identity="", holder=sessions)
        assert sessions.park(opening.token, sessions, Left((1,), None), "")
        sessions.close()
        assert (len(sessions), released) == (0, [])

    asyncio.run(run())


def test_a_large_frame_is_decoded_in_a_thread():
    async def run():
        verifier = LocalVerifier(TableTarget(TARGET))
        driver, device = await greeted(verifier)
        device.send_prompt([1] * 90)
        frame = device.data_to_send()
        assert await driver.step(frame) == []
        (answer,) = await driver.step(frame + bytes(2000))
        assert isinstance(device.receive_data(answer)[0], tw.PeerFailed)
        assert driver.over
        driver.close()
        verifier.close()

    asyncio.run(run())


def test_why_a_device_gave_up_is_logged(caplog, monkeypatch):
    # The process has one limit for such lines: those of other tests must not count here.
    monkeypatch.setattr(edge_driver, "caused", LimitedLog(edge_driver.log))

    async def run():
        verifier = LocalVerifier(TableTarget(TARGET))
        driver, device = await greeted(verifier)
        device.fail(tw.ErrorCode.INTERNAL, "out of\nmemory")
        assert await driver.step(device.data_to_send()) == []
        assert driver.over
        driver.close()
        verifier.close()

    asyncio.run(run())
    assert "gave up: internal: out of?memory" in caplog.text


@pytest.mark.parametrize(
    ("said", "lines"),
    [
        ({"vocab_size": 6}, ["padded vocabulary: 2 of 8 tokens are never drafted: 6, 7"]),
        ({"vocab_size": 9}, []),
        (
            {"tokenizer": bytes([2] * 32), "ordinary": bytes([1] * 32), "vocab_size": 6},
            ["renamed vocabulary: 3 of 8 tokens are never drafted: 5 '<s>', 6, 7"],
        ),
    ],
)
def test_what_is_never_drafted_is_logged(caplog, said, lines):
    async def run():
        verifier = LocalVerifier(TableTarget(TARGET))
        offered = edge_settings(verifier.facts, FINGERPRINT)
        offered = replace(offered, ordinary=bytes([1] * 32), others=((5, "<s>"), (7, "<e>")))
        driver = EdgeDriver(verifier, offered, secret=bytes(16))
        await driver.step(tw.DeviceSession(replace(hello(8), **said)).data_to_send())
        driver.close()
        verifier.close()

    caplog.set_level(logging.INFO, logger="tslt.edge")
    asyncio.run(run())
    found = [record.getMessage() for record in caplog.records if "never drafted" in record.getMessage()]
    assert [line.removeprefix("device: ") for line in found] == lines


@pytest.mark.parametrize("seconds", [0.0, 0.25])
def test_a_device_that_asks_is_told_the_time(seconds):
    async def run():
        verifier, times = LocalVerifier(TableTarget(TARGET)), iter([0.0, 0.0, 0.0, seconds])
        said = replace(hello(8), extra=timing.WANTED)
        driver, device = await greeted(verifier, said, secret=bytes(16), clock=lambda: next(times))
        (answer,) = await driver.step(await drafted(driver, device))
        (event,) = device.receive_data(answer)
        assert timing.verify_seconds(event.verdict.extensions) == seconds
        assert timing.verify_seconds(()) == 0.0
        driver.close()
        verifier.close()

    asyncio.run(run())


def test_settings_are_of_the_verifiers_facts(caplog):
    verifier = LocalVerifier(TableTarget(TARGET))
    verifier.close()
    with pytest.raises(TypeError, match="facts must be VerifierFacts"):
        edge_settings(verifier.facts.engine, FINGERPRINT)
    vocabulary = vocabulary_of(words(list("abcdefgh")))
    assert edge_settings(verifier.facts, vocabulary).ordinary == vocabulary.ordinary
    with pytest.raises(ValueError, match=r"7 tokens, and .* has 8"):
        edge_settings(verifier.facts, vocabulary_of(words(list("abcdefg"))))
    told = replace(verifier.facts.engine, not_applied=("typical_p is not applied",))
    edge_settings(replace(verifier.facts, engine=told), FINGERPRINT)
    assert "typical_p is not applied" in caplog.text


@pytest.mark.parametrize(("vocab_size", "nodes"), [(200_000, 41), (1 << 20, 16)])
def test_trees_are_offered_whose_scores_fit_64_mib(vocab_size, nodes):
    verifier = LocalVerifier(TableTarget(TARGET))
    verifier.close()
    engine = replace(verifier.facts.engine, vocab_size=vocab_size, most_nodes=1000)
    found = edge_settings(replace(verifier.facts, engine=engine), FINGERPRINT)
    assert found.limits.max_nodes == nodes == max(16, (64 << 20) // (8 * vocab_size))


def test_a_token_map_is_logged_by_its_first_bytes(caplog):
    async def run():
        verifier = LocalVerifier(TableTarget(TARGET))
        driver, _ = await greeted(verifier, replace(hello(8), token_map=bytes.fromhex("0badcafe") * 8))
        driver.close()
        verifier.close()

    caplog.set_level(logging.INFO, logger="tslt.edge")
    asyncio.run(run())
    assert "drafts by the token map 0badcafe0badcafe" in caplog.text


def test_who_says_nothing_is_told_and_loses_the_place():
    async def run():
        verifier, listener = LocalVerifier(TableTarget(TARGET)), InProcessListener()
        limits = EdgeLimits(hello_timeout_s=0.05)
        edge = asyncio.create_task(
            serve(listener, verifier, edge_settings(verifier.facts, FINGERPRINT), seed=1, limits=limits)
        )
        link = await listener.connect()
        (event,) = tw.DeviceSession(hello(8)).receive_data(await link.receive())
        assert event.error.code == tw.ErrorCode.OVERLOADED
        assert "idle for too long" in event.error.message
        with pytest.raises(LinkClosed):
            await link.receive()
        await listener.close()
        await edge
        verifier.close()

    asyncio.run(run())
