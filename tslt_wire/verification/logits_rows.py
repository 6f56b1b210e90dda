"""Target rows of raw logits: the sampling settings applied row by row, when a row is first looked at.

Spec section 7.2.  The kernel does it where there is one, and writes nothing out; ``target_probs`` is the reference, and
defines what a row is.  Both keep the same tokens wherever a cut's mass is not within 1e-12 of its limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from tslt_wire._native import backend
from tslt_wire.checks import integer
from tslt_wire.limits import MAX_VOCAB_SIZE
from tslt_wire.messages.sampling import Sampling
from tslt_wire.verification.adjustments import SampledText
from tslt_wire.verification.choices import Choices
from tslt_wire.verification.float_errors import quiet
from tslt_wire.verification.kernel_rows import BAD_ROW, Cuts, KernelRow
from tslt_wire.verification.kernel_text import KernelText
from tslt_wire.verification.target_rows import DenseRow, not_in_memory, real_array, with_shape

Floats = npt.NDArray[np.float64]

LEAST_TEMPERATURE, MOST_TEMPERATURE = 2.0**-1000, 2.0**1000
"""Temperatures beyond these are taken for these: the quotients stay numbers, and no probability differs."""
_KERNEL_TYPES = ("float32", "float64", "float16", "bfloat16")
_KERNEL_CHARS = "fde"
"""The first three of them in numpy, which has no bfloat16."""
_NO_TEXT = SampledText()


class _Source:
    """What rows are made of: what all of them share is worked out once."""

    __slots__ = ("_changes", "_cuts", "_is_array", "_logits", "_one", "_sampling", "_seen", "_text", "vocab_size")

    def __init__(self, logits: Any, sampling: Sampling, text: SampledText | None) -> None:
        """``logits``: real (V,), or (rows, V)."""
        self.vocab_size = int(logits.shape[-1])
        self._logits, self._sampling, self._text = logits, sampling, text or _NO_TEXT
        self._one = len(logits.shape) == 1
        self._is_array = type(logits) is np.ndarray and _is_plain(logits) and logits.dtype.char in _KERNEL_CHARS
        self._cuts = cuts_of(sampling)
        self._changes = text is not None or sampling.changes_scores
        self._seen: KernelText | None = None

    def in_kernel(self, at: int) -> KernelRow:
        """Row ``at`` as the kernel has it."""
        logits, place = self._logits, 0 if self._one else at
        if not self._is_array:
            logits, place = _in_memory(logits if self._one else logits[at]), 0
        if not self._changes:
            return KernelRow(logits, place, self._cuts, None, None)
        text = self._text
        if self._seen is None:
            self._seen = KernelText(self._sampling, text.prompt, text.output, text.eos_tokens)
        edits, mask = self._seen.edits(logits, place, text.path(at)), text.mask(at, self.vocab_size)
        return KernelRow(logits, place, self._cuts, edits, mask)

    def reference(self, at: int) -> DenseRow:
        """Row ``at``, written out."""
        logits, probs = self._logits if self._one else self._logits[at], np.zeros(self.vocab_size)
        _fill(probs, real_array("logits", logits), self._sampling, self._text, at)
        return DenseRow(probs)


class LogitsRow:
    """A row of raw logits, left alone until something is asked of it (spec section 7.2)."""

    __slots__ = ("_at", "_found", "_source", "vocab_size")

    def __init__(self, logits: Any, sampling: Sampling, text: SampledText | None = None, at: int = 0) -> None:
        """``logits``: real (V,), an array or tensor; ``at``: its row of ``text``.  Errors as ``target_rows``."""
        logits = with_shape("logits", logits)
        if len(logits.shape) != 1 or not 1 <= logits.shape[0] <= MAX_VOCAB_SIZE:
            raise ValueError(f"logits must have shape (V,), V at most {MAX_VOCAB_SIZE}, got {tuple(logits.shape)}")
        self._set(_Source(logits, check_text(sampling, text), text), at)

    def _set(self, source: _Source, at: int) -> None:
        self._source: _Source | None = source
        self._at, self.vocab_size = at, source.vocab_size
        self._found: DenseRow | KernelRow | None = None

    @classmethod
    def of(cls, source: _Source, at: int) -> LogitsRow:
        """Make row ``at`` of logits that have been checked."""
        row = cls.__new__(cls)
        row._set(source, at)
        return row

    def _row(self) -> DenseRow | KernelRow:
        if (found := self._found) is None and (source := self._source) is not None:
            self._found = found = source.in_kernel(self._at) if backend == "native" else source.reference(self._at)
            self._source = None
        return found  # type: ignore[return-value]

    @property
    def in_kernel(self) -> KernelRow | None:
        """The row as the kernel has it; None where the reference does the work.  ValueError as in ``prob``."""
        found = self._row()
        return found if type(found) is KernelRow else None

    def prob(self, token: int) -> float:
        """See TargetRow.prob; ValueError for logits that are no distribution (``target_probs``), and for no token."""
        if type(token) is not int or not 0 <= token < self.vocab_size:
            token = integer("token", token, 0, self.vocab_size - 1)
        return self._row().prob(token)

    def draw(self, choices: Choices) -> int:
        """See TargetRow.draw; ValueError as in ``prob``."""
        return self._row().draw(choices)

    def dense(self) -> Floats:
        """All probabilities, float64 (V,), with sum 1; read-only.  ValueError as in ``prob``."""
        return self._row().dense()


class LogitsRows(Sequence[LogitsRow]):
    """What ``target_rows`` returns: rows of logits, each of which stays where it is until it is looked at."""

    def __init__(self, logits: Any, sampling: Sampling, text: SampledText | None = None) -> None:
        """See ``target_rows``."""
        check_text(sampling, text)
        array = _as_array(with_shape("logits", logits))
        shape = array.shape
        if len(shape) != 2 or shape[0] < 1 or not 1 <= shape[1] <= MAX_VOCAB_SIZE:
            wanted = f"(1 + nodes, V), V at most {MAX_VOCAB_SIZE}"
            raise ValueError(f"logits must have shape {wanted}, got {tuple(shape)}")
        if text is not None and text.rows != shape[0]:
            raise ValueError(f"the text is one of {text.rows} rows, logits have {shape[0]}")
        self._source = _Source(array, sampling, text)
        self._rows: list[LogitsRow | None] = [None] * int(shape[0])

    @property
    def vocab_size(self) -> int:
        """Tokens V, of each row."""
        return self._source.vocab_size

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
            row = self._rows[at] = LogitsRow.of(self._source, at % len(self._rows))
        return row


def target_rows(logits: Any, sampling: Sampling, *, text: SampledText | None = None) -> LogitsRows:
    """Make rows for ``verify`` of a target's raw logits; each is computed when it is first looked at.

    Spec section 7.2.  ``logits``: real (1 + nodes, V), row 0 after the prefix and row 1 + i after node i: a numpy
    array, a torch tensor (bfloat16 and float16 too, of any device: of a GPU's only rows that are looked at are copied),
    or any DLPack CPU tensor.  It must not change before the rows are done with.  ``sampling``: the session's settings
    (``EdgeSession.sampling``).  ``text``: what is before the rows; penalties and ``ignore_eos`` need it.  TypeError for
    what is not real or no Sampling, ValueError for another shape, a text of another number of rows, or none where one
    is needed; a row that is no distribution (NaN, no finite largest value) is a ValueError when it is looked at.
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


def check_text(sampling: Any, text: Any) -> Sampling:
    """Return ``sampling``; TypeError for what is no Sampling or no text, ValueError where a text is missing."""
    if not isinstance(sampling, Sampling):
        raise TypeError(f"sampling must be a Sampling, got {sampling!r}")
    if text is None:
        if sampling.needs_text:
            raise ValueError(f"{sampling.in_force()} depends on the text: give target_rows a SampledText")
    elif not isinstance(text, SampledText):
        raise TypeError(f"text must be a SampledText or None, got {text!r}")
    return sampling


def cuts_of(sampling: Sampling) -> Cuts:
    """Temperature, top-k, top-p and min-p, as the kernel takes them."""
    return sampling.temperature, min(sampling.top_k, MAX_VOCAB_SIZE), sampling.top_p, sampling.min_p


# ------------------------------------------------------------------------------------------------------------- memory


@cache
def _type_of(dtype: Any) -> str:
    """The name of a tensor's type; torch takes as long to say it as a draw takes."""
    return str(dtype).removeprefix("torch.")


def _as_array(logits: Any) -> Any:
    """``logits`` as a numpy array where that copies nothing; tensors of other memory stay what they are."""
    try:
        if hasattr(logits, "detach") and getattr(logits.device, "type", "") == "cpu" and logits.is_contiguous():
            return logits.detach().numpy() if _type_of(logits.dtype) in _KERNEL_TYPES[:3] else logits
    except RuntimeError as error:
        raise not_in_memory("logits", error) from error
    return logits


def _is_plain(logits: npt.NDArray[Any]) -> bool:
    """Whether rows of an array are read where they are; of others each is copied when it is looked at."""
    return bool(logits.flags.c_contiguous and logits.dtype.isnative)


def _in_memory(logits: Any) -> Any:
    """One row as the kernel reads it: in the CPU's memory, in one piece, where it is if it is so already."""
    if hasattr(logits, "detach"):
        logits = logits.detach()
        if _type_of(logits.dtype) in _KERNEL_TYPES:
            try:
                return logits.cpu().contiguous()
            except RuntimeError as error:
                raise not_in_memory("logits", error) from error
    if isinstance(logits, np.ndarray) and logits.dtype.isnative and logits.dtype.char in _KERNEL_CHARS:
        return np.ascontiguousarray(logits)
    return np.ascontiguousarray(real_array("logits", logits))


# ---------------------------------------------------------------------------------------------------------- reference


def _edits(logits: Any, sampling: Sampling, text: SampledText, at: int) -> Any:
    """``SampledText.edits`` of a row of logits, real (V,), of the CPU."""
    size = logits.shape[0]

    def logits_at(ids: npt.NDArray[np.int64]) -> Floats:
        if ids[0] < 0 or ids[-1] >= size:
            raise ValueError(f"settings and text must name tokens of the row, 0 to {size - 1}")
        return real_array("logits", logits[ids])

    return text.edits(at, logits_at, sampling)


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
    weights = np.exp((scores - top) / min(max(sampling.temperature, LEAST_TEMPERATURE), MOST_TEMPERATURE))
    ids = _kept(scores, weights, sampling)
    row[ids] = weights[ids] / weights[ids].sum()


def _scores(logits: Floats, sampling: Sampling, text: SampledText, at: int) -> Floats:
    """Logits with biases, penalties and masks: those of a row itself where there are none."""
    edits, mask = _edits(logits, sampling, text, at), text.mask(at, len(logits))
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
