"""A verifier on an engine in this process.

The scheduler runs the model, and threads beside it compare drafts with its rows.
"""

from __future__ import annotations

from typing import Any

import tslt_wire as tw
from tslt_runtime.engines.protocol import TargetEngine
from tslt_runtime.limits import EdgeLimits
from tslt_runtime.pass_plan import Place
from tslt_runtime.scheduler import Counts, Scheduler
from tslt_runtime.verifiers.protocol import Reply, Request, VerifierFacts
from tslt_runtime.worker import Worker
from tslt_wire.checks import integer
from tslt_wire.messages.answers import MOST_PROPOSALS
from tslt_wire.verification.proposals import PROPOSALS


class LocalVerifier:
    """Answers drafts with an engine (see ``verifiers.protocol.Verifier``)."""

    def __init__(self, engine: TargetEngine, *, limits: EdgeLimits | None = None, proposals: int = PROPOSALS) -> None:
        """``limits``: of the scheduler; ``proposals``: of one frame, 1 to 256.

        TypeError or ValueError for others.  ``proposals`` is settled here, since an answer may depend on nothing but
        its request.
        """
        limits = EdgeLimits() if limits is None else limits
        self._proposals = integer("proposals", proposals, 1, MOST_PROPOSALS)
        self._scheduler = Scheduler(engine, limits)
        self._verifying = Worker("verify", threads=limits.verify_threads)
        self.facts = VerifierFacts(engine=self._scheduler.facts)

    @property
    def counts(self) -> Counts:
        """What the scheduler has done so far."""
        return self._scheduler.counts

    def open(self) -> Place:
        """See ``Verifier.open``."""
        return self._scheduler.open()

    def release(self, text: Place) -> None:
        """See ``Verifier.release``: after what is being computed for it."""
        self._scheduler.release(text)

    async def read(self, text: Place, prefix: tuple[int, ...]) -> None:
        """See ``Verifier.read``."""
        await self._scheduler.read(text, prefix)

    async def answer(self, text: Place, request: Request) -> Reply:
        """See ``Verifier.answer``."""
        asked = request.asked
        if isinstance(asked, tw.DraftReceived):
            logits = await self._scheduler.score(text, request.prefix, asked.draft.tree)
            return await self._verifying.run(self._verify, request, asked.draft, logits)
        row = asked.row
        if row is None:  # it was lost, or never here
            tokens = request.prefix
            if isinstance(asked, tw.ListReceived):
                tree = asked.draft.tree
                tokens = (*tokens, *(tree.tokens[node] for node in tree.path(asked.node)))
            logits = await self._scheduler.score(text, tokens, tw.TokenTree([], []))
            row = tw.target_rows(logits, request.sampling)[0]
        return await self._verifying.run(self._go_on, request, asked, row)

    def _verify(self, request: Request, draft: tw.Draft, logits: Any) -> Reply:
        rows = tw.target_rows(logits, request.sampling)
        answer = tw.verify(draft, rows, request.generator, coupling=request.coupling, proposals=self._proposals)
        if isinstance(answer, tw.Verdict):
            return Reply(answer)
        # A copy: the row is kept until the round is over, and would keep the logits of all texts of its pass.
        return Reply(answer, tw.target_rows(_copied(logits[1 + answer.node]), request.sampling)[0])

    def _go_on(self, request: Request, asked: tw.MoreAsked | tw.ListReceived, row: Any) -> Reply:
        if isinstance(asked, tw.MoreAsked):
            last = asked.proposals
            batch, count = last.batch + 1, self._proposals
            return Reply(tw.propose(last.round, last.node, row, request.generator, batch=batch, count=count), row)
        return Reply(tw.verify_list(asked.draft, asked.node, row, asked.q, request.generator))

    def close(self) -> None:
        """See ``Verifier.close``."""
        self._scheduler.close()
        self._verifying.close()


def _copied(row: Any) -> Any:
    """(1, V) of one row of logits, an array or a tensor, in memory of its own."""
    copy = getattr(row, "clone", None) or row.copy
    return copy()[None]
