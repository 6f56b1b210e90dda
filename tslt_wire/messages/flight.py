"""Drafts in flight: how a draft stands to those that are not answered yet, and how many an edge takes.

Spec section 6.10; the field ``window`` of WELCOME (7.3), which is carried in ``Welcome.extra``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tslt_wire import checks
from tslt_wire.messages.extensions import FLIGHT, Extension, data_of, shortest
from tslt_wire.messages.fields import U32, set_integers
from tslt_wire.messages.handshake import Welcome
from tslt_wire.messages.token_tree import TokenTree

NAME = "window"
"""The field of WELCOME."""
MOST_WINDOW = 16
"""Drafts that may be in flight at most."""
RUNS = 64
"""Numbers of runs: a run has the number of the one before it plus 1, modulo this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flight:
    """How a draft stands to those before and after it; ValueError if it neither follows nor goes on, or names a leaf
    that it does not go on from."""

    follows: bool = False
    """Whether it continues the draft before it, not answered yet, as if that were accepted whole."""
    goes_on: bool = False
    """Whether an answer that accepts all of it has no token of the target's own."""
    run: int = 0
    """Number of the run that the draft is of, below ``RUNS``: the drafts that follow each other, and the first one."""
    leaf: int | None = None
    """The node of a tree that it goes on from, 0 to 2**32 - 1; None for a chain, which goes on from its last token."""

    def __post_init__(self) -> None:
        set_integers(self, run=(0, RUNS - 1))
        if self.leaf is not None:
            set_integers(self, leaf=(0, U32))
        for name in ("follows", "goes_on"):
            object.__setattr__(self, name, checks.flag(name, getattr(self, name)))
        if not self.follows and not self.goes_on:
            raise ValueError("a draft that neither follows another one nor goes on is not in flight")
        if self.leaf is not None and not self.goes_on:
            raise ValueError(f"a draft that does not go on names no leaf, got {self.leaf}")

    @property
    def extension(self) -> Extension:
        """What a draft says it with."""
        leaf = b"" if self.leaf is None else shortest(self.leaf)
        return Extension(FLIGHT, bytes([self.follows | self.goes_on << 1 | self.run << 2]) + leaf)

    def node_of(self, tree: TokenTree) -> int:
        """The node of ``tree``, its draft's, that it goes on from.

        ValueError if it does not go on, or cannot: an empty draft, a tree that names no leaf of its own, a chain that
        names one.
        """
        chain = tree.leaves == 1
        if not self.goes_on or not len(tree):
            raise ValueError("a draft goes on from its last token or a leaf that it names: this one has none")
        if chain == (self.leaf is not None):
            said = "its last token, which is not named" if chain else "a leaf that it names"
            raise ValueError(f"a {'chain' if chain else 'tree'} goes on from {said}; got {self.leaf}")
        node = len(tree) - 1 if self.leaf is None else self.leaf
        if node >= len(tree) or tree.children(node):
            raise ValueError(f"node {node} is no leaf of this tree of {len(tree)}: a draft cannot go on from it")
        return node


def flight_of(extensions: tuple[Extension, ...]) -> Flight | None:
    """What a draft with these extensions says; None if it says nothing: it stands alone."""
    data = data_of(extensions, FLIGHT)
    if data is None:
        return None
    leaf = int.from_bytes(data[1:], "little") if len(data) > 1 else None
    return Flight(follows=bool(data[0] & 1), goes_on=bool(data[0] & 2), run=data[0] >> 2, leaf=leaf)


def naming_window(window: int) -> Mapping[str, Any]:
    """What an edge adds to its WELCOME (field ``extra``) that takes so many drafts at a time; nothing for 1."""
    return {NAME: window} if window > 1 else {}


def window_of(welcome: Welcome) -> int:
    """How many drafts may be unanswered at a time; 1 if the edge does not say, or says something else."""
    found = welcome.extra.get(NAME)
    return found if type(found) is int and 2 <= found <= MOST_WINDOW else 1
