"""Truncated distributions: what the device samples from and the edge decodes.

Spec section 4; paper section 3 ("sparsify, then sample") with quantisation before sampling.  Losslessness rests on one
rule: the distribution that is sampled is the one that is sent, to the last bit.  So a ``SparseDistribution`` is made of
codes and the integer weights they stand for, and ``sample`` draws with integers.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tslt_wire import checks
from tslt_wire.limits import MAX_VOCAB_SIZE
from tslt_wire.lists.precision import Codes, Precision, Weights, precision_of, weights_of
from tslt_wire.lists.prior import Prior, check_prior

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
    weight other than 2**30, a weight of 0, a tail without a prior or without unlisted tokens; TypeError for a field of
    another type.
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
        object.__setattr__(self, "vocab_size", checks.integer("vocab_size", self.vocab_size, 1, MAX_VOCAB_SIZE))
        object.__setattr__(self, "precision", precision_of(self.precision))
        object.__setattr__(self, "tail", checks.integer("tail", self.tail, 0, TAIL_PARTS - 1))
        object.__setattr__(self, "left_out", checks.number("left_out", self.left_out, 0, 1))
        check_prior(self.prior)
        ids = _frozen("ids", self.ids, np.int32)
        codes = _frozen("codes", self.codes, np.uint32)
        problem = _list_problem(self.vocab_size, self.precision, ids, codes) or self._tail_problem(len(ids))
        if problem:
            raise ValueError(problem)
        object.__setattr__(self, "ids", ids)
        object.__setattr__(self, "codes", codes)
        object.__setattr__(self, "weights", _frozen("weights", weights_of(self.precision, codes), np.int64))
        if self.weights.max() != 1 << 30 or self.weights.min() < 1:
            raise ValueError("the largest weight of a list must be 2**30 and the smallest at least 1")

    def _tail_problem(self, size: int) -> str | None:
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
        """Position of ``token`` in ``ids``, or -1 if it is not listed.  TypeError for what is no integer."""
        token = operator.index(token)
        i = int(np.searchsorted(self.ids, token))
        return i if i < len(self.ids) and int(self.ids[i]) == token else -1

    def prob_of(self, token: int) -> float:
        """Probability of ``token``, rounded once (a quotient of integers); 0.0 if it is not listed and has no tail.

        Equal, to the last bit, to what ``probs`` and ``dense`` say.  TypeError for what is no integer.
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
        count = checks.integer("count", count, 0, None)
        return [int(token) for token in self.ids[np.argsort(-self.weights, kind="stable")[:count]]]

    def sample(self, rng: np.random.Generator, size: int | None = None) -> Any:
        """Draw tokens with replacement; an int if ``size`` is None, else int32 (size,).  Exact: integers only.

        ``rng``: a numpy Generator.  TypeError for another or a size that is no integer, ValueError for a negative one.
        """
        checks.generator("rng", rng)
        if size is not None:
            size = checks.integer("size", size, 0, None)
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


def _frozen(name: str, values: Any, dtype: Any) -> npt.NDArray[Any]:
    array = np.ascontiguousarray(values)
    if array.dtype != dtype:
        if array.size and array.dtype.kind not in "iu":
            raise TypeError(f"{name} must be integers, got dtype {array.dtype}")
        if array.size and (array.min() < np.iinfo(dtype).min or array.max() > np.iinfo(dtype).max):
            raise ValueError(f"{name} must fit {np.dtype(dtype).name}")
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
