"""How a draft is made: a token tree grown level by level from a draft model's logits.

Children are drawn from exactly the truncated, quantised distribution that goes on the wire, never from the model's own:
that is what keeps evidence ``list`` lossless whatever the link can afford.  Other evidence leaves the choice free.
Spec section 4; paper Algorithm 4 and Definition 4.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from math import prod
from operator import mul
from typing import Any, cast

import numpy as np

import tslt_wire as tw
from tslt_runtime.engines.protocol import ContextFull, DraftText, Node
from tslt_runtime.evidence import Arrived, Pick, Source, kind_of_evidence
from tslt_wire import checks
from tslt_wire.lists.precision import precision_of
from tslt_wire.lists.sibling_sampling import sample_children
from tslt_wire.lists.truncation import Truncation, check_truncation
from tslt_wire.verification.draft_races import race


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftSettings:
    """How the device drafts; free to choose, the output does not depend on it (only the speed does).

    Raises ValueError or TypeError for settings that fit no draft.
    """

    expansion: tuple[int, ...] = (1, 1, 1, 1)
    """Children a node at each level; ``(1,) * L`` is a chain of L tokens, ``()`` asks for the target's token alone."""
    temperature: float = 1.0
    """Temperature of the draft model; 0 drafts the most probable token."""
    truncation: Truncation | None = field(default_factory=lambda: tw.TopK(32))
    precision: str = "log2/2"
    """Precision of the lists; where none can travel they are as fine as can be, whatever this says."""
    replacement: bool = True
    """Whether siblings are sampled with replacement; evidence ``list`` alone."""
    evidence: str = "list"
    """What travels with the tokens, and so how they are chosen and checked: one of the specification's names."""

    def __post_init__(self) -> None:
        kind = kind_of_evidence(self.evidence)
        if isinstance(self.expansion, str | bytes) or not isinstance(self.expansion, Iterable):
            raise TypeError(f"expansion must be numbers of children, one a level, got {self.expansion!r}")
        counts = tuple(
            checks.integer("children at a level of an expansion", count, 1, None) for count in self.expansion
        )
        object.__setattr__(self, "expansion", counts)
        object.__setattr__(self, "temperature", checks.number("temperature", self.temperature, 0, None))
        object.__setattr__(self, "precision", precision_of(self.precision).value)
        object.__setattr__(self, "replacement", checks.flag("replacement", self.replacement))
        check_truncation(self.truncation)
        if kind.chains_only and any(count != 1 for count in self.expansion):
            raise ValueError(f"evidence {self.evidence} is for chains, got the expansion {self.expansion}")

    def within(self, tokens: int, room: int) -> DraftSettings:
        """The same for a tree that is no deeper than what is wanted and what fits.

        ``tokens``: wanted at most, the target's own included; ``room``: depth of the deepest draft that fits.
        """
        return replace(self, expansion=self.expansion[: max(0, min(tokens - 1, room))])

    @property
    def nodes(self) -> int:
        """Nodes of a tree with this expansion."""
        return sum(accumulate(self.expansion, mul))

    @property
    def leaves(self) -> int:
        """Leaves of a tree with this expansion: 1 of a chain, 0 without a draft."""
        return prod(self.expansion) if self.expansion else 0

    @property
    def run_leaves(self) -> int:
        """Leaves of the nodes that the draft model is run on: all but those of the last level."""
        return prod(self.expansion[:-1])


@dataclass(frozen=True, slots=True)
class Drafted:
    """A token tree and what it was drawn from."""

    tree: tw.TokenTree
    """Its nodes, in breadth-first order."""
    lists: dict[int, Source]
    """What the children of every node that has some were drawn from, by node (-1: the prefix)."""
    expanded: int
    """Nodes 0 .. expanded - 1 have been through the model; those of the last level need not: nothing hangs off them."""

    @property
    def distributions(self) -> dict[int, tw.SparseDistribution]:
        """Those of ``lists`` that are distributions."""
        return {node: q for node, q in self.lists.items() if isinstance(q, tw.SparseDistribution)}

    @property
    def first_leaf(self) -> int:
        """The leaf below each level's first node, which is tried first at each: -1 of an empty tree.

        A draft that goes on does so from there.
        """
        node = -1
        while below := self.tree.children(node):
            node = below[0]
        return node


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """What a tree is drawn with, beside its settings."""

    rng: np.random.Generator
    """The device's random numbers."""
    position: int = 0
    """Tokens of the prefix."""
    prior: tw.Prior | None = None
    """What tails of lists are spread by."""
    tail_scale: float = 0.0
    """Part of the probability left out that tails get."""
    pick: Pick | None = None
    """How children are chosen; None samples them from their parent's list."""
    coupling: tw.Coupling | None = None
    """The shared numbers of evidence ``coupled``."""


