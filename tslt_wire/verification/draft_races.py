"""What a device drafts with evidence ``coupled`` where its distribution is the draft model's own, truncated nowhere.

Spec section 6.5.  A list of a whole vocabulary takes ten times as long to make as its race to run.
"""

from __future__ import annotations

from typing import Any

from tslt_wire.checks import integer
from tslt_wire.messages.sampling import Sampling
from tslt_wire.verification.coupling import MOST_POSITION, Coupling
from tslt_wire.verification.logits_rows import target_rows
from tslt_wire.verification.row_access import dense_of, kernel_row


def race(coupling: Coupling, logits: Any, count: int, position: int, *, temperature: float = 1.0) -> list[list[int]]:
    """The first ``count`` tokens to arrive after each of N nodes, in their order; fewer where fewer can come.

    ``logits``: real (N, V), an array or a tensor; ``position``: tokens before them, the prefix and the path to the
    node; ``temperature``: 0 leaves the most probable token.  ValueError for logits that are no distribution, or
    numbers out of range, TypeError for other types.
    """
    count, position = integer("count", count, 0, None), integer("position", position, 0, MOST_POSITION)
    found = []
    for row in target_rows(logits, Sampling(temperature=temperature)):
        known = kernel_row(row)
        if known is None:
            found.append(coupling.earliest(position, dense_of(row, "a race"), count))
        else:
            found.append(known.earliest(coupling, position, min(count, known.vocab_size)))
    return found
