"""Rounds on an engine alone: a draft model's text and a target's, without sessions and links."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tslt_wire as tw
from tslt_runtime.drafting import Drafted, DraftSettings, Drawing, commit, draw_tree
from tslt_runtime.engines.protocol import DraftEngine, DraftText, Node, TargetEngine, Work
from tslt_runtime.scored_text import ScoredText


class DraftRounds:
    """A text on a device: ``draft``, then ``commit``."""

    def __init__(self, engine: DraftEngine) -> None:
        self.text: Any = engine.open()
        self._drafted = Drafted(tw.TokenTree([], []), {}, 0)

    @property
    def prefix(self) -> tuple[int, ...]:
        prefix: tuple[int, ...] = self.text.prefix
        return prefix

    @property
    def room(self) -> int:
        room: int = self.text.room
        return room

    def set_prefix(self, tokens: Sequence[int]) -> None:
        self.text.set_prefix(tokens)

    def draft(
        self, expansion: Sequence[int], *, rng: np.random.Generator, **settings: Any
    ) -> tuple[tw.TokenTree, dict[int, tw.SparseDistribution]]:
        drawing = Drawing(rng=rng, position=len(self.prefix))
        self._drafted = draw_tree(self.text, DraftSettings(expansion=tuple(expansion), **settings), drawing)
        return self._drafted.tree, self._drafted.distributions

    def commit(self, path: Sequence[int], token: int) -> None:
        commit(self.text, self._drafted, path, token)
        self._drafted = Drafted(tw.TokenTree([], []), {}, 0)


def text_with_a_tree(engine: DraftEngine) -> DraftText:
    """A text of the prefix 1, 2, 3 whose nodes were run level by level.

    -1 -> 0 (9) -> 2 (7) -> 4 (5)
                -> 3 (8) -> 5 (6)
       -> 1 (4)
    """
    text = engine.open()
    text.set_prefix([1, 2, 3])
    text.expand(())
    text.expand([Node(-1, 9), Node(-1, 4)])
    text.expand([Node(0, 7), Node(0, 8)])
    text.expand([Node(2, 5), Node(3, 6)])
    return text


class TargetRounds:
    """A text at an edge: ``score``, then ``commit``."""

    chunk = 512

    def __init__(self, engine: TargetEngine) -> None:
        self.engine, self.text = engine, ScoredText(engine)
        self._tree = tw.TokenTree([], [])

    @property
    def prefix(self) -> tuple[int, ...]:
        return self.text.prefix

    def set_prefix(self, tokens: Sequence[int]) -> None:
        self.text.set_prefix(tokens)
        self._read()

    def score(self, tree: tw.TokenTree) -> NDArray[Any]:
        self._read(but=self.chunk)
        rows = self._do(self.text.scoring(tree))
        self._tree = tree
        return np.asarray(rows if isinstance(rows, np.ndarray) else rows.float())

    def commit(self, path: Sequence[int], token: int) -> None:
        self.text.set_prefix([*self.prefix, *(self._tree.tokens[node] for node in path), token])
        self._tree = tw.TokenTree([], [])

    def _read(self, but: int = 1) -> None:
        while self.text.unread > but:
            self._do(self.text.reading(self.chunk))

    def _do(self, work: Work) -> Any:
        (rows,) = self.engine.score([work])
        self.text.done(work)
        return rows
