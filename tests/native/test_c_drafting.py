"""Drafts made in C: the same random numbers give the bytes of the device in Python, and texts are the target's."""

import asyncio
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from c_device import ANSWERED, CC, DTYPES, LIST_WANTED, PROPOSALS, WELCOMED, WHOLE, CDevice
from table_engine import TableTarget
from text_law import transition_law
from tslt_transports import LinkOptions, pair
from two_ends import FINGERPRINT, KINDS, hello, tables, two_ends

import tslt_wire as tw
from tslt_runtime.device import Device
from tslt_runtime.edge import edge_settings, serve_link
from tslt_runtime.edge_driver import EdgeDriver
from tslt_runtime.evidence import kind_of_evidence
from tslt_runtime.round_numbers import RoundNumbers
from tslt_runtime.seeds import device_rng, session_secret
from tslt_runtime.verifiers.local import LocalVerifier
from tslt_wire.frames.codec import HANDSHAKE_PROFILE
from tslt_wire.frames.kinds import Kind
from tslt_wire.session.device import DeviceSession
from tslt_wire.session.session import Session
from tslt_wire.session.states import State

pytestmark = pytest.mark.skipif(shutil.which(CC) is None, reason="there is no C compiler")

V, SEED = 40, 3
PROMPT = (5, 7, 3)
ROOM = {"dtype": 1, "most_listed": V, "by_probability": 1, "most_nodes": 64, "most_entries": 4096, "most_tokens": 30000}
MORE_KINDS = {
    **KINDS,
    "nucleus": replace(KINDS["list"], truncation=tw.TopP(0.9)),
    "least": replace(KINDS["list"], truncation=tw.MinProb(0.02), precision="f16"),
    "replaced": replace(KINDS["list tree"], expansion=(3, 2), replacement=True),
    "few": replace(KINDS["match"], expansion=(3,), truncation=tw.TopK(2)),
    "few in a race": replace(KINDS["coupled"], expansion=(3,), truncation=tw.TopK(2)),
    "tails": replace(KINDS["list tree"], expansion=(45,), truncation=tw.TopK(2)),
    "greedy draft": replace(KINDS["lazy"], temperature=0.0),
}
CHAINS = ["list", "match", "coupled", "scalar", "lazy"]
DRAWS = int(os.environ.get("TSLT_LAW_DRAWS", "1500"))


def draw(device, settings, expansion, rows, rng, tail_scale=0.0, goes_on=False):
    """A draft of the C device, of the runtime's settings."""
    cut, given = settings.truncation, {"truncate": settings.truncation is not None, "top_k": 0}
    if isinstance(cut, tw.TopK):
        given["top_k"] = cut.k
    elif isinstance(cut, tw.TopP):
        given["top_p"] = cut.p
    elif cut is not None:
        given["min_prob"] = cut.tau
    given |= {name: getattr(settings, name) for name in ("temperature", "precision", "replacement")}
    device.draft(settings.evidence, expansion, rows, rng, tail_scale=tail_scale, goes_on=goes_on, **given)


def rows_of(device, draft):
    """The callback of a table's logits: rows of the new nodes' tokens."""

    def rows(parents, tokens, first):
        return draft[tokens[first:]] if tokens else draft[[device.ahead[-1]]]

    return rows


class Late:
    """A link whose frames arrive some time after they came: meanwhile a device may draft on."""

    def __init__(self, link):
        self._link = link

    def __getattr__(self, name):
        return getattr(self._link, name)

    async def receive(self):
        frame = await self._link.receive()
        await asyncio.sleep(0.005)
        return frame


async def recorded(kind, target, draft, window, said, monkeypatch):
    """What the session of a device in Python said and heard, in its order, and how each draft was drawn."""
    log, drawn = [], []
    queue, receive, queue_draft = DeviceSession._queue, DeviceSession.receive_data, Device._queue

    def says(self, kind, frame):
        if isinstance(self, DeviceSession):
            log.append(("said", frame))
        queue(self, kind, frame)

    def hears(self, data):
        log.append(("heard", data))
        return receive(self, data)

    def draws(self, drafted, settings, *, goes_on, **given):
        tail_scale = self.tail_scale if kind_of_evidence(settings.evidence).sends_lists else 0.0
        drawn.append((settings.expansion, tail_scale, goes_on))
        queue_draft(self, drafted, settings, goes_on=goes_on, **given)

    monkeypatch.setattr(Session, "_queue", says)
    monkeypatch.setattr(DeviceSession, "receive_data", hears)
    monkeypatch.setattr(Device, "_queue", draws)
    answers = LocalVerifier(TableTarget(target))
    mine, theirs = pair(LinkOptions())
    ends = {"verifier": answers, "offered": replace(edge_settings(answers.facts, FINGERPRINT), window=4)}
    links = (Late(mine) if window > 1 else mine, theirs)
    async with two_ends(target, draft, **ends, links=links, seed=SEED, window=window, **said) as device:
        for length in (25, 9):
            await device.prompt(PROMPT)
            async for _ in device.generate(length, kind):
                pass
    monkeypatch.undo()
    return log, drawn


