"""The edge: accepts devices on a listener and serves them with one verifier, a task a device."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

from tslt_transports.link import Link, LinkClosed, Listener

import tslt_wire as tw
from tslt_runtime.edge_driver import EdgeDriver, EdgeRound
from tslt_runtime.limits import DEFAULT_LIMITS, EdgeLimits
from tslt_runtime.sessions import Sessions
from tslt_runtime.verifiers.protocol import Verifier, VerifierFacts

log = logging.getLogger("tslt.edge")

LEAVE_S = 1.0
"""Seconds that an old link has for the word that its session goes on over another one; the device may be gone."""


def edge_settings(
    facts: VerifierFacts,
    fingerprint: bytes,
    tables: Sequence[tw.Prior] = (),
    *,
    limits: EdgeLimits = DEFAULT_LIMITS,
) -> tw.EdgeSettings:
    """What an edge with this verifier, and these trained tables, offers: what the verifier serves, and no more.

    ``fingerprint``: of the target's tokenizer, 32 bytes.  What the target's files say of sampling and no edge applies
    is logged as a warning.
    """
    if not isinstance(facts, VerifierFacts):
        raise TypeError(f"facts must be VerifierFacts, got {facts!r}")
    engine = facts.engine
    for line in engine.not_applied:
        log.warning("%s: %s", engine.model, line)
    affordable = max(limits.least_nodes, limits.rows_bytes // (8 * engine.vocab_size))
    return tw.EdgeSettings(
        vocab_size=engine.vocab_size,
        tokenizer=fingerprint,
        model=engine.model,
        eos_tokens=engine.eos_tokens,
        context=engine.context,
        evidence=facts.evidence,
        sampling=engine.sampling,
        refusal=facts.refusal,
        tables=tuple(tables),
        limits=tw.DecodeLimits(
            max_nodes=min(affordable, engine.most_nodes),
            max_leaves=engine.most_leaves,
            max_entries=limits.most_entries,
        ),
    )


async def serve(
    listener: Listener,
    verifier: Verifier,
    settings: tw.EdgeSettings,
    *,
    seed: int | None,
    master: bytes | None = None,
    limits: EdgeLimits = DEFAULT_LIMITS,
    on_round: Callable[[EdgeRound], None] = lambda _: None,
) -> None:
    """Serve devices until the listener is closed or the task is cancelled.

    ``seed`` and a device's HELLO fix the edge's random numbers; None draws them from the operating system.  ``master``:
    the master secret (``seeds.read_master_secret``): edges that share one take over each other's sessions.  A device
    that is silent for longer than ``limits`` say loses its place; how many there may be is the listener's to say.
    """
    tasks: set[asyncio.Task[None]] = set()
    sessions = Sessions(master=master, seed=seed, limits=limits, release=verifier.release)
    try:
        while True:
            try:
                link = await listener.accept()
            except LinkClosed:
                return
            driver = EdgeDriver(
                verifier,
                settings,
                sessions=sessions,
                identity=link.identity,
                owner=link.identity or link.address,
                peer=link.peer,
                on_round=on_round,
            )
            task = asyncio.create_task(serve_link(link, driver, limits=limits))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        sessions.close()


async def serve_link(
    link: Link,
    driver: EdgeDriver,
    *,
    limits: EdgeLimits = DEFAULT_LIMITS,
) -> None:
    """Carry frames between a device's link and its driver, until the device leaves, is lost or breaks the protocol."""
    log.info("%s: connected", link.peer)
    closing: list[asyncio.Task[None]] = []
    driver.displaced = lambda: closing.append(asyncio.create_task(_leave(link, driver)))
    try:
        while not driver.over:
            await _send(link, await driver.step(await _next_frame(link, driver, limits)))
    except TimeoutError:
        log.info("%s: said nothing for too long", link.peer)
        await _send(link, driver.fail(tw.ErrorCode.OVERLOADED, "idle for too long; connect again to go on"))
        driver.park()
    except LinkClosed as closed:
        log.info("%s", closed)
        driver.park()
    except asyncio.CancelledError:
        with suppress(LinkClosed):
            await _send(link, driver.fail(tw.ErrorCode.INTERNAL, "the edge is shutting down"))
        raise
    finally:
        driver.close()
        await link.close()
        await asyncio.gather(*closing, return_exceptions=True)


async def _leave(link: Link, driver: EdgeDriver) -> None:
    """Tell a device that its session goes on elsewhere, and end its link."""
    with suppress(LinkClosed, TimeoutError):
        async with asyncio.timeout(LEAVE_S):
            await _send(link, driver.queued())
    await link.close()


async def _next_frame(link: Link, driver: EdgeDriver, limits: EdgeLimits) -> bytes:
    # An open link costs its place: who has not said HELLO yet gets seconds, everybody else minutes.
    patience = limits.idle_timeout_s if driver.greeted else min(limits.idle_timeout_s, limits.hello_timeout_s)
    async with asyncio.timeout(patience):
        return await link.receive()


async def _send(link: Link, frames: Sequence[bytes]) -> None:
    for frame in frames:
        await link.send(frame)
