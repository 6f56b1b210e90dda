"""A verifier over an inference server: one call a round, and a second one where a token was rejected.

The server is given the text and each path of the draft as a prompt of its own; it shares what they begin with.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import tslt_wire as tw
from tslt_runtime.engines.protocol import EngineFacts
from tslt_runtime.engines.text_rules import require_room
from tslt_runtime.overload import Overloaded
from tslt_runtime.scheduler import Counts, Pass
from tslt_runtime.verifiers.answering import after, answer_draft, answer_follow_up, at_rejection
from tslt_runtime.verifiers.at_work import AtWork
from tslt_runtime.verifiers.protocol import Reply, Request, Spent, VerifierFacts
from tslt_runtime.verifiers.servers.protocol import SETTINGS, InferenceServer, ServerGone
from tslt_runtime.verifiers.servers.rows import SEEDS, ServerRow
from tslt_runtime.worker import Worker
from tslt_wire.checks import integer
from tslt_wire.messages.answers import MOST_PROPOSALS
from tslt_wire.messages.token_tree import PREFIX
from tslt_wire.session.negotiation import OUR_EVIDENCE, takes_only
from tslt_wire.verification.proposals import PROPOSALS

T = TypeVar("T")

BY_DRAWS = ("scalar", "match")
"""Evidence that needs no whole row."""
COME_BACK_S = 5.0
"""When a device may try again whose edge does not reach its server."""
THREADS = 32
"""Calls under way at a time; the server puts them into common passes."""


@dataclass(slots=True, eq=False)
class ServedText:
    """What is known of one device's text here: what it has cost.  The server finds its cache by the tokens."""

    seconds: float = 0.0
    read: int = 0


@dataclass(frozen=True, slots=True)
class Served:
    """What of a device's wishes a server serves exactly; travels without the server."""

    name: str
    most_top_k: int
    """See ``InferenceServer``; and ``differs``."""
    differs: Callable[[tw.Sampling], str | None]

    def refusal(self, sampling: tw.Sampling) -> str | None:
        """See ``VerifierFacts.refusal``."""
        if (said := takes_only(*SETTINGS)(sampling)) is not None:
            return f"{said}: {self.name} is asked for {', '.join(SETTINGS)} alone"
        differs = self.differs(sampling)
        return f"{self.name} applies {differs}" if differs else None

    def evidence_for(self, sampling: tw.Sampling) -> tuple[str, ...]:
        """All kinds where a row has few tokens that the server lists; else those that need no whole row."""
        few = sampling.temperature == 0 or 0 < sampling.top_k <= self.most_top_k
        return OUR_EVIDENCE if few else BY_DRAWS


class ServerVerifier:
    """Answers drafts with an inference server (see ``verifiers.protocol.Verifier``)."""

    def __init__(
        self,
        server: InferenceServer,
        facts: EngineFacts,
        *,
        proposals: int = PROPOSALS,
        on_pass: Callable[[Pass], None] = lambda _: None,
    ) -> None:
        """``facts``: of the model that the server runs; ``proposals``: of one frame, 1 to 256.

        ``on_pass``: told of every round and prompt.

        TypeError or ValueError for others.
        """
        self._server = server
        self._proposals = integer("proposals", proposals, 1, MOST_PROPOSALS)
        self._worker = Worker("server", threads=THREADS)
        self._on_pass = on_pass
        self.counts = Counts()
        """What was asked of the server so far; of its caches nothing is known."""
        self._at_work = AtWork()
        self.waiting = 0
        """Requests that wait for the server."""
        serves = Served(server.name, server.most_top_k, server.differs)
        self.facts = VerifierFacts(engine=facts, refusal=serves.refusal, evidence_for=serves.evidence_for)

    async def turn(self) -> None:
        """Return when the server answers."""
        await self._worker.run(self._server.alive)

    def open(self, name: str = "") -> ServedText:
        """See ``Verifier.open``."""
        return ServedText()

    def release(self, text: ServedText) -> None:
        """See ``Verifier.release``: the server drops its cache when it needs the memory."""

    def spent(self, text: ServedText) -> Spent:
        """See ``Verifier.spent``: seconds of calls, which others share."""
        return Spent(seconds=text.seconds, tokens=text.read)

    async def read(self, text: ServedText, prefix: tuple[int, ...]) -> None:
        """See ``Verifier.read``."""
        require_room(len(prefix) + 1, self._server.context)
        await self._timed(text, len(prefix), self._read, prefix)
        text.read += len(prefix)
        self.counts.prefilled += len(prefix)

    async def answer(self, text: ServedText, request: Request) -> Reply:
        """See ``Verifier.answer``.  Raises Overloaded where the server does not answer."""
        asked = request.asked
        depth = max(asked.draft.tree.depths, default=0) if isinstance(asked, tw.DraftReceived) else 0
        require_room(len(request.prefix) + depth + 1, self._server.context)
        rows = 1 + len(asked.draft.tree) if isinstance(asked, tw.DraftReceived) else 1
        with self._at_work.on(text) as met:
            reply = await self._timed(text, rows, self._answer, request)
        self.counts.rounds += isinstance(asked, tw.DraftReceived)
        return replace(reply, others=met.others)

    def close(self) -> None:
        """See ``Verifier.close``."""
        self._worker.close()
        self._server.close()

    async def _timed(self, text: ServedText, rows: int, function: Callable[..., T], *arguments: Any) -> T:
        started = time.perf_counter()
        self.waiting += 1
        try:
            return await self._worker.run(function, *arguments)
        except ServerGone as error:
            raise Overloaded(f"{self._server.name} does not answer: {error}", retry_after_s=COME_BACK_S) from error
        finally:
            took = time.perf_counter() - started
            self.waiting -= 1
            text.seconds += took
            self.counts.passes += 1
            self.counts.texts += 1
            self.counts.rows += rows
            self.counts.pass_s += took
            self._on_pass(Pass(1, rows, took, (0.0,)))

    def _read(self, prefix: Sequence[int]) -> None:
        self._server.listed([prefix], tw.Sampling(temperature=0.0), (), 0)

    def _answer(self, request: Request) -> Reply:
        asked = request.asked
        if isinstance(asked, tw.DraftReceived):
            return Reply(answer_draft(request, asked, self._rows(request, asked.draft.tree), proposals=self._proposals))
        # Rows are asked for again and not kept: what is left of a server's draws would make the answer another one than
        # that of an edge which has just come up.
        (row,) = self._rows(at_rejection(request, asked), tw.TokenTree([], []))
        return Reply(answer_follow_up(request, asked, row, proposals=self._proposals))

    def _rows(self, request: Request, tree: tw.TokenTree) -> list[ServerRow]:
        """Rows after the prefix and after every node of ``tree``."""
        prompts = [after(request, tree, node).prefix for node in range(PREFIX, len(tree))]
        seed = int(request.generator.random() * SEEDS)
        found = self._server.listed(prompts, request.sampling, sorted(set(tree.tokens)), seed)
        size = self.facts.engine.vocab_size
        return [
            ServerRow(self._server, prompt, request.sampling, listed, vocab_size=size, draws=self._proposals)
            for prompt, listed in zip(prompts, found, strict=True)
        ]
