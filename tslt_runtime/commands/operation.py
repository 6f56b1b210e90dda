"""Command-line arguments of an edge in operation, and what they start: logs, status pages, an end in good order."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Protocol

from tslt_transports import Listener
from tslt_transports.accepting import BaseListener
from tslt_transports.address import HostPort, parse_address

from tslt_runtime.commands.options import seconds
from tslt_runtime.limits import EdgeLimits
from tslt_runtime.operating.draining import Drain
from tslt_runtime.operating.health import Health
from tslt_runtime.operating.logs import FORMATS, set_up_logs
from tslt_runtime.operating.meter import EdgeMeter
from tslt_runtime.operating.status_server import Page, StatusServer
from tslt_runtime.scheduler import Counts
from tslt_runtime.verifiers.protocol import Verifier

log = logging.getLogger("tslt.edge")

LEVELS = ("debug", "info", "warning", "error")
DRAIN_S = 10.0
"""Seconds that rounds under way have to end once the edge is told to."""


class WatchedVerifier(Verifier, Protocol):
    """A verifier whose work can be looked at, as the status pages do."""

    @property
    def counts(self) -> Counts:
        """What it has done so far."""
        ...

    @property
    def waiting(self) -> int:
        """Requests that wait for rows."""
        ...

    async def turn(self) -> None:
        """Return when whatever runs the model answers."""
        ...


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments; see ``Operation``."""
    group = parser.add_argument_group("operation")
    pages = "serve /metrics (Prometheus), /healthz and /readyz over HTTP; port 0 takes a free one"
    group.add_argument("--metrics", type=_host_port, metavar="HOST:PORT", help=pages)
    lines = "of the log on standard error: text, or a JSON object a line (%(default)s)"
    group.add_argument("--log-format", choices=FORMATS, default="text", help=lines)
    least = "least important lines that are logged (warning; info with --verbose)"
    group.add_argument("--log-level", choices=LEVELS, help=least)
    ends = "seconds that rounds under way have after SIGTERM or ctrl-C; a second one ends at once (%(default)s)"
    group.add_argument("--drain-s", type=seconds, default=DRAIN_S, metavar="S", help=ends)


def set_up(args: argparse.Namespace) -> None:
    """Start the log; ImportError if the pages need a package that is not installed."""
    level = args.log_level or ("info" if args.verbose else "warning")
    set_up_logs(args.log_format, logging.getLevelNamesMapping()[level.upper()])
    if args.metrics:
        import prometheus_client  # noqa: F401 - here, and not after the model was loaded


@asynccontextmanager
async def status_pages(
    address: HostPort | None,
    listener: Listener,
    verifier: WatchedVerifier,
    meter: EdgeMeter,
    drain: Drain,
    limits: EdgeLimits,
) -> AsyncIterator[str]:
    """Serve the pages at ``address``; yields where they are, "" if they are nowhere.  Raises OSError."""
    if address is None:
        yield ""
        return
    from tslt_runtime.operating.prometheus import EdgeCollector, Metrics

    health = Health(verifier.turn, room=lambda: meter.links < limits.devices, draining=lambda: drain.begun)
    collector = EdgeCollector(
        meter,
        verifier.counts,
        waiting=lambda: verifier.waiting,
        most_links=limits.devices,
        strangers=listener.refusals if isinstance(listener, BaseListener) else None,
    )
    metrics = Metrics(collector)

    async def show_metrics(accept: str) -> Page:
        return Page(*metrics.render(accept))

    async def alive(accept: str) -> Page:
        return _verdict(*await health.alive())

    async def ready(accept: str) -> Page:
        return _verdict(*health.ready())

    server = StatusServer({"/metrics": show_metrics, "/healthz": alive, "/readyz": ready})
    where = await server.bind(address.host, address.port)
    await server.start()
    try:
        yield where
    finally:
        await server.close()
        health.close()


def end_by_signal(drain: Drain) -> None:
    """Let SIGINT and SIGTERM begin ``drain``; the second one ends the process at once."""
    loop = asyncio.get_running_loop()

    def told(number: int) -> None:
        log.info("draining: told to end by %s", signal.Signals(number).name)
        drain.begin()
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told, number)


async def serve_until_drained(serving: asyncio.Task[None], drain: Drain, drain_s: float) -> bool:
    """Wait until ``serving`` is over: by itself, or because ``drain`` began.

    Returns False where rounds took longer than ``drain_s`` seconds: the model's thread may go on with one.
    """
    drained = asyncio.create_task(drain.over(drain_s))
    await asyncio.wait([serving, drained], return_when=asyncio.FIRST_COMPLETED)
    serving.cancel()
    with suppress(asyncio.CancelledError):
        await serving
    in_time = not drained.done() or drained.result()
    drained.cancel()
    log.info("ended: %s", "every device was answered" if in_time else f"rounds took longer than {drain_s:g} s")
    return in_time


def leave(*, in_time: bool) -> None:
    """End the process with status 0 where the model's thread would keep it; nothing if all was done ``in_time``."""
    if not in_time:
        logging.shutdown()
        os._exit(0)


def _host_port(text: str) -> HostPort:
    try:
        return parse_address(text, scheme="http")
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _verdict(good: bool, why: str) -> Page:
    return Page(f"{why}\n".encode(), status=HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE)
