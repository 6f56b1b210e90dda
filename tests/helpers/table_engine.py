"""An engine in under sixty lines: a table of logits, looked up by the last token, in the place of a model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tslt_runtime.engines.protocol import EngineFacts, Node, Work
from tslt_runtime.engines.text_rules import grown


class TableDraft:
    """A draft model, and its one text: the logits after a token are a row of ``table``, float64 (V, V)."""

    def __init__(self, table: NDArray[np.float64]) -> None:
        self.table, self.vocab_size, self.room = table, len(table), 1 << 20
        self.prefix, self.nodes = list[int](), list[Node]()

    def set_prefix(self, tokens: Sequence[int]) -> None:
        self.prefix, self.nodes = list(tokens), []

    def expand(self, nodes: Sequence[Node]) -> NDArray[np.float64]:
        self.nodes = [*self.nodes, *nodes] if nodes else []
        return self.table[[node.token for node in nodes] or [self.prefix[-1]]]

    def commit(self, path: Sequence[int], token: int) -> None:
        self.prefix, self.nodes = grown(self.prefix, self.nodes, path, token)

    def close(self) -> None:
        self.prefix = []


class PathDraft(TableDraft):
    """One whose logits depend on all of the text, so that a node in a wrong place is another draft."""

    def __init__(self, table: NDArray[np.float64], limit: int = 1 << 20) -> None:
        """``limit``: tokens that it holds."""
        super().__init__(table)
        self.limit = self.room = limit

    def set_prefix(self, tokens: Sequence[int]) -> None:
        super().set_prefix(tokens)
        self.room = self.limit - len(tokens)
        assert self.room >= 0

    def expand(self, nodes: Sequence[Node]) -> NDArray[np.float64]:
        first, rows = len(self.nodes) if nodes else 0, super().expand(nodes)
        paths = [self._path(first + place) for place in range(len(nodes))] or [()]
        assert max(map(len, paths)) <= self.room
        # The last tokens alone: what a model with a short memory sees of a text is the same wherever it begins.
        seen = [[*self.prefix, *path][-4:] for path in paths]
        return rows + np.stack([np.random.default_rng(tokens).normal(size=self.vocab_size) / 2 for tokens in seen])

    def commit(self, path: Sequence[int], token: int) -> None:
        super().commit(path, token)
        self.room = self.limit - len(self.prefix)

    def _path(self, node: int) -> tuple[int, ...]:
        parent, token = self.nodes[node]
        return (*(() if parent < 0 else self._path(parent)), token)


class TableTarget:
    """A target model; a text of it remembers no more than how many tokens it has."""

    class Text:
        length = 0

        def truncate(self, length: int) -> None:
            self.length = length

        def share(self, other: object, length: int) -> None:
            self.length = length

        def commit(self, path: Sequence[int]) -> None:
            self.length += len(path)

        def close(self) -> None: ...

    def __init__(self, table: NDArray[np.float64]) -> None:
        self.table, self.open = table, self.Text
        self.facts = EngineFacts(model="table", vocab_size=len(table), context=1 << 20)

    def score(self, work: Sequence[Work]) -> list[NDArray[np.float64] | None]:
        for item in work:
            item.text.length += len(item.tokens)
        return [None if w.tree is None else self.table[[w.tokens[-1], *w.tree.tokens]] for w in work]
