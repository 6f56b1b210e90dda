"""An edge and the endpoint of a device before it: in one process, for tests that look inside, or two commands."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tslt_transports import Listener, listen

import tslt_wire as tw
from tslt_runtime.chat.template import digest_of, template_of
from tslt_runtime.commands.serve import opener, server_of
from tslt_runtime.edge import edge_settings, serve
from tslt_runtime.endpoint.app import Served, application
from tslt_runtime.endpoint.pool import Pool, Wanted
from tslt_runtime.fingerprint import tokenizer_fingerprint
from tslt_runtime.loading import LoadedDraft, LoadedTarget
from tslt_runtime.verifiers.local import LocalVerifier
from tslt_wire.session.negotiation import takes_all

ROOT = Path(__file__).parents[2]
WAIT_S = 60


@dataclass
class Endpoint:
    """An endpoint that runs in a thread."""

    url: str
    pool: Pool
    loop: asyncio.AbstractEventLoop
    passes: list[int]
    """Tokens and nodes of each pass of the target."""
    listener: Listener
    """The edge's."""

    def run(self, work: Any) -> Any:
        """What a coroutine gives, run in the endpoint's thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(WAIT_S)


@contextmanager
def endpoint(
    target: LoadedTarget,
    draft: LoadedDraft,
    *,
    sessions: int = 4,
    waiting: int = 32,
    reach_s: float = 30.0,
    refusal: Callable[[tw.Sampling], str | None] = takes_all,
    **served: Any,
) -> Iterator[Endpoint]:
    """An edge on ZeroMQ, and the endpoint, on loopback."""
    ready, found, end = threading.Event(), list[Endpoint](), list[Any]()

    async def run() -> None:
        passes: list[int] = []
        verifier = LocalVerifier(target.engine, on_pass=lambda pass_: passes.append(pass_.rows))
        template = template_of(draft.tokenizer)
        named = tokenizer_fingerprint(draft.tokenizer), digest_of(template.source)
        settings = replace(edge_settings(verifier.facts, named[0], chat_template=named[1]), refusal=refusal)
        listener = await listen("zmq", "tcp://127.0.0.1:0")
        edge = asyncio.create_task(serve(listener, verifier, settings, seed=None))
        options: dict[str, Any] = {"edge": listener.address, "timeout_s": WAIT_S, "patience_s": 1}
        pool = Pool(open=opener(draft, template, lambda link: link, options), most=sessions, waiting=waiting)
        async with pool.lend(Wanted(tw.SamplingRequest()), ()) as device:
            context = device.device.context
        options["reach_s"] = reach_s
        given = {"model": "target", "context": context, "tokenizer": draft.tokenizer, "template": template, **served}
        server = server_of(application(Served(**given), pool))
        with socket.create_server(("127.0.0.1", 0)) as door:
            end.append(lambda: setattr(server, "should_exit", True))
            url = f"http://127.0.0.1:{door.getsockname()[1]}/v1"
            found.append(Endpoint(url, pool, asyncio.get_running_loop(), passes, listener))
            ready.set()
            await server._serve([door])
        await pool.close()
        await listener.close()
        await edge
        verifier.close()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    try:
        assert ready.wait(WAIT_S), "the endpoint did not start"
        yield found[0]
    finally:
        for tell in end:
            tell()
        thread.join(WAIT_S)


@contextmanager
def command(name: str, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run ``tslt NAME``; yields the process and what its first line says it listens on."""
    line = [sys.executable, "-m", f"tslt_runtime.commands.{name}", *arguments]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=env) as process:
        try:
            said = process.stdout.readline() if process.stdout else ""
            if " listens on " not in said:
                raise ChildProcessError(f"tslt {name} did not start: {said!r}")
            yield process, said.split(" listens on ")[1].strip()
        finally:
            process.terminate()
