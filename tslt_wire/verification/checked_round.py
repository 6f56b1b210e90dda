"""A draft with its target rows, as a rule meets them: what can be checked before anything is drawn has been.

Spec section 6.3.  Each row is checked when a rule comes to it, because it may not exist before that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tslt_wire.checks import integer
from tslt_wire.messages.answers import MOST_PROPOSALS
from tslt_wire.messages.draft import Draft
from tslt_wire.verification.choices import Choices
from tslt_wire.verification.coupling import Coupling
from tslt_wire.verification.logits_rows import LogitsRows
from tslt_wire.verification.row_access import as_row, dense_of, is_row, size_of
from tslt_wire.verification.target_rows import DenseRow, TargetRow, real_array, with_shape

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CheckedRound:
    """What a rule decides on; made by ``checked_round``."""

    draft: Draft
    rows: Sequence[Any]
    """Row 0 after the prefix, row 1 + i after node i."""
    vocab_size: int
    """Tokens of the target's vocabulary; each of the draft's is below it."""
    choices: Choices
    coupling: Coupling | None
    """The session's shared numbers; None: it has none."""
    proposals: int
    """How many proposals a rejection of evidence ``scalar`` brings."""
    least_held: float
    """Of evidence ``list``: nodes at which no more than this is owed are settled on the way down."""

    def row(self, node: int) -> TargetRow:
        """The target's row after ``node`` (-1: the prefix); errors as for ``DenseRow``, or for another V."""
        if type(self.rows) is LogitsRows:
            return self.rows[1 + node]
        name = f"row {1 + node} of target_probs"
        row = as_row(self.rows[1 + node], name)
        size = size_of(row)
        if size != self.vocab_size:
            raise ValueError(f"{name} is for V = {size}, others for V = {self.vocab_size}")
        return row

    def dense(self, node: int) -> Floats:
        """All probabilities after ``node``, float64 (V,); TypeError for a row that does not know them."""
        return dense_of(self.row(node), type(self.draft.evidence).__name__)


def checked_round(
    draft: Draft, rows: Any, choices: Choices, coupling: Coupling | None, proposals: int, least_held: float
) -> CheckedRound:
    """Check the arguments of ``verify``, which says what they are and what is refused."""
    if not isinstance(draft, Draft):
        raise TypeError(f"draft must be a Draft, got {draft!r}")
    if coupling is not None and not isinstance(coupling, Coupling):
        raise TypeError(f"coupling must be a Coupling or None, got {coupling!r}")
    count = integer("proposals", proposals, 1, MOST_PROPOSALS)
    vocab_sizes = {q.vocab_size for q in draft.lists.values()}
    wanted = 1 + len(draft.tree)
    if type(rows) is LogitsRows or _are_rows(rows):
        if len(rows) != wanted:
            raise ValueError(f"target_probs must have {wanted} rows (1 + nodes), got {len(rows)}")
        whole = type(rows) is LogitsRows
        vocab_size = rows.vocab_size if whole else size_of(as_row(rows[0], "row 0 of target_probs"))
    else:
        rows = with_shape("target_probs", rows)
        shape = tuple(rows.shape)
        if len(shape) != 2 or shape[0] != wanted or (vocab_sizes and shape[1] not in vocab_sizes):
            last = next(iter(vocab_sizes), shape[-1] if shape else 0)
            raise ValueError(f"target_probs must have shape {(wanted, last)} (1 + nodes, V), got {shape}")
        rows = [
            DenseRow(row, name=f"row {i} of target_probs") for i, row in enumerate(real_array("target_probs", rows))
        ]
        vocab_size = shape[1]
    if vocab_sizes and vocab_size not in vocab_sizes:
        raise ValueError(f"target_probs are for V = {vocab_size}, the draft's lists for V = {next(iter(vocab_sizes))}")
    if max(draft.tree.tokens, default=-1) >= vocab_size:
        raise ValueError(f"target_probs are for V = {vocab_size}, the draft has token {max(draft.tree.tokens)}")
    return CheckedRound(draft, rows, vocab_size, choices, coupling, count, least_held)


def _are_rows(rows: Any) -> bool:
    """Whether ``rows`` is a sequence with a TargetRow, and not an array, a tensor or nested lists of probabilities."""
    if isinstance(rows, (list, tuple)):
        return any(map(is_row, rows))
    if isinstance(rows, (np.ndarray, Mapping)) or hasattr(rows, "__dlpack__") or not hasattr(rows, "__getitem__"):
        return False
    # Not each of them: another sequence may make its rows when they are looked at.
    return len(rows) > 0 and is_row(rows[0])
