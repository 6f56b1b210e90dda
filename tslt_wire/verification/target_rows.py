"""Target rows: the target's distribution at one node of a draft, with the session's sampling settings applied.

Spec sections 6.3 and 7.2.  A row answers what verification asks of it and need not exist before that: of a chain that
is rejected at its second token nobody looks at the third row.  ``target_rows`` makes rows of a model's raw logits,
``DenseRow`` is one that holds its probabilities, and a verifier that knows less can bring rows of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, overload

import numpy as np
import numpy.typing as npt

from tslt_wire._native import backend
from tslt_wire.checks import integer
from tslt_wire.messages.sampling import Sampling
from tslt_wire.verification.adjustments import LogitsAt, SampledText
from tslt_wire.verification.choices import Choices
from tslt_wire.verification.float_errors import quiet
from tslt_wire.verification.kernel_rows import BAD_ROW, KernelRow

Floats = npt.NDArray[np.float64]

BF16_ROUNDING = 2.0**-8
"""What rounding to the nearest bfloat16 (8 bits of significand) can change a number by, as part of the number."""
F16_ROUNDING, F16_LEAST_ERROR = 2.0**-11, 2.0**-25
"""The same for float16 (11 bits); and what it can change a probability below 2**-14 by, however small that is."""


class TargetRow(Protocol):
    """The target's distribution after one node, as much of it as a verifier knows (spec section 6.3).

    Evidence ``scalar`` and ``match`` ask for no more than this.  ``list``, ``coupled`` and ``lazy`` also need
    ``dense() -> float64 (V,)``, all probabilities: what it gives is checked and normalised as in ``DenseRow``.
    """

    @property
    def vocab_size(self) -> int:
        """Tokens V of the target's vocabulary; the same for all rows of a draft, and known before anything else."""
        ...

    def prob(self, token: int) -> float:
        """Probability of ``token``, 0 <= token < V."""
        ...

    def draw(self, choices: Choices) -> int:
        """Return a token drawn from the row, independent of all tokens drawn before.

        A row that has all probabilities draws with ``choices.draw``, one that has its own way with
        ``choices.uniform``.  One that holds tokens its model drew from this very distribution may hand out the next
        of them and ignore ``choices``.  Of a row at most ``proposals`` tokens (evidence ``scalar``) or one (any other)
        are drawn by one call of ``verify``, and ``count`` by one of ``propose``.
        """
        ...


class DenseRow:
    """A row that holds all its probabilities (spec section 6.3)."""

    __slots__ = ("_cumulative", "_probs")

    def __init__(self, probs: Any, *, name: str = "target_probs") -> None:
        """``probs``: real (V,), an array or a CPU tensor.  They are divided by their sum.

        TypeError for what is not real, ValueError for what is no distribution (``sum_tolerance``); both say ``name``.
        """
        found = _distribution(real_array(name, probs), name)
        found.flags.writeable = False
        self._probs: Floats = found
        self._cumulative: Floats | None = None

    @property
    def vocab_size(self) -> int:
        """See TargetRow.vocab_size."""
        return len(self._probs)

    def prob(self, token: int) -> float:
        """See TargetRow.prob."""
        return float(self._probs[token])

    def draw(self, choices: Choices) -> int:
        """See TargetRow.draw."""
        if self._cumulative is None:
            self._cumulative = np.cumsum(self._probs)
        return choices.draw(self._probs, self._cumulative)

    def dense(self) -> Floats:
        """All probabilities, float64 (V,), with sum 1; read-only."""
        return self._probs


