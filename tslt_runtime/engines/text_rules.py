"""What every engine checks and works out about its texts, whatever runs the model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from tslt_runtime.engines.protocol import ContextFull, Node
from tslt_wire import checks


def require_tokens(tokens: Sequence[int], vocab_size: int) -> None:
    """Raise ValueError unless every token is in the vocabulary (a GPU would abort the whole process instead)."""
    for token in tokens:
        if not 0 <= token < vocab_size:
            raise ValueError(f"token {token} is outside the vocabulary of {vocab_size}")


def require_room(needed: int, context: int) -> None:
    """Raise ContextFull if a text needs more positions than ``context``."""
    if needed > context:
        raise ContextFull(needed=needed, limit=context)


def context_of(model: str, asked: int | None, *, trained: int, most: int | None = None) -> int:
    """Most tokens of a text: what was ``asked`` for; else what a model was ``trained`` for, but no more than ``most``.

    ``model``: its name, for the ValueError that is raised for more than it was trained for.
    """
    if asked is None:
        return trained if most is None else min(trained, most)
    if checks.integer("context", asked, 1, None) > trained:
        raise ValueError(f"a context of {asked} tokens, but {model} was trained for {trained}")
    return asked


def require_path(path: Sequence[int], parents: Sequence[int]) -> None:
    """Raise ValueError unless ``path`` leads from a child of the prefix (parent -1) down, node by node."""
    above = -1
    for node in path:
        if not 0 <= node < len(parents) or parents[node] != above:
            raise ValueError(f"{list(path)} is no path of this tree: node {node} does not hang off {above}")
        above = node


def kept_nodes(
    path: Sequence[int], token: int, tokens: Sequence[int], parents: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Nodes that a draft's cache keeps where ``path`` and ``token`` are committed: (of the prefix then, below it).

    The first are ``path`` and its end's first child with ``token``, if one was drafted; the second what hangs off that
    child, in their order.  ``tokens``, ``parents``: of all nodes.  Raises ValueError for no path, see ``require_path``.
    """
    require_path(path, parents)
    wanted = (path[-1] if path else -1, token)
    child = next((node for node, own in enumerate(zip(parents, tokens, strict=True)) if own == wanted), None)
    if child is None:
        return [*path], []
    inside = {child}
    for node, parent in enumerate(parents):
        if parent in inside:
            inside.add(node)
    return [*path, child], sorted(inside - {child})


def grown(
    prefix: Sequence[int], nodes: Sequence[Node], path: Sequence[int], token: int
) -> tuple[list[int], list[Node]]:
    """The prefix and the nodes after ``DraftText.commit`` of ``path`` and ``token``: those that stay are numbered anew.

    Raises ValueError for no path.
    """
    tokens, parents = [node.token for node in nodes], [node.parent for node in nodes]
    _, below = kept_nodes(path, token, tokens, parents)
    number = {node: i for i, node in enumerate(below)}
    kept = [Node(number.get(parents[node], -1), tokens[node]) for node in below]
    return [*prefix, *(tokens[node] for node in path), int(token)], kept


def checked_prefix(tokens: Sequence[int], *, vocab_size: int, context: int) -> list[int]:
    """The tokens of a new prefix; ValueError for none or one outside the vocabulary, ContextFull for too many."""
    fresh = [int(token) for token in tokens]
    if not fresh:
        raise ValueError("a prefix has at least one token (usually the beginning-of-text token)")
    require_tokens(fresh, vocab_size)
    require_room(len(fresh), context)
    return fresh


def common_length(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))


def shared_length(cached: Sequence[int], fresh: Sequence[int]) -> int:
    """How many tokens at the start are the same; the last one of ``fresh`` is not counted, its row is made anew."""
    return common_length(cached, fresh[:-1])
