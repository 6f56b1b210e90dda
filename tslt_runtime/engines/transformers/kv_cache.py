"""A growing, preallocated key/value cache that can keep an accepted tree path without recomputing it.

It drops into ``transformers`` in the place of ``DynamicCache`` (batch of one sequence or many, full attention only).
There every step concatenates, that is copies, the whole past; here a step writes its own rows and nothing else, and a
rejected branch costs a change of length.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer

BLOCK = 256
"""Rows that a layer grows by: few enough that hardly anything is held in vain, so that memory can be planned."""


class GrowingLayer(DynamicLayer):
    """One layer's keys and values in buffers with spare rows; ``keys`` and ``values`` are views of the rows in use.

    Shapes: ``(batch, kv_heads, rows, head_dim)``, in the dtype and on the device of the first update.
    """

    def __init__(self, *, block: int = BLOCK) -> None:
        """Allocate nothing yet; the buffers hold a multiple of ``block`` rows, the least that is enough."""
        super().__init__()
        if block < 1:
            raise ValueError(f"block must be at least one row, not {block}")
        self._block = block
        self._length = 0
        self._key_rows = torch.empty(0)
        self._value_rows = torch.empty(0)

    @property
    def keys(self) -> torch.Tensor | None:
        """Keys of the rows in use; made when they are asked for, as most changes of length are followed by others."""
        return self._key_rows.narrow(2, 0, self._length) if self.is_initialized else None

    @keys.setter
    def keys(self, rows: torch.Tensor | None) -> None:
        """Nothing: the base class, which starts without, has an attribute here."""

    @property
    def values(self) -> torch.Tensor | None:
        """Values of the rows in use."""
        return self._value_rows.narrow(2, 0, self._length) if self.is_initialized else None

    @values.setter
    def values(self, rows: torch.Tensor | None) -> None:
        """Nothing, as for ``keys``."""

    @property
    def capacity(self) -> int:
        """Rows the buffers hold, used or not; 0 before the first update."""
        return int(self._key_rows.shape[-2]) if self.is_initialized else 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Allocate buffers like the given states, of one block."""
        self.dtype, self.device = key_states.dtype, key_states.device
        self._key_rows = _resized(key_states[:, :, :0], self._block)
        self._value_rows = _resized(value_states[:, :, :0], self._block)
        self.is_initialized = True
        self._length = 0

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append rows and return views of all rows; copies the past only when the buffers must grow."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start, end = self._length, self._length + int(key_states.shape[-2])
        if end > self.capacity:
            rows = -(-end // self._block) * self._block
            self._key_rows = _resized(self._key_rows[:, :, :start], rows)
            self._value_rows = _resized(self._value_rows[:, :, :start], rows)
        # narrow: one operation each, where indexing takes three; there are layers x texts of these in a pass.
        self._key_rows.narrow(2, start, end - start).copy_(key_states)
        self._value_rows.narrow(2, start, end - start).copy_(value_states)
        self._length = end
        return self._key_rows.narrow(2, 0, end), self._value_rows.narrow(2, 0, end)

    def get_seq_length(self) -> int:
        """Return the number of rows in use."""
        return self._length

    def reset(self) -> None:
        """Forget every row and free the buffers."""
        super().reset()
        self._length = 0
        self._key_rows = self._value_rows = torch.empty(0)

    def crop(self, tokens_to_remove: int) -> None:
        """Drop the last rows; ``tokens_to_remove`` is zero or *negative*, as in ``transformers`` 5.

        Raises ValueError if it is positive or there are not that many rows.
        """
        if tokens_to_remove > 0:
            raise ValueError(f"crop takes minus the number of rows to drop, not {tokens_to_remove}")
        self.truncate(self._length + tokens_to_remove)

    def truncate(self, length: int) -> None:
        """Keep the first ``length`` rows; ValueError if there are fewer."""
        if not 0 <= length <= self._length:
            raise ValueError(f"cannot keep {length} of {self._length} rows")
        self._length = length

    def gather(self, start: int, offsets: torch.Tensor) -> None:
        """Keep the rows before ``start`` and, right behind them, the rows ``start + offsets``; drop all others.

        ``offsets`` is a 1-D int64 tensor on the layer's device.  O(rows kept behind ``start``), whatever ``start`` is.
        """
        end = start + int(offsets.numel())
        for rows in (self._key_rows, self._value_rows):
            # index_select copies before the assignment writes, so that the two ranges may overlap.
            rows[:, :, start:end] = rows[:, :, start : self._length].index_select(2, offsets)
        self._length = end

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        """Select sequences of the batch (beam search)."""
        self.batch_select_indices(beam_idx)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat every sequence of the batch ``repeats`` times."""
        if self.is_initialized:
            self._key_rows = self._key_rows.repeat_interleave(repeats, dim=0)
            self._value_rows = self._value_rows.repeat_interleave(repeats, dim=0)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep the given sequences of the batch."""
        if self.is_initialized:
            self._key_rows = self._key_rows[indices.to(self._key_rows.device)]
            self._value_rows = self._value_rows[indices.to(self._value_rows.device)]

    def offload(self) -> None:
        """Refuse: the views that are handed out must stay views of the buffers (NotImplementedError)."""
        raise NotImplementedError("a growing cache stays on its device")


class TreeCache(Cache):
    """The layers of one sequence of one model; every layer has the same length between two passes."""

    def __init__(self, layers: int, *, block: int = BLOCK) -> None:
        """Make a cache of ``layers`` empty layers that grow by ``block`` rows."""
        self._growing = [GrowingLayer(block=block) for _ in range(layers)]
        super().__init__(layers=list(self._growing))

    @property
    def length(self) -> int:
        """Rows (tokens) held."""
        return self._growing[0].get_seq_length()

    @property
    def nbytes(self) -> int:
        """Bytes allocated for keys and values, spare rows included."""
        layers = (layer for layer in self._growing if layer.is_initialized)
        return sum(layer._key_rows.nbytes + layer._value_rows.nbytes for layer in layers)

    def truncate(self, length: int) -> None:
        """Keep the first ``length`` rows of every layer.

        Also repairs a cache whose pass was interrupted, when only some layers hold the new rows.  Raises ValueError
        if a layer holds fewer than ``length`` rows.
        """
        for layer in self._growing:
            layer.truncate(length)

    def copy_from(self, other: TreeCache, start: int, end: int) -> None:
        """Append copies of rows ``start`` to ``end`` of another cache; ``start``: the rows that are here.

        ValueError if another number of rows is here, or ``other`` has fewer than ``end``.
        """
        if self.length != start or not start <= end <= other.length:
            raise ValueError(f"rows {start} to {end} of {other.length} behind {self.length}")
        with torch.inference_mode():
            for layer, source in zip(self._growing, other._growing, strict=True):
                layer.update(source._key_rows[:, :, start:end], source._value_rows[:, :, start:end])

    def gather(self, start: int, offsets: Sequence[int]) -> None:
        """Keep the rows before ``start`` and then rows ``start + offsets``, in that order.

        Raises ValueError if an offset is negative or beyond the last row.
        """
        rows = self.length - start
        if start < 0 or rows < 0 or any(not 0 <= offset < rows for offset in offsets):
            raise ValueError(f"offsets {list(offsets)} from row {start} on, but the cache holds {self.length} rows")
        if list(offsets) == list(range(len(offsets))):
            self.truncate(start + len(offsets))  # a first-child path already lies where it belongs
            return
        with torch.inference_mode():
            index = torch.tensor(list(offsets), dtype=torch.int64, device=self._growing[0].device)
            for layer in self._growing:
                layer.gather(start, index)


def _resized(rows: torch.Tensor, capacity: int) -> torch.Tensor:
    """Return a buffer of ``capacity`` rows that begins with ``rows``; what follows them is uninitialised."""
    batch, heads, used, head_dim = rows.shape
    buffer = torch.empty((batch, heads, capacity, head_dim), dtype=rows.dtype, device=rows.device)
    buffer[:, :, :used] = rows
    return buffer
