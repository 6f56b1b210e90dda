"""The native kernel's binding (tslt_wire/_native/binding.cpp).  An int in place of a result is an error code."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tslt_wire.lists.distribution import SparseDistribution
from tslt_wire.lists.precision import Precision
from tslt_wire.lists.prior import Prior

NO_MEMORY: int
BAD_LOGITS: int

class PriorTables:
    def __init__(self, tail: npt.NDArray[np.int64], rows: Sequence[npt.NDArray[np.int64]]) -> None: ...

def configure(
    list_class: type[SparseDistribution],
    frombuffer: Any,
    int32: np.dtype[np.int32],
    uint32: np.dtype[np.uint32],
    int64: np.dtype[np.int64],
    precisions: tuple[Precision, ...],
) -> None: ...
def encode_list(
    q: SparseDistribution, vocab_size: int, precision: int, entropy: int, tables: PriorTables | None, /
) -> bytes | int: ...
def decode_list(
    data: bytes | bytearray | memoryview,
    vocab_size: int,
    precision: int,
    entropy: int,
    tables: PriorTables | None,
    prior: Prior | None,
    max_frame_bytes: int,
    max_entries: int,
    /,
) -> SparseDistribution | int: ...
def uniforms(key: bytes, epoch: int, position: int, ids: npt.NDArray[np.int32], /) -> bytes: ...
def sparsify(
    logits: Any,
    dimensions: int,
    temperature: float,
    truncate: bool,
    top_k: int,
    top_p: float,
    min_prob: float,
    precision: int,
    prior: Prior | None,
    tail_scale: float,
    least_tail: float,
    /,
) -> SparseDistribution | list[SparseDistribution] | int | None: ...
def encode_draft(
    round: int,
    prefix_length: int,
    prefix_hash: int,
    precision: int,
    replacement: bool,
    parents: tuple[int, ...],
    tokens: tuple[int, ...],
    lists: Sequence[SparseDistribution],
    extensions: bytes,
    vocab_size: int,
    entropy: int,
    tables: PriorTables | None,
    /,
) -> bytes | int: ...
def decode_draft(
    data: bytes | bytearray | memoryview,
    vocab_size: int,
    entropy: int,
    tables: PriorTables | None,
    prior: Prior | None,
    max_frame_bytes: int,
    max_nodes: int,
    max_depth: int,
    max_entries: int,
    max_extensions: int,
    /,
) -> tuple[int, int, int, bool, tuple[int, ...], tuple[int, ...], dict[int, SparseDistribution], bytes] | int: ...
