"""A pool of replicas without Ray: processes that are called over Unix sockets, and can be killed and started again."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

from processes import ENVIRONMENT, ROOT

from tslt_runtime.verifiers.pool.protocol import Call, Offer, ReplicaLost, Told
from tslt_runtime.verifiers.pool.replica import Replica


class ProcessPool:
    """See ``Pool``; a text is at the replica whose number hashes highest with its name, of those that live."""

    def __init__(self, load: str, folder: Path, replicas: int) -> None:
        """``load``: "module:function" of tests/helpers that returns a ``Replica``."""
        self._load, self._folder = load, folder
        self._processes: dict[int, subprocess.Popen[str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.calls = 0
        for number in range(replicas):
            self.start(number)

    def start(self, number: int) -> None:
        """Start a replica, and wait until it listens."""
        socket = self._socket(number)
        socket.unlink(missing_ok=True)
        path = os.pathsep.join([str(ROOT / "tests" / "helpers"), ENVIRONMENT["PYTHONPATH"]])
        process = subprocess.Popen(
            [sys.executable, __file__, self._load, str(socket)],
            stdout=subprocess.PIPE,
            text=True,
            env={**ENVIRONMENT, "PYTHONPATH": path},
        )
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready"
        self._processes[number] = process

    def kill(self, number: int) -> None:
        """Kill one, as kill -9 does."""
        process = self._processes.pop(number)
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()

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
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    module, _, function = sys.argv[1].partition(":")
    asyncio.run(serve(getattr(importlib.import_module(module), function)(), sys.argv[2]))
