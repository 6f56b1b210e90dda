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
