"""Target rows: the target's distribution at one node of a draft, with the session's sampling settings applied.

Spec sections 6.3 and 7.2.  A row answers what verification asks of it and need not exist before that: of a chain that
is rejected at its second token nobody looks at the third row.  ``target_rows`` makes rows of a model's raw logits,
``DenseRow`` is one that holds its probabilities, and a verifier that knows less can bring rows of its own.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tslt_wire.verification.choices import Choices
from tslt_wire.verification.float_errors import quiet

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
        found = distribution(real_array(name, probs), name)
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


def sum_tolerance(vocab_size: int) -> float:
    """By how much the sum of a row of V probabilities may differ from 1: what rounding to 16 bits explains.

    To bfloat16 each of them changes by ``BF16_ROUNDING`` of itself at most, and so does their sum, which is 1.  To
    float16 each changes by ``F16_ROUNDING`` of itself or ``F16_LEAST_ERROR``, whichever is more: 0.0039 up to
    V = 114,688, 0.0043 at V = 128,256.
    """
    return max(BF16_ROUNDING, F16_ROUNDING + vocab_size * F16_LEAST_ERROR)


@quiet
def distribution(found: Floats, name: str) -> Floats:
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


def with_shape(name: str, values: Any) -> Any:
    """``values`` if it is an array or a tensor, else an array of it; TypeError for what is not real."""
    if isinstance(values, np.ndarray) or (hasattr(values, "__dlpack__") and hasattr(values, "shape")):
        return values
    return real_array(name, values)


def real_array(name: str, values: Any) -> Floats:
    """``values``, an array, a tensor or nested lists of real numbers, as float64; TypeError for what is not real."""
    try:
        return _real_array(name, values)
    except (BufferError, RuntimeError) as error:
        raise not_in_memory(name, error) from error


def not_in_memory(name: str, error: Exception) -> TypeError:
    """What to say of a tensor that is no numbers in memory, a sparse one say, by torch's ``error``."""
    return TypeError(f"{name} must be real numbers in memory, one after another: {error}")


def _real_array(name: str, values: Any) -> Floats:
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
