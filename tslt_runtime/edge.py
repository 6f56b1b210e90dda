"""The edge: accepts devices on a listener and serves them with one verifier, a task a device."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from tslt_transports.link import Link, LinkClosed, Listener

import tslt_wire as tw
from tslt_runtime.edge_driver import EdgeDriver, EdgeRound
from tslt_runtime.limits import DEFAULT_LIMITS, EdgeLimits
from tslt_runtime.operating.budgeted import BudgetedVerifier
from tslt_runtime.operating.budgets import Budgets
from tslt_runtime.operating.draining import GOING_AWAY, SETTLE_S, Drain
from tslt_runtime.operating.meter import EdgeMeter
from tslt_runtime.overload import Overloaded
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
    meter: EdgeMeter | None = None,
    drain: Drain | None = None,
) -> None:
    """Serve devices until the listener is closed or the task is cancelled.

    ``seed`` and the number of a device (0, 1, ... in order of arrival) fix the edge's random numbers; None draws them
    from the operating system.  A device that is silent for longer than ``limits`` say loses its place; how many there
    may be is the listener's to say.  ``meter`` counts what happens; once ``drain`` has begun nothing new does.
    """
    meter, drain = meter or EdgeMeter(), drain or Drain()
    budgets = Budgets(limits, on_wait=meter.waited)
    tasks: set[asyncio.Task[None]] = set()
    number = 0

    async def attend(link: Link, number: int) -> None:
        with drain.serving():
            await admit(link, number)

    async def admit(link: Link, number: int) -> None:
        try:
            with budgets.admitted(link) as account:
                driver = EdgeDriver(
                    BudgetedVerifier(verifier, account, limits),
                    settings,
                    secret=session_secret(seed, number),
                    peer=link.peer,
                    on_round=partial(_count_round, meter, link.identity, on_round),
                )
                await serve_link(link, driver, limits=limits, meter=meter, drain=drain)
        except Overloaded as error:
            meter.refused["too many links"] += 1
            await _refuse(link, settings, error, meter)

    try:
        while True:
            try:
                link = await listener.accept()
            except LinkClosed:
                return
            task = asyncio.create_task(attend(link, number))
            number += 1
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
    meter: EdgeMeter | None = None,
    drain: Drain | None = None,
) -> None:
    """Carry frames between a device's link and its driver, until the device leaves, is lost or breaks the protocol."""
    meter, drain = meter or EdgeMeter(), drain or Drain()
    log.info("%s: connected", link.peer)
    meter.came()
    try:
        while not driver.over:
            frame = await _next_frame(link, driver, limits, drain)
            started = time.perf_counter()
            meter.heard(frame)
            if drain.refuses(frame):
                await _send(link, driver.fail(tw.ErrorCode.GOING_AWAY, GOING_AWAY), meter)
                return
            await _send(link, await driver.step(frame), meter)
            meter.steps.add(time.perf_counter() - started)
    except TimeoutError:
        if drain.begun:
            why = tw.ErrorCode.GOING_AWAY, GOING_AWAY
        else:
            log.info("%s: said nothing for too long", link.peer)
            why = tw.ErrorCode.OVERLOADED, "idle for too long; connect again to go on"
        await _send(link, driver.fail(*why), meter)
    except LinkClosed as closed:
        log.info("%s", closed)
    except asyncio.CancelledError:
        with suppress(LinkClosed):
            await _send(link, driver.fail(tw.ErrorCode.GOING_AWAY, GOING_AWAY), meter)
        raise
    finally:
        meter.left()
        driver.close()
        await link.close()


async def _next_frame(link: Link, driver: EdgeDriver, limits: EdgeLimits, drain: Drain) -> bytes:
    # An open link costs its place: who has not said HELLO yet gets seconds, everybody else minutes.
    patience = limits.idle_timeout_s if driver.greeted else min(limits.idle_timeout_s, limits.hello_timeout_s)
    async with drain.patience(patience, lambda: driver.session.state):
        return await link.receive()


async def _send(link: Link, frames: Sequence[bytes], meter: EdgeMeter) -> None:
    for frame in frames:
        await link.send(frame)
    meter.said(frames)


async def _refuse(link: Link, settings: tw.EdgeSettings, why: Overloaded, meter: EdgeMeter) -> None:
    """Tell a device that it is not served, once it has said something and so is there to listen."""
    session = tw.EdgeSession(settings)
    session.fail(tw.ErrorCode.OVERLOADED, str(why), retry_after_s=why.retry_after_s)
    with suppress(LinkClosed, TimeoutError):
        async with asyncio.timeout(SETTLE_S):
            await link.receive()
        await _send(link, [session.data_to_send()], meter)
    await link.close()


def _count_round(meter: EdgeMeter, identity: str, told: Callable[[EdgeRound], None], round_: EdgeRound) -> None:
    meter.round(round_, identity)
    told(round_)
