"""What a message of another system is: how a round is written in it, read again, and answered.

``peer_messages`` has the systems.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

import tslt_wire as tw
from tslt_benchmarks.bytes.format_base import Floats, FormatError


@dataclass(frozen=True, slots=True)
class Shape:
    """What both ends know before a draft."""

    nodes: int
    parents: int
    vocab_size: int


@dataclass(frozen=True, slots=True)
class Drafted:
    """What a device has to say of one round."""

    prefix: tuple[int, ...]
    tree: tw.TokenTree
    draft: Floats
    """(parents, V): what the draft model says after each parent, in the order of ``tree.inner``."""
    target: Floats
    """(parents, V), likewise of the target."""

    @property
    def shape(self) -> Shape:
        """What both ends know of it."""
        return Shape(len(self.tree), *self.draft.shape)

    @property
    def parent_rows(self) -> dict[int, int]:
        """Row of each node that has children; -1 is the prefix."""
        return {node: row for row, node in enumerate(self.tree.inner)}

    def prob(self, node: int) -> float:
        """The draft's probability of the token of ``node``."""
        return float(self.draft[self.parent_rows[self.tree.parents[node]], self.tree.tokens[node]])


@dataclass(frozen=True, slots=True)
class Ended:
    """What an edge has to say of it."""

    accepted: int
    """Drafted tokens that were kept."""
    rejected: bool
    token: int
    """The target's own."""


class PeerLayout(ABC):
    """One system's messages.  Sizes raise FormatError if bytes do not read back as what was written."""

    name: str
    title: str
    source: str
    """Where the layout was read."""
    lossless: str
    """``yes`` or ``no``, and why."""
    rule: str
    """What acceptance is reckoned with: the whole distribution's (``full``), a list's (``listed``), ``match``."""
    trees = False
    """Whether it carries trees."""

    @abstractmethod
    def up(self, said: Drafted) -> bytes:
        """The draft."""

    @abstractmethod
    def read_up(self, data: bytes, shape: Shape) -> Any:
        """What of ``content`` the bytes say."""

    @abstractmethod
    def content(self, said: Drafted) -> Any:
        """What the bytes of ``up`` must say, comparable with ``read_up``."""

    @abstractmethod
    def down(self, said: Drafted, ended: Ended) -> bytes:
        """The answer."""

    def after_rejection(self, said: Drafted, ended: Ended) -> tuple[bytes, bytes]:
        """What else goes up and comes down then."""
        return b"", b""

    def size_up(self, said: Drafted) -> int:
        """Bytes of ``up``, read back."""
        data = self.up(said)
        if not same(self.read_up(data, said.shape), self.content(said)):
            raise FormatError(f"{self.name}: {len(data)} bytes did not read back as what was written")
        return len(data)

    def sizes(self, said: Drafted, ended: Ended) -> tuple[int, int]:
        """Bytes up and down of a round that ended so."""
        more = self.after_rejection(said, ended) if ended.rejected else (b"", b"")
        return self.size_up(said) + len(more[0]), len(self.down(said, ended)) + len(more[1])


def same(one: Any, other: Any) -> bool:
    """Equality that looks into tuples, lists and arrays."""
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return bool(np.array_equal(one, other))
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)


def half(values: Floats) -> npt.NDArray[np.float16]:
    """In float16."""
    return values.astype(np.float16)
