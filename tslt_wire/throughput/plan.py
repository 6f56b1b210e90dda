"""What a planner is asked and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tslt_wire.throughput.catalogue import Mode
from tslt_wire.throughput.model import ExpectedRound


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What limits the next round."""

    tokens_left: int | None = None
    """Tokens that are still wanted; a draft deeper than one less than that is wasted.  None: many."""
    room: int | None = None
    """Tokens that fit into both models' contexts, the target's own token not counted.  None: many."""

    @property
    def depth(self) -> int | None:
        """Deepest draft that makes sense."""
        limits = [v for v in (None if self.tokens_left is None else self.tokens_left - 1, self.room) if v is not None]
        return max(0, min(limits)) if limits else None


ANYWHERE = Context()
"""No limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do in the next round, and what to expect of it."""

    mode: Mode
    expansion: tuple[int, ...]
    """``(1,) * L`` is a chain of L tokens; empty: draft nothing."""
    expected: ExpectedRound
    exploring: bool = False
    """Whether this is a try, paid from the budget, and not what seems best."""

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.mode.name}, {shape_name(self.expansion)}"


def shape_name(expansion: Sequence[int]) -> str:
    """``chain of 4``, ``tree <2,2,1>`` or ``no draft``."""
    if not expansion:
        return "no draft"
    if max(expansion) == 1:
        return f"chain of {len(expansion)}"
    return f"tree <{','.join(map(str, expansion))}>"
