"""Attention masks and positions that let one forward pass score a whole token tree.

A node sees the past, itself and its ancestors, and sits at the position it would have if its path were plain text; each
row's logits are then those of that path alone (SpecInfer, Miao et al. 2024, section 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

SUPPORTED_ATTENTION = ("sdpa", "eager")
"""Attention implementations of ``transformers`` that take a 4-D mask of our own making."""


@dataclass(frozen=True, slots=True)
class TreeRows:
    """What one pass needs to know about its rows beside their tokens."""

    positions: NDArray[np.int64]
    """Position of each row in its text, shape (rows,); the first token of a text has position 0."""
    visible: NDArray[np.bool_]
    """Shape (rows, columns): whether a row sees each column behind the past, of which it sees everything.  The last of
    the columns are the rows themselves; a pass over one level of a tree has the earlier levels in front of them."""


def node_depths(parents: Sequence[int]) -> NDArray[np.int64]:
    """Return the depth of every node, shape (nodes,); children of the prefix (parent -1) have depth 1.

    Any topological order will do.  Raises ValueError for a parent that does not come before its child.
    """
    depths = np.zeros(len(parents), dtype=np.int64)
    for node, parent in enumerate(parents):
        if not -1 <= parent < node:
            raise ValueError(f"node {node} has parent {parent}, which does not come before it")
        depths[node] = 1 if parent == -1 else depths[parent] + 1
    return depths


def ancestry(parents: Sequence[int], *, first: int = 0) -> NDArray[np.bool_]:
    """Return bool (nodes - first, nodes): True where the column is the row's node (``first + row``) or an ancestor."""
    lineage = np.zeros((len(parents) - first, len(parents)), dtype=np.bool_)
    for row in range(len(lineage)):
        node = first + row
        while node != -1:
            lineage[row, node] = True
            node = parents[node]
    return lineage


def tree_rows(parents: Sequence[int], *, past: int, chain: int = 1) -> TreeRows:
    """Describe a pass over ``chain`` tokens of plain text and then the nodes of a tree that hangs off the last of them.

    ``past`` rows are cached already.  The last row of the chain is the root row: its logits are those after the prefix,
    and row ``chain + i`` belongs to node i.  Raises ValueError if ``chain < 1`` or the order is not topological.
    """
    if chain < 1:
        raise ValueError("the root of a tree is the last token of the prefix: chain must be at least 1")
    depths = node_depths(parents)
    rows = chain + len(parents)
    visible = np.zeros((rows, rows), dtype=np.bool_)
    visible[:chain, :chain] = np.tri(chain, dtype=np.bool_)
    visible[chain:, :chain] = True
    visible[chain:, chain:] = ancestry(parents)
    positions = np.concatenate([past + np.arange(chain, dtype=np.int64), past + chain - 1 + depths])
    return TreeRows(positions, visible)


def level_rows(parents: Sequence[int], *, first: int, past: int) -> TreeRows:
    """Describe a pass over nodes ``first`` and up, when the prefix and the nodes before ``first`` are cached.

    ``past`` counts the rows of the whole prefix, its last token included.  Raises ValueError if the
    order is not topological.
    """
    depths = node_depths(parents)
    return TreeRows(past - 1 + depths[first:], ancestry(parents, first=first))


def attention_mask(
    visible: NDArray[np.bool_],
    *,
    past: int,
    implementation: str,
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """Return the 4-D mask (1, 1, rows, past + columns) of a pass: the addend of the scores, in ``dtype``.

    ``sdpa`` would take booleans as well, and make this of them in every layer; ``eager`` would add them as 0 and 1,
    raise nothing, and be wrong.  Raises ValueError for any other implementation.
    """
    if implementation not in SUPPORTED_ATTENTION:
        raise ValueError(f"attention {implementation!r} takes no mask of ours; use one of {SUPPORTED_ATTENTION}")
    rows, columns = visible.shape
    # The lowest finite number, not -inf: a row always sees itself, and no softmax can then meet inf - inf.
    hidden = torch.from_numpy(~visible)
    addend = torch.zeros((1, 1, rows, past + columns), dtype=dtype)
    addend[0, 0, :, past:].masked_fill_(hidden, torch.finfo(dtype).min)
    return addend.to(device)
