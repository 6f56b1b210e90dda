"""The native kernel's binding (binding.cpp).  An int in place of a result is an error code; see tslt_wire.h.

Takes and gives bytes, numbers, arrays, and lists: objects of the class that ``configure`` was given, which have
``vocab_size``, ``precision``, ``ids``, ``codes``, ``weights``, ``tail``, ``prior`` and ``left_out``.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

BAD_LOGITS: int
DRAFT_LIST: int

class PriorTables:
    def __init__(self, tail: npt.NDArray[np.int64], rows: Sequence[npt.NDArray[np.int64]]) -> None: ...

def configure(
    list_class: type,
    frombuffer: Any,
    int32: np.dtype[np.int32],
    uint32: np.dtype[np.uint32],
    int64: np.dtype[np.int64],
    precisions: tuple[Any, ...],
) -> None: ...
def encode_list(
    q: Any, vocab_size: int, precision: int, entropy: int, tables: PriorTables | None, /
) -> bytes | int: ...
def decode_list(
    data: bytes | bytearray | memoryview,
    vocab_size: int,
    precision: int,
    entropy: int,
    tables: PriorTables | None,
    prior: Any,
    max_frame_bytes: int,
    max_entries: int,
    /,
) -> Any: ...
def uniforms(key: bytes, epoch: int, position: int, ids: npt.NDArray[np.int32], /) -> bytes: ...
def encode_bound(vocab_size: int, entries: int, lists: int, nodes: int, /) -> int: ...
def sparsify(
    logits: Any,
    dimensions: int,
    temperature: float,
    truncate: bool,
    top_k: int,
    top_p: float,
    min_prob: float,
    precision: int,
    prior: Any,
    tail_scale: float,
    least_tail: float,
    /,
) -> Any: ...
def encode_draft(
    round: int,
    prefix_length: int,
    prefix_hash: int,
    precision: int,
    replacement: bool,
    parents: tuple[int, ...],
    tokens: tuple[int, ...],
    lists: Sequence[Any],
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
    prior: Any,
    max_frame_bytes: int,
    max_nodes: int,
    max_leaves: int,
    max_depth: int,
    max_entries: int,
    max_extensions: int,
    /,
) -> tuple[int, int, int, bool, tuple[int, ...], tuple[int, ...], dict[int, Any], bytes] | int: ...

class Row:
    def prob(self, token: int, /) -> float: ...
    def draw(self, u: float, /) -> int: ...
    def probs(self) -> bytes: ...
    def race(self, key: bytes, epoch: int, position: int, /) -> int: ...
    def first(self, key: bytes, epoch: int, position: int, count: int, /) -> list[int]: ...
    def propose(self, generator: Any, count: int, /) -> list[tuple[int, int, bool]]: ...

class Text:
    def __init__(
        self,
        prompt: tuple[int, ...],
        output: tuple[int, ...],
        repetition: float,
        frequency: float,
        presence: float,
        biased: tuple[int, ...],
        bias: npt.NDArray[np.float64],
        never: tuple[int, ...],
        /,
    ) -> None: ...
    def edits(self, logits: Any, at: int, path: tuple[int, ...], /) -> tuple[bytes, bytes] | None: ...

class Residual:
    def owed(self) -> float: ...
    def share(self, token: int, /) -> float: ...
    def reject(self, token: int, /) -> int | None: ...
    def draw(self, u: float, /) -> int: ...
    def probs(self) -> bytes: ...

def make_row(
    logits: Any,
    at: int,
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
    ids: npt.NDArray[np.int32] | bytes | None,
    scores: npt.NDArray[np.float64] | bytes | None,
    allowed: npt.NDArray[np.uint8] | None,
    /,
) -> Row | int | None: ...
def make_residual(
    row: Row,
    ids: npt.NDArray[np.int32],
    weights: npt.NDArray[np.int64],
    tail: int,
    tables: PriorTables | None,
    without_replacement: bool,
    owed: float,
    lazy: bool,
    /,
) -> Residual | int: ...
