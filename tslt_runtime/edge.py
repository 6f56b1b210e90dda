"""The edge's loop: accept devices, score their drafts with the target, send verdicts.

One asyncio task a device; the target runs in a thread, one forward pass at a time (``engines.transformers``), so
that heartbeats and other devices go on meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from tslt_transports.link import Link, LinkClosed, Listener

import tslt_wire as tw
from tslt_runtime.engines.transformers.model import ContextFull
from tslt_runtime.engines.transformers.target import TargetModel, TargetSession
from tslt_runtime.seeds import coupling_key, edge_rng
from tslt_runtime.timing import with_verify_time
from tslt_runtime.untrusted import printable

log = logging.getLogger("tslt.edge")

HELLO_TIMEOUT_S = 10.0
"""Seconds a new link has to say HELLO: several round trips over a bad link."""
IDLE_TIMEOUT_S = 300.0
"""Seconds a session may be silent: a user who reads before typing on, not one who left."""
SCORE_BYTES = 1 << 26
"""Bytes of one float64 (1 + nodes, V) array: bounds the largest tree an edge offers to verify."""


@dataclass(frozen=True, slots=True)
class EdgeRound:
    """What one round cost an edge, for logs and meters."""

    peer: str
    nodes: int
    """Nodes of the draft."""
    tokens: int
    """Tokens the prefix grew by."""
    seconds: float
    """From the arrival of the last frame of the round to its answer."""


def edge_settings(model: TargetModel, fingerprint: bytes, tables: Sequence[tw.Prior] = ()) -> tw.EdgeSettings:
    """What an edge with this target, and these trained tables, offers."""
    return tw.EdgeSettings(
        vocab_size=model.vocab_size,
        tokenizer=fingerprint,
        model=model.model_id,
        eos_tokens=model.eos_token_ids,
        context=model.context_limit,
        tables=tuple(tables),
        limits=tw.DecodeLimits(
            max_nodes=max(16, min(1024, SCORE_BYTES // (8 * model.vocab_size))), max_entries=1 << 18
        ),
    )


async def serve(
    listener: Listener,
    model: TargetModel,
    settings: tw.EdgeSettings,
    *,
    seed: int | None,
    idle_timeout_s: float = IDLE_TIMEOUT_S,
    on_round: Callable[[EdgeRound], None] = lambda _: None,
) -> None:
    """Serve devices until the listener is closed or the task is cancelled.

    ``seed`` and the number of a device (0, 1, ... in order of arrival) fix the edge's random numbers; None draws them
    from the operating system.  A device that says nothing for ``idle_timeout_s`` seconds loses its place.
    """
    turn = asyncio.Semaphore(1)
    tasks: set[asyncio.Task[None]] = set()
    number = 0
    try:
        while True:
            try:
                link = await listener.accept()
            except LinkClosed:
                return
            device = EdgeDevice(
                link,
                model,
                settings,
                rng=edge_rng(seed, number),
                coupling=coupling_key(seed, number),
                turn=turn,
                idle_timeout_s=idle_timeout_s,
                on_round=on_round,
            )
            number += 1
            task = asyncio.create_task(device.run())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class EdgeDevice:
    """One device at the edge: its link, its session, its text."""

    def __init__(
        self,
        link: Link,
        model: TargetModel,
        settings: tw.EdgeSettings,
        *,
        rng: np.random.Generator,
        coupling: bytes,
        turn: asyncio.Semaphore,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
        on_round: Callable[[EdgeRound], None] = lambda _: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """``clock``: seconds, for what the device and ``on_round`` are told."""
        self._link = link
        self._clock = clock
        self._session = tw.EdgeSession(settings, coupling=coupling)
        self._text: TargetSession = model.session()
        self._rng = rng
        self._turn = turn
        self._idle_timeout_s = idle_timeout_s
        self._on_round = on_round
        self._timing = False
        # Of a round: the target's row after the last node that was accepted, and the nodes that were.
        self._row: tw.TargetRow | None = None
        self._path: tuple[int, ...] = ()
        self._batch = 0
        self._count = tw.ProposalCount()

    async def run(self) -> None:
        """Serve this device until it leaves, is lost, or breaks the protocol."""
        log.info("%s: connected", self._link.peer)
        try:
            while self._session.state not in (tw.State.CLOSED, tw.State.FAILED):
                await self._step(await self._next_frame())
        except TimeoutError:
            log.info("%s: said nothing for too long", self._link.peer)
            self._session.fail(tw.ErrorCode.OVERLOADED, "idle for too long; connect again to go on")
            await self._flush()
        except LinkClosed as closed:
            log.info("%s", closed)
        except asyncio.CancelledError:
            self._session.fail(tw.ErrorCode.INTERNAL, "the edge is shutting down")
            await self._flush()
            raise
        except Exception:
            # A bug, or the model broke: this device must hear of it, and the others must go on.
            log.exception("%s: the edge failed", self._link.peer)
            self._session.fail(tw.ErrorCode.INTERNAL, "the edge failed; its log says why")
            await self._flush()
        finally:
            await self._link.close()

    async def _next_frame(self) -> bytes:
        # An open link costs its place: who has not said HELLO yet gets seconds, everybody else minutes.
        patience = self._idle_timeout_s
        if self._session.state is tw.State.START:
            patience = min(patience, HELLO_TIMEOUT_S)
        async with asyncio.timeout(patience):
            return await self._link.receive()

    async def _step(self, frame: bytes) -> None:
        started = self._clock()
        try:
            # In a thread: a large frame takes long to decode, and the other devices' heartbeats must go on.
            for event in await asyncio.to_thread(self._session.receive_data, frame):
                await self._handle(event, started)
        except (tw.DecodeError, tw.RemoteProtocolError) as error:
            log.warning("%s: refused: %s", self._link.peer, printable(str(error)))
        except ContextFull as error:
            self._session.fail(tw.ErrorCode.CONTEXT_FULL, str(error))
        await self._flush()

    async def _handle(self, event: tw.Event, started: float) -> None:
        match event:
            case tw.SessionOpened(hello):
                self._timing = hello.extra.get("timing") is True
                log.info("%s: %s, %s", self._link.peer, printable(hello.model) or "unnamed draft model", hello.sampling)
            case tw.PromptReceived():
                await asyncio.to_thread(self._text.set_prefix, list(self._session.prefix))
            case tw.DraftReceived(draft, chosen):
                if chosen is not None:
                    self._text.commit(self._path, chosen)
                    self._learn(hit=True)
                await self._answer(draft, started, lambda: self._decide(draft))
            case tw.MoreAsked(draft, last):
                self._learn(hit=False)
                await self._answer(draft, started, lambda: self._propose(last, event.row))
            case tw.ListReceived(draft, node, q):
                await self._answer(draft, started, lambda: tw.verify_list(draft, node, event.row, q, self._rng))
            case tw.PeerFailed(error):
                log.warning("%s: gave up: %s: %s", self._link.peer, error.name, printable(error.message))
            case _:
                pass

    async def _answer(self, draft: tw.Draft, started: float, decide: Callable[[], tw.Answer]) -> None:
        # One at a time: each holds (1 + nodes) * V floats a few times over.
        async with self._turn:
            answer = await asyncio.to_thread(decide)
        seconds = self._clock() - started
        if self._timing:
            answer = with_verify_time(answer, seconds)
        sent = self._session.send_answer(answer, self._row)
        path = draft.tree.path(sent.node)
        if isinstance(sent, tw.Verdict):
            self._text.commit(path, sent.token)
        elif isinstance(sent, tw.Proposals):
            self._path, self._batch = path, sent.batch
        if isinstance(sent, tw.AskList) or (isinstance(sent, tw.Proposals) and sent.batch):
            return  # the round goes on, or was counted
        self._on_round(EdgeRound(self._link.peer, len(draft.tree), len(path) + 1, seconds))

    def _decide(self, draft: tw.Draft) -> tw.Answer:
        rows = tw.target_rows(self._text.score(draft.tree), self._session.sampling)
        answer = tw.verify(draft, rows, self._rng, coupling=self._session.coupling, proposals=self._count.value)
        self._row = None if isinstance(answer, tw.Verdict) else rows[1 + answer.node]
        return answer

    def _propose(self, last: tw.Proposals, row: tw.TargetRow) -> tw.Proposals:
        return tw.propose(last.round, last.node, row, self._rng, batch=last.batch + 1, count=self._count.most)

    def _learn(self, *, hit: bool) -> None:
        if self._batch == 0:
            self._count.learn(hit)

    async def _flush(self) -> None:
        while frame := self._session.data_to_send():
            try:
                await self._link.send(frame)
            except LinkClosed as closed:
                log.info("%s", closed)
                return
