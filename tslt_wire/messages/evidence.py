"""Evidence: what a draft carries beside its tokens, one class a kind.

Spec sections 6.1 and 6.4 to 6.8.  ``list`` sends truncated distributions, ``match`` and ``coupled`` nothing, ``scalar``
and ``lazy`` one probability a token, rounded up to the grid of section 6.6; the distribution itself stays on the device
(scalar), or one of them follows when it is asked for (lazy).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Self

from tslt_wire.lists.distribution import SparseDistribution
from tslt_wire.lists.probability_grid import LAST, code_above
from tslt_wire.messages.token_tree import TokenTree


@dataclass(frozen=True, slots=True)
class ListEvidence:
    """Evidence ``list``: the truncated distribution of each parent (the paper's TSLT)."""

    lists: Mapping[int, SparseDistribution]
    """One distribution for each parent that has children; -1 is the prefix."""
    replacement: bool = True
    """Whether siblings were sampled with replacement (paper Algorithm 4) or without."""

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "lists", MappingProxyType({parent: self.lists[parent] for parent in sorted(self.lists)})
        )

    @classmethod
    def trusted(cls, lists: dict[int, SparseDistribution], replacement: bool) -> ListEvidence:
        """Make evidence of lists that are in ascending order of their parents."""
        evidence = object.__new__(cls)
        object.__setattr__(evidence, "lists", MappingProxyType(lists))
        object.__setattr__(evidence, "replacement", replacement)
        return evidence

    def __eq__(self, other: object) -> bool:
        """Same lists at the same parents, sampled the same way."""
        if not isinstance(other, ListEvidence):
            return NotImplemented
        return self.replacement == other.replacement and dict(self.lists) == dict(other.lists)

    def __hash__(self) -> int:
        """Hash over what equality compares."""
        return hash((self.replacement, tuple(self.lists.items())))


@dataclass(frozen=True, slots=True)
class MatchEvidence:
    """Evidence ``match``: none; the edge samples the target and follows the child that has the same token."""


@dataclass(frozen=True, slots=True)
class CoupledEvidence:
    """Evidence ``coupled``: none; both ends run the same race, see ``Coupling``."""


@dataclass(frozen=True, slots=True)
class CodedEvidence:
    """Base of ScalarEvidence and LazyEvidence: a code of the grid for each node of a chain.  ValueError for others."""

    codes: tuple[int, ...]
    """Code of each token's probability, rounded up: 0 to 4094, node by node."""
    lists: Mapping[int, SparseDistribution] | None = field(default=None, compare=False, repr=False, hash=False)
    """The lists that ``of`` made the codes of, which stay on the device: not sent and not compared."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "codes", tuple(map(int, self.codes)))
        if any(not 0 <= code <= LAST for code in self.codes):
            raise ValueError(f"codes of probabilities are in 0..{LAST}, got {self.codes}")

    @classmethod
    def of(cls, tree: TokenTree, lists: Mapping[int, SparseDistribution]) -> Self:
        """The evidence for a chain whose tokens were drawn from ``lists``, one for each parent (-1: the prefix).

        Raises ValueError for a token that its list cannot have given.
        """
        codes = []
        for token, parent in zip(tree.tokens, tree.parents, strict=True):
            prob = lists[parent].prob_of(token)
            if prob == 0:
                raise ValueError(f"token {token} was drafted after node {parent} but has probability 0 there")
            codes.append(code_above(prob))
        return cls(tuple(codes), MappingProxyType(dict(lists)))


@dataclass(frozen=True, slots=True)
class ScalarEvidence(CodedEvidence):
    """Evidence ``scalar``: after a rejection the edge proposes tokens of the target's, and the device takes one."""


@dataclass(frozen=True, slots=True)
class LazyEvidence(CodedEvidence):
    """Evidence ``lazy``: after a rejection the edge asks for the one list that it needs."""


Evidence = ListEvidence | MatchEvidence | CoupledEvidence | ScalarEvidence | LazyEvidence


def gives_code(q: SparseDistribution, token: int, code: int) -> bool:
    """Whether ``token`` can have been drawn from ``q`` and sent with ``code``."""
    prob = q.prob_of(token)
    return prob > 0 and code_above(prob) == code
