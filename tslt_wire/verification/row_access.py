"""Asking a row: what it answers is checked, whatever kind of row it is.

Spec section 6.3.  Rows of this package have checked what they hold; one of a verifier's own is checked when it answers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tslt_wire.checks import integer
from tslt_wire.verification.choices import Choices
from tslt_wire.verification.kernel_rows import KernelRow
from tslt_wire.verification.logits_rows import LogitsRow
from tslt_wire.verification.target_rows import BF16_ROUNDING, DenseRow, TargetRow, distribution, real_array

Floats = npt.NDArray[np.float64]

_CHECKED = (DenseRow, LogitsRow)
"""Rows whose probabilities have been checked."""


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
    found, size = distribution(real_array(name, given), name), size_of(row)
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
    if type(row) in _CHECKED:
        return row.prob(token)
    found = float(row.prob(token))
    # What sums of float32 logarithms make of 1 may be a little more.
    if not 0 <= found <= 1 + BF16_ROUNDING:
        raise ValueError(f"{type(row).__name__} gives token {token} the probability {found}")
    return min(found, 1.0)


def draw_from(row: TargetRow, choices: Choices) -> int:
    """Return a token that ``row`` draws; ValueError for a row that draws what is none."""
    if type(row) in _CHECKED:
        return row.draw(choices)
    return integer(f"a token of {type(row).__name__}", row.draw(choices), 0, size_of(row) - 1)
