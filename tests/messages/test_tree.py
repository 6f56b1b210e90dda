"""Token trees, and the forms their shapes are written in."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import strategies as own
from hypothesis import given, settings
from hypothesis import strategies as st

from tslt_wire import DecodeError, DecodeLimits, TokenTree
from tslt_wire.coding.bits import BitReader, BitWriter
from tslt_wire.frames.tree_shapes import Shape, read_shape, shape_of, write_shape
from tslt_wire.limits import MAX_VOCAB_SIZE
from tslt_wire.messages.token_tree import expansion_parents

usual = settings(deadline=None, derandomize=True, max_examples=100)


def shape_bytes(tree: TokenTree) -> bytes:
    out = BitWriter()
    write_shape(out, tree)
    return out.finish()


def test_a_tree_knows_its_family():
    tree = TokenTree([5, 6, 7, 8, 9], [-1, 0, -1, 0, 3])
    assert len(tree) == 5
    assert tree.children(-1) == (0, 2)
    assert tree.children(0) == (1, 3)
    assert tree.children(1) == ()
    assert tree.inner == (-1, 0, 3)
    assert tree.depths == (1, 2, 1, 2, 3)
    assert tree.path(4) == (0, 3, 4)
    assert tree.path(-1) == ()
    assert tree.expansion is None


def test_chains():
    chain = TokenTree.chain([3, 1, 2])
    assert chain == TokenTree((3, 1, 2), (-1, 0, 1))
    assert chain.expansion == (1, 1, 1)
    assert TokenTree.chain([]) == TokenTree([], [])
    assert TokenTree([], []).expansion == ()
    assert TokenTree([], []).inner == ()


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4))
@usual
def test_expansions(widths):
    parents = expansion_parents(widths)
    sizes = np.cumprod(widths)
    assert len(parents) == sizes.sum()
    tree = TokenTree.expand(range(len(parents)), widths)
    assert tree.expansion == tuple(widths)
    assert [tree.depths.count(layer + 1) for layer in range(len(widths))] == sizes.tolist()
    assert {len(tree.children(node)) for node in tree.inner} <= set(widths)


def test_an_expansion_in_another_order_is_none():
    assert TokenTree([0] * 6, [-1, 0, 0, -1, 3, 3]).expansion is None
    assert TokenTree([0] * 6, [-1, -1, 1, 1, 0, 0]).expansion is None
    assert TokenTree([0] * 6, [-1, -1, 0, 1, 0, 1]).expansion is None
    assert TokenTree([0] * 3, [-1, -1, 0]).expansion is None
    assert TokenTree([0] * 6, [-1, -1, 0, 0, 1, 1]).expansion == (2, 2)


@given(own.parents())
@usual
def test_every_node_is_on_one_path(parents):
    tree = TokenTree([0] * len(parents), parents)
    assert sorted(child for node in (-1, *range(len(tree))) for child in tree.children(node)) == list(range(len(tree)))
    assert tree.leaves == sum(not tree.children(node) for node in range(len(tree)))
    for node in range(len(tree)):
        path = tree.path(node)
        assert len(path) == tree.depths[node]
        assert path[-1] == node
        assert parents[path[0]] == -1
        assert all(parents[below] == above for above, below in pairwise(path))


@given(own.parents())
@usual
def test_shapes_come_back(parents):
    tree = TokenTree([0] * len(parents), parents)
    reader = BitReader(shape_bytes(tree))
    assert read_shape(reader, DecodeLimits()) == parents
    reader.finish()


@pytest.mark.parametrize(
    ("parents", "shape", "size"),
    [
        ((), Shape.CHAIN, 1),
        (tuple(range(-1, 30)), Shape.CHAIN, 1),
        ((-1, -1, 0, 0, 1, 1), Shape.EXPANSION, 3),
        ((-1, -1, -1), Shape.EXPANSION, 2),
        ((-1, -1, 0), Shape.LEVELS, 2),
        ((-1, -1, -1, 0, 2, 2), Shape.LEVELS, 3),
        ((-1, 0, -1), Shape.PARENTS, 2),
    ],
)
def test_a_tree_has_the_first_form_that_fits(parents, shape, size):
    tree = TokenTree([0] * len(parents), parents)
    assert shape_of(tree) is shape
    assert len(shape_bytes(tree)) == size


@given(st.binary(max_size=12))
@usual
def test_one_tree_has_one_encoding(data):
    reader = BitReader(data)
    try:
        parents = read_shape(reader, DecodeLimits(max_nodes=64))
        reader.finish()
    except DecodeError:
        return
    assert shape_bytes(TokenTree([0] * len(parents), parents)) == data


@pytest.mark.parametrize(
    ("tokens", "parents", "match"),
    [
        ([1], [], "as many parents as tokens needed, got 0 and 1"),
        ([1], [0], "parent 0 of node 0 must be -1"),
        ([1, 1], [-1, 1], "parent 1 of node 1"),
        ([1, 1], [-1, -2], "parent -2 of node 1"),
        ([-1], [-1], r"token -1 of node 0 is not in 0\.\."),
        ([MAX_VOCAB_SIZE], [-1], "token 1048576 of node 0"),
    ],
)
def test_what_is_no_tree_is_refused(tokens, parents, match):
    with pytest.raises(ValueError, match=match):
        TokenTree(tokens, parents)


def test_only_integers_are_tokens():
    assert TokenTree(np.array([1, 2], np.int32), np.array([-1, 0])) == TokenTree([1, 2], [-1, 0])
    for tokens, parents in (([1.5], [-1]), (["1"], [-1]), ([1], [-1.0])):
        with pytest.raises(TypeError, match="integer"):
            TokenTree(tokens, parents)


def test_bad_arguments_say_what_was_expected():
    tree = TokenTree.chain([1, 2])
    for node in (-2, 2):
        with pytest.raises(ValueError, match=r"node must be in -1\.\.1"):
            tree.path(node)
    with pytest.raises(ValueError, match="has 6 nodes, got 1 tokens"):
        TokenTree.expand([1], (2, 2))
    with pytest.raises(ValueError, match="at least one child"):
        TokenTree.expand([], (2, 0))


def test_trees_are_values():
    assert len({TokenTree([1], [-1]), TokenTree((1,), (-1,)), TokenTree([2], [-1])}) == 2
