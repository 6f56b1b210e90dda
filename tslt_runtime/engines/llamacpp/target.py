"""A target model of llama.cpp: scores a whole token tree in one call of ``llama_decode``."""

from __future__ import annotations

from collections.abc import Sequence

from tslt_runtime.engines.llamacpp.model import BATCH, LlamaModel
from tslt_runtime.engines.llamacpp.tree_cache import Array, TreeCache, count_leaves
from tslt_runtime.engines.protocol import Work
from tslt_runtime.engines.text_rules import require_path


class LlamaTarget(LlamaModel):
    """A target's weights, shared by all texts of an edge (see ``engines.protocol.TargetEngine``)."""

    def open(self) -> LlamaTargetText:
        """See ``TargetEngine.open``."""
        return LlamaTargetText(self)

    def score(self, work: Sequence[Work]) -> list[Array | None]:
        """See ``TargetEngine.score``: float32, one pass a text.

        Raises ValueError for a tree with more nodes or leaves than ``facts`` says, before anything is computed for it.
        """
        return [item.text.score(item) for item in work]


class LlamaTargetText:
    """The cache of one text (see ``engines.protocol.TargetText``).

    Each text has a context of llama.cpp's for itself: attention runs over all cells of a context, those of other texts
    included, and a failure stays with its text.
    """

    def __init__(self, model: LlamaTarget) -> None:
        """Start with no tokens."""
        self._model = model
        self._cache = TreeCache(model)

    @property
    def length(self) -> int:
        """See ``TargetText.length``."""
        return self._cache.length

    def truncate(self, length: int) -> None:
        """See ``TargetText.truncate``."""
        self._cache.truncate(length)

    def score(self, work: Work) -> Array | None:
        """Append tokens and score a tree; see ``TargetEngine.score``."""
        model, cache, tree = self._model, self._cache, work.tree
        parents = () if tree is None else tree.parents
        nodes = () if tree is None else tree.tokens
        tokens = [int(token) for token in work.tokens]
        model.require_tokens(tokens)
        model.require_tokens(nodes)
        model.require_room(cache.length + len(tokens) + (0 if tree is None else max(tree.depths, default=0)))
        if tree is not None and not tokens:
            raise ValueError("a tree hangs off a token that is appended with it, got none")
        model.require_tree(len(parents), count_leaves(parents))
        cache.truncate(cache.length)
        together = 0 if tree is None else max(1, min(len(tokens), BATCH - len(nodes)))
        last = tokens[len(tokens) - together :]
        for start in range(0, len(tokens) - together, BATCH):
            cache.append(tokens[start : min(start + BATCH, len(tokens) - together)], (), keep=0)
        if tree is None:
            return None
        return cache.append(last, list(zip(parents, nodes, strict=True)), keep=1 + len(nodes))

    def commit(self, path: Sequence[int]) -> None:
        """See ``TargetText.commit``: nothing is computed."""
        require_path(path, self._cache.parents)
        self._cache.commit(path)

    def close(self) -> None:
        """See ``TargetText.close``."""
        self._cache.close()