class LogitsRow:
    """A row of raw logits: its probabilities are computed when the first of them is asked for, and kept.

    Spec section 7.2.
    """

    __slots__ = ("_at", "_found", "_logits", "_sampling", "_text", "vocab_size")

    def __init__(self, logits: Any, sampling: Sampling, text: SampledText | None = None, at: int = 0) -> None:
        """``logits``: real (V,), an array or tensor, left alone until it is asked for.  Errors as ``target_rows``.

        ``at``: which row of ``text`` it is.
        """
        logits = with_shape("logits", logits)
        if len(logits.shape) != 1 or logits.shape[0] < 1:
            raise ValueError(f"logits must have shape (V,), got {tuple(logits.shape)}")
        self.vocab_size = int(logits.shape[0])
        self._logits = logits
        self._sampling = check_text(sampling, text)
        self._text, self._at = text, at
        self._found: DenseRow | KernelRow | None = None

    def _row(self) -> DenseRow | KernelRow:
        if self._found is None:
            text = self._text or _NO_TEXT
            if backend == "native":
                logits = _in_memory(self._logits)
                edits, mask = (
                    text.edits(self._at, logits_at(logits), self._sampling),
                    text.mask(self._at, self.vocab_size),
                )
                self._found = KernelRow(logits, self._sampling, edits, mask)
            else:
                probs = np.zeros(self.vocab_size)
                _fill(probs, real_array("logits", self._logits), self._sampling, text, self._at)
                self._found = DenseRow(probs)
            self._logits = self._text = None
        return self._found

    @property
    def in_kernel(self) -> KernelRow | None:
        """The row as the kernel has it; None where the reference does the work.  ValueError as in ``prob``."""
        found = self._row()
        return found if isinstance(found, KernelRow) else None

    def prob(self, token: int) -> float:
        """See TargetRow.prob; ValueError for logits that are no distribution (``target_probs``)."""
        return self._row().prob(token)

    def draw(self, choices: Choices) -> int:
        """See TargetRow.draw; ValueError as in ``prob``."""
        return self._row().draw(choices)

    def dense(self) -> Floats:
        """All probabilities, float64 (V,), with sum 1; read-only.  ValueError as in ``prob``."""
        return self._row().dense()


_CHECKED = (DenseRow, LogitsRow)
"""Rows whose probabilities have been checked."""


class LogitsRows(Sequence[LogitsRow]):
    """What ``target_rows`` returns: rows of logits, each of which stays as it is until it is looked at."""

    def __init__(self, logits: Any, sampling: Sampling, text: SampledText | None = None) -> None:
        """See ``target_rows``."""
        check_text(sampling, text)
        array = with_shape("logits", logits)
        if len(array.shape) != 2 or array.shape[1] < 1:
            raise ValueError(f"logits must have shape (1 + nodes, V), got {tuple(array.shape)}")
        if text is not None and text.rows != array.shape[0]:
            raise ValueError(f"the text is one of {text.rows} rows, logits have {array.shape[0]}")
        self._logits = array
        self._sampling = sampling
        self._text = text
        self._rows: list[LogitsRow | None] = [None] * int(array.shape[0])

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._rows)

    @overload
    def __getitem__(self, at: int) -> LogitsRow: ...
    @overload
    def __getitem__(self, at: slice) -> list[LogitsRow]: ...
    def __getitem__(self, at: int | slice) -> LogitsRow | list[LogitsRow]:
        """Row ``at``, the same object each time, so that nothing is computed twice."""
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(len(self)))]
        row = self._rows[at]
        if row is None:
            row = self._rows[at] = LogitsRow(self._logits[at], self._sampling, self._text, at % len(self))
        return row


def target_rows(logits: Any, sampling: Sampling, *, text: SampledText | None = None) -> LogitsRows:
    """Make rows for ``verify`` of a target's raw logits; each is computed when it is first looked at.

    Spec section 7.2.  ``logits``: real (1 + nodes, V), row 0 after the prefix and row 1 + i after node i: a numpy
    array, a torch tensor (bfloat16 and float16 too, of any device), or any DLPack CPU tensor.  It must not change
    before the rows are done with.  ``sampling``: the session's settings (``EdgeSession.sampling``).  ``text``: what is
    before the rows; penalties and ``ignore_eos`` need it.  TypeError for what is not real or no Sampling, ValueError
    for another shape, a text of another number of rows, or none where one is needed; a row that is no distribution
    (NaN, no finite largest value) is a ValueError when it is looked at.
    """
    return LogitsRows(logits, sampling, text)


@quiet
def target_probs(logits: Any, sampling: Sampling) -> Floats:
    """Target distributions of raw logits, all at once: float64 of the same shape, rows sum to 1 (spec section 7.2).

    ``logits``: real (..., V), as in ``target_rows``, with -inf for impossible tokens.  TypeError for what is not real,
    ValueError for a row without a finite largest value or with NaN, and for settings that depend on the text (those
    need ``target_rows``).
    """
    check_text(sampling, None)
    values = real_array("logits", logits)
    if values.ndim < 1 or values.shape[-1] < 1:
        raise ValueError(f"logits must have shape (..., V), got {values.shape}")
    out = np.zeros_like(values, order="C")
    found = out.reshape(-1, values.shape[-1])
    for row, kept in zip(found, values.reshape(found.shape), strict=True):
        _fill(row, kept, sampling, _NO_TEXT, 0)
    return out


def check_sampling(value: Any) -> Sampling:
    """Return ``value``, a Sampling; TypeError for anything else."""
    if not isinstance(value, Sampling):
        raise TypeError(f"sampling must be a Sampling, got {value!r}")
    return value


