"""A draft model of a table that sees more of a text than its last token, and holds no more than so many."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from table_engine import TableDraft

from tslt_runtime.engines.protocol import Node


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
