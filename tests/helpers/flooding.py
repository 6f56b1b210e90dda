"""An edge on a table of logits with a fixed pass time, and six sessions of one device that ask for all they can.

Each is a process of its own: ``python -m flooding edge KEY ALLOWED PASS_S``, and ``python -m flooding flood ADDRESS KEY
EDGE_KEY``.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from table_engine import TableDraft, TableTarget
from tslt_transports import AllowList, DeviceKeys, EdgeKeys, PublicKey, SecretKey, connect, listen
from two_ends import FINGERPRINT, hello

import tslt_wire as tw
from tslt_runtime.connection import EdgeError
from tslt_runtime.device import Device
from tslt_runtime.edge import edge_settings, serve
from tslt_runtime.engines.protocol import EngineFacts, Work
from tslt_runtime.limits import EdgeLimits
from tslt_runtime.seeds import device_rng
from tslt_runtime.verifiers.local import LocalVerifier

V, ROWS = 32_000, 32
SAMPLING = tw.Sampling(temperature=1.0, top_p=0.99)


def logits() -> NDArray[np.float64]:
    """Those after a token, by its id modulo ROWS: float64 (ROWS, V); one token is nearly certain each time."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(ROWS, V)) * 2
    table[range(ROWS), rng.integers(0, V, ROWS)] += 30
    return table


BEST = [int(token) for token in logits().argmax(axis=1)]


def likely(token: int, count: int) -> tw.TokenTree:
    """A chain of what the target will say after ``token``: every row of it is looked at."""
    tokens = []
    for _ in range(count):
        token = BEST[token % ROWS]
        tokens.append(token)
    return tw.TokenTree(tokens, range(-1, count - 1))


class FixedTime(TableTarget):
    """A target whose passes take so many seconds, whatever is in them."""

    def __init__(self, pass_s: float) -> None:
        super().__init__(logits())
        self.facts = EngineFacts(model="fixed", vocab_size=V, context=1 << 20)
        self._pass_s = pass_s

    def score(self, work: Sequence[Work]) -> list[NDArray[np.float64] | None]:
        time.sleep(self._pass_s)
        for item in work:
            item.text.length += len(item.tokens)
        trees = [(item.tokens, item.tree) for item in work]
        return [None if tree is None else self.table[np.array([t[-1], *tree.tokens]) % ROWS] for t, tree in trees]


class Silent(TableDraft):
    """A draft model that is never asked: its device makes up its drafts."""

    def __init__(self) -> None:
        super().__init__(np.zeros((1, 1)))
        self.vocab_size = V


async def run_edge(key: str, allowed: str, pass_s: float) -> None:
    """Serve until the process ends."""
    limits = EdgeLimits(share_least=0, burst_s=0.5)  # what the flood had saved up is soon gone
    verifier = LocalVerifier(FixedTime(pass_s), limits=limits)
    keys = EdgeKeys(own=SecretKey.read(key), allowed=AllowList(Path(allowed)))
    listener = await listen("zmq", "127.0.0.1:0", keys=keys)
    print(listener.address, flush=True)
    await serve(listener, verifier, edge_settings(verifier.facts, FINGERPRINT), seed=0, limits=limits)


async def device(address: str, key: str, edge_key: str, seed: int) -> Device:
    """A device that has shaken hands."""
    keys = DeviceKeys(own=SecretKey.read(key), edge=PublicKey.read(edge_key))
    link = await connect("zmq", address, keys=keys)
    said = hello(V, sampling=SAMPLING, entropy=("zstd", "none"))
    made = Device(link, Silent(), said, rng=device_rng(seed), reply_timeout_s=60)
    await made.open()
    return made


async def ask(made: Device, tree: tw.TokenTree, evidence: tw.Evidence) -> tw.Event:
    """Send a draft that nobody drafted, and wait for its answer: it costs the device next to nothing."""
    made.session.send_draft(tree, evidence)
    return await answer(made)


async def answer(made: Device) -> tw.Event:
    """Send what is queued, and return what comes back."""
    while frame := made.session.data_to_send():
        await made._edge._link.send(frame)
    (event,) = made.session.receive_data(await made._edge._link.receive())
    if isinstance(event, tw.PeerFailed):
        raise EdgeError(event.error.message)
    return event


async def prompts(made: Device) -> None:
    """Prompts of 1,000 equal tokens, 43 bytes each, as fast as they are read."""
    for number in range(1 << 30):
        made.session.send_prompt([number % V] * 1000)
        await ask(made, tw.TokenTree([], []), tw.MatchEvidence())


async def long_chains(made: Device) -> None:
    """Chains without end that are as long as the edge takes: 500 bytes, and 250 rows with top-p."""
    chain = likely(3, min(250, made.welcome.limits.max_nodes))
    while True:
        made.session.send_prompt([1, 2, 3])
        await ask(made, chain, tw.MatchEvidence())


async def mores(made: Device) -> None:
    """Ask for other proposals for ever, whatever was proposed."""
    while True:
        made.session.send_prompt([1, 2, 3])
        event = await ask(made, tw.TokenTree([9], [-1]), tw.ScalarEvidence((1,)))
        while isinstance(event, tw.ProposalsReceived):
            made.session.ask_more()
            event = await answer(made)


async def flood(address: str, key: str, edge_key: str) -> None:
    """Six sessions; who is thrown out comes again."""

    async def one(number: int, what: Any) -> None:
        while True:
            with suppress(EdgeError):
                made = await device(address, key, edge_key, number)
                print("flooding", flush=True)
                await what(made)
            await asyncio.sleep(0.2)

    kinds = (prompts, long_chains, mores)
    await asyncio.gather(*(one(number, kinds[number % 3]) for number in range(6)))


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command == "edge":
        asyncio.run(run_edge(arguments[0], arguments[1], float(arguments[2])))
    else:
        asyncio.run(flood(*arguments))
