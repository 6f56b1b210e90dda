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
from tslt_runtime.seeds import session_secret
from tslt_runtime.verifiers.protocol import Verifier, VerifierFacts

log = logging.getLogger("tslt.edge")


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
    limits: EdgeLimits = DEFAULT_LIMITS,
    on_round: Callable[[EdgeRound], None] = lambda _: None,
) -> None:
    """Serve devices until the listener is closed or the task is cancelled.

    ``seed`` and the number of a device (0, 1, ... in order of arrival) fix the edge's random numbers; None draws them
    from the operating system.  A device that is silent for longer than ``limits`` say loses its place; how many there
    may be is the listener's to say.
    """
    tasks: set[asyncio.Task[None]] = set()
    number = 0
    try:
        while True:
            try:
                link = await listener.accept()
            except LinkClosed:
                return
            driver = EdgeDriver(
                verifier, settings, secret=session_secret(seed, number), peer=link.peer, on_round=on_round
            )
            number += 1
            task = asyncio.create_task(serve_link(link, driver, limits=limits))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def serve_link(
    link: Link,
    driver: EdgeDriver,
    *,
    limits: EdgeLimits = DEFAULT_LIMITS,
) -> None:
    """Carry frames between a device's link and its driver, until the device leaves, is lost or breaks the protocol."""
    log.info("%s: connected", link.peer)
    try:
        while not driver.over:
            await _send(link, await driver.step(await _next_frame(link, driver, limits)))
    except TimeoutError:
        log.info("%s: said nothing for too long", link.peer)
        await _send(link, driver.fail(tw.ErrorCode.OVERLOADED, "idle for too long; connect again to go on"))
    except LinkClosed as closed:
        log.info("%s", closed)
    except asyncio.CancelledError:
        with suppress(LinkClosed):
            await _send(link, driver.fail(tw.ErrorCode.INTERNAL, "the edge is shutting down"))
        raise
    finally:
        driver.close()
        await link.close()


async def _next_frame(link: Link, driver: EdgeDriver, limits: EdgeLimits) -> bytes:
    # An open link costs its place: who has not said HELLO yet gets seconds, everybody else minutes.
    patience = limits.idle_timeout_s if driver.greeted else min(limits.idle_timeout_s, limits.hello_timeout_s)
    async with asyncio.timeout(patience):
        return await link.receive()


async def _send(link: Link, frames: Sequence[bytes]) -> None:
    for frame in frames:
        await link.send(frame)
