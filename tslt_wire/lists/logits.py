"""Logits as callers have them: arrays, tensors, lists of numbers; and what is said of those that are none."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tslt_wire.limits import MAX_VOCAB_SIZE

BAD_LOGITS = "logits must be real numbers, or -inf, with at least one finite and none NaN or +inf"

_HOST = (1, 3, 11)
"""DLPack's numbers of memory that the CPU reads: kDLCPU, and pinned memory, kDLCUDAHost and kDLROCMHost."""
_READY = (np.float16, np.float32, np.float64)


def plain_logits(logits: Any, dimensions: int) -> npt.NDArray[Any]:
    """Return logits, real (V,) or (N, V), as an array of float16, float32 or float64 in one piece.

    Takes arrays of any real dtype and strides, tensors of the CPU (bfloat16 included, by DLPack or as torch's), and
    sequences of numbers or of such rows.  No number changes.  TypeError for other dtypes and for memory that is not the
    CPU's, ValueError for another shape.
    """
    values = _array(logits)
    if values.dtype.kind not in "fiu" and values.dtype.name != "bfloat16":
        raise TypeError(f"logits must be real numbers, got dtype {values.dtype}")
    if values.ndim != dimensions or not 1 <= values.shape[-1] <= MAX_VOCAB_SIZE:
        wanted = "(V,)" if dimensions == 1 else "(N, V)"
        raise ValueError(f"logits must have shape {wanted} with 1 <= V <= {MAX_VOCAB_SIZE}, got {values.shape}")
    if values.dtype not in _READY or not values.dtype.isnative:
        values = values.astype(np.float64)
    return np.ascontiguousarray(values)


def check_vocab_size(vocab_size: int, wanted: int) -> None:
    """Raise ValueError unless logits have the vocabulary of their prior, ``wanted``."""
    if vocab_size != wanted:
        raise ValueError(f"the prior is for V = {wanted}, the logits for V = {vocab_size}")


def _array(logits: Any) -> npt.NDArray[Any]:
    if isinstance(logits, np.ndarray):
        return logits
    if isinstance(logits, (list, tuple)) and any(hasattr(row, "__dlpack__") for row in logits):
        return np.stack([_array(row) for row in logits])
    if hasattr(logits, "__dlpack_device__") and not _is_here(logits):
        raise TypeError("logits must be in the memory of the CPU: copy them there first")
    if hasattr(logits, "detach"):  # torch: numpy takes no gradients and no bfloat16
        logits = logits.detach()
        if logits.dtype.is_floating_point and logits.dtype.itemsize == 2:
            logits = logits.float()
    try:
        by_dlpack = hasattr(logits, "__dlpack__") and not hasattr(logits, "__array__")
        return np.from_dlpack(logits) if by_dlpack else np.asarray(logits)
    except (BufferError, RuntimeError) as error:
        raise TypeError(f"logits must be real numbers that numpy can read: {error}") from error


def _is_here(logits: Any) -> bool:
    try:
        return logits.__dlpack_device__()[0] in _HOST
    except ValueError:  # torch, of a device that DLPack does not know
        return False
