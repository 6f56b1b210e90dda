"""The cache of one text in llama.cpp, and of the nodes of a token tree behind it.

llama.cpp lets a row see the cells that carry its (first) sequence id, at its position or before it.  So each leaf of
the tree owns an id, and a node's cell carries the ids of all leaves below it: that is the tree mask of SpecInfer (Miao
et al. 2024, section 4), in one call for a whole tree.  Cells of the prefix carry all ids that were used so far.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence

from tslt_runtime.engines.llamacpp.context import (
    Array,
    decode,
    free_context,
    load_sequence,
    open_context,
    remove_cells,
    sequence_state,
)
from tslt_runtime.engines.llamacpp.model import BATCH, LlamaModel


def count_leaves(parents: Sequence[int]) -> int:
    """Nodes of a tree that no other hangs off."""
    return len(parents) - len({*parents} - {-1})


class TreeCache:
    """Keys and values of ``length`` tokens of a text, and of nodes behind it, with ``parents`` and ``tokens``.

    An interrupted or failed call leaves the first ``length`` tokens, and no node.  Numbers of nodes, tokens and depths
    are checked by who calls.
    """

    def __init__(self, model: LlamaModel) -> None:
        """Start empty; llama.cpp's memory is taken at the first use, so in the thread that computes."""
        self._model = model
        self._lib = model.lib
        self._free: weakref.finalize[..., TreeCache] | None = None
        self._handle = self._memory = 0
        self._forget()

    def _forget(self) -> None:
        self.length = 0
        self.parents: list[int] = []
        self.tokens: list[int] = []
        self._depths: list[int] = []
        self._ids: list[list[int]] = []  # of each node's cell
        self._tips: list[int] = [-1]  # for each id in use: the deepest node that carries it, -1 for the prefix alone

    def close(self) -> None:
        """Free the memory; the next call starts with an empty cache."""
        if self._free is not None:
            self._free()
        self._free = None
        self._forget()

    def truncate(self, length: int) -> None:
        """Keep the first ``length`` tokens, and no node; ValueError for more than there are."""
        if not 0 <= length <= self.length:
            raise ValueError(f"a length of {length} where {self.length} tokens are cached")
        if self._free is not None:
            self._remove(-1, length)
        self.length = length
        self._drop_nodes()

    def append(self, tokens: Sequence[int], nodes: Sequence[tuple[int, int]], *, keep: int) -> Array:
        """Append ``tokens`` to the text, then nodes (parent, token); return the last ``keep`` rows, float32 (keep, V).

        Tokens end the tree that was there.  At most ``BATCH`` rows, with ``nodes`` of at most ``leaves`` leaves.
        """
        if tokens and self.parents:
            raise ValueError("tokens behind a tree: truncate or commit first")
        self._open()
        first = len(self.parents)
        try:
            for parent, token in nodes:
                self._grow(parent, token, first)
            base = self.length
            positions = [*range(base, base + len(tokens))]
            positions += [base + len(tokens) + depth - 1 for depth in self._depths[first:]]
            prefix_ids = [list(range(len(self._tips)))] * len(tokens)
            rows = self._decode([*tokens, *self.tokens[first:]], positions, [*prefix_ids, *self._ids[first:]], keep)
        except BaseException:
            self.truncate(self.length)
            raise
        self.length += len(tokens)
        return rows

    def commit(self, path: Sequence[int], subtree: Sequence[int] = ()) -> None:
        """The text grows by the nodes of ``path``, from a child of the prefix down.

        ``subtree``: the nodes below the path's end that stay, all of them, ascending; they are numbered anew from 0.
        All others are dropped.  Nothing is computed.
        """
        if not path and not subtree:
            if self.parents:
                self.truncate(self.length)
            return
        end = path[-1] if path else -1
        base = self.length + len(path)
        # An id that ends below the path keeps its cells; the others are given the path's and no more.
        below = {*subtree}
        staying = {seq for seq, tip in enumerate(self._tips) if tip in below}
        source = self._ids[end][0] if path else -1
        for seq, tip in enumerate(self._tips):
            if seq in staying:
                continue
            if tip >= 0:
                self._remove(seq, base if seq == source else self.length)
            if path and seq != source:
                self._lib.llama_memory_seq_cp(self._memory, source, seq, self.length, base)
        number = {end: -1} | {node: i for i, node in enumerate(subtree)}
        self.parents = [number[self.parents[node]] for node in subtree]
        self.tokens = [self.tokens[node] for node in subtree]
        self._depths = [self._depths[node] - len(path) for node in subtree]
        self._ids = [self._ids[node] for node in subtree]
        self._tips = [number[tip] if seq in staying else -1 for seq, tip in enumerate(self._tips)]
        self.length = base

    def deepest(self, parents: Sequence[int]) -> int:
        """Depth of the deepest of ``parents``' nodes, of which those that are cached come first; 0 without nodes."""
        depths = list(self._depths)
        for parent in parents[len(depths) :]:
            depths.append(1 if parent < 0 else depths[parent] + 1)
        return max(depths, default=0)

    def _drop_nodes(self) -> None:
        self.parents, self.tokens, self._depths, self._ids = [], [], [], []
        self._tips = [-1] * len(self._tips)

    def _grow(self, parent: int, token: int, first: int) -> None:
        """Note a child of ``parent``; nodes from ``first`` on have no cells yet."""
        depth = 1 if parent < 0 else self._depths[parent] + 1
        # The first child goes on with its parent's id; -1 is the tip of ids that are free.
        seq = self._tips.index(parent) if parent in self._tips else self._branch(parent, first)
        node = len(self.parents)
        self.parents.append(parent)
        self.tokens.append(token)
        self._depths.append(depth)
        self._ids.append([seq])
        self._tips[seq] = node

    def _branch(self, parent: int, first: int) -> int:
        """An id that carries the path to ``parent``: a free one, or a new one."""
        if -1 in self._tips:
            seq, start = self._tips.index(-1), self.length
        else:
            seq, start = len(self._tips), 0
            if seq == self._model.leaves:
                raise ValueError(f"a tree of more than {seq} leaves")
        cached = parent
        while cached >= first:  # in the same call: their cells are yet to be made
            self._ids[cached].append(seq)
            cached = self.parents[cached]
        stop = self.length + (self._depths[cached] if cached >= 0 else 0)
        source = self._ids[cached][0] if cached >= 0 else 0
        if stop > start:
            self._lib.llama_memory_seq_cp(self._memory, source, seq, start, stop)
        if seq == len(self._tips):
            self._tips.append(-1)
        while cached >= 0:
            self._ids[cached].append(seq)
            cached = self.parents[cached]
        return seq

    def _remove(self, seq: int, start: int) -> None:
        """Take ``seq`` (-1: all) off the cells from position ``start`` on."""
        remove_cells(self._model, self._memory, seq, start)

    def state(self, length: int) -> bytes:
        """The cells of the first ``length`` tokens, for ``restore``."""
        self.truncate(self.length)
        return sequence_state(self._model, self._handle, 0) if length else b""

    def restore(self, state: bytes, length: int) -> None:
        """Start with ``length`` tokens of a text whose ``state`` this is; the cache is empty before."""
        self._open()
        if length:
            load_sequence(self._model, self._handle, 0, state)
            self._remove(-1, length)
        self.length = length

    def _open(self) -> None:
        if self._free is not None:
            return
        # Cells are for rows, not for positions: at the context's end a tree still needs one a node.
        cells, ids = self._model.context_limit + BATCH, self._model.leaves
        # Unified: otherwise each id has cells of its own, and none can be shared.
        self._handle = open_context(self._model, cells=cells, ids=ids, unified=True)
        self._memory = self._lib.llama_get_memory(self._handle)
        self._free = weakref.finalize(self, free_context, self._model.weights, self._handle)

    def _decode(
        self, tokens: Sequence[int], positions: Sequence[int], ids: Sequence[Sequence[int]], keep: int
    ) -> Array:
        return decode(self._model, self._handle, tokens, positions, ids, range(len(tokens) - keep, len(tokens)))
