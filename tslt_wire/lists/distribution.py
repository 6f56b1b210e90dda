"""Truncated distributions: what the device samples from and the edge decodes.

Spec section 4; paper section 3 ("sparsify, then sample") with quantisation before sampling.  Losslessness rests on one
rule: the distribution that is sampled is the one that is sent, to the last bit.  So a ``SparseDistribution`` is made of
codes and the integer weights they stand for, and ``sample`` draws with integers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tslt_wire.limits import MAX_VOCAB_SIZE
from tslt_wire.lists.precision import Codes, Precision, Weights, masses_of, quantise, weights_of
from tslt_wire.lists.prior import Prior
from tslt_wire.lists.truncation import TopK, Truncation, keep

if TYPE_CHECKING:
    from collections.abc import Sequence

Ids = npt.NDArray[np.int32]

TAIL_PARTS = 32
"""A list's tail is a number of 32nds."""
LEAST_TAIL = 0.25
"""``sparsify`` gives no tail to a list that leaves out less than this."""
TAIL_SCALE = 0.75
"""Part of the probability left out that ``sparsify`` gives to the tail: the unlisted tokens that matter are few, and a
prior does not know them (benchmarks/constructions.md)."""


@dataclass(frozen=True, slots=True, eq=False)
class SparseDistribution:
    """A distribution over ``vocab_size`` tokens: listed ones, and a tail of all others (the paper's ``Q^`` has none).

    The listed tokens have ``(32 - tail) / 32`` of the probability, in proportion to ``weights``; the others
    ``tail / 32``, in proportion to ``prior.weights``.  Equal when vocabulary size, precision, ids, codes, tail and
    prior are.  Raises ValueError for anything no encoder can send: ids unsorted or outside the vocabulary, a largest
    weight other than 2**30, a weight of 0, a tail without a prior or without unlisted tokens.
    """

    vocab_size: int
    """Tokens in the vocabulary, 1 to 2**20."""
    precision: Precision
    """How ``codes`` are read."""
    ids: Ids
    """Token ids, int32 (K,), strictly ascending."""
    codes: Codes
    """What travels: log-domain steps or the bits of a shifted logit, uint32 (K,)."""
    tail: int = 0
    """Probability of all unlisted tokens together, in 32nds, 0 to 31."""
    prior: Prior | None = None
    """How the tail is spread; None if there is none."""
    left_out: float = field(default=0.0, kw_only=True, repr=False)
    """Probability that the draft model gave to unlisted tokens, before the tail: known to ``sparsify`` alone, if it was
    given a prior (else 0: it costs a pass over all tokens that nothing else needs), not sent and not compared."""
    weights: Weights = field(init=False)
    """Integer weights, int64 (K,): ids[i] has weights[i] / sum(weights) of what is not the tail's."""

    def __post_init__(self) -> None:
        if not 1 <= self.vocab_size <= MAX_VOCAB_SIZE:
            raise ValueError(f"vocab_size must be 1..{MAX_VOCAB_SIZE}, got {self.vocab_size}")
        ids = _frozen(self.ids, np.int32)
        codes = _frozen(self.codes, np.uint32)
        problem = _list_problem(self.vocab_size, self.precision, ids, codes) or self._tail_problem(len(ids))
        if problem:
            raise ValueError(problem)
        object.__setattr__(self, "ids", ids)
        object.__setattr__(self, "codes", codes)
        object.__setattr__(self, "weights", _frozen(weights_of(self.precision, codes), np.int64))
        if self.weights.max() != 1 << 30 or self.weights.min() < 1:
            raise ValueError("the largest weight of a list must be 2**30 and the smallest at least 1")

    def _tail_problem(self, size: int) -> str | None:
        if not 0 <= self.tail < TAIL_PARTS:
            return f"a tail has 0..{TAIL_PARTS - 1} 32nds, got {self.tail}"
        if (self.tail > 0) != (self.prior is not None):
            return "a list has a tail and a prior, or neither"
        if self.tail and size == self.vocab_size:
            return "a list of all tokens can have no tail"
        if self.prior is not None and self.prior.vocab_size != self.vocab_size:
            return f"the prior is for V = {self.prior.vocab_size}, the list for V = {self.vocab_size}"
        return None

    @property
    def probs(self) -> npt.NDArray[np.float64]:
        """Probabilities of ``ids``, float64 (K,), each rounded once; they and the tail sum to 1 up to rounding."""
        return self.weights * (TAIL_PARTS - self.tail) / float(TAIL_PARTS * self.total)

    @property
    def total(self) -> int:
        """Sum of the weights."""
        return int(self.weights.sum())

    def __len__(self) -> int:
        """Number of listed tokens K."""
        return len(self.ids)

    def __eq__(self, other: object) -> bool:
        """Whether the two would be the same bytes on the wire."""
        if not isinstance(other, SparseDistribution):
            return NotImplemented
        return (
            self.vocab_size == other.vocab_size
            and self.precision is other.precision
            and np.array_equal(self.ids, other.ids)
            and np.array_equal(self.codes, other.codes)
            and (self.tail, self.prior) == (other.tail, other.prior)
        )

    def __hash__(self) -> int:
        """Hash over what equality compares."""
        return hash((self.vocab_size, self.precision, self.ids.tobytes(), self.codes.tobytes(), self.tail))

    def rank(self, token: int) -> int:
        """Position of ``token`` in ``ids``, or -1 if it is not listed."""
        i = int(np.searchsorted(self.ids, token))
        return i if i < len(self.ids) and int(self.ids[i]) == token else -1

    def prob_of(self, token: int) -> float:
        """Probability of ``token``, rounded once (a quotient of integers); 0.0 if it is not listed and has no tail.

        Equal, to the last bit, to what ``probs`` and ``dense`` say.
        """
        i = self.rank(token)
        if i >= 0:
            return int(self.weights[i]) * (TAIL_PARTS - self.tail) / (TAIL_PARTS * self.total)
        if self.prior is None or not 0 <= token < self.vocab_size:
            return 0.0
        return int(self.prior.weights[token]) * self.tail / (TAIL_PARTS * self._outside())

    def _outside(self) -> int:
        """Sum of the prior's weights of unlisted tokens."""
        return self.prior.outside(self.ids.tolist()).total if self.prior is not None else 0

    def dense(self) -> npt.NDArray[np.float64]:
        """The whole distribution, float64 (V,)."""
        if self.prior is None:
            out = np.zeros(self.vocab_size)
        else:
            out = self.prior.weights * self.tail / float(TAIL_PARTS * self._outside())
        out[self.ids] = self.probs
        return out

    def likeliest(self, count: int) -> list[int]:
        """The ``count`` most probable listed tokens, or all if there are fewer; lower ids first among equals."""
        return [int(token) for token in self.ids[np.argsort(-self.weights, kind="stable")[:count]]]

    def sample(self, rng: np.random.Generator, size: int | None = None) -> Any:
        """Draw tokens with replacement; an int if ``size`` is None, else int32 (size,).  Exact: integers only."""
        cumulative = np.cumsum(self.weights)
        draws = rng.integers(0, int(cumulative[-1]), size=size)
        picked = self.ids[np.searchsorted(cumulative, draws, side="right")]
        if self.prior is not None:
            outside = self.prior.weights.copy()
            outside[self.ids] = 0
            cumulative = np.cumsum(outside)
            draws = rng.integers(0, int(cumulative[-1]), size=size)
            others = np.searchsorted(cumulative, draws, side="right").astype(np.int32)
            picked = np.where(rng.integers(0, TAIL_PARTS, size=size) < self.tail, others, picked)
        return int(picked) if size is None else picked


