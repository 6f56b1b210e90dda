"""Which tokens of a target a draft model has: what a device may draft, and what its model reads in place of the rest.

Spec section 7.9; arXiv 2502.05202 (token-level intersection), whose law holds here because logits are restricted before
anything is drawn from them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tslt_runtime.fingerprint import VocabularyMismatch
from tslt_wire.lists.logits import plain_logits

ABSENT = -1
"""In place of a token that the draft model has not."""
_DOMAIN = b"tslt-wire token map 1\n"


class TokenMap:
    """From the tokens of a target to those of a draft model."""

    def __init__(self, read: Any, drafted: Any) -> None:
        """``read``: the draft's token for each of the target's, integers (V,), ``ABSENT`` where there is none.

        ``drafted``: which of the target's may be drafted, booleans (V,); no two of them have the same token of the
        draft.  Raises VocabularyMismatch if there is none, ValueError for what is no such map.
        """
        self.read: NDArray[np.int32] = np.asarray(read, np.int32)
        """What the draft model reads for each token of the target, int32 (V,)."""
        self.ids: NDArray[np.int32] = np.flatnonzero(drafted).astype(np.int32)
        """Tokens of the target that may be drafted, ascending, int32 (n,)."""
        self.sources: NDArray[np.int32] = self.read[self.ids]
        """The draft's tokens for these, int32 (n,)."""
        if not len(self.ids):
            raise VocabularyMismatch("the draft model and the target have no token in common")
        if self.sources.min() < 0 or len(np.unique(self.sources)) < len(self.ids):
            raise ValueError("each token that may be drafted has one of the draft model's, and no two have the same")

    @property
    def vocab_size(self) -> int:
        """The target's V."""
        return len(self.read)

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 (32 bytes) of what may be drafted, and by which tokens: pairs of u32, little-endian."""
        pairs = np.stack([self.ids, self.sources], axis=1).astype("<u4")
        return hashlib.sha256(_DOMAIN + pairs.tobytes()).digest()

    @property
    def never(self) -> NDArray[np.int32]:
        """Tokens of the target that are never drafted, ascending, int32."""
        return np.setdiff1d(np.arange(self.vocab_size, dtype=np.int32), self.ids, assume_unique=True)

    def resized(self, vocab_size: int) -> TokenMap:
        """The same for a target whose output has this size: ids beyond it are gone, new ones are absent."""
        if vocab_size == self.vocab_size:
            return self
        kept = min(vocab_size, self.vocab_size)
        read, drafted = np.full(vocab_size, ABSENT, np.int32), np.zeros(vocab_size, bool)
        read[:kept] = self.read[:kept]
        drafted[self.ids[self.ids < kept]] = True
        return TokenMap(read, drafted)

    def rows(self, logits: Any) -> NDArray[Any]:
        """Rows of the draft's logits (N, V of the draft) as rows over the target's tokens (N, V).

        Those that may not be drafted have -inf: nothing is drawn from a row before it is restricted.
        """
        values = plain_logits(logits, 2)
        out = np.full((len(values), self.vocab_size), -np.inf, values.dtype)
        out[:, self.ids] = values[:, self.sources]
        return out


def same_ids(own: int, target: int, *, without: Iterable[int] = ()) -> TokenMap:
    """The map of models that number their tokens alike, with ``own`` and ``target`` logits; ``without``: never drafted.

    Tokens that are not drafted, but that the draft has a row for, are read as they are.
    """
    read = np.arange(target, dtype=np.int32)
    read[own:] = ABSENT
    drafted = read >= 0
    drafted[[token for token in without if token < target]] = False
    return TokenMap(read, drafted)