GREEDY, WARM, PLAIN = tw.Sampling(temperature=0.0), tw.Sampling(temperature=1.1), ("none",)


def short(settings):
    """Of two levels, so that several are in flight."""
    return replace(settings, expansion=settings.expansion[:2])


SAID = {
    1: ({"sampling": GREEDY}, {"sampling": WARM, "extra": {"padding": 64}}),
    2: ({"sampling": WARM, "priors": PLAIN},),
    4: ({"sampling": GREEDY, "priors": PLAIN, "extra": {"padding": 6}},),
}
"""What HELLO says, by the drafts that may be in flight."""
CASES = [
    (kind, window, i)
    for window in SAID
    for kind in (MORE_KINDS if window == 1 else [*CHAINS, *(["list tree"] if window == 2 else [])])
    for i in range(len(SAID[window]))
]


@pytest.mark.parametrize(("kind", "window", "which"), CASES)
def test_the_bytes_are_those_of_the_device_in_python(kind, window, which, monkeypatch):
    target, draft = tables(V)
    said = SAID[window][which]
    settings = MORE_KINDS[kind] if window == 1 else short(MORE_KINDS[kind])
    log, drawn = asyncio.run(recorded(settings, target, draft, window, said, monkeypatch))
    device, numbers, drafts = CDevice(hello(V, **said), **ROOM), RoundNumbers(device_rng(SEED)), iter(drawn)
    profile = following = 0

    def say(frame):
        kind = Kind(frame[0] & 63)
        if kind is Kind.PROMPT:
            device.send_prompt(PROMPT)
        elif kind is Kind.BYE:
            device.close()
        else:
            expansion, tail_scale, goes_on = next(drafts)
            rng = numbers.to_draft(device.round)
            draw(device, settings, expansion, rows_of(device, draft), rng, tail_scale, goes_on)

    for what, data in log:
        if what == "said":
            found = device.data_to_send()
            if not found:
                following += device.state is State.OPEN
                say(data)
                found = device.data_to_send()
            assert found == data
            continue
        assert device.receive(data) == 0
        if device.event.kind == WELCOMED:
            profile = tw.Profile(vocab_size=V, entropy=tw.decode(data, HANDSHAKE_PROFILE).entropy)
        elif device.event.kind == LIST_WANTED:
            device.send_list()
        elif device.event.kind == PROPOSALS:
            device.choose(numbers.to_choose(tw.decode(data, profile)))
    assert next(drafts, None) is None
    assert following > 0 or window == 1
    assert device.within_block()


async def text_of(kind, target, draft, tokens, sampling, rng=None, window=1):
    """A text of ``tokens`` tokens by a C device and an edge's real driver, and how many of them were drafted.

    ``window``: as many in flight, chains of two tokens or trees.
    """
    mine, theirs = pair(LinkOptions())
    answers = LocalVerifier(TableTarget(target))
    offered = replace(edge_settings(answers.facts, FINGERPRINT), window=window)
    driver = EdgeDriver(answers, offered, secret=session_secret(1, 0))
    task = asyncio.create_task(serve_link(theirs, driver))
    device, settings = CDevice(hello(len(target), sampling=sampling), **ROOM, most_window=window), MORE_KINDS[kind]
    settings = settings if window == 1 else short(settings)
    rng = rng or device_rng(1)
    accepted = 0

    async def exchange():
        while frame := device.data_to_send():
            await mine.send(frame)
        while device.receive(await mine.receive()) == 0 and not device.event.kind:
            pass
        return device.event.kind

    assert await exchange() == WELCOMED
    device.send_prompt(PROMPT)
    while len(device.prefix) < tokens:
        while device.state is State.IDLE or device.may_follow:
            draw(device, settings, settings.expansion, rows_of(device, draft), rng, goes_on=window > 1)
        token, before, event = None, len(device.prefix), None
        while token is None and (event := await exchange()) not in (ANSWERED, WHOLE):
            if event == LIST_WANTED:
                device.send_list()
            else:
                token = device.choose(rng)
        accepted += len(device.prefix) - before - (event != WHOLE)
    device.close()
    await mine.send(device.data_to_send())
    await mine.close()
    await asyncio.wait_for(task, 20)
    answers.close()
    return device.prefix, accepted


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_texts_are_the_targets_own(kind):
    target, draft = tables(V)
    text, accepted = asyncio.run(text_of(kind, target, draft, 60, tw.Sampling(temperature=0.0)))
    best = target.argmax(1)
    assert [best[token] for token in text[2:-1]] == list(text[3:])
    assert accepted > 0


