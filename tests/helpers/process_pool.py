"""A pool of replicas without Ray: processes that are called over Unix sockets, and can be killed and started again."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib
import multiprocessing
import pickle
import time
from pathlib import Path
from typing import Any

from tslt_runtime.verifiers.pool.protocol import Call, Offer, ReplicaLost, Told
from tslt_runtime.verifiers.pool.replica import Replica

FORKS = multiprocessing.get_context("forkserver")
"""A process that has imported what replicas need makes them: at once, and as often as one is killed."""
FORKS.set_forkserver_preload(["process_pool", "table_replica"])


class ProcessPool:
    """See ``Pool``; a text is at the replica whose number hashes highest with its name, of those that live."""

    def __init__(self, load: str, folder: Path, replicas: int) -> None:
        """``load``: "module:function" of tests/helpers that returns a ``Replica``."""
        self._load, self._folder = load, folder
        self._processes: dict[int, Any] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.calls = 0
        for number in range(replicas):
            self.start(number)

    def start(self, number: int) -> None:
        """Start a replica, and wait until it listens."""
        socket = self._socket(number)
        socket.unlink(missing_ok=True)
        process = FORKS.Process(target=be_replica, args=(self._load, str(socket)), daemon=True)
        process.start()
        while not socket.exists():
            if not process.is_alive():
                raise RuntimeError(f"replica {number} did not start")
            time.sleep(0.01)
        self._processes[number] = process

    def kill(self, number: int) -> None:
        """Kill one, as kill -9 does."""
        process = self._processes.pop(number)
        process.kill()
        process.join()

    def at(self, name: str) -> int:
        """The replica that a text is at."""
        if not self._processes:
            raise ReplicaLost("all are gone")
        return max(self._processes, key=lambda number: hashlib.sha256(f"{number} {name}".encode()).digest())

    def stop(self) -> None:
        """Kill all."""
        for number in list(self._processes):
            self.kill(number)

    async def offer(self) -> Offer:
        offer: Offer = await self._ask(self.at(""), "offer")
        return offer

    async def call(self, method: str, call: Call) -> Told:
        self.calls += 1
        told: Told = await self._ask(self.at(call.text), method, call)
        return told

    def release(self, call: Call) -> None:
        task = asyncio.get_running_loop().create_task(self._release(call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def turn(self) -> None:
        await self._ask(self.at(""), "turn")

    def close(self) -> None:
        """Others may use the replicas."""

    async def _release(self, call: Call) -> None:
        with contextlib.suppress(ReplicaLost):
            await self._ask(self.at(call.text), "release", call)

    async def _ask(self, number: int, method: str, *arguments: Any) -> Any:
        try:
            reader, writer = await asyncio.open_unix_connection(self._socket(number))
            writer.write(pickle.dumps((method, arguments)))
            writer.write_eof()
            said = await reader.read()
            writer.close()
        except OSError as error:
            raise ReplicaLost(repr(error)) from error
        if not said:
            raise ReplicaLost("it ended")
        good, value = pickle.loads(said)  # noqa: S301 - our own
        if good:
            return value
        raise value

    def _socket(self, number: int) -> Path:
        return self._folder / f"replica-{number}"


async def serve(replica: Replica, socket: str) -> None:
    """Be a replica, until killed."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, arguments = pickle.loads(await reader.read())  # noqa: S301 - our own
        try:
            found = getattr(replica, method)(*arguments)
            said = (True, await found if asyncio.iscoroutine(found) else found)
        except Exception as error:  # noqa: BLE001 - whoever called gets it
            said = (False, error)
        writer.write(pickle.dumps(said))
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(answer, socket)
    await server.serve_forever()


def be_replica(load: str, socket: str) -> None:
    """What a process does that is one."""
    module, _, function = load.partition(":")
    asyncio.run(serve(getattr(importlib.import_module(module), function)(), socket))
