"""Contexts of llama.cpp in which several texts lie side by side, each with cells of its own: one call goes on with all.

A lane is a sequence id.  Since its cells are its own, attention of a text runs over no other's; but none can be shared
either, so that a lane holds a chain and no tree (``tree_cache`` has those).  llama.cpp computes lanes together whose
ids follow each other, so that the lowest that are free are taken first.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass

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

MOST_LANES = 8
"""Lanes of a context at most: a pass of that many gains what there is to gain."""
LANES_BYTES = 1 << 30
"""Bytes of keys and values of such a context at most, if one text does not take more."""


class Lanes:
    """One context, its lanes and which of them are free."""

    def __init__(self, model: LlamaModel) -> None:
        """llama.cpp's memory is taken at once; EngineError where there is none."""
        most = LANES_BYTES if model.cache_bytes is None else min(LANES_BYTES, model.cache_bytes)
        self.count = max(1, min(MOST_LANES, most // model.facts.cache_bytes(1)))
        self.model = model
        self.handle = open_context(model, cells=model.context_limit, ids=self.count, unified=False)
        self.memory = int(model.lib.llama_get_memory(self.handle))
        self._free = weakref.finalize(self, free_context, model.weights, self.handle)
        self.free = list(range(self.count))

    def take(self) -> int:
        """The lowest free lane, emptied."""
        lane = min(self.free)
        self.free.remove(lane)
        remove_cells(self.model, self.memory, lane, 0)
        return lane


@dataclass(frozen=True, slots=True)
class Piece:
    """What a call appends to one lane."""

    cache: LaneCache
    tokens: Sequence[int]
    keep: int
    """Rows of logits that are wanted, the last ones."""


class LaneCache:
    """Keys and values of ``length`` tokens of a text, and of a chain of ``nodes`` nodes behind it, in a lane.

    A failed call leaves the first ``length`` tokens, and no node.
    """

    def __init__(self, lanes: Lanes) -> None:
        """Take a lane that is free."""
        self.lanes = lanes
        self.lane = lanes.take()
        self.length = self.nodes = 0
        self._give_back = weakref.finalize(self, lanes.free.append, self.lane)

    @property
    def parents(self) -> Sequence[int]:
        """Of the nodes."""
        return range(-1, self.nodes - 1)

    def truncate(self, length: int) -> None:
        """Keep the first ``length`` tokens, and no node; ValueError for more than there are."""
        if not 0 <= length <= self.length:
            raise ValueError(f"a length of {length} where {self.length} tokens are cached")
        remove_cells(self.lanes.model, self.lanes.memory, self.lane, length)
        self.length, self.nodes = length, 0

    def commit(self, path: Sequence[int]) -> None:
        """The text grows by the nodes of ``path``, from the first one on."""
        remove_cells(self.lanes.model, self.lanes.memory, self.lane, self.length + len(path))
        self.length, self.nodes = self.length + len(path), 0

    def state(self, length: int) -> bytes:
        """The cells of the first ``length`` tokens and some more, for ``restore``."""
        if not length:
            return b""
        return sequence_state(self.lanes.model, self.lanes.handle, self.lane, streams=self.lanes.count)

    def restore(self, state: bytes, length: int) -> None:
        """Go on with ``length`` tokens of a text whose ``state`` this is, in the place of what is here."""
        if length:
            load_sequence(self.lanes.model, self.lanes.handle, self.lane, state, streams=self.lanes.count)
            remove_cells(self.lanes.model, self.lanes.memory, self.lane, length)
        self.length, self.nodes = length, 0

    def close(self) -> None:
        """Leave the lane."""
        self._give_back()


def append(pieces: Sequence[Piece]) -> list[Array]:
    """Append tokens to several lanes of one context, behind what is in them; the rows that each piece wants.

    Lengths are for the caller to note: until then a failure changes nothing.  At most ``BATCH`` tokens in a piece.
    """
    found: list[Array] = []
    call: list[Piece] = []
    for piece in sorted(pieces, key=lambda piece: piece.cache.lane):
        if call and sum(len(other.tokens) for other in call) + len(piece.tokens) > BATCH:
            found += _append(call)
            call = []
        call.append(piece)
    found += _append(call)
    rows = dict(zip(sorted(range(len(pieces)), key=lambda at: pieces[at].cache.lane), found, strict=True))
    return [rows[at] for at in range(len(pieces))]


def _append(pieces: Sequence[Piece]) -> list[Array]:
    lanes = pieces[0].cache.lanes
    tokens: list[int] = []
    positions: list[int] = []
    ids: list[list[int]] = []
    wanted: list[int] = []
    for piece in pieces:
        start = piece.cache.length
        tokens += piece.tokens
        positions += range(start, start + len(piece.tokens))
        ids += [[piece.cache.lane]] * len(piece.tokens)
        wanted += range(len(tokens) - piece.keep, len(tokens))
    logits = decode(lanes.model, lanes.handle, tokens, positions, ids, wanted)
    found: list[Array] = []
    for piece in pieces:
        found.append(logits[: piece.keep])
        logits = logits[piece.keep :]
    return found
