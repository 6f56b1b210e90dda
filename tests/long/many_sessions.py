"""Two hundred sessions over ZeroMQ and a hundred over QUIC at one edge, for five minutes: ``make crowd``.

The edge and the devices are processes of their own, and the models tables of logits.  Each session writes greedy texts,
with all kinds of evidence in turn, and thinks between rounds.  Nothing is lost where every text is the target's own,
every session is there at the end, and the edge says nothing in its log.  Its memory a session is what it grew by while
they came, over their number.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "attacks"))

import numpy as np
from stage import DRAFT, TARGET, Edge, edge_process, link_to
from table_engine import TableDraft
from two_ends import KINDS, hello

import tslt_wire as tw
from tslt_runtime.device import Device
from tslt_runtime.seeds import device_rng

PROMPT = (1, 2, 3)
TOKENS = 60
"""Of a text."""
TRANSPORTS = ("zmq", "quic")
AT_ONCE = 16
"""Sessions of a transport that open at the same time."""


@dataclass
class Crowd:
    """What the sessions of one transport saw."""

    texts: int = 0
    wrong: int = 0
    rounds_s: list[float] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


def greedy_text() -> list[int]:
    """The tokens of the target alone after ``PROMPT``."""
    text = list(PROMPT)
    while len(text) < len(PROMPT) + TOKENS:
        text.append(int(np.argmax(TARGET[text[-1]])))
    return text[len(PROMPT) :]


async def one_session(number: int, device: Device, crowd: Crowd, until: float, think_s: float) -> None:
    """Texts until the time ``until``; the last one is written to its end."""
    kinds, text = list(KINDS.values()), greedy_text()
    while time.monotonic() < until:
        await device.prompt(PROMPT)
        tokens: list[int] = []
        started = time.perf_counter()
        async for round_ in device.generate(TOKENS, kinds[(number + crowd.texts) % len(kinds)]):
            tokens += round_.tokens
            crowd.rounds_s.append(time.perf_counter() - started)
            await asyncio.sleep(think_s)
            started = time.perf_counter()
        crowd.texts += 1
        crowd.wrong += tokens[:TOKENS] != text


async def devices(edge: Edge, number: int, crowd: Crowd, args: argparse.Namespace, came: asyncio.Barrier) -> None:
    """Open ``number`` sessions, a few at a time; when all of both transports are there, write texts."""
    greeting = hello(len(DRAFT), sampling=tw.Sampling(temperature=0.0))
    doors = asyncio.Semaphore(AT_ONCE)

    async def one(index: int) -> None:
        async with doors:
            device = Device(await link_to(edge), TableDraft(DRAFT), greeting, rng=device_rng(index), reply_timeout_s=60)
            await device.open()
        try:
            await came.wait()
            await asyncio.sleep(args.think * index / number)  # not all in the same moment
            await one_session(index, device, crowd, time.monotonic() + args.seconds, args.think)
        except Exception as error:  # noqa: BLE001 - what is lost is told, and the others go on
            crowd.lost.append(repr(error))
        finally:
            await device.close()

    await asyncio.gather(*(one(index) for index in range(number)))


async def run(edges: list[Edge], args: argparse.Namespace) -> int:
    """All sessions; the exit status."""
    numbers = dict(zip(TRANSPORTS, (args.zmq, args.quic), strict=True))
    crowds = {name: Crowd() for name in TRANSPORTS}
    came = asyncio.Barrier(sum(numbers.values()) + 1)
    before = edges[0].memory("VmRSS")
    tasks = [
        asyncio.create_task(devices(edge, numbers[name], crowds[name], args, came))
        for name, edge in zip(TRANSPORTS, edges, strict=True)
    ]
    await came.wait()
    there = edges[0].memory("VmRSS")
    await asyncio.gather(*tasks)
    after = edges[0].memory("VmRSS")
    print("transport  sessions  lost  texts  wrong  rounds  p50 ms  p99 ms")
    for name, crowd in crowds.items():
        p50, p99 = (1000 * float(np.percentile(crowd.rounds_s, q)) for q in (50, 99))
        counts = f"{len(crowd.lost):4}  {crowd.texts:5}  {crowd.wrong:5}  {len(crowd.rounds_s):6}"
        print(f"{name:9}  {numbers[name]:8}  {counts}  {p50:6.1f}  {p99:6.1f}")
        for why in sorted(set(crowd.lost))[:5]:
            print(f"  {why}")
    kib = (there - before) / 1024 / sum(numbers.values())
    print(f"memory a session {kib:.0f} KiB; all of the edge {there >> 20} MiB when all were there, {after >> 20} after")
    said = edges[0].log.read_text()
    if said:
        print(f"the edge says: {said[-2000:]}")
    fine = edges[0].is_alive() and not said and not any(crowd.lost or crowd.wrong for crowd in crowds.values())
    print(f"verdict: {'holds' if fine else 'FELL'}")
    return 0 if fine else 1


@contextmanager
def one_edge(folder: Path, places: int) -> Iterator[list[Edge]]:
    """One edge process that listens on both transports."""
    options = ("--max-links", str(places), "--peer-links", str(places))
    with edge_process(",".join(TRANSPORTS), folder, *options) as edge:
        yield [replace(edge, address=address) for address in (edge.address, *edge.others)]


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--zmq", type=int, default=200, help="sessions over ZeroMQ (%(default)s)")
    parser.add_argument("--quic", type=int, default=100, help="sessions over QUIC (%(default)s)")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument(
        "--think", type=float, default=1.0, help="seconds from a verdict to the next draft (%(default)s)"
    )
    args = parser.parse_args()
    with TemporaryDirectory() as folder, one_edge(Path(folder), args.zmq + args.quic) as edges:
        return asyncio.run(run(edges, args))


if __name__ == "__main__":
    sys.exit(main())
