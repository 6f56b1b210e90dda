"""Shapes of token trees as bits.

Spec section 5.2.  Four forms, of which a tree must use the first that fits: a chain, an expansion configuration,
a tree in level order (2 bits a node), any order of nodes.
"""

from __future__ import annotations

import enum

from tslt_wire.coding.bits import BitReader, BitWriter
from tslt_wire.errors import DecodeError, ErrorCode
from tslt_wire.limits import DecodeLimits
from tslt_wire.messages.token_tree import PREFIX, TokenTree, expansion_parents


class Shape(enum.IntEnum):
    """The form a tree's parents are written in; the low 2 bits of the shape varint."""

    CHAIN = 0
    EXPANSION = 1
    LEVELS = 2
    PARENTS = 3


def shape_of(tree: TokenTree) -> Shape:
    """The first form that fits ``tree``."""
    if tree.parents == tuple(range(-1, len(tree) - 1)):
        return Shape.CHAIN
    if tree.expansion is not None:
        return Shape.EXPANSION
    return Shape.LEVELS if list(tree.parents) == sorted(tree.parents) else Shape.PARENTS


def write_shape(out: BitWriter, tree: TokenTree) -> None:
    """Append the shape of ``tree``."""
    shape, n = shape_of(tree), len(tree)
    count = len(tree.expansion or ()) if shape is Shape.EXPANSION else n
    out.varint(count << 2 | shape)
    if shape is Shape.EXPANSION:
        for k in tree.expansion or ():
            out.varint(k)
    elif shape is Shape.LEVELS:
        placed, node = 0, PREFIX
        while placed < n:
            degree = len(tree.children(node))
            placed += degree
            for _ in range(degree):
                out.bits(1, 1)
            if placed < n:
                out.bits(0, 1)
            node += 1
    elif shape is Shape.PARENTS:
        for node, parent in enumerate(tree.parents):
            out.bits(parent + 1, node.bit_length())


def read_shape(data: BitReader, limits: DecodeLimits) -> tuple[int, ...]:
    """Read the parents of a tree; DecodeError if they are no tree, too large, too deep, or in the wrong form."""
    data.part("tree")
    head = data.varint()
    shape, count = Shape(head & 3), head >> 2
    if shape is Shape.EXPANSION:
        parents = _read_expansion(data, count, limits)
    else:
        _check_nodes(count, limits)
        if shape is Shape.CHAIN:
            parents = tuple(range(-1, count - 1))
        elif shape is Shape.LEVELS:
            parents = _read_levels(data, count)
        else:
            parents = _read_parents(data, count)
    tree = TokenTree([0] * len(parents), parents)
    if shape_of(tree) is not shape:
        raise DecodeError(ErrorCode.NON_CANONICAL, f"this tree must be written as {shape_of(tree).name.lower()}")
    if max(tree.depths, default=0) > limits.max_depth:
        raise DecodeError(ErrorCode.LIMIT_EXCEEDED, f"a tree deeper than {limits.max_depth}")
    if tree.leaves > limits.max_leaves:
        raise DecodeError(ErrorCode.LIMIT_EXCEEDED, f"{tree.leaves} leaves where {limits.max_leaves} are allowed")
    return parents


def _check_nodes(count: int, limits: DecodeLimits) -> None:
    if count > limits.max_nodes:
        raise DecodeError(ErrorCode.LIMIT_EXCEEDED, f"{count} or more nodes where {limits.max_nodes} are allowed")


def _read_expansion(data: BitReader, layers: int, limits: DecodeLimits) -> tuple[int, ...]:
    if layers > limits.max_depth:
        raise DecodeError(ErrorCode.LIMIT_EXCEEDED, f"{layers} layers where {limits.max_depth} are allowed")
    expansion, width, nodes = [], 1, 0
    for _ in range(layers):
        k = data.varint()
        if k < 1:
            raise DecodeError(ErrorCode.BAD_TREE, "a layer without children")
        width *= k
        nodes += width
        _check_nodes(nodes, limits)
        expansion.append(k)
    return expansion_parents(expansion)


def _read_levels(data: BitReader, count: int) -> tuple[int, ...]:
    parents: list[int] = []
    node = PREFIX
    while len(parents) < count:
        if node >= len(parents):
            raise DecodeError(ErrorCode.BAD_TREE, "a node without a place in the tree")
        parents += [node] * data.ones(count - len(parents))
        node += 1
    return tuple(parents)


def _read_parents(data: BitReader, count: int) -> tuple[int, ...]:
    parents: list[int] = []
    for node in range(count):
        parent = data.bits(node.bit_length()) - 1
        if parent >= node:
            raise DecodeError(ErrorCode.BAD_TREE, f"parent {parent} of node {node} must come before it")
        parents.append(parent)
    return tuple(parents)
