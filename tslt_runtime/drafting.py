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

import numpy as np

import tslt_wire as tw
from tslt_runtime.engines.protocol import ContextFull, DraftText, Node
from tslt_runtime.evidence import Pick, kind_of_evidence
from tslt_wire import checks
from tslt_wire.lists.precision import precision_of
from tslt_wire.lists.sibling_sampling import sample_children
from tslt_wire.lists.truncation import Truncation, check_truncation


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
    lists: dict[int, tw.SparseDistribution]
    """The distribution of every node that has children, by node (-1: the prefix)."""
    expanded: int
    """Nodes 0 .. expanded - 1 have been through the model; the deepest ones have not, since nothing hangs off them."""


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


def draw_tree(text: DraftText, settings: DraftSettings, drawing: Drawing) -> Drafted:
    """Draw a tree of ``settings.expansion[d]`` children for every node of depth d + 1.

    Without replacement a node whose list has fewer tokens gets fewer children.  An empty expansion gives an empty tree
    and runs nothing.  Raises ContextFull if the deepest node needs a position that the model has not, ValueError
    before ``text.set_prefix``.
    """
    expansion = settings.expansion
    if expansion and len(expansion) > text.room:
        raise ContextFull(needed=drawing.position + len(expansion), limit=drawing.position + text.room)
    kind = kind_of_evidence(settings.evidence)
    tokens: list[int] = []
    parents: list[int] = []
    lists: dict[int, tw.SparseDistribution] = {}
    level: Sequence[int] = (-1,)
    for depth, count in enumerate(expansion):
        found = tw.sparsify_batch(
            text.expand([Node(parents[node], tokens[node]) for node in level if node >= 0]),
            temperature=settings.temperature,
            truncation=settings.truncation,
            precision=settings.precision if kind.sends_lists else tw.Precision.F32,  # what never travels costs nothing
            prior=drawing.prior if kind.sends_lists else None,
            tail_scale=drawing.tail_scale,
        )
        first = len(tokens)
        for parent, q in zip(level, found, strict=True):
            lists[parent] = q
            if drawing.pick is None:
                children = sample_children(q, count, drawing.rng, replacement=settings.replacement)
            else:
                children = drawing.pick(q, count, drawing.position + depth)
            tokens.extend(children)
            parents.extend([parent] * len(children))
        level = range(first, len(tokens))
    return Drafted(tw.TokenTree(tokens, parents), lists, level[0] if expansion else 0)


def commit(text: DraftText, drafted: Drafted, path: Sequence[int], token: int) -> None:
    """Let ``text`` grow by the accepted nodes of ``path``, top down, and ``token``."""
    if path and path[-1] >= drafted.expanded:
        # A leaf has no cache: it is a token like the one after it, and both wait for the next draft's first pass.
        text.commit(path[:-1], drafted.tree.tokens[path[-1]])
        text.commit((), token)
    else:
        text.commit(path, token)
