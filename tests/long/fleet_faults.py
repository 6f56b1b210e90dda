"""Devices write texts through a fleet of real processes, while any of these is killed, added, drained and replaced.

Two gateways (``tslt edge --engine ray``) behind one address, three replicas in Ray Serve, tables of logits in the place
of models.  Every text is the one that a single edge with the same secret gives, or this fails.
``python tests/long/fleet_faults.py``: part of ``make test-ray``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from cut_links import Cuts, TcpProxy, calm_text
from processes import ENVIRONMENT, ROOT
from table_engine import TableDraft
from tslt_transports import Link, LinkOptions
from two_ends import KINDS, hello, tables

from tslt_runtime.connection import Recovery
from tslt_runtime.device import Device
from tslt_runtime.dialing import Dialer
from tslt_runtime.seeds import device_rng

SEED = 4
"""Of all gateways, and of the edge that they are compared with: their master secret follows from it."""
TOKENS = 200
DEVICES = 8
PATIENCE_S = 300.0
"""Seconds that a device waits for a gateway: on a machine that does much else a process starts in a minute."""
OPTIONS = LinkOptions(heartbeat_s=0.5, peer_timeout_s=5.0, connect_timeout_s=5.0, linger_s=0.1)
PIDS = "TSLT_REPLICA_PIDS"
"""Environment variable with the folder in which replicas write the numbers of their processes."""
GATEWAYS, REPLICAS = 2, 3


def path() -> str:
    """What processes import from."""
    here = Path(__file__).parent
    return os.pathsep.join([str(here), str(here.parent / "helpers"), ENVIRONMENT["PYTHONPATH"]])


class Gateway:
    """``tslt edge --engine ray`` in a process of its own, which keeps its address."""

    def __init__(self, cluster: str, extra: list[str] | None = None) -> None:
        self._cluster, self._extra = cluster, extra or ["--seed", str(SEED)]
        self.address = "tcp://127.0.0.1:0"
        self.process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        command = [sys.executable, "-m", "tslt_runtime.commands.main", "edge", "--engine", "ray"]
        command += ["--ray-address", self._cluster, "--listen", self.address, *self._extra]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**ENVIRONMENT, "PYTHONPATH": path()}
        )
        if process.stdout is None:
            raise RuntimeError("the gateway has no output")
        line = process.stdout.readline()
        if "listens on" not in line:
            raise RuntimeError(f"the gateway did not start: {line!r}, status {process.wait()}")
        self.address = line.split()[-1]
        self.process = process

    def end(self, how: signal.Signals) -> None:
        """Send it a signal and wait until it is gone."""
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(how)
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def replicas(folder: Path) -> list[int]:
    """Processes of replicas that live."""
    found = []
    for file in folder.iterdir():
        with suppress(OSError):
            os.kill(int(file.name), 0)
            if "ServeReplica" in Path(f"/proc/{file.name}/cmdline").read_text():
                found.append(int(file.name))
    return found


@dataclass
class Outcome:
    """What became of all texts."""

    rounds: int = 0
    tokens: int = 0
    texts: int = 0
    events: dict[str, int] = field(default_factory=dict)
    reconnects: int = 0
    longest_s: float = 0.0
    seconds: float = 0.0

    @property
    def kills(self) -> int:
        """Processes that were killed."""
        return sum(count for event, count in self.events.items() if event.startswith("kill"))

    def said(self) -> str:
        """In a line."""
        done = ", ".join(f"{count} x {event}" for event, count in sorted(self.events.items()))
        return (
            f"fleet: {self.rounds} rounds, {self.tokens} tokens of {self.texts} texts, none lost or doubled; {done}; "
            f"{self.reconnects} reconnects, longest round {self.longest_s:.1f} s, all in {self.seconds:.0f} s"
        )


def device_on(link: Link, nonce: int, recovery: Recovery | None = None) -> Device:
    """A device; its numbers are always the same."""
    said = hello(8, nonce=nonce.to_bytes(16, "little"))
    return Device(link, TableDraft(tables()[1]), said, rng=device_rng(nonce), reply_timeout_s=60, recovery=recovery)


class Fleet:
    """Gateways and replicas, and what is done to them."""

    def __init__(self, folder: Path, deploy: Callable[[int, str], None], cluster: str) -> None:
        """``deploy``: puts so many replicas of a version in the place of those that run; ``cluster``: its address."""
        self.folder, self._deploy = folder, deploy
        self._count, self._version, self._turn = REPLICAS, 1, 0
        deploy(self._count, "1")
        self.gateways = [Gateway(cluster) for _ in range(GATEWAYS)]

    def address(self) -> str:
        """Of a gateway, each in turn: what a load balancer does."""
        self._turn += 1
        living = [gateway for gateway in self.gateways if gateway.process is not None]
        return living[self._turn % len(living)].address

    def do(self, event: str, rng: random.Random) -> None:
        """Let something happen, and wait until it has."""
        match event:
            case "kill a replica":
                while not (living := replicas(self.folder)):
                    time.sleep(0.1)
                os.kill(rng.choice(living), signal.SIGKILL)
            case "kill a gateway" | "drain a gateway":
                gateway = rng.choice(self.gateways)
                gateway.end(signal.SIGKILL if "kill" in event else signal.SIGTERM)
                gateway.start()
            case "add a replica" | "drain a replica":
                self._count += 1 if "add" in event else -1
                self._deploy(self._count, str(self._version))
            case "roll a version":
                self._version += 1
                self._deploy(self._count, str(self._version))

    def stop(self) -> None:
        """End the gateways."""
        for gateway in self.gateways:
            gateway.end(signal.SIGKILL)


def planned(kills: int, rng: random.Random) -> list[str]:
    """What happens, in order."""
    events = ["kill a gateway"] * (kills // 4) + ["kill a replica"] * (kills - kills // 4)
    events += ["add a replica", "drain a gateway", "roll a version"]
    rng.shuffle(events)
    return [*events, "drain a replica"]


async def disturbed(fleet: Fleet, rounds: int, kills: int, seed: int) -> Outcome:
    """So many rounds of all devices together; AssertionError for a text that is not the undisturbed one."""
    rng, found, started = random.Random(seed), Outcome(), time.perf_counter()
    events, kinds, over = planned(kills, rng), list(KINDS), asyncio.Event()
    proxy = TcpProxy(fleet.address, Cuts([]))
    address = await proxy.start()

    async def happen() -> None:
        for number, event in enumerate(events):
            while found.rounds < rounds * (number + 1) / (len(events) + 1):
                await asyncio.sleep(0.05)
            print(f"{time.perf_counter() - started:.0f} s, {found.rounds} rounds: {event}", flush=True)
            await asyncio.to_thread(fleet.do, event, rng)
            found.events[event] = found.events.get(event, 0) + 1
        over.set()

    async def write(number: int) -> None:
        nonce = number
        while found.rounds < rounds or not over.is_set():
            kind, nonce = kinds[(nonce // DEVICES) % len(kinds)], nonce + DEVICES
            dialer = Dialer("zmq", address, options=OPTIONS)
            device = device_on(await dialer.reach(PATIENCE_S), nonce, Recovery(dial=dialer, patience_s=PATIENCE_S))
            await device.open()
            await device.prompt([0])
            before = time.perf_counter()
            async for _ in device.generate(TOKENS, KINDS[kind]):
                found.rounds += 1
                now = time.perf_counter()
                found.longest_s, before = max(found.longest_s, now - before), now
            text = device.session.prefix
            await device.close()
            if text != await calm_text(kind, partial(device_on, nonce=nonce), TOKENS, seed=SEED):
                raise AssertionError(f"{kind}, nonce {nonce}: another text than that of one edge")
            found.texts += 1
            found.tokens += len(text) - 1
            found.reconnects += device.reconnects

    async with asyncio.TaskGroup() as group:
        group.create_task(happen())
        for number in range(DEVICES):
            group.create_task(write(number))
    await proxy.close()
    found.seconds = time.perf_counter() - started
    return found


@contextmanager
def fleet_here() -> Iterator[Fleet]:
    """A fleet on a Ray cluster of its own."""
    from table_replica import counted_replica

    from tslt_runtime.verifiers.pool import ray_serve
    from tslt_runtime.verifiers.pool.scale import Scale

    with TemporaryDirectory() as folder:
        os.environ |= {"PYTHONPATH": path(), PIDS: folder}
        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        ray_serve.join("local", cpus=4)
        fleet = None
        try:
            cluster = ray_serve.address()

            def deploy(count: int, version: str) -> None:
                scale = Scale(replicas=count, cpus=0)
                ray_serve.deploy(ray_serve.application(counted_replica, scale, version=version))

            fleet = Fleet(Path(folder), deploy, cluster)
            yield fleet
        finally:
            if fleet is not None:
                fleet.stop()
            ray_serve.leave()


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    logging.disable(logging.WARNING)  # links that break
    with fleet_here() as fleet:
        found = asyncio.run(disturbed(fleet, args.rounds, args.kills, args.seed))
    print(found.said())
    if args.json:
        args.json.write_text(json.dumps(asdict(found), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
