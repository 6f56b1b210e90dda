"""What an engine is: something that runs a model in this process, on tokens and token trees, and gives raw logits.

An engine knows nothing of sampling, evidence, sessions or scheduling: those are the runtime's, so that an engine is
about a hundred lines.  It is synchronous and always called from one thread at a time, the runtime's worker.  Nodes of
a token tree are numbered from 0 in the order in which they were appended; -1 is the prefix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, Protocol

import tslt_wire as tw
from tslt_wire import checks


class EngineError(Exception):
    """A model cannot do what was asked of it; the message says why."""


class ContextFull(EngineError):
    """A text needs more positions than the model has; shorten the draft or end the text."""

    def __init__(self, *, needed: int, limit: int) -> None:
        """Record how many positions were ``needed`` and the model's ``limit``."""
        super().__init__(f"{needed} positions needed, but the model's context holds {limit}")
        self.needed = needed
        self.limit = limit

    def __reduce__(self) -> tuple[object, ...]:
        """For those that travel from another process."""
        return partial(ContextFull, needed=self.needed, limit=self.limit), ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """What the two ends must know of an engine's model."""

    model: str
    """Name of the model, for people."""
    vocab_size: int
    """Logits in a row, V."""
    context: int
    """Most tokens of a text."""
    eos_tokens: tuple[int, ...] = ()
    """Tokens that end a text, ascending."""
    most_nodes: int = 1024
    """Most nodes of a tree that is scored in one pass."""
    most_leaves: int = 1024
    """Most leaves of such a tree."""
    dtype: str = "float32"
    """What the model computes in."""
    sampling: tw.Sampling = field(default_factory=tw.Sampling)
    """The model's own sampling settings: those of a target are in force where a device names none."""
    not_applied: tuple[str, ...] = ()
    """What the model's files say of sampling that is not in ``sampling``, a sentence each; an edge logs it."""
    remarks: tuple[str, ...] = ()
    """What else of the model is not done as its files say, or not at all, a sentence each; edges and devices log it."""
    token_bytes: int = 0
    """Bytes that a token takes in the cache of a target's text; 0: nothing worth counting."""
    token_block: int = 1
    """Tokens by which such a cache grows: what it holds is a multiple of them."""
    most_texts: int = 1 << 16
    """Most texts of a target that have tokens in their caches at a time."""

    def __post_init__(self) -> None:
        """Raise TypeError or ValueError for facts of no model."""
        least = {"vocab_size": 1, "context": 1, "most_nodes": 0, "most_leaves": 0}
        least |= {"token_bytes": 0, "token_block": 1, "most_texts": 1}
        for name, low in least.items():
            object.__setattr__(self, name, checks.integer(name, getattr(self, name), low, None))
        ends = tuple(checks.integer("a token of eos_tokens", t, 0, self.vocab_size - 1) for t in self.eos_tokens)
        object.__setattr__(self, "eos_tokens", ends)
        if not isinstance(self.sampling, tw.Sampling):
            raise TypeError(f"sampling must be Sampling, got {self.sampling!r}")

    def cache_bytes(self, tokens: int) -> int:
        """Bytes that a target's text takes once its cache has held so many tokens, nodes of a tree included."""
        return -(-tokens // self.token_block) * self.token_block * self.token_bytes


class Node(NamedTuple):
    """A node that is appended to a token tree."""

    parent: int
    """Number of an earlier node, or -1 for the prefix."""
    token: int


class DraftText(Protocol):
    """One text on a device: its prefix, the nodes drafted after it, and their cache."""

    @property
    def vocab_size(self) -> int:
        """Logits in a row."""
        ...

    @property
    def room(self) -> int:
        """Tokens that the context still holds behind the prefix; negative once the prefix itself does not fit."""
        ...

    def set_prefix(self, tokens: Sequence[int]) -> None:
        """Continue from ``tokens`` (at least one), and forget all nodes; keeps the common prefix of the cache.

        Raises ValueError for no tokens or tokens outside the vocabulary, ContextFull; the text is then unchanged.
        """
        ...

    def expand(self, nodes: Sequence[Node]) -> Any:
        """Append ``nodes`` and return raw logits, real (len(nodes), V): a row after each of them.

        Without nodes: forget all nodes and return one row, (1, V), that after the prefix; a draft starts so.  Raises
        ContextFull, ValueError for an unknown parent or a token outside the vocabulary.
        """
        ...

    def commit(self, path: Sequence[int], token: int) -> None:
        """The prefix grows by the tokens of ``path``, appended nodes from a child of the prefix down, and ``token``.

        Keeps the path's cache; where ``token`` is an appended child of the path's end, that child's and its subtree's
        as well: the subtree's nodes are then numbered anew from 0, in their order.  All other nodes are forgotten.
        Raises ValueError for what is no path, or a token outside the vocabulary; the text is then unchanged.
        """
        ...

    def close(self) -> None:
        """Free the cache; the text is not used afterwards."""
        ...


class DraftEngine(Protocol):
    """A draft model."""

    @property
    def facts(self) -> EngineFacts:
        """What the runtime must know of the model."""
        ...

    def open(self) -> DraftText:
        """Return a new text, without a prefix."""
        ...


class TargetText(Protocol):
    """The cache of one text at an edge; the runtime knows the tokens."""

    @property
    def length(self) -> int:
        """Tokens that are cached; the nodes of a tree that was scored last are not counted."""
        ...

    def truncate(self, length: int) -> None:
        """Keep the first ``length`` tokens, at most as many as there are, and no node."""
        ...

    def commit(self, path: Sequence[int]) -> None:
        """The text grows by ``path``: nodes of the tree that was scored last, top down.  All others are dropped."""
        ...

    def share(self, other: Any, length: int) -> None:
        """Go on to ``length`` tokens with what ``other``, a text of the same engine, has cached of its first ones.

        No more than ``other`` has and no fewer than there are here, of which all are the same there.  Nothing is
        computed; nodes are dropped; neither text sees later changes of the other.
        """
        ...

    def close(self) -> None:
        """Free the cache; the text is not used afterwards."""
        ...


@dataclass(frozen=True, slots=True)
class Work:
    """What one pass does for one text: append tokens, and score a tree that hangs off the last of them."""

    text: Any
    """A TargetText of the engine."""
    tokens: Sequence[int]
    """Tokens to append; at least one if there is a tree."""
    tree: tw.TokenTree | None
    """The tree; an empty one asks for the row after the tokens alone, None for no row at all."""


class TargetEngine(Protocol):
    """A target model."""

    @property
    def facts(self) -> EngineFacts:
        """What the runtime must know of the model."""
        ...

    def open(self) -> TargetText:
        """Return a new text, without tokens."""
        ...

    def score(self, work: Sequence[Work]) -> Sequence[Any]:
        """Do all of ``work``, each item another text, in one pass if the engine can.

        Returns, for each item, raw logits, real (1 + nodes, V): row 0 is the one after the appended tokens, 1 + i the
        one after node i; None without a tree.  An array, or a tensor that stays where the model left it: a row is
        copied when it is looked at.  Later passes do not change it.

        Raises ContextFull, ValueError for a token outside the vocabulary.  After an error each text has at least the
        tokens that it had before.
        """
        ...
