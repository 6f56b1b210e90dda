"""A target model of ``transformers``: scores a whole token tree in one pass and keeps the cache of the accepted path.

The last token before the tree is a row of the same pass, so that the row of logits after it comes with the others
(SpecInfer, Miao et al. 2024).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tslt_runtime.engines.protocol import Work
from tslt_runtime.engines.text_rules import require_path
from tslt_runtime.engines.transformers.model import CausalModel, PassRows
from tslt_runtime.engines.transformers.tree_attention import tree_rows


class TargetModel(CausalModel):
    """A target's weights, shared by all texts of an edge (see ``engines.protocol.TargetEngine``)."""

    def open(self) -> CachedText:
        """See ``TargetEngine.open``."""
        return CachedText(self)

    def score(self, work: Sequence[Work]) -> list[torch.Tensor | None]:
        """See ``TargetEngine.score``: one forward pass for all texts, logits in the model's dtype and on its device.

        The logits of a pass share memory: who keeps a row for long copies it.
        """
        rows = [item.text.rows_of(item) for item in work]  # an error here comes before anything is computed
        wanted = [(item, text) for item, text in zip(work, rows, strict=True) if text.tokens]
        logits = iter(self.forward_texts([text for _, text in wanted]) if wanted else [])
        for item, _ in wanted:
            item.text.appended(item)
        found = [next(logits) if text.tokens else None for text in rows]
        return [None if item.tree is None else own for item, own in zip(work, found, strict=True)]


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

    def rows_of(self, work: Work) -> PassRows:
        """What a pass has to do; errors are those of ``TargetEngine.score``."""
        tree = work.tree
        parents = () if tree is None else tree.parents
        nodes = () if tree is None else tree.tokens
        self._model.require_tokens(work.tokens)
        self._model.require_tokens(nodes)
        self._model.require_room(self._length + len(work.tokens) + (0 if tree is None else max(tree.depths, default=0)))
        if tree is not None and not work.tokens:
            raise ValueError("a tree hangs off a token that is appended with it, got none")
        self.truncate(self._length)
        rows = tree_rows(parents, past=self._length, chain=max(1, len(work.tokens)))
        return PassRows([*work.tokens, *nodes], rows, self._cache, 0 if tree is None else 1 + len(nodes))

    def appended(self, work: Work) -> None:
        """Note that a pass did ``work``."""
        self._length += len(work.tokens)
        self._parents = () if work.tree is None else work.tree.parents

    def commit(self, path: Sequence[int]) -> None:
        """See ``TargetText.commit``: nothing is computed."""
        require_path(path, self._parents)
        self._cache.gather(self._length, path)
        self._length += len(path)
        self._parents = ()

    def share(self, other: CachedText, length: int) -> None:
        """See ``TargetText.share``: the rows are copied."""
        self.truncate(self._length)
        self._cache.copy_from(other._cache, self._length, length)
        self._length = length

    def close(self) -> None:
        """See ``TargetText.close``."""
        self._cache = self._model.new_cache()
        self._length, self._parents = 0, ()
