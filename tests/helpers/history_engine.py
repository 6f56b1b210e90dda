"""A target whose logits depend on every token of its text, so that a cache that was mixed up shows; it keeps passes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from table_engine import TableDraft

from tslt_runtime.engines.protocol import EngineFacts, Node, Work


class HistoryTarget:
    """Logits are a row of ``table``, float64 (V, V), that a sum over the text picks."""

    class Text:
        def __init__(self, engine: HistoryTarget) -> None:
            self.engine, self.tokens, self.held = engine, list[int](), 0
            self.tree: Any = None
            engine.texts.append(self)

        @property
        def length(self) -> int:
            return len(self.tokens)

        def hold(self, rows: int) -> None:
            self.held = max(self.held, rows)
            self.engine.most_held = max(self.engine.most_held, sum(text.held for text in self.engine.texts))

        def truncate(self, length: int) -> None:
            assert length <= self.length
            del self.tokens[length:]
            self.tree = None

        def commit(self, path: Sequence[int]) -> None:
            self.tokens += [self.tree.tokens[node] for node in path]
            self.tree = None

        def share(self, other: HistoryTarget.Text, length: int) -> None:
            assert self.tokens == other.tokens[: self.length]
            assert self.length <= length <= other.length
            self.tokens, self.tree = other.tokens[:length], None
            self.hold(length)

        def close(self) -> None:
            self.engine.texts.remove(self)

    def __init__(self, table: NDArray[np.float64], *, pass_s: float = 0.0, token_bytes: int = 0) -> None:
        self.table, self.pass_s = table, pass_s
        self.facts = EngineFacts(model="history", vocab_size=len(table), context=1 << 20, token_bytes=token_bytes)
        self.texts: list[HistoryTarget.Text] = []
        self.most_held = 0
        self.passes: list[list[Work]] = []

    def open(self) -> Text:
        return self.Text(self)

    def score(self, work: Sequence[Work]) -> list[NDArray[np.float64] | None]:
        assert len({id(item.text) for item in work}) == len(work)
        self.passes.append(list(work))
        time.sleep(self.pass_s)
        found: list[NDArray[np.float64] | None] = []
        for item in work:
            text, tree = item.text, item.tree
            text.truncate(text.length)
            text.tokens += item.tokens
            text.hold(text.length + (0 if tree is None else len(tree)))
            text.tree = tree
            found.append(
                None if tree is None else np.stack([self.row(text.tokens, tree, n) for n in range(-1, len(tree))])
            )
        return found

    def row(self, tokens: Sequence[int], tree: Any, node: int) -> NDArray[np.float64]:
        path = [*tokens, *(tree.tokens[i] for i in (tree.path(node) if node >= 0 else ()))]
        return row_after(self.table, path)


class HistoryDraft(TableDraft):
    """A draft model of the same sort."""

    def expand(self, nodes: Sequence[Node]) -> NDArray[np.float64]:
        first = len(self.nodes) if nodes else 0
        super().expand(nodes)
        paths = [self._path(first + place) for place in range(len(nodes))] or [()]
        return np.stack([row_after(self.table, [*self.prefix, *path]) for path in paths])

    def _path(self, node: int) -> tuple[int, ...]:
        parent, token = self.nodes[node]
        return (*(() if parent < 0 else self._path(parent)), token)


def row_after(table: NDArray[np.float64], text: Sequence[int]) -> NDArray[np.float64]:
    """Logits, float64 (V,), after ``text``: a row of ``table`` that a sum over all of it picks."""
    row: NDArray[np.float64] = table[sum((at % 7 + 1) * token for at, token in enumerate(text)) % len(table)]
    return row