def _frozen(values: Any, dtype: Any) -> npt.NDArray[Any]:
    array = np.ascontiguousarray(values)
    if array.dtype != dtype:
        if array.dtype.kind not in "iu":
            raise ValueError(f"expected an integer array, got dtype {array.dtype}")
        if array.size and (array.min() < np.iinfo(dtype).min or array.max() > np.iinfo(dtype).max):
            raise ValueError(f"values do not fit {np.dtype(dtype).name}")
    array = array.astype(dtype)
    array.flags.writeable = False
    return array


def _list_problem(vocab_size: int, precision: Precision, ids: Ids, codes: Codes) -> str | None:
    """What is wrong with a list, or None; shared words for callers and (as DecodeError) for peers."""
    if ids.ndim != 1 or ids.shape != codes.shape or not 1 <= len(ids) <= vocab_size:
        return f"a list needs 1..{vocab_size} ids and as many codes, got shapes {ids.shape} and {codes.shape}"
    if ids[0] < 0 or ids[-1] >= vocab_size or bool(np.any(ids[1:] <= ids[:-1])):
        return f"ids must be strictly ascending and in 0..{vocab_size - 1}"
    if codes.max() > precision.max_code:
        return f"codes of {precision.value} must be at most {precision.max_code}"
    if codes.min() != 0:
        return "the most probable token must have code 0: codes are relative to it"
    if not precision.is_log:
        infinity = {Precision.F16: 0xFC00, Precision.BF16: 0xFF80, Precision.F32: 0xFF800000}[precision]
        sign = 1 << (precision.code_bits - 1)
        if bool(np.any((codes != 0) & ((codes <= sign) | (codes >= infinity)))):
            return "shifted logits must be +0.0 or negative and finite"
    return None


