"""Philox4x32-10 (Salmon et al. 2011) and the numbers that evidence ``coupled`` takes from it: spec section 6.5.

A counter-based generator: any number can be had without those before it.  The kernel has its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]

KEY_BYTES = 8
"""Bytes of a key of Philox4x32: of the secret of evidence ``coupled``."""

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

    ``ids``: integers (N,), 0 and up; ``key``: 8 bytes.
    """
    tokens = np.asarray(ids, dtype=np.uint64)
    words = (int.from_bytes(key[:4], "little"), int.from_bytes(key[4:], "little"))
    # One block has the numbers of two tokens; neighbours in ``ids`` mostly share it.
    blocks, at = np.unique(tokens >> np.uint64(1), return_inverse=True)
    block = np.stack(philox((blocks, position, epoch, 0), words))[:, at.reshape(-1)]
    odd = (tokens & np.uint64(1)).astype(bool)
    high, low = np.where(odd, block[2], block[0]), np.where(odd, block[3], block[1])
    numbers: npt.NDArray[np.float64] = (high << np.uint64(21) | low >> np.uint64(11)).astype(np.float64)
    return (numbers + 1) * 2.0**-53
