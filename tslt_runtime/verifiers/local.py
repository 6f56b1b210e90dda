"""A verifier on an engine in this process.

The scheduler runs the model, and threads beside it compare drafts with its rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import tslt_wire as tw
from tslt_runtime.engines.protocol import TargetEngine
from tslt_runtime.limits import DEFAULT_LIMITS, EdgeLimits
from tslt_runtime.pass_plan import Place
from tslt_runtime.scheduler import Counts, Pass, Scheduler, timed
from tslt_runtime.verifiers.answering import after, answer_draft, answer_follow_up, at_rejection
from tslt_runtime.verifiers.at_work import AtWork
from tslt_runtime.verifiers.joint import Part, joined
from tslt_runtime.verifiers.protocol import Reply, Request, Spent, VerifierFacts
from tslt_wire.checks import integer
from tslt_wire.messages.answers import MOST_PROPOSALS
from tslt_wire.verification.adjustments import Allowed
from tslt_wire.verification.proposals import PROPOSALS


@dataclass(frozen=True, slots=True)
class _Scored:
    """A draft that follows, and its raw logits, real (1 + nodes, V)."""

    part: Part
    logits: Any


class LocalVerifier:
    """Answers drafts with an engine (see ``verifiers.protocol.Verifier``)."""

    def __init__(
        self,
        engine: TargetEngine,
        *,
        limits: EdgeLimits = DEFAULT_LIMITS,
        proposals: int = PROPOSALS,
        allowed: Allowed | None = None,
        on_pass: Callable[[Pass], None] = lambda _: None,
    ) -> None:
        """``limits``: of the scheduler; ``proposals``: of one frame, 1 to 256.  ``allowed``: which tokens may follow an
        output, in every text; see ``tw.SampledText``.  ``on_pass``: told of every pass of the model.

        TypeError or ValueError for others.  ``proposals`` and ``allowed`` are settled here, since an answer may depend
        on nothing but its request.
        """
        self._allowed = allowed
        self._scored: WeakKeyDictionary[Place, list[_Scored]] = WeakKeyDictionary()  # of drafts that are to come
        self._at_work = AtWork()
        self._proposals = integer("proposals", proposals, 1, MOST_PROPOSALS)
        self._scheduler = Scheduler(engine, limits, on_pass=on_pass)
        self.facts = VerifierFacts(engine=self._scheduler.facts)

    @property
    def counts(self) -> Counts:
        """What the scheduler has done so far."""
        return self._scheduler.counts

    @property
    def waiting(self) -> int:
        """Requests that wait for rows, those of the pass under way included."""
        return self._scheduler.waiting

    async def turn(self) -> None:
        """Return when the model's thread answers; for who watches over it."""
        await self._scheduler.turn()

    def open(self, name: str = "") -> Place:
        """See ``Verifier.open``; here the handle is all that finds a cache."""
        return self._scheduler.open()

    def release(self, text: Place) -> None:
        """See ``Verifier.release``: after what is being computed for it."""
        self._scheduler.release(text)

    def spent(self, text: Place) -> Spent:
        """See ``Verifier.spent``."""
        return Spent(seconds=text.passes_s + text.made_s, tokens=text.read)

    async def read(self, text: Place, prefix: tuple[int, ...]) -> None:
        """See ``Verifier.read``."""
        await self._scheduler.read(text, prefix)

    async def answer(self, text: Place, request: Request) -> Reply:
        """See ``Verifier.answer``."""
        with self._at_work.on(text) as met:
            reply = await self._reply(text, request)
        return replace(reply, others=met.others, row_s=self._scheduler.row_s)

    async def _reply(self, text: Place, request: Request) -> Reply:
        asked = request.asked
        scored = self._scored.pop(text, [])
        if isinstance(asked, tw.DraftReceived):
            return await self._answer(text, request, asked, scored)
        row = asked.row
        if row is None:  # it was lost, or never here
            request = at_rejection(request, asked)
            row = self._row(request, await self._scheduler.score(text, request.prefix, tw.TokenTree([], [])))
        return await self._scheduler.beside.run(timed, text, self._go_on, request, asked, row)

    async def _answer(self, text: Place, request: Request, asked: tw.DraftReceived, scored: list[_Scored]) -> Reply:
        """The answer to a draft; ``scored``: rows of drafts that this one may be the first of."""
        prefix, draft = request.prefix, asked.draft
        if scored and scored[0].part.prefix == prefix and scored[0].part.tree == draft.tree:
            reply: Reply = await self._scheduler.beside.run(timed, text, self._verify, request, asked, scored[0].logits)
            self._scored[text] = scored[1:] if _goes_on(draft, reply) else []
            return replace(reply, scored_before=True)
        tree, (_, *later) = joined(
            prefix, (draft, *request.following), self.facts.engine, self._scheduler.most_nodes(len(draft.tree))
        )
        # Random numbers are made while the model computes: two turns from now the scheduler has started it.
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, request.numbers)

        def verify(logits: Any) -> tuple[Reply, list[_Scored]]:
            reply = self._verify(request, asked, logits[: 1 + len(draft.tree)])
            # Copies: those of all texts of the pass would be kept with them.
            kept = later if _goes_on(draft, reply) else []
            return reply, [_Scored(part, logits[list(part.rows)]) for part in kept]

        reply, self._scored[text] = await self._scheduler.score(text, prefix, tree, verify)
        return reply

    def _verify(self, request: Request, asked: tw.DraftReceived, logits: Any) -> Reply:
        draft = asked.draft
        rows = self._rows(request, draft.tree, logits)
        answer = answer_draft(request, asked, rows, proposals=self._proposals)
        if isinstance(answer, tw.Verdict):
            return Reply(answer)
        # A copy: the row is kept until the round is over, and would keep the logits of all texts of its pass.
        return Reply(answer, self._row(after(request, draft.tree, answer.node), _copied(logits[1 + answer.node])))

    def _go_on(self, request: Request, asked: tw.MoreAsked | tw.ListReceived, row: Any) -> Reply:
        answer = answer_follow_up(request, asked, row, proposals=self._proposals)
        return Reply(answer, row if isinstance(answer, tw.Proposals) else None)

    def _rows(self, request: Request, tree: tw.TokenTree, logits: Any) -> Any:
        """Rows of ``logits``, real (1 + nodes, V), with the settings in force and the text before them."""
        # A text is gone through token by token: only where a row depends on it.
        needed = request.sampling.needs_text or self._allowed is not None
        text = request.text(tree, self.facts.engine.eos_tokens, self._allowed) if needed else None
        return tw.target_rows(logits, request.sampling, text=text)

    def _row(self, request: Request, logits: Any) -> Any:
        """The one row after ``request.prefix``, of ``logits``, real (1, V)."""
        return self._rows(request, tw.TokenTree([], []), logits)[0]

    def close(self) -> None:
        """See ``Verifier.close``."""
        self._scheduler.close()


def _goes_on(draft: tw.Draft, reply: Reply) -> bool:
    """Whether a draft that follows keeps its ground."""
    answer = reply.answer
    return draft.goes_on and isinstance(answer, tw.Verdict) and answer.node == draft.whole[-1]


def _copied(row: Any) -> Any:
    """(1, V) of one row of logits, an array or a tensor, in memory of its own."""
    copy = getattr(row, "clone", None) or row.copy
    return copy()[None]
