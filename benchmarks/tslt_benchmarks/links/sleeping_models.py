"""Models that take a given time and no processor: tables of logits, looked up by the last token, and a sleep a pass.

So rounds take what they would with models of that speed on machines of their own, however busy this one is.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tslt_runtime.engines.protocol import EngineFacts, Node, Work
from tslt_runtime.engines.text_rules import grown

VOCAB_SIZE = 256
CONTEXT = 1 << 20
PEAKED = 3.0
"""Standard deviation of a target's logits: the likeliest token has .6 of a row, in the mean."""


def made_up_tables(alpha: float, temperature: float, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Logits of a target and of a draft, float64 (V, V), that have ``alpha`` in common at ``temperature``, in the mean.

    ``alpha``: the part of the probability that both give the same tokens, 0 to 1, to .002.
    """
    rng = np.random.default_rng(seed)
    target = rng.normal(size=(VOCAB_SIZE, VOCAB_SIZE)) * PEAKED
    noise = rng.normal(size=target.shape)

    def probabilities(logits: NDArray[np.float64]) -> NDArray[np.float64]:
        p = np.exp((logits - logits.max(1, keepdims=True)) / max(temperature, 1e-6))
        return np.asarray(p / p.sum(1, keepdims=True))

    low, high = 0.0, 2 * PEAKED * 4
    while high - low > 1e-3:
        apart = (low + high) / 2
        common = np.minimum(probabilities(target), probabilities(target + apart * noise)).sum(1).mean()
        low, high = (apart, high) if common > alpha else (low, apart)
    return target, target + low * noise


class SleepingDraft:
    """A draft model's one text (see ``engines.protocol.DraftText``): each pass takes ``pass_s`` seconds."""

    def __init__(self, table: NDArray[np.float64], pass_s: float) -> None:
        """``table``: float64 (V, V)."""
        self._table, self._pass_s = table, pass_s
        self._prefix, self._nodes = list[int](), list[Node]()

    @property
    def vocab_size(self) -> int:
        """See ``DraftText.vocab_size``."""
        return len(self._table)

    @property
    def room(self) -> int:
        """See ``DraftText.room``."""
        return CONTEXT - len(self._prefix)

    def set_prefix(self, tokens: Sequence[int]) -> None:
        """See ``DraftText.set_prefix``."""
        self._prefix, self._nodes = list(tokens), []

    def expand(self, nodes: Sequence[Node]) -> Any:
        """See ``DraftText.expand``; float64 (rows, V)."""
        time.sleep(self._pass_s)
        self._nodes = [*self._nodes, *nodes] if nodes else []
        return self._table[[node.token for node in nodes] or [self._prefix[-1]]]

    def commit(self, path: Sequence[int], token: int) -> None:
        """See ``DraftText.commit``."""
        self._prefix, self._nodes = grown(self._prefix, self._nodes, path, token)

    def close(self) -> None:
        """See ``DraftText.close``."""


class SleepingTarget:
    """A target model (see ``engines.protocol.TargetEngine``): a pass takes a given time, by its rows alone."""

    class Text:
        """A text of it, which is its length."""

        length = 0

        def truncate(self, length: int) -> None:
            """See ``TargetText.truncate``."""
            self.length = length

        def share(self, other: Any, length: int) -> None:
            """See ``TargetText.share``."""
            self.length = length

        def commit(self, path: Sequence[int]) -> None:
            """See ``TargetText.commit``."""
            self.length += len(path)

        def close(self) -> None:
            """See ``TargetText.close``."""

    def __init__(self, table: NDArray[np.float64], pass_s: float, row_s: float = 0.0) -> None:
        """``table``: float64 (V, V).  A pass takes ``pass_s`` seconds, and ``row_s`` for each token and node in it."""
        self._table, self._pass_s, self._row_s, self.open = table, pass_s, row_s, self.Text
        self.facts = EngineFacts(model="made up", vocab_size=len(table), context=CONTEXT)

    def score(self, work: Sequence[Work]) -> list[Any]:
        """See ``TargetEngine.score``; float64 (1 + nodes, V)."""
        rows = sum(len(item.tokens) + (0 if item.tree is None else len(item.tree)) for item in work)
        time.sleep(self._pass_s + self._row_s * rows)
        for item in work:
            item.text.length += len(item.tokens)
        trees = [(item.tokens, item.tree) for item in work]
        return [None if tree is None else self._table[[tokens[-1], *tree.tokens]] for tokens, tree in trees]
