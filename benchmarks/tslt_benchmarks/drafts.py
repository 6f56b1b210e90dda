"""Drafts to measure on: logits of a pair of models along text that the target itself wrote, and their file.

``Positions`` are places in the text for single lists; at some of them the draft model really drafts a tree and a chain
(``Round``, for whole frames).  All of it fits one ``.npz`` file; ``drafting`` makes it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import tslt_wire as tw

Logits = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int32]

FILE_VERSION = 1
"""Of the ``.npz`` file."""
EXPANSION = (2, 2, 2)
"""Expansion configuration of every drafted tree."""
TREE_LISTS, TREE_NODES = 7, 14
"""Parents and nodes of that tree."""
ROUND_ROWS = TREE_LISTS + 1
"""Rows of logits that are kept of a round: those of the tree's parents, and after node 6 for the chain."""
_CHAIN_NODES = (0, 2, 6)
"""Nodes of the tree that the chain shares with it: first children all the way down."""
_CHAIN_ROWS = (0, 1, 3, 7)
"""Rows of a round's logits that the chain needs: after the prefix and after each of these nodes."""


@dataclass(frozen=True, slots=True)
class Positions:
    """Places in the text for which one list each is made; N of them."""

    draft: Logits
    """The draft model's logits, (N, V)."""
    target: Logits
    """The target's logits, (N, V)."""
    prompt: Ints
    """Which prompt, int32 (N,)."""
    index: Ints
    """How many tokens of the continuation come before, int32 (N,)."""
    token: Ints
    """The token the target continued with, int32 (N,); -1 at the end of a continuation."""

    def first(self, count: int) -> Positions:
        """The first ``count`` of them, all if there are fewer."""
        return self.at(slice(count))

    def at(self, rows: Any) -> Positions:
        """Those at ``rows``: a slice, or integers."""
        return Positions(*(getattr(self, name)[rows] for name in Positions.__dataclass_fields__))


@dataclass(frozen=True, slots=True)
class Round:
    """One drafted tree or chain, without the lists: those depend on K, precision and temperature."""

    prefix: tuple[int, ...]
    tree: tw.TokenTree
    draft: Logits
    """The draft model's logits after each parent in the order of ``tree.inner``, (parents, V)."""
    target: Logits
    """The target's logits after the same, (parents, V)."""


@dataclass(frozen=True, slots=True)
class Drafts:
    """Everything the benchmarks measure on."""

    positions: Positions
    round_draft: Logits
    """(R, 8, V): after the prefix, after nodes 0..5 and after node 6 of each round's tree."""
    round_target: Logits
    round_tokens: Ints
    """int32 (R, 15): the tree's 14 nodes in breadth-first order, then the chain's fourth token."""
    prefixes: tuple[tuple[int, ...], ...]
    """Tokens before each round, prompt included."""
    token_bytes: tuple[bytes, ...]
    """What each token id is in UTF-8 text; all different."""
    meta: dict[str, Any] = field(default_factory=dict)
    """Settings, versions and names of the models."""

    @property
    def vocab_size(self) -> int:
        """Tokens in the vocabulary."""
        return int(self.positions.draft.shape[1])

    def trees(self) -> list[Round]:
        """The rounds' <2,2,2> trees: 14 draft tokens, 7 parents."""
        return [
            Round(
                self.prefixes[i],
                tw.TokenTree.expand(self.round_tokens[i, :TREE_NODES].tolist(), EXPANSION),
                self.round_draft[i, :TREE_LISTS],
                self.round_target[i, :TREE_LISTS],
            )
            for i in range(len(self.prefixes))
        ]

    def chains(self) -> list[Round]:
        """The rounds' chains of 4 draft tokens: the first path of the tree and one token more."""
        rows = list(_CHAIN_ROWS)
        return [
            Round(
                self.prefixes[i],
                tw.TokenTree.chain(self.round_tokens[i, [*_CHAIN_NODES, TREE_NODES]].tolist()),
                self.round_draft[i, rows],
                self.round_target[i, rows],
            )
            for i in range(len(self.prefixes))
        ]


# ---------------------------------------------------------------------------------------------------------------- file


def save_drafts(drafts: Drafts, path: Path) -> None:
    """Write ``drafts`` as an uncompressed ``.npz`` (about 8 * V bytes a list in float32)."""
    positions = drafts.positions
    arrays: dict[str, Any] = {
        "version": np.array(FILE_VERSION),
        "meta": np.array(json.dumps(drafts.meta)),
        "list_draft": positions.draft,
        "list_target": positions.target,
        "list_prompt": positions.prompt,
        "list_index": positions.index,
        "list_token": positions.token,
        "round_draft": drafts.round_draft,
        "round_target": drafts.round_target,
        "round_tokens": drafts.round_tokens,
        "prefix_tokens": np.array([t for prefix in drafts.prefixes for t in prefix], np.int32),
        "prefix_lengths": np.array([len(prefix) for prefix in drafts.prefixes], np.int32),
        "token_bytes": np.frombuffer(b"".join(drafts.token_bytes), np.uint8),
        "token_lengths": np.array([len(b) for b in drafts.token_bytes], np.int32),
    }
    with path.open("wb") as file:
        np.savez(file, **arrays)


def load_drafts(path: Path) -> Drafts:
    """Read what ``save_drafts`` wrote; ValueError for another version of the file."""
    with np.load(path, allow_pickle=False) as data:
        if int(data["version"]) != FILE_VERSION:
            raise ValueError(f"{path.name} is a drafts file of version {int(data['version'])}, not {FILE_VERSION}")
        text, ends = data["token_bytes"].tobytes(), np.cumsum(data["token_lengths"]).tolist()
        tokens, cuts = data["prefix_tokens"].tolist(), np.cumsum(data["prefix_lengths"]).tolist()
        return Drafts(
            positions=Positions(
                draft=data["list_draft"],
                target=data["list_target"],
                prompt=data["list_prompt"],
                index=data["list_index"],
                token=data["list_token"],
            ),
            round_draft=data["round_draft"],
            round_target=data["round_target"],
            round_tokens=data["round_tokens"],
            prefixes=tuple(tuple(tokens[a:b]) for a, b in zip([0, *cuts], cuts, strict=False)),
            token_bytes=tuple(text[a:b] for a, b in zip([0, *ends], ends, strict=False)),
            meta=json.loads(str(data["meta"])),
        )
