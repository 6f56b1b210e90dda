"""Token trees: drafted tokens and who follows whom.

Spec section 5; paper Definitions 4.1 and 4.2.  The root is the prefix and is written -1; nodes are numbered from 0 and
a parent comes before its children.  The order of siblings is the order in which the edge tries them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tslt_wire import checks
from tslt_wire.limits import MAX_VOCAB_SIZE
from tslt_wire.messages.fields import set_ids

PREFIX = -1
"""The root of every token tree: the prefix both sides agree on."""


@dataclass(frozen=True)
class TokenTree:
    """Drafted tokens and their parents; equal when both are.

    ``tokens[i]`` is the token of node i, ``parents[i]`` the node it follows, -1 for a child of the prefix.
    Raises ValueError if a parent does not come before its child, TypeError for what are no integers.
    """

    tokens: tuple[int, ...] = field()
    parents: tuple[int, ...] = field()

    def __init__(self, tokens: Sequence[int], parents: Sequence[int]) -> None:
        object.__setattr__(self, "tokens", tokens)
        object.__setattr__(self, "parents", parents)
        set_ids(self, "tokens")
        set_ids(self, "parents")
        if len(self.tokens) != len(self.parents):
            raise ValueError(f"as many parents as tokens needed, got {len(self.parents)} and {len(self.tokens)}")
        for node, (token, parent) in enumerate(zip(self.tokens, self.parents, strict=True)):
            if not 0 <= token < MAX_VOCAB_SIZE:
                raise ValueError(f"token {token} of node {node} is not in 0..{MAX_VOCAB_SIZE - 1}")
            if not PREFIX <= parent < node:
                raise ValueError(f"parent {parent} of node {node} must be -1 (the prefix) or an earlier node")

    @classmethod
    def trusted(cls, tokens: tuple[int, ...], parents: tuple[int, ...]) -> TokenTree:
        """Make a tree of what a decoder has checked already."""
        tree = object.__new__(cls)
        tree.__dict__.update(tokens=tokens, parents=parents)
        return tree

    @classmethod
    def chain(cls, tokens: Sequence[int]) -> TokenTree:
        """A single candidate sequence: each token follows the one before (paper Algorithm 1)."""
        return cls(tokens, range(-1, len(tokens) - 1))

    @classmethod
    def expand(cls, tokens: Sequence[int], expansion: Sequence[int]) -> TokenTree:
        """A tree with expansion configuration ``<k1..kL>`` in breadth-first order (paper Definition 4.2)."""
        parents = expansion_parents(expansion)
        if len(tokens) != len(parents):
            raise ValueError(f"expansion {tuple(expansion)} has {len(parents)} nodes, got {len(tokens)} tokens")
        return cls(tokens, parents)

    def __len__(self) -> int:
        """Number of nodes, the prefix not counted."""
        return len(self.tokens)

    @cached_property
    def depths(self) -> tuple[int, ...]:
        """Depth of each node; a child of the prefix has depth 1."""
        depths: list[int] = []
        for parent in self.parents:
            depths.append(1 if parent == PREFIX else depths[parent] + 1)
        return tuple(depths)

    @cached_property
    def _children(self) -> dict[int, tuple[int, ...]]:
        if self.parents == tuple(range(PREFIX, len(self.parents) - 1)):  # a chain
            return {parent: (parent + 1,) for parent in self.parents}
        children: dict[int, list[int]] = {}
        for node, parent in enumerate(self.parents):
            children.setdefault(parent, []).append(node)
        return {parent: tuple(nodes) for parent, nodes in sorted(children.items())}

    @property
    def inner(self) -> tuple[int, ...]:
        """Parents: the prefix and nodes that have children, ascending.  Each needs one distribution."""
        return tuple(self._children)

    @property
    def leaves(self) -> int:
        """Number of nodes without children; 0 for an empty tree."""
        return len(self) and len(self) + 1 - len(set(self.parents))  # the prefix is a parent, and no node

    def children(self, parent: int) -> tuple[int, ...]:
        """Children of a node (or of the prefix, -1) in sibling order; empty for a leaf.

        TypeError for what is no integer, ValueError for a node that is not there.
        """
        if type(parent) is not int or not PREFIX <= parent < len(self.tokens):
            parent = checks.integer("node", parent, PREFIX, len(self) - 1)
        return self._children.get(parent, ())

    def path(self, node: int) -> tuple[int, ...]:
        """Nodes from a child of the prefix down to ``node``, both included; empty for the prefix, -1.

        Errors as for ``children``.
        """
        node = checks.integer("node", node, PREFIX, len(self) - 1)
        nodes: list[int] = []
        while node != PREFIX:
            nodes.append(node)
            node = self.parents[node]
        return tuple(reversed(nodes))

    @cached_property
    def expansion(self) -> tuple[int, ...] | None:
        """The expansion configuration ``<k1..kL>`` if this tree has one and its nodes are in breadth-first order."""
        layer: tuple[int, ...] = (PREFIX,)
        found: list[int] = []
        seen = 0
        while layer and self.children(layer[0]):
            width = len(self.children(layer[0]))
            below = tuple(child for node in layer for child in self.children(node))
            if below != tuple(range(seen, seen + width * len(layer))):
                return None
            if any(len(self.children(node)) != width for node in layer):
                return None
            found.append(width)
            seen, layer = seen + len(below), below
        return tuple(found) if seen == len(self) else None


def check_tree(value: Any) -> TokenTree:
    """Return ``value``, a TokenTree; TypeError for anything else."""
    if not isinstance(value, TokenTree):
        raise TypeError(f"a TokenTree is needed, got {value!r}")
    return value


def expansion_parents(expansion: Sequence[int]) -> tuple[int, ...]:
    """Parents of the tree ``<k1..kL>`` in breadth-first order (paper eq. 23, 24)."""
    if any(k < 1 for k in expansion):
        raise ValueError(f"every layer of an expansion configuration needs at least one child, got {tuple(expansion)}")
    parents: list[int] = []
    layer: Sequence[int] = (PREFIX,)
    for k in expansion:
        first = len(parents)
        parents += [node for node in layer for _ in range(k)]
        layer = range(first, len(parents))
    return tuple(parents)
