"""A draft model of llama.cpp: appends the nodes of a token tree, one call of ``llama_decode`` each time."""

from __future__ import annotations

from collections.abc import Sequence

from tslt_runtime.engines.llamacpp.context import Array
from tslt_runtime.engines.llamacpp.model import BATCH, LlamaModel
from tslt_runtime.engines.llamacpp.tree_cache import TreeCache, count_leaves
from tslt_runtime.engines.protocol import Node
from tslt_runtime.engines.text_rules import checked_prefix, kept_nodes, shared_length


class LlamaDraft(LlamaModel):
    """A draft's weights, shared by any number of texts (see ``engines.protocol.DraftEngine``)."""

    default_leaves = 16  # of nodes that are run: the leaves of a draft are not, so <2,2,2,2,2> fits

    def open(self) -> LlamaDraftText:
        """See ``DraftEngine.open``."""
        return LlamaDraftText(self)


class LlamaDraftText:
    """One text on a device (see ``engines.protocol.DraftText``).

    Nodes are there only behind a prefix that is cached to its end.
    """

    def __init__(self, model: LlamaDraft) -> None:
        """Start with no text; ``set_prefix`` comes first."""
        self._model = model
        self._cache = TreeCache(model)
        self._prefix: list[int] = []

    @property
    def vocab_size(self) -> int:
        """See ``DraftText.vocab_size``."""
        return self._model.vocab_size

    @property
    def prefix(self) -> tuple[int, ...]:
        """The tokens agreed on so far."""
        return tuple(self._prefix)

    @property
    def room(self) -> int:
        """See ``DraftText.room``."""
        return self._model.context_limit - len(self._prefix)

    def set_prefix(self, tokens: Sequence[int]) -> None:
        """See ``DraftText.set_prefix``."""
        fresh = checked_prefix(tokens, vocab_size=self.vocab_size, context=self._model.context_limit)
        shared = shared_length(self._prefix[: self._cache.length], fresh)
        self._cache.truncate(shared)
        self._prefix = fresh
        self._read_up_to(len(fresh) - 1)

    def expand(self, nodes: Sequence[Node]) -> Array:
        """See ``DraftText.expand``; float32 (rows, V).  Nodes with children are no leaves; ``facts`` has the limits."""
        cache = self._cache
        if not nodes:
            return self._row_after_prefix()
        if not self._prefix or cache.length < len(self._prefix):
            raise ValueError("expand(()) comes first: it reads the prefix, and starts a draft")
        self._model.require_tokens([node.token for node in nodes])
        parents = [*cache.parents, *(node.parent for node in nodes)]
        for node, parent in enumerate(parents[len(cache.parents) :], len(cache.parents)):
            if not -1 <= parent < node:
                raise ValueError(f"node {node} has parent {parent}, which does not come before it")
        deepest = cache.deepest(parents)
        self._model.require_room(len(self._prefix) + deepest)
        self._model.require_tree(len(parents), count_leaves(parents))
        return cache.append((), nodes, keep=len(nodes))

    def commit(self, path: Sequence[int], token: int) -> None:
        """See ``DraftText.commit``."""
        tokens = self._cache.tokens
        kept, below = kept_nodes(path, token, tokens, self._cache.parents)
        self._model.require_tokens([token])
        grown = [*(tokens[node] for node in path), int(token)]
        self._cache.commit(kept, below)
        self._prefix += grown

    def close(self) -> None:
        """See ``DraftText.close``."""
        self._cache.close()
        self._prefix = []

    def _row_after_prefix(self) -> Array:
        if not self._prefix:
            raise ValueError("no prefix yet: call set_prefix first")
        self._model.require_room(len(self._prefix))
        # The logits of the last token are not kept: its row is made again.
        self._cache.truncate(min(self._cache.length, len(self._prefix) - 1))
        if len(self._prefix) - self._cache.length > BATCH:
            self._read_up_to(len(self._prefix) - 1)
        return self._cache.append(self._prefix[self._cache.length :], (), keep=1)

    def _read_up_to(self, length: int) -> None:
        while self._cache.length < length:
            start = self._cache.length
            self._cache.append(self._prefix[start : min(start + BATCH, length)], (), keep=0)
