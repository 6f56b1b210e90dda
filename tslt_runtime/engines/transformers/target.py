"""A target model of ``transformers``: scores a whole token tree in one pass and keeps the cache of the accepted path.

The last token before the tree is a row of the same pass, so that the row of logits after it comes with the others
(SpecInfer, Miao et al. 2024).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tslt_runtime.engines.protocol import Work
from tslt_runtime.engines.text_rules import require_path
from tslt_runtime.engines.transformers.model import CausalModel
from tslt_runtime.engines.transformers.tree_attention import tree_rows


class TargetModel(CausalModel):
    """A target's weights, shared by all texts of an edge (see ``engines.protocol.TargetEngine``)."""

    def open(self) -> CachedText:
        """See ``TargetEngine.open``."""
        return CachedText(self)

    def score(self, work: Sequence[Work]) -> list[torch.Tensor | None]:
        """See ``TargetEngine.score``: one forward pass a text, logits in the model's dtype and on its device."""
        return [item.text.score(item) for item in work]


class CachedText:
    """The cache of one text (see ``engines.protocol.TargetText``): rows of its tokens, then of the tree scored last."""

    def __init__(self, model: TargetModel) -> None:
        """Start with no tokens."""
        self._model = model
        self._cache = model.new_cache()
        self._length = 0
        self._parents: tuple[int, ...] = ()

    @property
    def length(self) -> int:
        """See ``TargetText.length``."""
        return self._length

    @property
    def cache_bytes(self) -> int:
        """Bytes that keys and values take."""
        return self._cache.nbytes

    def truncate(self, length: int) -> None:
        """See ``TargetText.truncate``; also repairs a cache whose pass was interrupted."""
        self._cache.truncate(length)
        self._length, self._parents = length, ()

    def score(self, work: Work) -> torch.Tensor | None:
        """Append tokens and score a tree; see ``TargetEngine.score``."""
        tree = work.tree
        parents = () if tree is None else tree.parents
        nodes = () if tree is None else tree.tokens
        depth = 0 if tree is None else max(tree.depths, default=0)
        self._model.require_tokens(work.tokens)
        self._model.require_tokens(nodes)
        self._model.require_room(self._length + len(work.tokens) + depth)
        if tree is not None and not work.tokens:
            raise ValueError("a tree hangs off a token that is appended with it, got none")
        self.truncate(self._length)
        if tree is None:
            self._model.prefill(work.tokens, self._cache)
            self._length += len(work.tokens)
            return None
        rows = tree_rows(parents, past=self._length, chain=len(work.tokens))
        logits = self._model.forward_tensor([*work.tokens, *nodes], rows, self._cache, keep=1 + len(nodes))
        self._length += len(work.tokens)
        self._parents = parents
        return logits

    def commit(self, path: Sequence[int]) -> None:
        """See ``TargetText.commit``: nothing is computed."""
        require_path(path, self._parents)
        self._cache.gather(self._length, path)
        self._length += len(path)
        self._parents = ()

    def close(self) -> None:
        """See ``TargetText.close``."""
        self._cache = self._model.new_cache()
        self._length, self._parents = 0, ()
