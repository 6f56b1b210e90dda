"""The edge's model: scores a whole token tree in one pass and keeps the cache of the path that was accepted.

The cache holds every token of the prefix but the last; that one is the root row of the pass, so that the first row of
logits comes with the others (SpecInfer, Miao et al. 2024).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

import tslt_wire as tw
from tslt_runtime.engines.transformers.model import ContextFull, LlamaModel, ModelError, TextSession, require_path
from tslt_runtime.engines.transformers.tree_attention import tree_rows

__all__ = ["ContextFull", "ModelError", "TargetModel", "TargetSession"]


class TargetModel(LlamaModel):
    """The target's weights, shared by all sessions of an edge; one pass runs at a time (see ``LlamaModel``)."""

    def session(self) -> TargetSession:
        """Return a new session with no text."""
        return TargetSession(self)


class TargetSession(TextSession):
    """One device's text at the edge.  A round is ``score`` and then ``commit``; ``set_prefix`` starts or
    resynchronises.

    Holds the cache of one text (``cache_bytes``), freed with the object.  Not for two threads at once.
    """

    def __init__(self, model: TargetModel) -> None:
        """Start with no text."""
        super().__init__(model)
        self._tree: tw.TokenTree | None = None

    def score(self, tree: tw.TokenTree) -> NDArray[np.float32]:
        """Return the raw logits after the prefix (row 0) and after every node i (row 1 + i), float32 (1 + nodes, V).

        One forward pass; the prefix is not computed again.  An empty tree is a plain decoding step.  Scoring again
        without a commit replaces the tree.  Raises ContextFull if the deepest node needs a position the model does
        not have, ValueError for foreign token ids or before ``set_prefix``; the session is then unchanged.
        """
        self._model.require_tokens(tree.tokens)
        self._model.require_room(len(self._prefix) + max(tree.depths, default=0))
        pending = self._begin_round()
        rows = tree_rows(tree.parents, past=self._settled, chain=len(pending))
        logits = self._model.forward([*pending, *tree.tokens], rows, self._cache, keep=1 + len(tree))
        self._settled += len(pending) - 1
        self._tree = tree
        return logits

    def commit(self, path: Sequence[int], token: int) -> None:
        """Append the accepted tokens: those of ``path``, nodes of the scored tree top down, and ``token``.

        Keeps the cache rows of the path and drops those of every other branch: nothing is computed.  Without a scored
        tree only the empty path will do.  Raises ValueError for anything that is no path from the root, or a foreign
        token; the session is then unchanged.
        """
        tree = self._tree
        require_path(path, () if tree is None else tree.parents)
        self._model.require_tokens([token])
        if tree is not None:
            # Row 0 behind the settled ones is the root, row 1 + i is node i.
            self._cache.gather(self._settled, [0, *(1 + node for node in path)])
            self._settled += 1 + len(path)
            self._prefix.extend(tree.tokens[node] for node in path)
        self._prefix.append(int(token))
        self._end_round()

    def _end_round(self) -> None:
        self._tree = None
