"""The device's model: grows a token tree level by level, one forward pass per level.

Children are drawn from exactly the truncated, quantised distribution that goes on the wire, never from the model's own:
that is what keeps evidence ``list`` lossless whatever the link can afford.  Other evidence leaves the choice free.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

import tslt_wire as tw
from tslt_runtime.engines.transformers.model import ContextFull, LlamaModel, ModelError, TextSession, require_path
from tslt_runtime.engines.transformers.tree_attention import level_rows, tree_rows
from tslt_wire.lists.siblings import sample_children
from tslt_wire.lists.truncation import Truncation

__all__ = ["ContextFull", "DraftModel", "DraftSession", "ModelError", "Pick"]

Pick = Callable[[tw.SparseDistribution, int, int], list[int]]
"""Chooses children: (distribution, how many at most, position of the children) to tokens, all different."""


class DraftModel(LlamaModel):
    """The draft's weights; one pass runs at a time (see ``LlamaModel``)."""

    def session(self) -> DraftSession:
        """Return a new session with no text."""
        return DraftSession(self)


class DraftSession(TextSession):
    """One text on the device.  A round is ``draft`` and then ``commit``; ``set_prefix`` starts or resynchronises.

    The deepest nodes of a draft are never run through the model, since nothing hangs off them; one that is accepted
    waits, as the tokens of a verdict do, for the first pass of the next draft.
    """

    def __init__(self, model: DraftModel) -> None:
        """Start with no text."""
        super().__init__(model)
        self._tree: tw.TokenTree | None = None
        self._run = 0  # nodes 0 .. _run - 1 of the tree have cache rows, right behind those of the prefix

    def draft(
        self,
        expansion: Sequence[int],
        *,
        temperature: float = 1.0,
        truncation: Truncation | None = None,
        precision: tw.Precision | str = "log2/2",
        rng: np.random.Generator,
        replacement: bool = True,
        prior: tw.Prior | None = None,
        tail_scale: float = 0.0,
        pick: Pick | None = None,
    ) -> tuple[tw.TokenTree, dict[int, tw.SparseDistribution]]:
        """Draw a tree of ``expansion[d]`` children for every node of depth d; a chain of L tokens is ``(1,) * L``.

        Returns the tree, in breadth-first order, and the distribution of every node that has children, by node (-1: the
        prefix).  Without ``replacement`` a node whose distribution lists fewer tokens gets fewer children.  Drafting
        again without a commit replaces the tree.  An empty expansion gives an empty tree and runs nothing.

        ``temperature``, ``truncation``, ``precision``, ``prior`` and ``tail_scale`` go to ``tslt_wire.sparsify``.
        ``pick`` chooses a node's children where distributions are not sent; None samples them with ``rng``.
        Raises ContextFull if the deepest node needs a position the model does not have (``room`` tells beforehand),
        ValueError for a count below 1 or before ``set_prefix``.
        """
        if any(count < 1 for count in expansion):
            raise ValueError(f"every level of an expansion needs at least one child, not {tuple(expansion)}")
        self._model.require_room(len(self._prefix) + len(expansion))
        pending = self._begin_round()
        tokens: list[int] = []
        parents: list[int] = []
        lists: dict[int, tw.SparseDistribution] = {}
        level = [-1]
        for depth, count in enumerate(expansion):
            logits = self._root_pass(pending) if depth == 0 else self._level_pass(tokens, parents, first=level[0])
            first = len(tokens)
            found = tw.sparsify_batch(
                logits,
                temperature=temperature,
                truncation=truncation,
                precision=precision,
                prior=prior,
                tail_scale=tail_scale,
            )
            for parent, q in zip(level, found, strict=True):
                lists[parent] = q
                if pick is None:
                    children = sample_children(q, count, rng, replacement=replacement)
                else:
                    children = pick(q, count, len(self._prefix) + depth)
                tokens.extend(children)
                parents.extend([parent] * len(children))
            level = list(range(first, len(tokens)))
        if expansion:
            self._run = level[0]
            # The root's row is cached, but its logits are not kept: without a commit it has to run again.
            self._settled = len(self._prefix) - 1
        self._tree = tw.TokenTree(tokens, parents)
        return self._tree, lists

    def commit(self, path: Sequence[int], token: int) -> None:
        """Append the accepted tokens: those of ``path``, nodes of the drafted tree top down, and ``token``.

        Keeps the cache rows of the accepted nodes that have any.  Without a drafted tree only the empty path will do.
        Raises ValueError for anything that is no path from the root, or a foreign token; the session is then
        unchanged.
        """
        tree = self._tree
        require_path(path, () if tree is None else tree.parents)
        self._model.require_tokens([token])
        if tree is not None:
            if len(tree):
                # Row 0 behind the settled ones is the root.  Breadth-first order: nodes without rows end the path.
                kept = [0, *(1 + node for node in path if node < self._run)]
                self._cache.gather(self._settled, kept)
                self._settled += len(kept)
            self._prefix.extend(tree.tokens[node] for node in path)
        self._prefix.append(int(token))
        self._end_round()

    def _root_pass(self, pending: Sequence[int]) -> NDArray[np.float32]:
        """Catch up with the prefix and return the logits after it, shape (1, V)."""
        rows = tree_rows((), past=self._settled, chain=len(pending))
        return self._model.forward(pending, rows, self._cache, keep=1)

    def _level_pass(self, tokens: Sequence[int], parents: Sequence[int], *, first: int) -> NDArray[np.float32]:
        """Run nodes ``first`` and up, the newest level, and return their logits, shape (nodes of the level, V)."""
        rows = level_rows(parents, first=first, past=len(self._prefix))
        return self._model.forward(tokens[first:], rows, self._cache, keep=len(tokens) - first)

    def _end_round(self) -> None:
        self._tree = None
        self._run = 0
