"""What a format is: draft logits to an item, an item to bytes and back, and what a receiver verifies against.

``Bitstream`` is a ``Format`` that has bytes; what is only a formula is a ``Format`` and nothing more.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

import numpy as np
import numpy.typing as npt

import tslt_wire as tw
from tslt_benchmarks.drafts import Logits
from tslt_wire.lists.truncation import TopK, keep

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int32]
Source = TypeVar("Source")
Item = TypeVar("Item")


class FormatError(AssertionError):
    """A format did not read back what it wrote: a bug in this benchmark or in a codec, never a result."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """One distribution as its receiver sees it; all other tokens have probability 0."""

    ids: Ids
    """int32 (K,), ascending."""
    probs: Floats
    """float64 (K,), sum 1."""


class Format(ABC, Generic[Source, Item]):
    """One way to send what a draft was sampled from."""

    name: str
    """Key in JSON and on the machine-readable line."""
    title: str
    """For tables."""
    group: ClassVar[str] = "list"
    """``list``: a truncated list; ``dense``: all V; ``formula``: no bytes exist; ``frame``: a whole draft frame."""

    @abstractmethod
    def prepare(self, source: Source, *, k: int, temperature: float) -> Item:
        """Truncate to ``k`` entries and quantise; the device would sample from what comes out."""

    @abstractmethod
    def lists(self, item: Item) -> list[Decoded]:
        """What a receiver holds after reading: one distribution a parent."""

    @abstractmethod
    def size(self, item: Item) -> float:
        """Bytes of ``item``, not rounded up for a formula."""

    def tokens(self, item: Item) -> int:
        """Draft tokens ``item`` carries."""
        return 1


class Bitstream(Format[Source, Item]):
    """A format that has bytes."""

    @abstractmethod
    def encode(self, item: Item) -> bytes:
        """Write ``item``."""

    @abstractmethod
    def decode(self, data: bytes) -> Item:
        """Read what ``encode`` wrote; needs nothing but the vocabulary."""

    def same(self, one: Item, other: Item) -> bool:
        """Whether two items are equal, to the last bit."""
        return bool(one == other)

    def size(self, item: Item) -> float:
        """Bytes of ``item``; FormatError if they do not read back as exactly that."""
        data = self.encode(item)
        if not self.same(item, self.decode(data)):
            raise FormatError(f"{self.name}: {len(data)} bytes did not read back as what was written")
        return len(data)


def softmax(logits: Logits, temperature: float) -> Floats:
    """Probabilities of ``logits`` (V,) at ``temperature`` > 0; float64 (V,)."""
    shifted = (np.asarray(logits, np.float64) - float(logits.max())) / temperature
    weights = np.exp(shifted)
    return np.asarray(weights / weights.sum())


def top(probs: Floats, k: int) -> Ids:
    """Ids of the ``k`` largest of ``probs`` (V,) by the codec's own rule; int32 (min(k, V),), ascending."""
    return keep(probs, TopK(k)).astype(np.int32)


def listed(q: Floats, kept: Ids) -> Floats:
    """``q`` (V,) on the ids ``kept`` alone, renormalised: eq. (12) of the paper, its cases the right way round."""
    out = np.zeros(len(q))
    out[kept] = q[kept] / q[kept].sum()
    return out


def prior_name(prior: tw.Prior | None) -> str:
    """``none``, the name of a plain prior, or ``table``."""
    return prior.name.split(":")[0] if prior else "none"


def standard_error(values: Floats) -> float:
    """Standard error of the mean of ``values``; 0 of a single one."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def overlap(q: tw.SparseDistribution | Decoded, target: Floats) -> float:
    """Acceptance 1 - TV of ``q`` against a whole distribution (V,)."""
    if isinstance(q, tw.SparseDistribution) and q.tail:
        return float(np.minimum(target, q.dense()).sum())
    return float(np.minimum(target[q.ids], q.probs).sum())