class Growth:
    """A token tree that is being drawn: which nodes the draft model is to run next, and what its rows add.

    Nodes are numbered in the order in which they were drawn, breadth first, and are run in that order.
    """

    def __init__(self, settings: DraftSettings, drawing: Drawing) -> None:
        """Start with no node."""
        self.settings = settings
        """How it is drawn; ``goes_on`` may change its expansion."""
        self.drawing = drawing
        self._kind = kind_of_evidence(settings.evidence)
        self._tokens: list[int] = []
        self._parents: list[int] = []
        self._lists: dict[int, Source] = {}
        self._ends = [-1, 0]  # where each level ends: level 0 is the prefix, -1
        self._run = 0  # nodes that the model was run on

    @property
    def depth(self) -> int:
        """Levels that are drawn."""
        return len(self._ends) - 2

    @property
    def count(self) -> int:
        """Nodes that are drawn."""
        return len(self._tokens)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left to draw."""
        return self.depth == len(self.settings.expansion)

    def level(self) -> list[Node]:
        """The nodes to be run next, those drawn last; none at first: that takes the row after the prefix."""
        return [Node(self._parents[node], self._tokens[node]) for node in self._last_level() if node >= 0]

    def take(self, rows: Any) -> None:
        """Draw the next level from ``rows``, the raw logits after each node of ``level``, real (nodes, V)."""
        count, drawing, depth = self.settings.expansion[self.depth], self.drawing, self.depth
        found = self.sources_of(rows, drawing.position + depth)
        self._run = self._ends[-1]
        for parent, q in zip(self._last_level(), found, strict=True):
            self._lists[parent] = q
            if drawing.pick is None:
                children = sample_children(
                    cast("tw.SparseDistribution", q), count, drawing.rng, replacement=self.settings.replacement
                )
            else:
                children = drawing.pick(q, count, drawing.position + depth)
            self._tokens.extend(children)
            self._parents.extend([parent] * len(children))
        self._ends.append(len(self._tokens))

    def sources_of(self, rows: Any, position: int) -> Sequence[Source]:
        """What children are drawn from, for rows of raw logits, real (rows, V); ``position``: of the children."""
        settings, drawing, sends = self.settings, self.drawing, self._kind.sends_lists
        if self._kind.races and settings.truncation is None and drawing.coupling is not None:
            # One more than is drafted: it is the guess of what comes where all of these are rejected.
            count = 1 + max(settings.expansion, default=0)
            first = race(drawing.coupling, rows, count, position, temperature=settings.temperature)
            return [Arrived(tuple(tokens)) for tokens in first]
        return tw.sparsify_batch(
            rows,
            temperature=settings.temperature,
            truncation=settings.truncation,
            precision=settings.precision if sends else tw.Precision.F32,  # what never travels costs nothing
            prior=drawing.prior if sends else None,
            tail_scale=drawing.tail_scale,
        )

    def goes_on(self, settings: DraftSettings) -> bool:
        """Whether what is drawn begins a tree of ``settings``, too; if so it is cut to that, or goes on as it says."""
        # Evidence first: some is for chains alone, whatever is drawn here.
        if settings.evidence != self.settings.evidence:
            return False
        if replace(settings, expansion=self.settings.expansion) != self.settings:
            return False
        depth = min(self.depth, len(settings.expansion))
        if settings.expansion[:depth] != self.settings.expansion[:depth]:
            return False
        self.settings = settings
        del self._ends[depth + 2 :]
        del self._tokens[self._ends[-1] :], self._parents[self._ends[-1] :]
        self._lists = {node: q for node, q in self._lists.items() if node < self._ends[-2]}
        return True

    def drafted(self) -> Drafted:
        """The tree, which is whole."""
        run = min(self._run, len(self._tokens))
        return Drafted(tw.TokenTree(self._tokens, self._parents), self._lists, run)

    def _last_level(self) -> range:
        return range(self._ends[-2], self._ends[-1])


def draw_tree(text: DraftText, settings: DraftSettings, drawing: Drawing) -> Drafted:
    """Draw a tree of ``settings.expansion[d]`` children for every node of depth d + 1.

    Without replacement a node whose list has fewer tokens gets fewer children.  An empty expansion gives
    an empty tree and runs nothing.  Raises ContextFull if the deepest node needs a position that the model has not,
    ValueError before ``text.set_prefix``.
    """
    expansion = settings.expansion
    if expansion and len(expansion) > text.room:
        raise ContextFull(needed=drawing.position + len(expansion), limit=drawing.position + text.room)
    growth = Growth(settings, drawing)
    while not growth.is_whole:
        growth.take(text.expand(growth.level()))
    return growth.drafted()


def commit(text: DraftText, drafted: Drafted, path: Sequence[int], token: int) -> None:
    """Let ``text`` grow by the accepted nodes of ``path``, top down, and ``token``."""
    if path and path[-1] >= drafted.expanded:
        # A leaf has no cache: it is a token like the one after it, and both wait for the next draft's first pass.
        text.commit(path[:-1], drafted.tree.tokens[path[-1]])
        text.commit((), token)
    else:
        text.commit(path, token)
