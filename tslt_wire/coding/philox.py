"""Philox4x32-10 (Salmon et al. 2011) and the numbers that evidence ``coupled`` takes from it: spec section 6.5.

A counter-based generator: any number can be had without those before it.  ``uniforms`` asks the kernel, which has its
own, where there is one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tslt_wire import checks
from tslt_wire._native import backend, kernel
from tslt_wire.limits import MAX_VOCAB_SIZE

Words = npt.NDArray[np.uint64]

KEY_BYTES = 8
"""Bytes of a key of Philox4x32: of the secret of evidence ``coupled``."""

_MOST = (1 << 32) - 1
_ROUNDS = 10
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def philox(counter: tuple[Any, Any, Any, Any], key: tuple[int, int]) -> tuple[Words, Words, Words, Words]:
    """Philox4x32-10: four random words of 32 bits, uint64 (N,), for each counter.

    ``counter``: four words below 2**32, each an integer or integers (N,); ``key``: two words.
    """
    c0, c1, c2, c3 = np.broadcast_arrays(*(np.asarray(word, dtype=np.uint64) for word in counter))
    k0, k1 = key
    for _ in range(_ROUNDS):
        # Products of two 32-bit words fit 64 bits: high and low half are what the algorithm wants.
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = p1 >> _HALF ^ c1 ^ np.uint64(k0), p1 & _LOW, p0 >> _HALF ^ c3 ^ np.uint64(k1), p0 & _LOW
        k0, k1 = k0 + _KEY_STEPS[0] & 0xFFFFFFFF, k1 + _KEY_STEPS[1] & 0xFFFFFFFF
    return c0, c1, c2, c3


def uniforms(key: bytes, epoch: int, position: int, ids: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """The number of each token at a position ([RACE-1]), float64 (N,): (n + 1) / 2**53, never 0.

    ``key``: 8 bytes; ``epoch`` and ``position``: below 2**32; ``ids``: integers (N,), 0 to 2**20 - 1.  TypeError for
    other types, ValueError for other sizes and values.
    """
    arguments = _checked(key, epoch, position, ids)
    if backend == "native":
        return np.frombuffer(kernel.uniforms(*arguments))
    return _uniforms(*arguments)


def uniforms_reference(key: bytes, epoch: int, position: int, ids: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Do what ``uniforms`` does without the kernel: this defines the numbers."""
    return _uniforms(*_checked(key, epoch, position, ids))


def _checked(key: Any, epoch: Any, position: Any, ids: Any) -> tuple[bytes, int, int, npt.NDArray[np.int32]]:
    if not isinstance(key, bytes):
        raise TypeError(f"a coupling key is bytes, got {key!r}")
    if len(key) != KEY_BYTES:
        raise ValueError(f"a coupling key has {KEY_BYTES} bytes, got {len(key)}")
    tokens = np.ascontiguousarray(ids)
    if tokens.size and tokens.dtype.kind not in "iu":
        raise TypeError(f"ids must be integers, got dtype {tokens.dtype}")
    # Negative ones are large if they are read without a sign: one pass finds both.
    if tokens.ndim != 1 or (tokens.size and int(tokens.view(f"u{tokens.itemsize}").max()) >= MAX_VOCAB_SIZE):
        raise ValueError(f"ids must be (N,) and in 0..{MAX_VOCAB_SIZE - 1}")
    return (
        key,
        checks.integer("epoch", epoch, 0, _MOST),
        checks.integer("position", position, 0, _MOST),
        np.ascontiguousarray(tokens, dtype=np.int32),
    )


def _uniforms(key: bytes, epoch: int, position: int, ids: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    tokens = ids.astype(np.uint64)
    words = (int.from_bytes(key[:4], "little"), int.from_bytes(key[4:], "little"))
    # One block has the numbers of two tokens; neighbours in ``ids`` mostly share it.
    blocks, at = np.unique(tokens >> np.uint64(1), return_inverse=True)
    block = np.stack(philox((blocks, position, epoch, 0), words))[:, at.reshape(-1)]
    odd = (tokens & np.uint64(1)).astype(bool)
    high, low = np.where(odd, block[2], block[0]), np.where(odd, block[3], block[1])
    numbers: npt.NDArray[np.float64] = (high << np.uint64(21) | low >> np.uint64(11)).astype(np.float64)
    return (numbers + 1) * 2.0**-53
