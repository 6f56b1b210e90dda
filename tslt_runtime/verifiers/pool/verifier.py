"""The gateway's side of a pool: a verifier whose model runs in replicas elsewhere.

A replica that dies costs a prefill and never a token: an answer is a function of its request, so that another replica
gives the same one.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from tslt_transports.rates import LimitedLog

import tslt_wire as tw
from tslt_runtime.engines.protocol import EngineError
from tslt_runtime.overload import Overloaded
from tslt_runtime.scheduler import Counts, Pass
from tslt_runtime.verifiers.pool.protocol import Call, Offer, Pool, ReplicaLost, Told
from tslt_runtime.verifiers.protocol import Reply, Request, Spent
from tslt_wire import checks

T = TypeVar("T")

log = logging.getLogger("tslt.edge")
caused = LimitedLog(log)

PATIENCE_S = 20.0
"""Seconds for which a call is made again after a replica was lost; less than devices wait for an edge.  Where another
one has to start, they come back."""
COME_BACK_S = 2.0
"""When a device may try again after that."""
FIRST_PAUSE_S, MOST_PAUSE_S = 0.02, 0.5
"""Seconds before the first call that is made again, twice as many before each one after it, up to the second."""
STUCK_S = 120.0
"""Seconds after which a replica that says nothing counts as lost: longer than any prompt takes."""
HOLDER_BYTES = 8
"""Of what tells a gateway's handle of a text from all others."""


@dataclass(slots=True)
class PooledText:
    """A gateway's handle of a text: its names, and what it has cost."""

    name: str
    holder: str
    seconds: float = 0.0
    read: int = 0


class PoolVerifier:
    """Answers drafts with a pool of replicas (see ``verifiers.protocol.Verifier``)."""

    def __init__(
        self,
        pool: Pool,
        offer: Offer,
        *,
        patience_s: float = PATIENCE_S,
        stuck_s: float = STUCK_S,
        on_pass: Callable[[Pass], None] = lambda _: None,
    ) -> None:
        """``offer``: what the replicas serve, see ``connect``.  ``patience_s``, ``stuck_s``: see ``PATIENCE_S`` and
        ``STUCK_S``.  ``on_pass``: told of every call.

        TypeError or ValueError for others.
        """
        self._pool, self._offer, self._digest = pool, offer, offer.digest
        self._patience_s = checks.number("patience_s", patience_s, 0, None)
        self._stuck_s = checks.number("stuck_s", stuck_s, 0, None, above_low=True)
        self._on_pass = on_pass
        self.facts = offer.facts
        self.counts = Counts()
        """What was asked of the replicas; of their caches nothing is known here."""
        self.waiting = 0
        """Calls under way."""
        self.again = 0
        """Calls that were made again, since a replica was lost."""

    @property
    def offer(self) -> Offer:
        """What the replicas serve: vocabulary and chat template, too."""
        return self._offer

    async def turn(self) -> None:
        """Return when a replica answers; raises ReplicaLost."""
        await self._pool.turn()

    def open(self, name: str = "") -> PooledText:
        """See ``Verifier.open``: gateways that call a text the same find the same replica, and its cache."""
        return PooledText(name or secrets.token_hex(HOLDER_BYTES), secrets.token_hex(HOLDER_BYTES))

    def release(self, text: PooledText) -> None:
        """See ``Verifier.release``; where that is not heard the replica drops the text when it needs the memory."""
        self._pool.release(Call(text.name, text.holder))

    def spent(self, text: PooledText) -> Spent:
        """See ``Verifier.spent``: what the replicas say."""
        return Spent(seconds=text.seconds, tokens=text.read)

    async def read(self, text: PooledText, prefix: tuple[int, ...]) -> None:
        """See ``Verifier.read``.  Raises Overloaded where no replica answers."""
        await self._ask(text, "read", Call(text.name, text.holder, prefix=prefix), len(prefix))

    async def answer(self, text: PooledText, request: Request) -> Reply:
        """See ``Verifier.answer``.  Raises Overloaded where no replica answers."""
        asked = request.asked
        rows = 1
        if isinstance(asked, tw.DraftReceived):
            rows += len(asked.draft.tree)
        else:
            # Rows stay where they were made: a replica has its own, or makes it anew.
            request = replace(request, asked=replace(asked, row=None))
        told = await self._ask(text, "answer", Call(text.name, text.holder, request=request), rows)
        self.counts.rounds += isinstance(asked, tw.DraftReceived)
        if told.reply is None:
            raise EngineError(f"a replica gave no answer: {told!r}")
        return told.reply

    def close(self) -> None:
        """See ``Verifier.close``; the replicas go on."""
        self._pool.close()

    async def _ask(self, text: PooledText, method: str, call: Call, rows: int) -> Told:
        started = time.perf_counter()
        self.waiting += 1
        try:
            told = await patiently(
                lambda: self._pool.call(method, call), self._patience_s, stuck_s=self._stuck_s, again=self._count_again
            )
        except ReplicaLost as error:
            raise Overloaded(f"no replica of the target answers: {error}", retry_after_s=COME_BACK_S) from error
        finally:
            took = time.perf_counter() - started
            self.waiting -= 1
            self.counts.passes += 1
            self.counts.texts += 1
            self.counts.rows += rows
            self.counts.pass_s += took
            self._on_pass(Pass(1, rows, took, (0.0,)))
        if told.offer != self._digest:
            raise EngineError("the replicas serve another model than when this gateway started: start it again")
        text.seconds += told.spent.seconds
        text.read += told.spent.tokens
        self.counts.prefilled += told.spent.tokens
        if told.error is not None:
            raise told.error
        return told

    def _count_again(self, error: ReplicaLost) -> None:
        self.again += 1
        caused.warning("a replica was lost, asking again: %s", error)


async def connect(
    pool: Pool,
    *,
    start_s: float = PATIENCE_S,
    patience_s: float = PATIENCE_S,
    stuck_s: float = STUCK_S,
    on_pass: Callable[[Pass], None] = lambda _: None,
) -> PoolVerifier:
    """A verifier over the replicas of ``pool``, once one of them has said what it serves.

    Raises ReplicaLost where none does within ``start_s`` seconds.  All else: see ``PoolVerifier``.
    """
    offer = await patiently(pool.offer, start_s, stuck_s=start_s)
    return PoolVerifier(pool, offer, patience_s=patience_s, stuck_s=stuck_s, on_pass=on_pass)


async def patiently(
    ask: Callable[[], Awaitable[T]],
    patience_s: float,
    *,
    stuck_s: float,
    again: Callable[[ReplicaLost], None] = lambda _: None,
) -> T:
    """What ``ask`` returns, asked again while it raises ReplicaLost, for ``patience_s`` seconds after the first time.

    ``stuck_s``: for how long one call may say nothing; ``again``: told before each time.
    """
    deadline, pause = None, FIRST_PAUSE_S
    while True:
        try:
            async with asyncio.timeout(stuck_s):
                return await ask()
        except TimeoutError:
            lost = ReplicaLost(f"it said nothing for {stuck_s:g} s")
        except ReplicaLost as error:
            lost = error
        now = time.monotonic()
        deadline = now + patience_s if deadline is None else deadline
        if now + pause > deadline:
            raise lost
        again(lost)
        await asyncio.sleep(pause)
        pause = min(MOST_PAUSE_S, 2 * pause)
