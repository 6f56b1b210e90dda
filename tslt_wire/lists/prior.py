"""Priors: what both ends expect of lists, and spread a list's tail by.

Spec section 4.4.  A prior gives every id of a vocabulary an integer weight.  Two need nothing but the size of the
vocabulary; a table is trained on lists of one draft model (or of several with one tokenizer), like a dictionary of a
compressor, and named by its hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from tslt_wire import checks
from tslt_wire.coding.weighed_ids import WeighedIds
from tslt_wire.limits import MAX_VOCAB_SIZE
from tslt_wire.lists.logits import BAD_LOGITS, plain_logits
from tslt_wire.lists.precision import Weights, log_weights

PLAIN_PRIORS = ("none", "density", "uniform")
"""Names of priors that need no table."""
TABLE_MAGIC = b"TSLTtab1"
TABLE_SIZES = (16, 64, 256, 1024)
"""Sizes of lists for which a table says how often each id is listed."""
MAX_CODE = 240
"""Largest code of a table: those of log2/3, whose weight is then 1."""
_SCALE = 3
_HEAD_BYTES = len(TABLE_MAGIC) + 4
DENSITY_BIAS = 1024
"""Ids below about this many are equally likely under the id density."""


@dataclass(frozen=True, eq=False)
class Prior:
    """Integer weights of all ids of a vocabulary, by name: priors with equal names are equal.

    Made by ``plain_prior``, ``table_from_bytes`` and ``train_table``.
    """

    vocab_size: int
    """Tokens in the vocabulary, 1 to 2**20."""
    name: str
    """``uniform``, ``density``, or ``table:`` and 32 hexadecimal digits: what the handshake calls it."""
    weights: Weights = field(repr=False)
    """How a list's tail is spread, int64 (V,), 1 to 2**30: an unlisted id has its weight's part of the tail."""
    codes: npt.NDArray[np.uint8] | None = field(default=None, repr=False)
    """Of a table: codes, uint8 (5, V), a row for each of ``TABLE_SIZES`` and one for the tail."""

    def __eq__(self, other: object) -> bool:
        """Whether both are the same prior of the same vocabulary."""
        if not isinstance(other, Prior):
            return NotImplemented
        return (self.vocab_size, self.name) == (other.vocab_size, other.name)

    def __hash__(self) -> int:
        """Hash over what equality compares."""
        return hash((self.vocab_size, self.name))

    def expected(self, size: int, excluded: Sequence[int] = ()) -> WeighedIds | None:
        """Return what a table expects of lists of ``size`` ids; None if this prior is no table."""
        if self.codes is None:
            return None
        row = 0 if size < 32 else 1 if size < 128 else 2 if size < 512 else 3
        return WeighedIds(self._starts[row], excluded)

    def outside(self, listed: Sequence[int]) -> WeighedIds:
        """Return the weights of the tail of a list that has ``listed``, ascending."""
        return WeighedIds(self._tail_starts, listed)

    @cached_property
    def _starts(self) -> list[Weights]:
        codes = self.codes if self.codes is not None else np.empty((0, 0), np.uint8)
        return [_running(log_weights(row, _SCALE)) for row in codes[:-1]]

    @cached_property
    def _tail_starts(self) -> Weights:
        return _running(self.weights)

    def running_sums(self) -> tuple[Weights, list[Weights]]:
        """Return sums of weights, int64 (V + 1,) each, first 0: the tail's, and those of a table's other rows."""
        return self._tail_starts, self._starts

    def to_bytes(self) -> bytes:
        """Return a table as the bytes of its file; ValueError if this prior is no table."""
        if self.codes is None:
            raise ValueError(f"the prior {self.name} needs no file: it follows from the size of the vocabulary")
        return TABLE_MAGIC + self.vocab_size.to_bytes(4, "little") + self.codes.tobytes()


def plain_prior(name: str, vocab_size: int) -> Prior | None:
    """Return a prior that needs no table, None for ``none``; TypeError or ValueError for another name or size.

    ``uniform`` knows nothing.  ``density`` is for vocabularies in merge order, such as BPE's: about 1 / (id + 1024).
    """
    name = checks.one_of("a prior without a table", name, PLAIN_PRIORS)
    vocab_size = _checked(vocab_size)
    return None if name == "none" else _plain_prior(name, vocab_size)


@lru_cache(maxsize=8)
def _plain_prior(name: str, vocab_size: int) -> Prior:
    if name == "uniform":
        weights = np.ones(vocab_size, np.int64)
    else:
        weights = (1 << 30) // (np.arange(vocab_size, dtype=np.int64) + DENSITY_BIAS)
    weights.flags.writeable = False
    return Prior(vocab_size, name, weights)


def check_prior(prior: Any) -> Prior | None:
    """Return ``prior``, or None for none; TypeError for another type."""
    if prior is not None and not isinstance(prior, Prior):
        raise TypeError(f"a prior is a Prior (tslt_wire.train_table, table_from_bytes) or None, got {prior!r}")
    return prior


def table_from_bytes(data: bytes) -> Prior:
    """Read a table from the bytes of its file.  ValueError for other bytes, TypeError for what is no bytes."""
    data = bytes(checks.octets("a table", data))
    if data[: len(TABLE_MAGIC)] != TABLE_MAGIC or len(data) < _HEAD_BYTES:
        raise ValueError("a table of priors starts with TSLTtab1 and the size of its vocabulary")
    vocab_size = _checked(int.from_bytes(data[len(TABLE_MAGIC) : _HEAD_BYTES], "little"))
    rows = len(TABLE_SIZES) + 1
    if len(data) != _HEAD_BYTES + rows * vocab_size:
        raise ValueError(f"a table for V = {vocab_size} has {_HEAD_BYTES + rows * vocab_size} bytes, got {len(data)}")
    codes = np.frombuffer(data, np.uint8, offset=_HEAD_BYTES).reshape(rows, vocab_size)
    if codes.max() > MAX_CODE:
        raise ValueError(f"codes of a table are at most {MAX_CODE}, got {codes.max()}")
    name = "table:" + hashlib.sha256(data).hexdigest()[:32]
    return Prior(vocab_size, name, log_weights(codes[-1], _SCALE), codes)


@np.errstate(under="ignore")
def train_table(logits: Iterable[Any]) -> Prior:
    """Train a table on a draft model's logits: real (V,) each, from many places of ordinary text.

    Counts how often each id is among the 16, 64, 256 and 1024 most probable ones, and adds up the probability that ids
    outside the 16 most probable have.  What was never seen gets the id density's share of a few lists.  Raises
    ValueError for no logits, different vocabularies, NaN, +inf or all -inf; TypeError for rows that are no numbers.
    """
    totals = np.zeros((0, 0))
    count = 0
    for row in logits:
        values = plain_logits(row, 1).astype(np.float64)
        if count and len(values) != totals.shape[1]:
            raise ValueError(f"logits must have shape (V,) with one V, got {values.shape}")
        if not np.isfinite(values.max()):
            raise ValueError(BAD_LOGITS)
        if not count:
            totals = np.zeros((len(TABLE_SIZES) + 1, _checked(len(values))))
        order = np.argsort(-values, kind="stable")
        for i, size in enumerate(TABLE_SIZES):
            totals[i, order[:size]] += 1
        probs = np.exp(values - values.max())
        probs /= probs.sum()
        probs[order[: TABLE_SIZES[0]]] = 0
        totals[-1] += probs
        count += 1
    if not count:
        raise ValueError("a table is trained on at least one position")
    flat = (1 << 30) / (np.arange(totals.shape[1]) + DENSITY_BIAS)
    sums = totals.sum(axis=1, keepdims=True)
    # No id was ever outside the most probable ones (V <= 16, or all of the probability among them): the density alone.
    totals[sums[:, 0] == 0], sums[sums == 0] = flat, flat.sum()
    totals += flat / flat.sum() * sums * _SMOOTHING / (count + _SMOOTHING)
    scaled = np.log2(totals / totals.max(axis=1, keepdims=True))
    codes = np.clip(np.rint(-scaled * (1 << _SCALE)), 0, MAX_CODE).astype(np.uint8)
    return table_from_bytes(TABLE_MAGIC + totals.shape[1].to_bytes(4, "little") + codes.tobytes())


_SMOOTHING = 50
"""Lists' worth of the id density that is added to what was counted."""


def _checked(vocab_size: Any) -> int:
    return checks.integer("vocab_size", vocab_size, 1, MAX_VOCAB_SIZE)


def _running(weights: Weights) -> Weights:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(weights)])
