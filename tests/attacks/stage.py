"""What the attacks share: an edge, honest devices, an attacker, each in a process of its own, and the verdict.

An attack is a script with a coroutine ``attack(address, until)``; ``python tests/attacks/NAME.py --seconds 600`` runs
it for ten minutes.  Honest devices write greedy texts meanwhile, so that every text must be the undisturbed one.  It
holds where all texts are, the edge is alive, and its memory grew by no more than the script allows.

How long a round took is printed.  Attacker, devices and edge share a machine, so what the attacker's own work costs the
others is measured as well: the same attack on another edge, to which nobody else talks, in turns with the one that
counts.  In a run of a minute or more the p99 of an honest round may be twice as long as then.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "transports"), str(ROOT / "tests" / "helpers")]

from table_engine import TableDraft  # noqa: E402
from tslt_transports import ClientTls, LinkError, LinkOptions, connect  # noqa: E402
from two_ends import KINDS, hello, tables  # noqa: E402

import tslt_wire as tw  # noqa: E402
from tslt_runtime.connection import EdgeError  # noqa: E402
from tslt_runtime.device import Device  # noqa: E402
from tslt_runtime.seeds import device_rng  # noqa: E402

TARGET, DRAFT = tables(64)
TOKENS = 60
"""Of a text."""
PATIENT = LinkOptions(connect_timeout_s=20.0, peer_timeout_s=20.0)
MIB = 1 << 20
IN_TURNS_S, JUDGED_S = 10.0, 60.0
"""Seconds from which on a run has turns, and from which on it says how much longer a round may take."""
MOST_LONGER = 2.0
"""Times."""


@dataclass
class Edge:
    """An edge process."""

    address: str
    process: subprocess.Popen[str]
    folder: Path
    log: Path
    others: tuple[str, ...] = ()
    """Addresses of its other transports, if it has several."""

    def memory(self, field: str = "VmHWM") -> int:
        """Bytes that it held at most so far, or with VmRSS now; 0 where the system does not tell."""
        status = Path(f"/proc/{self.process.pid}/status")
        if not status.exists():
            return 0
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines[field].split()[0]) * 1024

    def seconds(self) -> float:
        """Of a processor that it has used; 0 where the system does not tell."""
        path = Path(f"/proc/{self.process.pid}/stat")
        if not path.exists():
            return 0.0
        user, system = path.read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def is_alive(self) -> bool:
        return self.process.poll() is None


@contextmanager
def edge_process(transport: str, folder: Path, *options: str) -> Iterator[Edge]:
    """An edge with a table for a model, on loopback, without keys; ``transport``: one, or several with commas."""
    log = folder / "edge.log"
    command = [sys.executable, str(HERE / "table_edge.py"), transport, str(folder), *options]
    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            line = process.stdout.readline()
            if " listens on " not in line:
                raise ChildProcessError(f"the edge did not start: {log.read_text()}")
            address, *others = line.split(" listens on ")[1].split()
            yield Edge(address, process, folder, log, tuple(others))
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


async def link_to(edge: Edge):
    """A link of an honest device."""
    if edge.address.startswith("tcp://"):
        return await connect("zmq", edge.address, options=PATIENT)
    return await connect("quic", edge.address, options=PATIENT, tls=ClientTls(ca_file=edge.folder / "ca.pem"))


@asynccontextmanager
async def device_at(edge: Edge) -> AsyncIterator[Device]:
    """An honest device that has shaken hands."""
    greeting = hello(len(DRAFT), sampling=tw.Sampling(temperature=0.0))
    device = Device(await link_to(edge), TableDraft(DRAFT), greeting, rng=device_rng(0), reply_timeout_s=60)
    try:
        await device.open()
        yield device
    finally:
        await device.close()


@dataclass
class Seen:
    """What honest devices saw."""

    texts: list[tuple[int, ...]] = field(default_factory=list)
    rounds_s: list[float] = field(default_factory=list)
    edge_s: float = 0.0
    """Of a processor, the edge's."""
    wall_s: float = 0.0

    async def one_text(self, edge: Edge) -> None:
        async with device_at(edge) as device:
            await device.prompt([1, 2, 3])
            tokens, started = [], time.perf_counter()
            async for round_ in device.generate(TOKENS, KINDS["match"]):
                tokens += round_.tokens
                now = time.perf_counter()
                self.rounds_s.append(now - started)
                started = now
            self.texts.append(tuple(tokens[:TOKENS]))

    def add(self, other: Seen) -> None:
        self.texts += other.texts
        self.rounds_s += other.rounds_s
        self.edge_s += other.edge_s
        self.wall_s += other.wall_s

    @property
    def edge_share(self) -> float:
        """Of a processor, the edge's."""
        return self.edge_s / self.wall_s

    @property
    def p99_ms(self) -> float:
        return 1000 * sorted(self.rounds_s)[int(0.99 * (len(self.rounds_s) - 1))]


