"""One harness over the three transports, so that one suite holds all of them to the same promises."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from link_helpers import PATIENT
from tslt_transports import (
    ClientTls,
    InProcessListener,
    Link,
    LinkOptions,
    Listener,
    ServerTls,
    connect,
    listen,
)
from tslt_transports.devcert import DevCertificates, make_dev_certificates

SOURCE_ROOT = Path(__file__).resolve().parents[2] / "transports"
DEADLINE_S = 120.0  # of one test: only against hanging, since the machine may be busy


@dataclass(frozen=True, slots=True)
class Harness:
    """One transport, with certificates where it needs them."""

    name: str
    certificates: DevCertificates

    @property
    def client_tls(self) -> ClientTls | None:
        return ClientTls(ca_file=self.certificates.ca_file) if self.name == "quic" else None

    @property
    def server_tls(self) -> ServerTls | None:
        if self.name != "quic":
            return None
        return ServerTls(cert_file=self.certificates.cert_file, key_file=self.certificates.key_file)

    async def listen(self, options: LinkOptions | None = None) -> Listener:
        options = options or PATIENT
        if self.name == "inproc":
            return InProcessListener(options)
        return await listen(self.name, "127.0.0.1:0", options=options, tls=self.server_tls)

    async def connect(self, listener: Listener, options: LinkOptions | None = None) -> Link:
        options = options or PATIENT
        if isinstance(listener, InProcessListener):
            return await listener.connect(options=options)
        return await self.dial(listener.address, options)

    async def dial(self, address: str, options: LinkOptions | None = None) -> Link:
        return await connect(self.name, address, options=options or PATIENT, tls=self.client_tls)

    @contextlib.asynccontextmanager
    async def linked(
        self, options: LinkOptions | None = None, device_options: LinkOptions | None = None
    ) -> AsyncIterator[tuple[Link, Link]]:
        """A device's and an edge's end of one link."""
        listener = await self.listen(options)
        try:
            device = await self.connect(listener, device_options or options)
            edge = await listener.accept()
            yield device, edge
            await device.close()
        finally:
            await listener.close()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> DevCertificates:
    return make_dev_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(params=["inproc", "zmq", "quic"])
def harness(request: pytest.FixtureRequest, certificates: DevCertificates) -> Harness:
    return Harness(request.param, certificates)


@pytest.fixture(params=["zmq", "quic"])
def network(request: pytest.FixtureRequest, certificates: DevCertificates) -> Harness:
    """Only the transports with a network in between."""
    return Harness(request.param, certificates)


@pytest.fixture
def zmq_harness(certificates: DevCertificates) -> Harness:
    return Harness("zmq", certificates)


@pytest.fixture
def quic_harness(certificates: DevCertificates) -> Harness:
    return Harness("quic", certificates)


@pytest.fixture
def run() -> Callable[[Coroutine[Any, Any, None]], None]:
    """Run one coroutine to its end, and fail rather than hang."""

    def runner(work: Coroutine[Any, Any, None]) -> None:
        async def bounded() -> None:
            failures: list[str] = []
            asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(repr(context)))
            await asyncio.wait_for(work, DEADLINE_S)
            assert not failures, failures  # what asyncio would only have logged

        asyncio.run(bounded())

    return runner


@pytest.fixture
def spawn() -> Iterator[Callable[[str, list[str]], subprocess.Popen[str]]]:
    """Start a Python program in a process that is killed at the end of the test at the latest."""
    children: list[subprocess.Popen[str]] = []

    def starter(program: str, arguments: list[str]) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(SOURCE_ROOT)},
        )
        children.append(child)
        return child

    yield starter
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(signal.SIGKILL)
        child.wait()
        if child.stdout is not None:
            child.stdout.close()
