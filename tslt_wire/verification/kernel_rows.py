"""The kernel's side of target rows: what rows and rules do, given to ``tslt_wire._native`` and taken back.

Spec sections 6.3 to 6.8 and 7.2.  Used only where ``tslt_wire.backend`` is ``native``.  No row is written out: a row
holds the logits where they are, sums of its blocks, and the borders of what is kept; what is asked of it is computed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tslt_wire._native import kernel
from tslt_wire.lists.distribution import SparseDistribution
from tslt_wire.lists.kernel_lists import kernel_tables
from tslt_wire.verification.choices import Choices
from tslt_wire.verification.coupling import Coupling

Floats = npt.NDArray[np.float64]
Cuts = tuple[float, int, float, float]
"""Temperature, top-k (0: off), top-p, min-p."""

BAD_ROW = "each row of logits needs a finite largest value and no NaN, of the tokens that the settings leave"


class KernelRow:
    """A row of logits with the sampling settings applied, as the kernel has it."""

    __slots__ = ("_dense", "_row", "vocab_size")

    def __init__(
        self, logits: Any, at: int, cuts: Cuts, edits: tuple[Any, Any] | None, mask: npt.NDArray[np.bool_] | None
    ) -> None:
        """``logits``: real (V,), or (N, V) of which it is row ``at``: of the CPU's memory and in one piece, float16,
        bfloat16, float32 or float64.  ``edits``: tokens, int32 ascending, and scores in place of their logits, float64.

        TypeError for other memory, ValueError for logits that are no distribution.
        """
        ids = scores = None
        if edits is not None and len(edits[0]):
            ids, scores = edits
        allowed = None if mask is None else np.ascontiguousarray(mask).view(np.uint8)
        found = kernel.make_row(logits, at, *cuts, ids, scores, allowed)
        if found is None:
            raise TypeError("the kernel takes no logits of this type")
        if isinstance(found, int):
            raise ValueError(BAD_ROW)
        self._row = found
        self._dense: Floats | None = None
        self.vocab_size = int(logits.shape[-1])

    def prob(self, token: int) -> float:
        """See TargetRow.prob."""
        return self._row.prob(token)

    def at(self, u: float) -> int:
        """See Masses.at."""
        return self._row.draw(u)

    def draw(self, choices: Choices) -> int:
        """See TargetRow.draw."""
        return choices.pick(self)

    def dense(self) -> Floats:
        """All probabilities, float64 (V,), with sum 1; read-only, made when they are first asked for."""
        if self._dense is None:
            self._dense = np.frombuffer(self._row.probs())
        return self._dense

    def first(self, coupling: Coupling, position: int) -> int:
        """What ``Coupling.first`` finds, of the tokens that are kept."""
        return self._row.race(coupling.key, coupling.epoch, position)

    def earliest(self, coupling: Coupling, position: int, count: int) -> list[int]:
        """What ``Coupling.earliest`` finds, of the tokens that are kept."""
        return self._row.first(coupling.key, coupling.epoch, position, count)

    def propose(self, rng: np.random.Generator, count: int) -> list[tuple[int, int, bool]]:
        """Tokens, codes and ``up`` of proposals: those that ``proposals`` makes with the same numbers of ``rng``."""
        numbers = rng.bit_generator
        with numbers.lock:
            return self._row.propose(numbers.capsule, count)

    def residual(self, q: SparseDistribution, *, replacement: bool, owed: float = 1.0) -> KernelResidual:
        """``owed`` (above 0, at most 1) of the row, less what children drawn from ``q`` had when they are given up."""
        return KernelResidual(self._row, q, replacement=replacement, owed=owed)

    def lazy_residual(self, q: SparseDistribution) -> KernelResidual:
        """What a rejection of evidence ``lazy`` leaves of the row (spec section 6.8)."""
        return KernelResidual(self._row, q, replacement=False, lazy=True)


class KernelResidual:
    """What the target still owes at a node, as children of it are given up (spec section 6.3), as the kernel has it."""

    __slots__ = ("_residual",)

    def __init__(
        self, row: Any, q: SparseDistribution, *, replacement: bool, owed: float = 1.0, lazy: bool = False
    ) -> None:
        found = kernel.make_residual(row, q.ids, q.weights, q.tail, kernel_tables(q.prior), not replacement, owed, lazy)
        if isinstance(found, int):
            raise ValueError(BAD_ROW)
        self._residual = found

    @property
    def owed(self) -> float:
        """See Residual.owed."""
        return self._residual.owed()

    def share(self, token: int) -> float:
        """See Residual.share."""
        return self._residual.share(token)

    def reject(self, token: int) -> None:
        """See Residual.reject."""
        if self._residual.reject(token) is not None:
            raise ValueError(BAD_ROW)

    def draw(self, choices: Choices) -> int:
        """See Residual.draw."""
        return choices.pick(self)

    def at(self, u: float) -> int:
        """See Masses.at."""
        return self._residual.draw(u)

    def dense(self) -> Floats:
        """See Masses.dense."""
        return np.frombuffer(self._residual.probs())