async def honest(edge: Edge, until: float, *, devices: int = 2) -> Seen:
    """Texts of ``devices`` devices at a time, one after the other until the time ``until``; one each at least."""
    seen, started, used = Seen(), time.monotonic(), edge.seconds()

    async def one() -> None:
        while True:
            await seen.one_text(edge)
            if time.monotonic() > until:
                return

    await asyncio.gather(*(one() for _ in range(devices)))
    seen.wall_s, seen.edge_s = time.monotonic() - started, edge.seconds() - used
    return seen


Attack = Callable[[str, float], Awaitable[None]]
Check = Callable[[Edge], Awaitable[str | None]]


def main(
    attack: Attack, *, transport: str, most_mib: int = 32, options: tuple[str, ...] = (), check: Check | None = None
):
    """Run a script; returns the exit status.  ``check``: what else must be so, None if it is, else what is wrong."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--attack", metavar="ADDRESS", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.attack:
        print("begins", flush=True)
        asyncio.run(attack(args.attack, time.monotonic() + args.seconds))
        return 0
    import tempfile

    with tempfile.TemporaryDirectory() as folder, edge_process(transport, Path(folder), *options) as edge:
        if args.seconds < IN_TURNS_S:
            return asyncio.run(_judge(edge, None, args.seconds, most_mib, check))
        with tempfile.TemporaryDirectory() as there, edge_process(transport, Path(there), *options) as other:
            return asyncio.run(_judge(edge, other, args.seconds, most_mib, check))


@asynccontextmanager
async def _attacked(edge: Edge, seconds: float) -> AsyncIterator[None]:
    """While the script attacks this edge, for ``seconds`` at least."""
    # It goes on for longer than the honest devices, so that they are never without it.
    command = [sys.executable, sys.argv[0], "--attack", edge.address, "--seconds", str(10 * seconds + 60)]
    attacker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        await asyncio.to_thread(attacker.stdout.readline)
        await asyncio.sleep(min(1.0, seconds / 2))
        yield
    finally:
        attacker.kill()
        attacker.wait()


async def _judge(edge: Edge, other: Edge | None, seconds: float, most_mib: int, check: Check | None) -> int:
    calm, aside, seen = await honest(edge, time.monotonic() + min(seconds, 5) / 2), Seen(), Seen()
    before = edge.memory()
    turns = 1 if other is None else max(2, int(seconds / 30))
    wrong = []
    try:
        for turn in range(turns):
            if other is not None:
                async with _attacked(other, seconds / turns):
                    aside.add(
                        await asyncio.wait_for(honest(edge, time.monotonic() + seconds / turns / 2), 120 + seconds)
                    )
            async with _attacked(edge, seconds / turns):
                until = time.monotonic() + seconds / turns
                seen.add(await asyncio.wait_for(honest(edge, until), 120 + 3 * seconds))
                if check is not None and turn == turns - 1 and (found := await check(edge)):
                    wrong.append(found)
    except (LinkError, EdgeError, TimeoutError) as error:
        wrong.append(f"an honest device: {error!r}")
    grown = (edge.memory() - before) / MIB if edge.is_alive() else 0.0
    if not edge.is_alive():
        wrong.append(f"the edge is dead: {edge.log.read_text()[-300:]}")
    if len({*seen.texts, *aside.texts, *calm.texts}) != 1:
        wrong.append("a text is another one")
    if grown > most_mib:
        wrong.append(f"memory grew by {grown:.0f} MiB, {most_mib} are allowed")
    if "Traceback" in edge.log.read_text():
        wrong.append(f"a traceback in the edge's log: {edge.log.read_text()[-2000:]}")
    told = [f"{len(seen.texts)} texts", f"memory +{grown:.0f} MiB", _times("in peace", calm)]
    if aside.rounds_s and seen.rounds_s:
        longer = seen.p99_ms / aside.p99_ms
        told += [_times("attack on another edge", aside), _times("attack", seen), f"{longer:.2f} x"]
        if seconds >= JUDGED_S and longer > MOST_LONGER:
            wrong.append(f"an honest round takes {longer:.2f} times as long, {MOST_LONGER:g} are allowed")
    elif seen.rounds_s:
        told.append(_times("attack", seen))
    verdict = "FELL: " + "; ".join(wrong) if wrong else "holds"
    print(f"verdict: {verdict}; {', '.join(told)}", flush=True)
    return 1 if wrong else 0


def _times(name: str, seen: Seen) -> str:
    return f"{name}: p99 of a round {seen.p99_ms:.1f} ms, the edge {seen.edge_share:.0%} of a core"
