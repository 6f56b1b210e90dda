"""A verifier on an engine in this process: one pass at a time, first come, first served.

Long prompts are read in chunks, and other devices' rounds come in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import tslt_wire as tw
from tslt_runtime.engines.protocol import TargetEngine, Work
from tslt_runtime.engines.text_rules import checked_prefix, shared_length
from tslt_runtime.verifiers.protocol import Reply, Request, VerifierFacts
from tslt_runtime.worker import Worker
from tslt_wire.checks import integer
from tslt_wire.messages.answers import MOST_PROPOSALS
from tslt_wire.verification.adjustments import Allowed
from tslt_wire.verification.proposals import PROPOSALS

CHUNK = 512
"""Tokens of one pass while a prompt is read: half a second or less on the models that run on a CPU."""


class LocalVerifier:
    """Answers drafts with an engine (see ``verifiers.protocol.Verifier``)."""

    def __init__(
        self,
        engine: TargetEngine,
        *,
        chunk: int = CHUNK,
        proposals: int = PROPOSALS,
        allowed: Allowed | None = None,
    ) -> None:
        """``chunk``: most tokens that are read in one pass; ``proposals``: of one frame, 1 to 256; ValueError for
        others.  ``allowed``: which tokens may follow an output, in every text; see ``tw.SampledText``.

        All are settled here, since an answer may depend on nothing but its request.
        """
        self._allowed = allowed
        self._engine = engine
        self._chunk = integer("chunk", chunk, 1, None)
        self._proposals = integer("proposals", proposals, 1, MOST_PROPOSALS)
        self._worker = Worker("target")
        self.facts = VerifierFacts(engine=engine.facts)

    def open(self) -> ScoredText:
        """See ``Verifier.open``."""
        return ScoredText(self._engine)

    def release(self, text: ScoredText) -> None:
        """See ``Verifier.release``: after what is being computed for it."""
        self._worker.later(text.close)

    async def read(self, text: ScoredText, prefix: tuple[int, ...]) -> None:
        """See ``Verifier.read``."""
        await self._worker.run(text.set_prefix, prefix)
        while text.unread > 1:
            await self._worker.run(text.read, self._chunk)

    async def answer(self, text: ScoredText, request: Request) -> Reply:
        """See ``Verifier.answer``."""
        asked = request.asked
        if isinstance(asked, tw.DraftReceived):
            await self._worker.run(text.set_prefix, request.prefix)
            while text.unread > self._chunk:
                await self._worker.run(text.read, self._chunk)
            return await self._worker.run(self._verify, text, request, asked.draft)
        return await self._worker.run(self._go_on, text, request, asked)

    def _verify(self, text: ScoredText, request: Request, draft: tw.Draft) -> Reply:
        rows = self._rows(text, request, draft.tree)
        answer = tw.verify(draft, rows, request.generator, coupling=request.coupling, proposals=self._proposals)
        if request.log_probs:
            answer = tw.with_log_probs(answer, draft, rows)
        return Reply(answer, None if isinstance(answer, tw.Verdict) else rows[1 + answer.node])

    def _go_on(self, text: ScoredText, request: Request, asked: tw.MoreAsked | tw.ListReceived) -> Reply:
        row, generator = asked.row, request.generator
        if isinstance(asked, tw.MoreAsked):
            if row is None:
                row = self._row_after(text, request)
            last = asked.proposals
            more = tw.propose(last.round, last.node, row, generator, batch=last.batch + 1, count=self._proposals)
            return Reply(tw.with_log_probs(more, asked.draft, None, row) if request.log_probs else more, row)
        draft, node = asked.draft, asked.node
        if row is None:
            tree = draft.tree
            path = tuple(tree.tokens[i] for i in tree.path(node))
            row = self._row_after(text, replace(request, prefix=(*request.prefix, *path)))
        verdict = tw.verify_list(draft, node, row, asked.q, generator)
        return Reply(tw.with_log_probs(verdict, draft, None, row) if request.log_probs else verdict)

    def _rows(self, text: ScoredText, request: Request, tree: tw.TokenTree) -> Any:
        before = request.text(tree, self.facts.engine.eos_tokens, self._allowed)
        return tw.target_rows(text.score(tree), request.sampling, text=before)

    def _row_after(self, text: ScoredText, request: Request) -> Any:
        """The target's row after the prefix, made anew: it was lost, or never here."""
        text.set_prefix(request.prefix)
        return self._rows(text, request, tw.TokenTree([], []))[0]

    def close(self) -> None:
        """See ``Verifier.close``."""
        self._worker.close()


class ScoredText:
    """One device's text: the tokens that both ends agree on, and an engine's cache of a first part of them."""

    def __init__(self, engine: TargetEngine) -> None:
        """Start with no tokens."""
        self._engine = engine
        self._text = engine.open()
        self._prefix: tuple[int, ...] = ()
        self._tree = tw.TokenTree([], [])
        self._scored = False  # whether the cache holds nodes of _tree behind _prefix

    @property
    def prefix(self) -> tuple[int, ...]:
        """The tokens agreed on so far."""
        return self._prefix

    @property
    def unread(self) -> int:
        """Tokens of the prefix that are not cached; the last one is read with the next tree."""
        return len(self._prefix) - self._text.length

    def set_prefix(self, tokens: Sequence[int]) -> None:
        """Continue from ``tokens``; keeps what is cached of them, a path through the last tree included.

        Nothing is computed.  Raises ValueError for no tokens or tokens outside the vocabulary, ContextFull; the text is
        then unchanged.
        """
        facts = self._engine.facts
        fresh = tuple(checked_prefix(tokens, vocab_size=facts.vocab_size, context=facts.context))
        if self._scored and fresh[: len(self._prefix)] == self._prefix:
            self._text.commit(self._path_along(fresh[len(self._prefix) :]))
            self._prefix = fresh[: self._text.length]
        self._scored = False
        self._text.truncate(shared_length(self._prefix[: self._text.length], fresh))
        self._prefix = fresh

    def read(self, most: int) -> None:
        """Read up to ``most`` of the unread tokens, but for the last one."""
        start = self._text.length
        chunk = self._prefix[start : min(start + most, len(self._prefix) - 1)]
        if chunk:
            self._engine.score([Work(self._text, chunk, None)])

    def score(self, tree: tw.TokenTree) -> Any:
        """Raw logits after the prefix and after every node, real (1 + nodes, V); scoring again replaces the tree.

        ValueError before ``set_prefix``; ContextFull.
        """
        if not self._prefix:
            raise ValueError("no prefix yet: call set_prefix first")
        # A pass that is made again needs the row of the last token again.
        self._text.truncate(min(self._text.length, len(self._prefix) - 1))
        self._scored = False
        (rows,) = self._engine.score([Work(self._text, self._prefix[self._text.length :], tree)])
        if rows is None:
            raise RuntimeError("the engine gave no rows for a tree")
        self._tree, self._scored = tree, True
        return rows

    def close(self) -> None:
        """Free the cache."""
        self._text.close()

    def _path_along(self, tokens: Sequence[int]) -> list[int]:
        """Nodes of the last tree that ``tokens`` follow, but for the last token: its row comes with the next tree."""
        path: list[int] = []
        at = -1
        for token in tokens[:-1]:
            child = next((node for node in self._tree.children(at) if self._tree.tokens[node] == token), None)
            if child is None:
                break
            path.append(child)
            at = child
        return path