def sparsify(
    logits: Any,
    *,
    temperature: float = 1.0,
    truncation: Truncation | None = None,
    precision: Precision | str = Precision.LOG2_2,
    prior: Prior | None = None,
    tail_scale: float = TAIL_SCALE,
) -> SparseDistribution:
    """Truncate and quantise a draft model's logits: temperature, truncation, precision, in this order.

    Paper section 3.2 (TSLT), spec section 4.  ``logits``: real (V,), -inf for impossible tokens.  ``temperature`` 0
    keeps the most probable token alone.  ``truncation`` None keeps all.  A token more than 30 octaves (20.8 nat) less
    probable than the most probable one has weight 0 and is left out.

    With a ``prior`` a list that leaves out at least ``LEAST_TAIL`` of the probability gets ``tail_scale`` (0 to 1) of
    that as its tail; 0 gives no tails, which is better where the target is much sharper than the draft (``TailScale``
    finds out).  Raises ValueError for NaN, +inf, all -inf or a bad shape.
    """
    values = np.asarray(logits)
    if values.dtype.kind not in "fiu":
        raise ValueError(f"logits must be real numbers, got dtype {values.dtype}")
    values = values.astype(np.float64)
    if values.ndim != 1 or not 1 <= len(values) <= MAX_VOCAB_SIZE:
        raise ValueError(f"logits must have shape (V,) with 1 <= V <= {MAX_VOCAB_SIZE}, got {values.shape}")
    top = values.max()
    if not np.isfinite(top):
        raise ValueError("logits must be real numbers, or -inf, with at least one finite and none NaN or +inf")
    if not (np.isfinite(temperature) and temperature >= 0):
        raise ValueError(f"temperature must be a finite number >= 0, got {temperature!r}")
    if not 0 <= tail_scale <= 1:
        raise ValueError(f"tail_scale must be in 0..1, got {tail_scale!r}")
    precision = Precision(precision)
    if temperature == 0:
        ids = np.array([values.argmax()], dtype=np.int32)
        return SparseDistribution(len(values), precision, ids, np.zeros(1, np.uint32))
    with np.errstate(over="ignore"):
        shifted = (values - top) / temperature
    outside = 0.0
    if truncation is None:
        ids = np.arange(len(values), dtype=np.int32)
    else:
        # Integers, so that every machine keeps the same tokens: exp() and the order of a float sum are not the same.
        # A mere number of tokens needs none.
        masses = None if prior is None and isinstance(truncation, TopK) else masses_of(shifted)
        ids = keep(values if masses is None else masses, truncation, order=values).astype(np.int32)
        outside = 0.0 if masses is None else 1 - int(masses[ids].sum()) / int(masses.sum())
    codes = quantise(precision, shifted[ids])
    sampled = weights_of(precision, codes) > 0
    tail = 0
    if prior is not None and outside >= LEAST_TAIL and sampled.sum() < len(values):
        tail = min(int(outside * tail_scale * TAIL_PARTS + 0.5), TAIL_PARTS - 1)
    return SparseDistribution(
        len(values),
        precision,
        ids[sampled],
        codes[sampled],
        tail=tail,
        prior=prior if tail else None,
        left_out=outside if prior is not None else 0.0,
    )


def sparsify_batch(
    logits: Any,
    *,
    temperature: float = 1.0,
    truncation: Truncation | None = None,
    precision: Precision | str = Precision.LOG2_2,
    prior: Prior | None = None,
    tail_scale: float = TAIL_SCALE,
) -> list[SparseDistribution]:
    """Sparsify each row of ``logits``, real (N, V), as ``sparsify`` does; all nodes of a tree's level in one call."""
    return [
        sparsify(
            row, temperature=temperature, truncation=truncation, precision=precision, prior=prior, tail_scale=tail_scale
        )
        for row in logits
    ]


def check_lists(lists: Sequence[SparseDistribution]) -> tuple[int, Precision]:
    """Return the vocabulary size and precision that all ``lists`` share; ValueError if they do not."""
    kinds = {(q.vocab_size, q.precision) for q in lists}
    priors = {q.prior for q in lists if q.prior is not None}
    if len(priors) > 1:
        raise ValueError(f"the lists of a draft must share one prior, got {sorted(prior.name for prior in priors)}")
    if len(kinds) != 1:
        raise ValueError(
            f"the lists of a draft must share one vocabulary size and precision, got {sorted(map(str, kinds))}"
        )
    return next(iter(kinds))
