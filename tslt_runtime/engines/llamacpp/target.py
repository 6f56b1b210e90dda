"""A target model of llama.cpp: scores chains of several texts in one call of ``llama_decode``, a tree in its own."""

from __future__ import annotations

from collections.abc import Sequence

from tslt_runtime.engines.llamacpp.context import Array
from tslt_runtime.engines.llamacpp.lanes import LaneCache, Lanes, Piece, append
from tslt_runtime.engines.llamacpp.model import BATCH, LlamaModel
from tslt_runtime.engines.llamacpp.tree_cache import TreeCache, count_leaves
from tslt_runtime.engines.protocol import Work
from tslt_runtime.engines.self_check import Findings
from tslt_runtime.engines.text_rules import require_path


class LlamaTarget(LlamaModel):
    """A target's weights, shared by all texts of an edge (see ``engines.protocol.TargetEngine``)."""

    _lanes: list[Lanes]

    def restrict(self, findings: Findings) -> None:
        """See ``LlamaModel.restrict``."""
        super().restrict(findings)
        self._lanes = []  # whoever computes from now on takes its memory in its own thread

    def open(self) -> LlamaTargetText:
        """See ``TargetEngine.open``."""
        return LlamaTargetText(self)

    def score(self, work: Sequence[Work]) -> list[Array | None]:
        """See ``TargetEngine.score``: float32; chains and prompts in a call for all, each tree in one of its own.

        Raises ValueError for a tree with more nodes or leaves than ``facts`` says, before anything is computed.
        """
        for item in work:
            item.text.check(item)
        found: dict[int, Array | None] = {}
        groups: dict[int, list[int]] = {}
        for at, item in enumerate(work):
            cache = item.text.ready(item)
            if isinstance(cache, LaneCache):
                groups.setdefault(id(cache.lanes), []).append(at)
            else:
                found[at] = item.text.score(item)
        for group in groups.values():
            for part in [group] if self.together else [[at] for at in group]:
                rows = _score_lanes([work[at] for at in part])
                found |= dict(zip(part, rows, strict=True))
        return [found[at] for at in range(len(work))]

    def free_lanes(self) -> Lanes:
        """A context with a free lane; a new one if there is none."""
        if not hasattr(self, "_lanes"):
            self._lanes = []
        lanes = next((lanes for lanes in self._lanes if lanes.free), None)
        if lanes is None:
            lanes = Lanes(self)
            self._lanes.append(lanes)
        return lanes


class LlamaTargetText:
    """The cache of one text (see ``engines.protocol.TargetText``).

    A text starts in a lane, and with its first tree that has more than one leaf moves to a context of its own.
    """

    def __init__(self, model: LlamaTarget) -> None:
        """Start with no tokens; llama.cpp's memory is taken at the first use, so in the thread that computes."""
        self._model = model
        self._cache: LaneCache | TreeCache | None = None

    @property
    def length(self) -> int:
        """See ``TargetText.length``."""
        return 0 if self._cache is None else self._cache.length

    def truncate(self, length: int) -> None:
        """See ``TargetText.truncate``."""
        if self._cache is not None:
            self._cache.truncate(length)
        elif length != 0:
            raise ValueError(f"a length of {length} where no tokens are cached")

    def check(self, work: Work) -> None:
        """Raise what ``TargetEngine.score`` says for work that cannot be done."""
        model, tree = self._model, work.tree
        model.require_tokens(work.tokens)
        model.require_tokens(() if tree is None else tree.tokens)
        model.require_room(self.length + len(work.tokens) + (0 if tree is None else max(tree.depths, default=0)))
        if tree is not None and not work.tokens:
            raise ValueError("a tree hangs off a token that is appended with it, got none")
        if tree is not None:
            model.require_tree(len(tree), count_leaves(tree.parents))

    def ready(self, work: Work) -> LaneCache | TreeCache:
        """The cache that can do this work, with the text's tokens and no node."""
        chain = work.tree is None or count_leaves(work.tree.parents) <= 1
        if self._cache is None:
            self._cache = LaneCache(self._model.free_lanes()) if chain else TreeCache(self._model)
        self._cache.truncate(self._cache.length)
        if isinstance(self._cache, LaneCache) and not chain:
            own = TreeCache(self._model)
            own.restore(self._cache.state(self._cache.length), self._cache.length)
            self._cache.close()
            self._cache = own
        return self._cache

    def score(self, work: Work) -> Array | None:
        """Append tokens and score a tree, in a context of the text's own."""
        cache, tree, tokens = self._cache, work.tree, list(work.tokens)
        if not isinstance(cache, TreeCache):
            raise TypeError("the text has no context of its own")
        nodes = () if tree is None else tree.tokens
        together = 0 if tree is None else max(1, min(len(tokens), BATCH - len(nodes)))
        last = tokens[len(tokens) - together :]
        for start in range(0, len(tokens) - together, BATCH):
            cache.append(tokens[start : min(start + BATCH, len(tokens) - together)], (), keep=0)
        if tree is None:
            return None
        return cache.append(last, list(zip(tree.parents, nodes, strict=True)), keep=1 + len(nodes))

    def commit(self, path: Sequence[int]) -> None:
        """See ``TargetText.commit``: nothing is computed."""
        require_path(path, () if self._cache is None else self._cache.parents)
        if self._cache is not None:
            self._cache.commit(path)

    def share(self, other: LlamaTargetText, length: int) -> None:
        """See ``TargetText.share``: the cells are copied."""
        if other._cache is None:
            return
        if self._cache is None:
            self._cache = LaneCache(self._model.free_lanes())
        if isinstance(self._cache, TreeCache):
            self._cache.close()
        self._cache.restore(other._cache.state(length), length)

    def close(self) -> None:
        """See ``TargetText.close``."""
        if self._cache is not None:
            self._cache.close()
        self._cache = None


def _score_lanes(work: Sequence[Work]) -> list[Array | None]:
    """Do the work of texts in lanes of one context."""
    caches: list[LaneCache] = [item.text.ready(item) for item in work]
    left = [[*item.tokens, *(() if item.tree is None else item.tree.tokens)] for item in work]
    keeps = [0 if item.tree is None else 1 + len(item.tree) for item in work]
    while any(len(tokens) > BATCH for tokens in left):  # all but what one call can take, and no row of it
        pieces = [
            Piece(cache, tokens[: min(BATCH, len(tokens) - keep)], 0)
            for cache, tokens, keep in zip(caches, left, keeps, strict=True)
            if len(tokens) > BATCH
        ]
        append(pieces)
        for piece in pieces:
            piece.cache.length += len(piece.tokens)
            at = caches.index(piece.cache)
            left[at] = left[at][len(piece.tokens) :]
    going = [at for at, tokens in enumerate(left) if tokens]
    rows = append([Piece(caches[at], left[at], keeps[at]) for at in going]) if going else []
    found: list[Array | None] = [None] * len(work)
    for at, own in zip(going, rows, strict=True):
        tree = work[at].tree
        nodes = 0 if tree is None else len(tree)
        caches[at].length += len(left[at]) - nodes
        caches[at].nodes = nodes
        found[at] = None if tree is None else own
    return found
