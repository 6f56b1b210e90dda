"""DRAFT: one round's token tree and its evidence, after a prefix that a hash names.

Spec section 6.1.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tslt_wire.lists.distribution import SparseDistribution
from tslt_wire.lists.precision import Precision
from tslt_wire.messages.evidence import Evidence, ListEvidence
from tslt_wire.messages.extensions import Extension, choice_of
from tslt_wire.messages.fields import U32, set_integers, set_items
from tslt_wire.messages.flight import Flight, flight_of
from tslt_wire.messages.token_tree import TokenTree


def prefix_crc(tokens: Sequence[int], start: int = 0) -> int:
    """CRC-32 of token ids as little-endian uint32; ``start`` is the CRC of the tokens before them."""
    try:
        return zlib.crc32(struct.pack(f"<{len(tokens)}I", *tokens), start)
    except struct.error as error:
        raise ValueError(f"token ids must be integers in 0..2**32-1: {error}") from error


def prefix_hash(tokens: Sequence[int]) -> int:
    """The hash of a prefix that drafts carry: the low 16 bits of ``prefix_crc`` (spec section 6.1)."""
    return prefix_crc(tokens) & 0xFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One round's draft, device to edge (spec section 6.1).

    Raises ValueError if the lists of ListEvidence do not belong to exactly the tree's parents, differ in vocabulary or
    precision, or do not list a drafted token; if there are siblings and it does not say how they were sampled; if
    siblings repeat, unless they were sampled with replacement; or for ScalarEvidence or LazyEvidence with anything but
    a chain and a code for each of its nodes.
    """

    round: int
    """Number of the round, 0 upwards in each session; below 2**32."""
    prefix_length: int
    """Tokens in the prefix this draft continues; below 2**32."""
    prefix_hash: int
    """``prefix_hash(prefix)``, 16 bits."""
    tree: TokenTree
    evidence: Evidence
    extensions: tuple[Extension, ...] = ()

    def __post_init__(self) -> None:
        set_integers(self, round=(0, U32), prefix_length=(0, U32), prefix_hash=(0, (1 << 16) - 1))
        if not isinstance(self.tree, TokenTree) or not isinstance(self.evidence, Evidence):
            raise TypeError(f"a tree and its evidence are needed, got {self.tree!r} and {self.evidence!r}")
        set_items(self, "extensions", Extension)
        object.__setattr__(self, "evidence", self.evidence.checked(self.tree))

    @classmethod
    def trusted(
        cls,
        round: int,
        prefix_length: int,
        prefix_hash: int,
        tree: TokenTree,
        evidence: ListEvidence,
        extensions: tuple[Extension, ...],
    ) -> Draft:
        """Make a draft of what a decoder has checked already."""
        draft, put = object.__new__(cls), object.__setattr__
        put(draft, "round", round)
        put(draft, "prefix_length", prefix_length)
        put(draft, "prefix_hash", prefix_hash)
        put(draft, "tree", tree)
        put(draft, "evidence", evidence)
        put(draft, "extensions", extensions)
        return draft

    @property
    def lists(self) -> Mapping[int, SparseDistribution]:
        """The distribution of each parent; none for evidence without lists."""
        return self.evidence.lists if isinstance(self.evidence, ListEvidence) else {}

    @property
    def choice(self) -> int | None:
        """Index of the proposal that the device took, if the round before ended in proposals (spec section 6.7)."""
        return choice_of(self.extensions)

    @property
    def flight(self) -> Flight | None:
        """How it stands among the drafts in flight (spec section 6.10); None: it stands alone."""
        return flight_of(self.extensions)

    @property
    def follows(self) -> bool:
        """Whether it continues a draft that is not answered yet, as if that were accepted whole."""
        flight = flight_of(self.extensions)
        return flight is not None and flight.follows

    @property
    def goes_on(self) -> bool:
        """Whether an answer that accepts all of it has no token of the target's own."""
        flight = flight_of(self.extensions)
        return flight is not None and flight.goes_on

    @property
    def whole(self) -> tuple[int, ...]:
        """Nodes of the path that is accepted where the draft is accepted whole; it is for one that goes on.

        ValueError for another, see ``Flight.node_of``.
        """
        flight = flight_of(self.extensions)
        if flight is None:
            raise ValueError("a draft that does not go on is not accepted whole")
        return self.tree.path(flight.node_of(self.tree))

    @property
    def whole_tokens(self) -> tuple[int, ...]:
        """The tokens of ``whole``: what the text grows by."""
        return tuple(self.tree.tokens[node] for node in self.whole)

    @property
    def precision(self) -> Precision | None:
        """Precision of the lists; None if there are none."""
        return next((q.precision for q in self.lists.values()), None)


def check_whole(draft: Draft) -> None:
    """Raise ValueError if ``draft`` says that it goes on and cannot: see ``Flight.node_of``."""
    flight = draft.flight
    if flight is not None and flight.goes_on:
        flight.node_of(draft.tree)
