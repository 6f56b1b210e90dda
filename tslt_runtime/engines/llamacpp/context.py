"""A context of llama.cpp, which holds keys and values: opened, filled and freed; its cells copied to another one."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tslt_runtime.engines.llamacpp.library import NO_FLASH_ATTENTION, Batch
from tslt_runtime.engines.llamacpp.model import BATCH, KV_TYPES, MICRO_BATCH, LlamaModel
from tslt_runtime.engines.llamacpp.vocabulary import Weights
from tslt_runtime.engines.protocol import EngineError

Array = NDArray[np.float32]
_HEAD = 8
"""Bytes before the number of streams in the state of a sequence."""


def open_context(model: LlamaModel, *, cells: int, ids: int, unified: bool) -> int:
    """A handle of a context for ``ids`` sequence ids: ``cells`` for all of them if ``unified``, else for each.

    EngineError where there is no memory for it.
    """
    parameters = model.lib.llama_context_default_params()
    parameters.n_ctx = cells if unified else cells * ids
    parameters.n_batch, parameters.n_ubatch = BATCH, MICRO_BATCH
    parameters.n_seq_max = ids
    parameters.n_threads = parameters.n_threads_batch = model.threads
    parameters.type_k = parameters.type_v = KV_TYPES[model.kv]
    if model.kv == "float32":  # flash attention computes in halves: 4e-3 off in logits, instead of 2e-5
        parameters.flash_attn_type = NO_FLASH_ATTENTION
    parameters.kv_unified = unified
    handle = model.lib.llama_init_from_model(model.weights.handle, parameters)
    if not handle:
        raise EngineError(f"llama.cpp has no memory for texts of {model.context_limit} tokens: name a smaller context")
    return int(handle)


def free_context(weights: Weights, handle: int) -> None:
    """Free a context; whoever can still be asked to do so keeps its weights."""
    weights.lib.llama_free(handle)


def remove_cells(model: LlamaModel, memory: int, seq: int, start: int) -> None:
    """Take ``seq`` (-1: all) off the cells from position ``start`` on."""
    if not model.lib.llama_memory_seq_rm(memory, seq, start, -1):
        raise EngineError("llama.cpp cannot roll this model's cache back")


def sequence_state(model: LlamaModel, handle: int, seq: int, *, streams: int = 1) -> bytes:
    """The cells of one sequence, as llama.cpp writes them for a context of one stream.

    ``streams``: those of this context, its ids if they have cells of their own.  llama.cpp writes a magic number and
    the id, the number of streams, and for each the number of its cells, followed by these; it reads no other number of
    streams than the context has.  That is the layout of the one build that is known (``library``).
    """
    size = model.lib.llama_state_seq_get_size(handle, seq)
    buffer = ctypes.create_string_buffer(size)
    if model.lib.llama_state_seq_get_data(handle, buffer, size, seq) != size:
        raise EngineError("llama.cpp cannot copy a text's cache")
    state = buffer.raw
    before, behind = (seq, streams - 1 - seq) if streams > 1 else (0, 0)  # streams without cells
    return state[:_HEAD] + _count(1) + state[_HEAD + 4 + 4 * before : size - 4 * behind]


def load_sequence(model: LlamaModel, handle: int, seq: int, state: bytes, *, streams: int = 1) -> None:
    """Make the cells of one sequence those that ``sequence_state`` gave, of any context of the same model."""
    state = state[:_HEAD] + _count(streams) + state[_HEAD + 4 :] + _count(0) * (streams - 1)
    if model.lib.llama_state_seq_set_data(handle, state, len(state), seq) != len(state):
        raise EngineError("llama.cpp has no memory for a copy of a text's cache")


def _count(number: int) -> bytes:
    return number.to_bytes(4, sys.byteorder)


def decode(
    model: LlamaModel,
    handle: int,
    tokens: Sequence[int],
    positions: Sequence[int],
    ids: Sequence[Sequence[int]],
    wanted: Sequence[int],
) -> Array:
    """One call of ``llama_decode``: a cell a token, with its position and sequence ids; at most ``BATCH`` of them.

    Returns logits after the tokens with the numbers ``wanted``, ascending: float32 (len(wanted), V), a copy.
    """
    rows = len(tokens)
    outputs = np.zeros(rows, np.int8)
    outputs[np.asarray(wanted, np.intp)] = 1
    counts = np.array([len(own) for own in ids], np.int32)
    flat = np.array([seq for own in ids for seq in own], np.int32)
    starts = flat.ctypes.data + flat.itemsize * (np.cumsum(counts, dtype=np.int64) - counts)
    token, position = np.array(tokens, np.int32), np.array(positions, np.int32)
    pointers = starts.astype(np.uintp)
    batch = Batch(
        n_tokens=rows,
        token=token.ctypes.data,
        pos=position.ctypes.data,
        n_seq_id=counts.ctypes.data,
        seq_id=pointers.ctypes.data,
        logits=outputs.ctypes.data,
    )
    if status := model.lib.llama_decode(handle, batch):
        raise EngineError(f"llama.cpp cannot go on with the text: llama_decode returned {status}")
    if not len(wanted):
        return np.empty((0, model.vocab_size), np.float32)
    logits = model.lib.llama_get_logits(handle)
    return np.ctypeslib.as_array(logits, (len(wanted), model.vocab_size)).copy()
