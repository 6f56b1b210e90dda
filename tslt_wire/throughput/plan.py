"""What a planner is asked and what it answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tslt_wire.checks import integer, one_of
from tslt_wire.lists.precision import Precision
from tslt_wire.messages.flight import MOST_WINDOW
from tslt_wire.throughput.catalogue import EVIDENCE, Mode
from tslt_wire.throughput.model import ExpectedRound


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreed:
    """What a session agreed on, as far as it limits a planner (WELCOME, spec section 7.3).

    ValueError for evidence or a precision that there is not or a limit below 1, TypeError for other types.
    """

    evidence: Iterable[str]
    """Kinds of evidence, of ``throughput.catalogue.EVIDENCE``."""
    precisions: Iterable[str] | None = None
    """Precisions of lists; None: any."""
    max_nodes: int | None = None
    """Most nodes of a draft; None: any number."""
    max_leaves: int | None = None
    """Most leaves of a draft; None: any number."""
    max_entries: int | None = None
    """Most listed tokens of a draft, all lists together; None: any number."""
    window: int = 1
    """Most drafts in flight: what device and edge both take."""
    ahead: int = 0
    """Most nodes that the device drafts while a verdict is awaited."""

    def __post_init__(self) -> None:
        if isinstance(self.evidence, str):
            raise TypeError(f"evidence must be several names, got {self.evidence!r}")
        names = frozenset(one_of("evidence", name, EVIDENCE) for name in self.evidence)
        object.__setattr__(self, "evidence", names)
        if self.precisions is not None:
            if isinstance(self.precisions, str):
                raise TypeError(f"precisions must be several names, got {self.precisions!r}")
            known = tuple(precision.value for precision in Precision)
            object.__setattr__(self, "precisions", frozenset(one_of("precisions", p, known) for p in self.precisions))
        for name in ("max_nodes", "max_leaves", "max_entries"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, integer(name, getattr(self, name), 1, None))
        object.__setattr__(self, "window", integer("window", self.window, 1, MOST_WINDOW))
        object.__setattr__(self, "ahead", integer("ahead", self.ahead, 0, None))

    def allows(self, mode: Mode) -> bool:
        """Whether the session can use ``mode`` at all."""
        known = self.precisions is None or not mode.precision or mode.precision in self.precisions
        return mode.evidence in self.evidence and known

    def fits(self, mode: Mode, parents: float, nodes: float) -> bool:
        """Whether a draft with so many parents, the prefix among them, and nodes is within the limits."""
        within = self.max_nodes is None or nodes <= self.max_nodes
        within = within and (self.max_leaves is None or nodes + 1 - parents <= self.max_leaves)
        return within and (self.max_entries is None or parents * mode.entries <= self.max_entries)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What limits the next round.  TypeError for what is no integer, ValueError below 0."""

    tokens_left: int | None = None
    """Tokens that are still wanted; a draft deeper than one less than that is wasted.  None: many."""
    room: int | None = None
    """Tokens that fit into both models' contexts, the target's own token not counted.  None: many."""

    def __post_init__(self) -> None:
        for name in ("tokens_left", "room"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, integer(name, getattr(self, name), 0, None))

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
    """Of one answer: where drafts are in flight they overlap, and the seconds are those from one to the next."""
    exploring: bool = False
    """Whether this is a try, paid from the budget, and not what seems best."""
    window: int = 1
    """Drafts that may be in flight."""
    ahead: int = 0
    """Nodes to draft while a verdict is awaited, at most; 0 where it would save next to nothing."""

    @property
    def name(self) -> str:
        """For people."""
        flying = f", {self.window} in flight" if self.window > 1 else ""
        return f"{self.mode.name}, {shape_name(self.expansion)}{flying}"


def shape_name(expansion: Sequence[int]) -> str:
    """``chain of 4``, ``tree <2,2,1>`` or ``no draft``."""
    if not expansion:
        return "no draft"
    if max(expansion) == 1:
        return f"chain of {len(expansion)}"
    return f"tree <{','.join(map(str, expansion))}>"
