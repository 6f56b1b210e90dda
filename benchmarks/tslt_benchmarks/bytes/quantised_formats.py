"""Distributions that are made coarse before they travel: dense int8, DistillKit's layout, and QS's formula.

What a receiver verifies against is what it decodes, so acceptance shows what the coarseness costs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from tslt_benchmarks.bytes.format_base import Bitstream, Decoded, Floats, Format, Ids, softmax, top
from tslt_benchmarks.bytes.other_formats import Lattice
from tslt_benchmarks.drafts import Logits
from tslt_wire.coding.bits import BitReader, BitWriter, id_bits

# ----------------------------------------------------------------------------------------------------------- dense int8


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """Logits in 255 equal steps."""

    low: np.float32
    step: np.float32
    codes: npt.NDArray[np.uint8]
    """(V,)."""

    def __eq__(self, other: object) -> bool:
        """Equal to the last bit."""
        return isinstance(other, Steps) and (self.low, self.step, self.codes.tobytes()) == (
            other.low,
            other.step,
            other.codes.tobytes(),
        )

    __hash__ = None  # type: ignore[assignment]


class DenseInt8(Bitstream[Logits, Steps]):
    """All V logits over the temperature in 8 bits, least and step in float32 in front.  ``k`` is ignored."""

    group = "dense"
    name, title = "dense_int8", "dense, int8 logits"

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size

    def prepare(self, source: Logits, *, k: int, temperature: float) -> Steps:
        """Round to the nearest step between the least and the largest logit."""
        logits = np.asarray(source, np.float64) / temperature
        logits = np.maximum(logits, logits[np.isfinite(logits)].min())  # there is no code for a token that is not there
        low, step = np.float32(logits.min()), np.float32((logits.max() - logits.min()) / 255)
        codes = np.round((logits - float(low)) / (float(step) or 1.0)).clip(0, 255)
        return Steps(low, step, codes.astype(np.uint8))

    def lists(self, item: Steps) -> list[Decoded]:
        """Softmax of what the codes say."""
        logits = float(item.low) + float(item.step) * item.codes.astype(np.float64)
        return [Decoded(np.arange(len(logits), dtype=np.int32), softmax(logits, 1.0))]

    def encode(self, item: Steps) -> bytes:
        """See Bitstream.encode."""
        return np.array([item.low, item.step], "<f4").tobytes() + item.codes.tobytes()

    def decode(self, data: bytes) -> Steps:
        """See Bitstream.decode."""
        low, step = np.frombuffer(data, "<f4", 2)
        return Steps(low, step, np.frombuffer(data, np.uint8, offset=8))


# ----------------------------------------------------------------------------------------------------------- DistillKit


@dataclass(frozen=True, slots=True)
class Fitted:
    """Log-probabilities in descending order: the first exact, the rest by a curve."""

    ids: tuple[int, ...]
    exact: tuple[int, ...]
    """Upper 16 bits of their float32: bfloat16."""
    curve: tuple[float, ...]
    """Coefficients, float32; none where all are exact."""


class DistillKit(Bitstream[Logits, Fitted]):
    """``total_bits`` of DistillKit's recommended setting: 16 exact in bfloat16, six float32 terms, packed ids.

    The layout is for training students; that a draft could be sent in it is our supposition.  Source:
    arcee-ai/DistillKit, README and distillkit/compression/config.py.
    """

    name, title = "distillkit", "DistillKit, 16 exact + curve"
    _EXACT = 16
    _TERMS = 6
    """1, t, t^2, t^3, t^4 and the root of t."""

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size

    def prepare(self, source: Logits, *, k: int, temperature: float) -> Fitted:
        """Least squares for the tail; up to 22 entries a curve would cost more than it says, so all are exact."""
        probs = softmax(source, temperature)
        ids = top(probs, k)
        ids = ids[np.argsort(-probs[ids], kind="stable")]
        logs = np.log(np.maximum(probs[ids], 1e-300))
        exact = len(ids) if len(ids) <= self._EXACT + self._TERMS else self._EXACT
        curve: tuple[float, ...] = ()
        if exact < len(ids):
            terms = self._terms(len(ids) - exact)
            scale = terms.max(axis=0)
            found = np.linalg.lstsq(terms / scale, logs[exact:], rcond=None)[0] / scale
            curve = tuple(found.astype(np.float32).tolist())
        rounded = (logs[:exact].astype(np.float32).view(np.uint32) + 0x8000) >> 16
        return Fitted(tuple(ids.tolist()), tuple(rounded.tolist()), curve)

    def lists(self, item: Fitted) -> list[Decoded]:
        """Renormalised, in the order of ids."""
        logs = (np.array(item.exact, np.uint32) << 16).view(np.float32).astype(np.float64)
        if item.curve:
            logs = np.append(logs, self._terms(len(item.ids) - len(item.exact)) @ np.array(item.curve))
        weights = np.exp(logs - logs.max())
        order = np.argsort(item.ids)
        return [Decoded(np.array(item.ids, np.int32)[order], (weights / weights.sum())[order])]

    def encode(self, item: Fitted) -> bytes:
        """Exact values, curve, packed ids."""
        values = np.array(item.exact, "<u2").tobytes() + np.array(item.curve, "<f4").tobytes()
        out = BitWriter()
        out.array(np.array(item.ids, np.int32), id_bits(self.vocab_size))
        return values + out.finish()

    def decode(self, data: bytes) -> Fitted:
        """The setting says how many of each there are; K follows from the length."""
        bits = id_bits(self.vocab_size)
        k = next(k for k in range(1, self.vocab_size + 1) if self._size(k) == len(data))
        exact, terms = self._parts(k)
        values = np.frombuffer(data, "<u2", exact)
        curve = np.frombuffer(data, "<f4", terms, 2 * exact)
        ids = BitReader(data[2 * exact + 4 * terms :]).array(k, bits)
        return Fitted(tuple(ids.tolist()), tuple(values.tolist()), tuple(curve.tolist()))

    def _parts(self, k: int) -> tuple[int, int]:
        return (k, 0) if k <= self._EXACT + self._TERMS else (self._EXACT, self._TERMS)

    def _size(self, k: int) -> int:
        exact, terms = self._parts(k)
        return 2 * exact + 4 * terms + -(-k * id_bits(self.vocab_size) // 8)

    @staticmethod
    def _terms(count: int) -> Floats:
        t = np.arange(count, dtype=np.float64)
        return np.stack([t**0, t, t**2, t**3, t**4, np.sqrt(t)], axis=1)


# ------------------------------------------------------------------------------------------------------------------- QS


class QuantizedWhole(Format[Logits, Lattice]):
    """QS: ceil(log2 C(l + V - 1, V - 1)) + 16 bits for l parts over the whole vocabulary (arXiv 2507.00605).

    A formula: nobody has shipped its bits.  ``k`` is ignored.
    """

    group = "dense"

    def __init__(self, vocab_size: int, parts: int) -> None:
        self.vocab_size, self.parts = vocab_size, parts
        self.name, self.title = f"qs_{parts}", f"QS formula, l = {parts} (no bitstream)"

    def prepare(self, source: Logits, *, k: int, temperature: float) -> Lattice:
        """Round to the lattice: down, then what is missing to the largest remainders."""
        exact = softmax(source, temperature) * self.parts
        parts = np.floor(exact).astype(np.int64)
        missing = self.parts - int(parts.sum())
        parts[np.argsort(parts - exact, kind="stable")[:missing]] += 1
        ids: Ids = np.flatnonzero(parts).astype(np.int32)
        return Lattice(self.vocab_size, ids, parts[ids])

    def lists(self, item: Lattice) -> list[Decoded]:
        """See Format.lists."""
        return [Decoded(item.ids, item.parts / item.parts.sum())]

    def size(self, item: Lattice) -> float:
        """The formula / 8; it depends on V and l alone."""
        return _qs_bits(item.vocab_size, int(item.parts.sum())) / 8


@lru_cache
def _qs_bits(vocab_size: int, parts: int) -> int:
    return math.ceil(math.log2(math.comb(parts + vocab_size - 1, vocab_size - 1))) + 16