def check_text(sampling: Any, text: Any) -> Sampling:
    """Return ``sampling``; TypeError for what is no Sampling or no text, ValueError where a text is missing."""
    if text is not None and not isinstance(text, SampledText):
        raise TypeError(f"text must be a SampledText or None, got {text!r}")
    if check_sampling(sampling).needs_text and text is None:
        raise ValueError(f"{sampling.in_force()} depends on the text: give target_rows a SampledText")
    return check_sampling(sampling)


_NO_TEXT = SampledText()
_KERNEL_TYPES = ("float32", "float64", "float16", "bfloat16")


def _in_memory(logits: Any) -> Any:
    """``logits``, real (V,), as the kernel reads them: where they are if that is the CPU's memory, in one piece."""
    if hasattr(logits, "detach"):
        logits = logits.detach()
        if str(logits.dtype).removeprefix("torch.") in _KERNEL_TYPES:
            return logits.cpu().contiguous()
    if isinstance(logits, np.ndarray) and logits.dtype.isnative and logits.dtype.name in _KERNEL_TYPES[:3]:
        return np.ascontiguousarray(logits)
    return np.ascontiguousarray(real_array("logits", logits))


def logits_at(logits: Any) -> LogitsAt:
    """How to look some logits up, of an array or a tensor of the CPU."""
    return lambda ids: real_array("logits", logits[ids])


@quiet
def _fill(row: Floats, logits: Floats, sampling: Sampling, text: SampledText, at: int) -> None:
    """Put the probabilities of row ``at`` of a text into ``row``, zeros (V,)."""
    scores = _scores(logits, sampling, text, at)
    top = scores.max()
    if not np.isfinite(top):
        raise ValueError(BAD_ROW)
    if sampling.temperature == 0:
        row[scores.argmax()] = 1.0
        return
    weights = np.exp((scores - top) / sampling.temperature)
    ids = _kept(scores, weights, sampling)
    row[ids] = weights[ids] / weights[ids].sum()


def _scores(logits: Floats, sampling: Sampling, text: SampledText, at: int) -> Floats:
    """Logits with biases, penalties and masks: those of a row itself where there are none."""

    def logits_at(ids: npt.NDArray[np.int64]) -> Floats:
        if ids[0] < 0 or ids[-1] >= len(logits):
            raise ValueError(f"settings and text must name tokens of the row, 0 to {len(logits) - 1}")
        return logits[ids]

    edits, mask = text.edits(at, logits_at, sampling), text.mask(at, len(logits))
    if not len(edits.ids) and mask is None:
        return logits
    scores = logits.copy()
    scores[edits.ids] = edits.scores
    if mask is not None:
        scores[~mask] = -np.inf
    return scores


def _kept(scores: Floats, weights: Floats, sampling: Sampling) -> Any:
    """Index of the tokens that top-k, top-p and min-p keep.  ``weights``: the largest is 1."""
    size, top_k = len(scores), sampling.top_k
    if not 0 < top_k < size and sampling.top_p == 1 and sampling.min_p == 0:
        return slice(None)
    ids = np.arange(size)
    if 0 < top_k < size:
        ids = np.flatnonzero(scores >= np.partition(scores, size - top_k)[size - top_k])
    if sampling.top_p < 1:
        ids = ids[np.argsort(-scores[ids], kind="stable")]
        mass = np.cumsum(weights[ids])
        ids = ids[: int(np.searchsorted(mass, sampling.top_p * mass[-1], side="left")) + 1]
    return ids[weights[ids] >= sampling.min_p]


def sum_tolerance(vocab_size: int) -> float:
    """By how much the sum of a row of V probabilities may differ from 1: what rounding to 16 bits explains.

    To bfloat16 each of them changes by ``BF16_ROUNDING`` of itself at most, and so does their sum, which is 1.  To
    float16 each changes by ``F16_ROUNDING`` of itself or ``F16_LEAST_ERROR``, whichever is more: 0.0039 up to
    V = 114,688, 0.0043 at V = 128,256.
    """
    return max(BF16_ROUNDING, F16_ROUNDING + vocab_size * F16_LEAST_ERROR)


