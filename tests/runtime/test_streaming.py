"""Text in, text out: pieces that make the text, whatever is cancelled in between."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from itertools import chain, repeat

import numpy as np
import pytest
from byte_tokenizer import byte_level
from table_engine import TableDraft, TableTarget
from tslt_transports import AllowList, EdgeKeys, LinkError, LinkOptions, SecretKey, listen, pair
from tslt_transports.allow_list import allow

import tslt_wire as tw
from tslt_runtime.connection import EdgeError
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.edge import edge_settings, serve, serve_link
from tslt_runtime.edge_driver import EdgeDriver
from tslt_runtime.engines.protocol import EngineFacts
from tslt_runtime.fingerprint import VocabularyMismatch, tokenizer_fingerprint
from tslt_runtime.incremental_decoding import MOST_HELD, UNFINISHED
from tslt_runtime.sessions import Sessions
from tslt_runtime.streaming import BlockingTextDevice, TextDevice
from tslt_runtime.verifiers.local import LocalVerifier

TOKENIZER = byte_level()
V = TOKENIZER.get_vocab_size()
END = TOKENIZER.token_to_id("<end>")
SETTINGS = DraftSettings(expansion=(1, 1), truncation=tw.TopK(4))
# All bytes are about as likely, so that most of them are parts of characters that never become whole.
TARGET = np.random.default_rng(0).normal(size=(V, V))
TARGET[:, END] = -np.inf


class Draft:
    """A draft model on a table."""

    def __init__(self, vocab_size=V):
        self.facts = EngineFacts(model="table", vocab_size=vocab_size, context=1 << 20)

    def open(self):
        return TableDraft(TARGET + np.random.default_rng(1).normal(size=TARGET.shape) * 0.3)


class Slow(LocalVerifier):
    """A verifier that, once it is told to wait, waits for a sign."""

    def __init__(self, table=TARGET, eos=()):
        target = TableTarget(table)
        target.facts = EngineFacts(model="table", vocab_size=V, context=1 << 20, eos_tokens=eos)
        super().__init__(target)
        self.go = asyncio.Event()
        self.go.set()

    async def answer(self, text, request):
        await self.go.wait()
        return await super().answer(text, request)


def offered(verifier):
    return edge_settings(verifier.facts, tokenizer_fingerprint(TOKENIZER))


@asynccontextmanager
async def text_device(verifier=None, **options):
    verifier = verifier or Slow()
    mine, theirs = pair(LinkOptions())
    driver = EdgeDriver(verifier, offered(verifier), sessions=Sessions(seed=7))
    task = asyncio.create_task(serve_link(theirs, driver))
    given = {"settings": SETTINGS, "seed": 7, **options}
    try:
        async with TextDevice.connect(Draft(), TOKENIZER, link=mine, timeout_s=20, **given) as device:
            yield device
    finally:
        await mine.close()
        await asyncio.wait_for(task, 20)
        verifier.close()


@contextmanager
def edge(verifier_of=Slow):
    """An edge on ZeroMQ in a thread of its own; yields (its address, its verifier, its event loop)."""
    ready, found = threading.Event(), []

    async def run():
        verifier = verifier_of()
        listener = await listen("zmq", "tcp://127.0.0.1:0")
        found.extend([listener, verifier, asyncio.get_running_loop()])
        ready.set()
        await serve(listener, verifier, offered(verifier), seed=7)
        verifier.close()
        await over.wait()  # who closes the listener in this loop waits for its end

    over = asyncio.Event()
    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    assert ready.wait(20)
    listener, verifier, loop = found
    try:
        yield listener.address, verifier, loop
    finally:
        asyncio.run_coroutine_threadsafe(listener.close(), loop).result(20)
        loop.call_soon_threadsafe(over.set)
        thread.join(20)


def text_of(device):
    """The whole text of a device, prompt and all, decoded at once."""
    return TOKENIZER.decode(device.device.session.prefix)


def may_go_on(rest):
    """Whether what was not given out ends in what may still become a character."""
    return not rest or (rest.endswith(UNFINISHED) and len(rest) <= 2 * MOST_HELD)


async def all_of(pieces):
    return [piece async for piece in pieces]


@pytest.mark.parametrize("settings", [SETTINGS, None])
def test_the_pieces_are_the_text(settings):
    async def run():
        async with text_device(settings=settings) as device:
            for prompt in ("The old", "Ü"):
                pieces = await all_of(device.stream(prompt, tokens=200))
                assert "" not in pieces
                assert len(pieces) > 20
                assert len(device.device.session.prefix) == 200 + len(TOKENIZER.encode(prompt).ids)
                whole = text_of(device)
                assert whole.startswith(prompt + "".join(pieces))
                assert may_go_on(whole.removeprefix(prompt + "".join(pieces)))

    asyncio.run(run())


@pytest.mark.parametrize("settings", [SETTINGS, None])
def test_a_stream_that_is_cancelled_loses_nothing(settings):
    async def run():
        verifier = Slow()
        async with text_device(verifier, settings=settings) as device:
            pieces = []

            async def take():
                async for piece in device.stream("The old", tokens=300):
                    pieces.append(piece)
                    if len(pieces) == 5:
                        verifier.go.clear()

            taking = asyncio.create_task(take())
            async with asyncio.timeout(20):
                while verifier.go.is_set():
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            taking.cancel()
            await asyncio.gather(taking, return_exceptions=True)
            with pytest.raises(TimeoutError):  # going on is cancelled, too
                await asyncio.wait_for(all_of(device.stream(None, tokens=100)), 0.1)
            verifier.go.set()
            pieces += await all_of(device.stream(None, tokens=100))
            whole = text_of(device)
            assert whole.startswith("The old" + "".join(pieces))
            assert may_go_on(whole.removeprefix("The old" + "".join(pieces)))
            return device.device.session.prefix

    cancelled = asyncio.run(run())
    if settings:  # nothing was drawn anew

        async def plain():
            async with text_device() as device:
                await all_of(device.stream("The old", tokens=len(cancelled) + 10))
                return device.device.session.prefix

        whole = asyncio.run(plain())
        assert cancelled[:-2] == whole[: len(cancelled) - 2]  # the last round may have been cut short


def test_a_stream_that_is_left_goes_on_where_it_was():
    async def run():
        async with text_device() as device:
            first = []
            async for piece in device.stream("The old", tokens=100):
                first.append(piece)
                if len(first) == 3:
                    break
            rest = await all_of(device.stream(None, tokens=50))
            assert text_of(device).startswith("The old" + "".join([*first, *rest]))

    asyncio.run(run())


def test_a_stream_does_not_go_on_with_another_prompts_text():
    async def run():
        async with text_device() as device:
            old = device.stream("The old", tokens=100)
            await anext(old)
            await all_of(device.stream("Other", tokens=10))
            with pytest.raises(ValueError, match="another prompt"):
                await all_of(old)
            before = text_of(device)
            rest = await all_of(device.stream(None, tokens=10))
            # The last character of the two may have become whole meanwhile.
            assert text_of(device).startswith(before.rstrip("\ufffd") + "".join(rest)[:1].rstrip("\ufffd"))

    asyncio.run(run())


def test_a_prompt_after_cancelling_starts_another_text():
    async def run():
        verifier = Slow()
        async with text_device(verifier) as device:
            verifier.go.clear()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(all_of(device.stream("The old", tokens=20)), 0.1)
            verifier.go.set()
            pieces = await all_of(device.stream("Another", tokens=20))
            assert text_of(device).startswith("Another" + "".join(pieces))

    asyncio.run(run())


def test_a_prompt_that_is_cancelled_or_refused_leaves_no_mixture():
    async def run():
        async with text_device() as device:
            first = await all_of(device.stream("The old", tokens=20))
            device._pieces._decoder.add(
                TOKENIZER.encode("🐕").ids[:1]
            )  # a character that the first text would end within
            cancelled = asyncio.create_task(all_of(device.stream("Another", tokens=20)))
            await asyncio.sleep(0)
            cancelled.cancel()
            await asyncio.gather(cancelled, return_exceptions=True)
            pieces = await all_of(device.stream(None, tokens=20))
            assert text_of(device).startswith("Another" + "".join(pieces))
            with pytest.raises(ValueError, match=r"room|context|tokens"):
                await all_of(device.stream("x" * (1 << 21)))
            pieces += await all_of(device.stream(None, tokens=20))
            assert text_of(device).startswith("Another" + "".join(pieces))
            return first

    assert asyncio.run(run())


def test_a_planner_learns_from_the_round_that_it_planned():
    async def run():
        verifier = Slow()
        async with text_device(verifier, settings=None) as device:
            planner = device._rounds.__self__.planner
            plan, lengths, seen = planner.plan, chain([3], repeat(1)), []
            planner.plan = lambda context: replace(plan(context), expansion=(1,) * next(lengths))
            planner.observe = seen.append
            verifier.go.clear()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(all_of(device.stream("The old", tokens=20)), 0.1)
            verifier.go.set()
            await all_of(device.stream(None, tokens=5))
            assert len(seen[0].expansion) == 3

    asyncio.run(run())


def test_the_end_of_a_text_shows_what_is_left_of_a_character():
    table = np.full((V, V), -1e9)
    first = TOKENIZER.encode("🐕").ids[0]
    table[:, first] = 0
    table[first] = np.where(np.arange(V) == END, 0, -1e9)

    async def run():
        async with text_device(Slow(table, eos=(END,))) as device:
            assert await all_of(device.stream("a", tokens=20)) == ["\ufffd"]
            assert await all_of(device.stream(None, tokens=20)) == []

    asyncio.run(run())


@pytest.mark.parametrize(("prompt", "said"), [("", "no tokens"), (None, "needs a prompt")])
def test_a_text_needs_a_prompt(prompt, said):
    async def run():
        async with text_device() as device:
            with pytest.raises(ValueError, match=said):
                await all_of(device.stream(prompt))

    asyncio.run(run())


def test_a_tokenizer_of_another_model_is_refused_before_anything_is_sent():
    async def run():
        async with TextDevice.connect(Draft(5), TOKENIZER, edge="tcp://127.0.0.1:9"):
            raise AssertionError("it took it")

    with pytest.raises(VocabularyMismatch):
        asyncio.run(run())


def test_a_stream_says_how_probable_its_tokens_were():
    sampling = tw.SamplingRequest(temperature=0.5, suppress_tokens=[END])

    async def run():
        async with text_device(log_probs=True, sampling=sampling) as device:
            for prompt in ("The old", "Ü"):
                await all_of(device.stream(prompt, tokens=30))
                ids = TOKENIZER.encode(prompt).ids
                text = device.device.session.prefix
                assert len(device.log_probs) == len(text) - len(ids) == 30
                for before, token, said in zip(text[len(ids) - 1 :], text[len(ids) :], device.log_probs, strict=False):
                    wanted = tw.target_probs(TARGET[before], sampling.over(tw.Sampling()))[token]
                    assert said == pytest.approx(np.log(wanted), abs=1 / 2048 + 1e-9)
        async with text_device() as device:
            await all_of(device.stream("The old", tokens=5))
            assert device.log_probs == []

    asyncio.run(run())


def test_the_blocking_twin_gives_the_same_text():
    async def plain():
        async with text_device() as device:
            return "".join(await all_of(device.stream("The old", tokens=60)))

    with edge() as (address, _, _):
        with BlockingTextDevice.connect(Draft(), TOKENIZER, edge=address, settings=SETTINGS, seed=7) as device:
            assert "".join(device.stream("The old", tokens=60)) == asyncio.run(plain())
        assert not [thread for thread in threading.enumerate() if thread.name == "tslt device"]


def test_the_blocking_twin_can_be_left_and_interrupted(monkeypatch):
    from tslt_runtime import streaming

    with edge() as (address, verifier, loop):
        with BlockingTextDevice.connect(Draft(), TOKENIZER, edge=address, settings=SETTINGS, seed=7) as device:
            found = []
            for piece in device.stream("The old", tokens=60):
                found.append(piece)
                break
            loop.call_soon_threadsafe(verifier.go.clear)
            wait = streaming.asyncio.run_coroutine_threadsafe

            def interrupted(work, on):
                """What ctrl-C does to a thread that waits."""
                future = wait(work, on)
                with pytest.raises(TimeoutError):
                    future.result(0.2)
                future.result = lambda: (_ for _ in ()).throw(KeyboardInterrupt)
                return future

            monkeypatch.setattr(streaming.asyncio, "run_coroutine_threadsafe", interrupted)
            with pytest.raises(KeyboardInterrupt):
                next(device.stream(None))
            monkeypatch.setattr(streaming.asyncio, "run_coroutine_threadsafe", wait)
            loop.call_soon_threadsafe(verifier.go.set)
            found += device.stream(None, tokens=30)
            assert text_of(device._inner).startswith("The old" + "".join(found))
        assert not [thread for thread in threading.enumerate() if thread.name == "tslt device"]


def test_who_interrupts_the_blocking_twin_may_call_again_at_once(monkeypatch):
    from tslt_runtime import streaming

    with (
        edge() as (address, _, _),
        BlockingTextDevice.connect(Draft(), TOKENIZER, edge=address, settings=SETTINGS, seed=7) as device,
    ):
        wait = streaming.asyncio.run_coroutine_threadsafe

        def interrupted(work, on):
            wait(work, on)
            time.sleep(pauses.pop())  # it has not begun, or it has
            raise KeyboardInterrupt

        pauses = [0, 0, 0, 0.001, 0.002, 0.003, 0.005, 0.01]
        while pauses:
            monkeypatch.setattr(streaming.asyncio, "run_coroutine_threadsafe", interrupted)
            with pytest.raises(KeyboardInterrupt):
                list(device.stream("The old", tokens=60))
            monkeypatch.setattr(streaming.asyncio, "run_coroutine_threadsafe", wait)
            assert "".join(device.stream("Other", tokens=5))


def test_a_piece_that_comes_as_the_wait_is_interrupted_is_not_lost(monkeypatch):
    from tslt_runtime import streaming

    with (
        edge() as (address, _, _),
        BlockingTextDevice.connect(Draft(), TOKENIZER, edge=address, settings=SETTINGS, seed=7) as device,
    ):
        pieces, found, wait = device.stream("The old", tokens=60), [], streaming._wait

        def interrupted(work, loop):
            wait(work, loop)
            raise KeyboardInterrupt

        found.append(next(pieces))
        monkeypatch.setattr(streaming, "_wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            next(pieces)
        monkeypatch.setattr(streaming, "_wait", wait)
        found += device.stream(None, tokens=30)
        assert text_of(device._inner).startswith("The old" + "".join(found))


def test_the_blocking_twin_says_what_is_wrong_and_leaves_nothing_behind():
    with (
        pytest.raises(LinkError, match=r"nowhere\.invalid"),
        BlockingTextDevice.connect(Draft(), TOKENIZER, edge="tcp://nowhere.invalid:9"),
    ):
        raise AssertionError("it found an edge")

    class Broken(Slow):
        async def answer(self, text, request):
            raise RuntimeError("out of memory")

    with (
        edge(Broken) as (address, _, _),
        pytest.raises(EdgeError, match="its log says why"),
        BlockingTextDevice.connect(Draft(), TOKENIZER, edge=address, patience_s=1) as device,
    ):
        list(device.stream("The old"))
    assert not [thread for thread in threading.enumerate() if thread.name == "tslt device"]


@pytest.mark.parametrize("transport", ["zmq", "quic"])
def test_keys(tmp_path, transport):
    own, lab = SecretKey.make("kitchen"), SecretKey.make("lab")
    own.write(tmp_path / "kitchen.key")
    allow(tmp_path / "devices", own.public)

    async def run():
        verifier = Slow()
        keys = EdgeKeys(own=lab, allowed=AllowList(tmp_path / "devices"))
        listener = await listen(transport, "127.0.0.1:0", keys=keys)
        task = asyncio.create_task(serve(listener, verifier, offered(verifier), seed=7))
        given = {"edge": listener.address, "transport": transport, "settings": SETTINGS, "timeout_s": 20}
        opened = TextDevice.connect(Draft(), TOKENIZER, key=tmp_path / "kitchen.key", edge_key=lab.public.line, **given)
        async with opened as device:
            assert "".join([piece async for piece in device.stream("Once", tokens=20)])
        with pytest.raises(LinkError, match="key"):
            async with TextDevice.connect(Draft(), TOKENIZER, key=lab, edge_key=lab.public, **given):
                pass
        await listener.close()
        await task
        verifier.close()

    asyncio.run(run())
