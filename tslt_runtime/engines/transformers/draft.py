"""A draft model of ``transformers``: appends the nodes of a token tree level by level, one forward pass a level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tslt_runtime.engines.protocol import Node
from tslt_runtime.engines.text_rules import checked_prefix, grown, kept_nodes, shared_length
from tslt_runtime.engines.transformers.model import PREFILL_CHUNK, CausalModel
from tslt_runtime.engines.transformers.tree_attention import level_rows, tree_rows


class DraftModel(CausalModel):
    """A draft's weights, shared by any number of texts (see ``engines.protocol.DraftEngine``)."""

    def open(self) -> CachedDraft:
        """See ``DraftEngine.open``."""
        return CachedDraft(self)


class CachedDraft:
    """One text on a device (see ``engines.protocol.DraftText``).

    Between two calls the first ``_cached`` rows of the cache are those of ``prefix[:_cached]``; only behind a prefix
    that is cached to its end are there rows of nodes, in their order.
    """

    def __init__(self, model: DraftModel) -> None:
        """Start with no text; ``set_prefix`` comes first."""
        self._model = model
        self._cache = model.new_cache()
        self._prefix: list[int] = []
        self._cached = 0
        self._nodes: list[Node] = []

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
        shared = shared_length(self._prefix[: self._cached], fresh)
        self._rewind(shared)
        self._prefix = fresh
        self._read_up_to(len(fresh) - 1)

    def expand(self, nodes: Sequence[Node]) -> Any:
        """See ``DraftText.expand``; float32 (rows, V)."""
        if not nodes:
            return self._row_after_prefix()
        if not self._prefix or self._cached < len(self._prefix):
            raise ValueError("expand(()) comes first: it reads the prefix, and starts a draft")
        first = len(self._nodes)
        parents = [node.parent for node in (*self._nodes, *nodes)]
        self._model.require_tokens([node.token for node in nodes])
        rows = level_rows(parents, first=first, past=len(self._prefix))
        self._model.require_room(int(rows.positions.max()) + 1)
        # Also after a pass that was interrupted: layers that ran before hold rows that the others lack.
        self._cache.truncate(self._cached + first)
        logits = self._model.forward([node.token for node in nodes], rows, self._cache, keep=len(nodes))
        self._nodes.extend(nodes)
        return logits

    def commit(self, path: Sequence[int], token: int) -> None:
        """See ``DraftText.commit``."""
        tokens, parents = [node.token for node in self._nodes], [node.parent for node in self._nodes]
        kept, below = kept_nodes(path, token, tokens, parents)
        self._model.require_tokens([token])
        if self._nodes:
            self._cache.gather(self._cached, [*kept, *below])
        self._cached += len(kept)
        self._prefix, self._nodes = grown(self._prefix, self._nodes, path, token)

    def close(self) -> None:
        """See ``DraftText.close``."""
        self._cache = self._model.new_cache()
        self._prefix, self._nodes, self._cached = [], [], 0

    def _row_after_prefix(self) -> Any:
        if not self._prefix:
            raise ValueError("no prefix yet: call set_prefix first")
        self._model.require_room(len(self._prefix))
        # The logits of the last token are not kept: its row is made again.
        self._rewind(min(self._cached, len(self._prefix) - 1))
        if len(self._prefix) - self._cached > PREFILL_CHUNK:
            self._read_up_to(len(self._prefix) - 1)
        pending = self._prefix[self._cached :]
        rows = tree_rows((), past=self._cached, chain=len(pending))
        logits = self._model.forward(pending, rows, self._cache, keep=1)
        self._cached = len(self._prefix)
        return logits

    def _rewind(self, length: int) -> None:
        """Keep ``length`` rows of the prefix and drop everything behind them."""
        self._cached, self._nodes = length, []
        self._cache.truncate(length)

    def _read_up_to(self, length: int) -> None:
        """Read the prefix chunk by chunk; an interruption keeps the chunks read by then."""
        while self._cached < length:
            chunk = self._prefix[self._cached : min(self._cached + PREFILL_CHUNK, length)]
            self._model.prefill(chunk, self._cache)
            self._cached += len(chunk)