@quiet
def _distribution(found: Floats, name: str) -> Floats:
    """``found``, of any shape, as a new array (V,) with sum 1.

    One row at a time, so that the same row gives the same numbers wherever it comes from.
    """
    if found.ndim != 1:
        raise ValueError(f"{name} must have shape (V,), got {found.shape}")
    total, least = float(found.sum()), float(found.min(initial=0.0))
    tolerance = sum_tolerance(len(found))
    if not (abs(total - 1) <= tolerance and least >= 0):
        raise ValueError(
            f"{name} must be a distribution: no negative or NaN, and a sum within {tolerance:.4f} of 1; "
            f"its sum is {total:.6g}, its least number {least:.6g}"
        )
    return found / total


def kernel_row(row: TargetRow) -> KernelRow | None:
    """``row`` as the kernel has it; None for a row that it has not.  ValueError for logits that are no distribution."""
    return row.in_kernel if isinstance(row, LogitsRow) else None


def is_row(value: Any) -> bool:
    """Whether ``value`` is a TargetRow, and not probabilities."""
    return hasattr(value, "prob") and hasattr(value, "draw")


def as_row(value: Any, name: str = "target_probs") -> TargetRow:
    """``value``, a TargetRow or the probabilities of one, real (V,), as a TargetRow; errors as ``DenseRow``."""
    row: TargetRow = value if is_row(value) else DenseRow(value, name=name)
    return row


def dense_of(row: TargetRow, what: str) -> Floats:
    """All probabilities of ``row``, float64 (V,); TypeError, which says ``what`` needs them, if it has none.

    What a row of one's own gives is checked as an array of probabilities is, and divided by its sum.
    """
    dense, kind = getattr(row, "dense", None), type(row)
    if dense is None:
        raise TypeError(f"{what} needs rows with dense(), all probabilities; {kind.__name__} has none")
    given: Any = dense()
    if kind in _CHECKED:
        return given  # type: ignore[no-any-return]
    name = f"dense() of {kind.__name__}"
    found, size = _distribution(real_array(name, given), name), size_of(row)
    if len(found) != size:
        raise ValueError(f"{name} is for V = {len(found)}, its vocab_size is {size}")
    return found


def size_of(row: TargetRow) -> int:
    """Tokens V that ``row`` is for; TypeError or ValueError for a row of one's own that does not say a number."""
    if type(row) in _CHECKED:
        return row.vocab_size
    return integer(f"vocab_size of {type(row).__name__}", getattr(row, "vocab_size", None), 1, None)


def prob_of(row: TargetRow, token: int) -> float:
    """Probability of ``token`` in ``row``; ValueError for a row that answers with no probability."""
    found = float(row.prob(token))
    # What sums of float32 logarithms make of 1 may be a little more.
    if not 0 <= found <= 1 + BF16_ROUNDING:
        raise ValueError(f"{type(row).__name__} gives token {token} the probability {found}")
    return min(found, 1.0)


def draw_from(row: TargetRow, choices: Choices) -> int:
    """Return a token that ``row`` draws; ValueError for a row that draws what is none."""
    return integer(f"a token of {type(row).__name__}", row.draw(choices), 0, size_of(row) - 1)


def with_shape(name: str, values: Any) -> Any:
    """``values`` if it is an array or a tensor, else an array of it; TypeError for what is not real."""
    if isinstance(values, np.ndarray) or hasattr(values, "__dlpack__"):
        return values
    return real_array(name, values)


def real_array(name: str, values: Any) -> Floats:
    """``values``, an array, a tensor or nested lists of real numbers, as float64; TypeError for what is not real."""
    found = values
    if not isinstance(found, np.ndarray):
        if hasattr(found, "detach"):
            # torch's own conversion: numpy has no bfloat16, and reads no memory of a GPU.
            if found.is_floating_point() and found.element_size() < 2:
                raise TypeError(f"{name} must be real numbers of at least 16 bits, got {found.dtype}: too coarse")
            found = found.detach().cpu()
            found = (found if found.is_complex() else found.double()).numpy()
        elif hasattr(found, "__dlpack__") and not hasattr(found, "__array__"):
            found = np.from_dlpack(found)
        elif isinstance(found, (list, tuple)) and any(hasattr(part, "__dlpack__") for part in found):
            # One by one: numpy knows some tensors only by way of their own conversion.
            parts = [real_array(name, part) for part in found]
            if len({part.shape for part in parts}) > 1:
                raise ValueError(f"{name} must be of one shape, got {sorted({part.shape for part in parts})}")
            found = np.stack(parts)
        else:
            found = np.asarray(found)
    if found.dtype.kind not in "fiu" and found.dtype.name != "bfloat16":
        raise TypeError(f"{name} must be real numbers, got dtype {found.dtype}")
    return found.astype(np.float64, copy=False)  # type: ignore[no-any-return]