@pytest.mark.parametrize("kind", ["list", "list tree", "scalar", "lazy"])
def test_texts_have_the_targets_law(kind):
    target, draft = tables(8)
    sampling = tw.Sampling(temperature=0.8)
    text, accepted = asyncio.run(text_of(kind, target, draft, DRAWS, sampling))
    assert transition_law(target, text[2:], sampling) > 1e-3
    assert accepted > DRAWS / 10


@pytest.mark.parametrize("window", [2, 4])
@pytest.mark.parametrize("kind", [*CHAINS, "list tree"])
def test_greedy_texts_are_the_targets_own_with_drafts_in_flight(kind, window):
    target, draft = tables(V)
    text, accepted = asyncio.run(text_of(kind, target, draft, 60, tw.Sampling(temperature=0.0), window=window))
    best = target.argmax(1)
    assert [best[token] for token in text[2:-1]] == list(text[3:])
    assert accepted > 0


@pytest.mark.parametrize(("kind", "window"), [("list", 4), ("list tree", 4), ("scalar", 2), ("lazy", 4)])
def test_texts_have_the_targets_law_with_drafts_in_flight(kind, window):
    target, draft = tables(8)
    sampling = tw.Sampling(temperature=0.8)
    text, accepted = asyncio.run(text_of(kind, target, draft, DRAWS, sampling, window=window))
    assert transition_law(target, text[2:], sampling) > 1e-3
    assert accepted > DRAWS / 10


class Skewed:
    """Random numbers that are small too often."""

    def __init__(self, rng):
        self._rng = rng

    def integers(self, low, high):
        return min(int(self._rng.integers(low, high)), int(self._rng.integers(low, high)))

    def random(self):
        return self._rng.random()


def test_the_law_notices_a_wrong_draw():
    """A device that draws from other lists than it sends: the text is not the target's."""
    target, draft = tables(8)
    sampling = tw.Sampling(temperature=0.8)
    text, _ = asyncio.run(text_of("list", target, draft, 1500, sampling, Skewed(device_rng(1))))
    assert transition_law(target, text[2:], sampling) < 1e-3


@pytest.mark.parametrize("name", ["apart", "equal", "two kinds", "close", "infinite", "ascending"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("vocab_size", [5000, 20011])
def test_lists_in_a_block_of_memory_are_those_of_the_library(name, dtype, vocab_size):
    """A block has room for a few of the largest logits: where more come, the largest so far stay."""
    rng = np.random.default_rng(7)
    rows = {
        "apart": rng.normal(size=vocab_size) * 4,
        "equal": np.zeros(vocab_size),
        "two kinds": (rng.random(vocab_size) < 0.6).astype(float),
        "close": np.round(rng.normal(size=vocab_size) * 2) / 2,
        "infinite": np.where(rng.random(vocab_size) < 0.9, -np.inf, rng.integers(0, 2, vocab_size)),
        "ascending": np.sort(rng.normal(size=vocab_size)),
    }[name].astype(dtype)
    offered = tw.EdgeSettings(vocab_size=vocab_size, tokenizer=FINGERPRINT)
    said = hello(vocab_size, priors=("none",), precisions=("log2/2",))
    edge = tw.EdgeSession(offered, secret=bytes(range(32)))
    device = CDevice(said, dtype=DTYPES[dtype], most_listed=16, most_nodes=2, most_entries=32, most_tokens=64)
    edge.receive_data(device.data_to_send())
    assert device.receive(edge.data_to_send()) == 0
    device.send_prompt(PROMPT)
    edge.receive_data(device.data_to_send())
    device.draft("list", (1, 1), lambda parents, tokens, first: rows[None], np.random.default_rng(1), top_k=16)
    (event,) = edge.receive_data(device.data_to_send())
    (wanted,) = tw.sparsify_batch(rows[None], truncation=tw.TopK(16), precision="log2/2")
    order = np.argsort(-rows.astype(float), kind="stable")[:16]
    assert list(wanted.ids) == sorted(token for token in order if token in wanted.ids)
    assert len(wanted) == 16 or name == "infinite"
    assert list(event.draft.lists.values()) == [wanted, wanted]
    assert device.within_block()
