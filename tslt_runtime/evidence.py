"""What each kind of evidence asks of a device: how children are chosen, and what is sent of the lists.

The one place of the runtime that knows the kinds by name; docs/adding.md says how to add one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tslt_wire as tw


@dataclass(frozen=True, slots=True)
class Arrived:
    """Who came first in the race after a node, in their order: in place of a list of the whole vocabulary."""

    tokens: tuple[int, ...]


Source = tw.SparseDistribution | Arrived
"""What children are chosen from."""
Lists = Mapping[int, Any]
"""The ``Source`` of each parent of a draft, lists for evidence that has them; -1 is the prefix."""
Pick = Callable[[Any, int, int], list[int]]
"""Chooses children: (source, how many at most, position of the children) to tokens, all different."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceKind:
    """How a device drafts with one kind of evidence."""

    make: Callable[[tw.TokenTree, Lists, bool], tw.Evidence]
    """The evidence of a tree that was drawn from lists, and whether siblings were sampled with replacement."""
    pick: Callable[[tw.DeviceSession], Pick | None] = lambda _: None
    """How children are chosen; None samples them from their parent's list."""
    races: bool = False
    """Whether they are the first in a race, which can be run without a list."""
    chains_only: bool = False
    """Whether trees must have no branches."""
    sends_lists: bool = False
    """Whether lists travel, all of them or the one that the edge asks for: only then do precision and tails matter."""


def _likeliest(session: tw.DeviceSession) -> Pick:
    # The edge samples on its own: the best bet is what it is most likely to draw.
    return lambda q, count, position: q.likeliest(count)


def _arrivals(session: tw.DeviceSession) -> Pick:
    coupling = session.coupling
    if coupling is None:
        raise ValueError("evidence coupled was not agreed on: the edge gave no key")
    return lambda q, count, position: (
        list(q.tokens[:count]) if isinstance(q, Arrived) else coupling.children(q, count, position)
    )


KINDS: Mapping[str, EvidenceKind] = {
    "list": EvidenceKind(make=lambda tree, lists, replacement: tw.ListEvidence(lists, replacement), sends_lists=True),
    "match": EvidenceKind(make=lambda tree, lists, replacement: tw.MatchEvidence(), pick=_likeliest),
    "coupled": EvidenceKind(make=lambda tree, lists, replacement: tw.CoupledEvidence(), pick=_arrivals, races=True),
    "scalar": EvidenceKind(make=lambda tree, lists, replacement: tw.ScalarEvidence.of(tree, lists), chains_only=True),
    "lazy": EvidenceKind(
        make=lambda tree, lists, replacement: tw.LazyEvidence.of(tree, lists), chains_only=True, sends_lists=True
    ),
}
"""By the names of the specification (``full`` is a ``list`` of everything)."""


def kind_of_evidence(name: str) -> EvidenceKind:
    """The kind called ``name``; ValueError for any other."""
    if not isinstance(name, str) or name not in KINDS:
        raise ValueError(f"evidence must be one of {list(KINDS)}, got {name!r}")
    return KINDS[name]
