"""The edge: accepts devices on a listener and serves them with one verifier, a task a device."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from tslt_transports.link import FrameTooLarge, Link, LinkClosed, Listener

import tslt_wire as tw
from tslt_runtime.arrivals import Arrivals
from tslt_runtime.edge_driver import EdgeDriver, EdgeRound
from tslt_runtime.fingerprint import Vocabulary
from tslt_runtime.limits import DEFAULT_LIMITS, EdgeLimits
from tslt_runtime.operating.budgeted import BudgetedVerifier
from tslt_runtime.operating.budgets import Budgets
from tslt_runtime.operating.draining import GOING_AWAY, SETTLE_S, Drain
from tslt_runtime.operating.meter import EdgeMeter
from tslt_runtime.overload import Overloaded
from tslt_runtime.sessions import Sessions
from tslt_runtime.verifiers.protocol import Verifier, VerifierFacts

log = logging.getLogger("tslt.edge")

LEAVE_S = 1.0
"""Seconds that a link has for the last word: that its session goes on over another one, or that the edge ends."""


def edge_settings(
    facts: VerifierFacts,
    vocabulary: Vocabulary | bytes,
    tables: Sequence[tw.Prior] = (),
    *,
    limits: EdgeLimits = DEFAULT_LIMITS,
    chat_template: bytes = b"",
) -> tw.EdgeSettings:
    """What an edge with this verifier, and these trained tables, offers: what the verifier serves, and no more.

    ``vocabulary``: the target's (``fingerprint.vocabulary_of``), or the fingerprint of its tokenizer alone, 32 bytes:
    then drafts with other special tokens do not fit, and devices are not told how a text begins.  ``chat_template``:
    what names the target's chat template (``chat.template.digest_of``), empty if it has none.  What the target's files
    say of sampling and no edge applies is logged as a warning.
    """
    if not isinstance(facts, VerifierFacts):
        raise TypeError(f"facts must be VerifierFacts, got {facts!r}")
    engine = facts.engine
    if isinstance(vocabulary, Vocabulary) and vocabulary.vocab_size != engine.vocab_size:
        raise ValueError(f"a vocabulary of {vocabulary.vocab_size} tokens, and {engine.model} has {engine.vocab_size}")
    fingerprint = vocabulary.fingerprint if isinstance(vocabulary, Vocabulary) else vocabulary
    for line in (*engine.not_applied, *engine.remarks):
        log.warning("%s: %s", engine.model, line)
    return tw.EdgeSettings(
        vocab_size=engine.vocab_size,
        tokenizer=fingerprint,
        **_more_of(vocabulary),
        model=engine.model,
        eos_tokens=engine.eos_tokens,
        context=engine.context,
        evidence=facts.evidence,
        sampling=engine.sampling,
        refusal=facts.refusal,
        evidence_for=facts.evidence_for,
        tables=tuple(tables),
        chat_template=chat_template,
        window=limits.window,
        limits=tw.DecodeLimits(
            max_nodes=min(limits.nodes(engine.vocab_size), engine.most_nodes),
            max_leaves=engine.most_leaves,
            max_entries=limits.most_entries,
        ),
    )


def _more_of(vocabulary: Vocabulary | bytes) -> dict[str, Any]:
    """What an edge says of its vocabulary besides the fingerprint."""
    if not isinstance(vocabulary, Vocabulary):
        return {}
    return {name: getattr(vocabulary, name) for name in ("ordinary", "begins", "others", "sample")}


async def serve(
    listener: Listener,
    verifier: Verifier,
    settings: tw.EdgeSettings,
    *,
    seed: int | None,
    master: bytes | None = None,
    limits: EdgeLimits = DEFAULT_LIMITS,
    on_round: Callable[[EdgeRound], None] = lambda _: None,
    meter: EdgeMeter | None = None,
    drain: Drain | None = None,
) -> None:
    """Serve devices until the listener is closed or the task is cancelled.

    ``seed`` and a device's HELLO fix the edge's random numbers; None draws them from the operating system.  ``master``:
    the master secret (``seeds.read_master_secret``): edges that share one take over each other's sessions.  A device
    that is silent for longer than ``limits`` say loses its place.  The listener has to take ``limits.links`` links.
    ``meter`` counts what happens; once ``drain`` has begun nothing new does.
    """
    meter, drain = meter or EdgeMeter(), drain or Drain()
    budgets = Budgets(limits, on_wait=meter.waited)
    tasks: set[asyncio.Task[None]] = set()
    sessions = Sessions(master=master, seed=seed, limits=limits, release=verifier.release)
    doorway = asyncio.BoundedSemaphore(limits.doorway // 2)

    async def attend(link: Link) -> None:
        with drain.serving():
            await admit(link)

    async def admit(link: Link) -> None:
        try:
            with budgets.admitted(link) as account:
                driver = EdgeDriver(
                    BudgetedVerifier(verifier, account, limits),
                    settings if meter.links < limits.window_links else replace(settings, window=1),
                    sessions=sessions,
                    identity=link.identity,
                    owner=link.identity or link.address,
                    peer=link.peer,
                    on_round=partial(_count_round, meter, link.identity, on_round),
                )
                await serve_link(link, driver, limits=limits, meter=meter, drain=drain)
        except Overloaded as error:
            meter.refused["too many links"] += 1
            if doorway.locked():
                await link.close()  # without a word: who waits here must not take the places of others
                return
            async with doorway:
                await _refuse(link, settings, error, meter)

    try:
        while True:
            try:
                link = await listener.accept()
            except LinkClosed:
                return
            task = asyncio.create_task(attend(link))
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
    meter: EdgeMeter | None = None,
    drain: Drain | None = None,
) -> None:
    """Carry frames between a device's link and its driver, until the device leaves, is lost or breaks the protocol."""
    meter, drain = meter or EdgeMeter(), drain or Drain()
    log.info("%s: connected", link.peer)
    closing: list[asyncio.Task[None]] = []
    driver.displaced = lambda: closing.append(asyncio.create_task(_leave(link, driver, meter)))
    meter.came()
    arrivals = Arrivals(link, driver.session.settings.window)
    try:
        while not driver.over:
            frames = [] if driver.waiting else await _next_frames(arrivals, driver, limits, drain)
            started = time.perf_counter()
            for frame in frames:
                meter.heard(frame)
            if any(map(drain.refuses, frames)):
                await _send(link, driver.fail(tw.ErrorCode.GOING_AWAY, GOING_AWAY), meter)
                return
            await _send(link, await driver.step(*frames), meter)
            meter.steps.add(time.perf_counter() - started)
        if driver.expected:
            driver.park()
    except TimeoutError:
        if drain.begun:
            why = tw.ErrorCode.GOING_AWAY, GOING_AWAY
        else:
            log.info("%s: said nothing for too long", link.peer)
            why = tw.ErrorCode.OVERLOADED, "idle for too long; connect again to go on"
        with suppress(LinkClosed):
            await _send(link, driver.fail(*why), meter)
        driver.park()
    except LinkClosed as closed:
        log.info("%s", closed)
        driver.park()
    except asyncio.CancelledError:
        # A device that takes nothing does not hold up the end.
        with suppress(LinkClosed, TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                await _send(link, driver.fail(tw.ErrorCode.GOING_AWAY, GOING_AWAY), meter)
        raise
    finally:
        meter.left()
        driver.close()
        await link.close()
        await asyncio.gather(*closing, return_exceptions=True)


async def _leave(link: Link, driver: EdgeDriver, meter: EdgeMeter) -> None:
    """Tell a device that its session goes on elsewhere, and end its link."""
    with suppress(LinkClosed, TimeoutError):
        async with asyncio.timeout(LEAVE_S):
            await _send(link, driver.queued(), meter)
    await link.close()


async def _next_frames(arrivals: Arrivals, driver: EdgeDriver, limits: EdgeLimits, drain: Drain) -> list[bytes]:
    # An open link costs its place: who has not said HELLO yet gets seconds, everybody else minutes.
    patience = limits.idle_timeout_s if driver.greeted else min(limits.idle_timeout_s, limits.hello_timeout_s)
    async with drain.patience(patience, lambda: driver.session.state):
        return await arrivals.take()


async def _send(link: Link, frames: Sequence[bytes], meter: EdgeMeter) -> None:
    for frame in frames:
        try:
            await link.send(frame)
        except FrameTooLarge as error:
            # The device said that it takes no frame of this size: nothing can be answered.
            raise LinkClosed(
                peer=link.peer, clean=False, reason=f"it does not take what it asked for: {error}"
            ) from error
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
