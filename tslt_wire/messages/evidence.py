"""Evidence: what a draft carries beside its tokens, one class a kind.

Spec sections 6.1 and 6.4 to 6.8.  ``list`` sends truncated distributions, ``match`` and ``coupled`` nothing, ``scalar``
and ``lazy`` one probability a token, rounded up to the grid of section 6.6; the distribution itself stays on the device
(scalar), or one of them follows when it is asked for (lazy).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from types import MappingProxyType
from typing import Any, ClassVar, Self

from tslt_wire import checks
from tslt_wire.lists.distribution import SparseDistribution, check_lists
from tslt_wire.lists.probability_grid import LAST, code_above
from tslt_wire.messages.fields import several
from tslt_wire.messages.token_tree import PREFIX, TokenTree, check_tree


@dataclass(frozen=True, slots=True)
class ListEvidence:
    """Evidence ``list``: the truncated distribution of each parent (the paper's TSLT)."""

    name: ClassVar[str] = "list"

    lists: Mapping[int, SparseDistribution]
    """One distribution for each parent that has children; -1 is the prefix."""
    replacement: bool | None = None
    """Whether siblings were sampled with replacement (paper Algorithm 4) or without; None: there are no siblings.

    ``TreeSampler`` says what it did.  A draft of a chain has True here, which is what such a frame says.
    """

    def __post_init__(self) -> None:
        if self.replacement is not None:
            object.__setattr__(self, "replacement", checks.flag("replacement", self.replacement))
        object.__setattr__(self, "lists", lists_by_parent(self.lists))

    @classmethod
    def trusted(cls, lists: dict[int, SparseDistribution], replacement: bool | None) -> ListEvidence:
        """Make evidence of lists that are in ascending order of their parents."""
        evidence = object.__new__(cls)
        object.__setattr__(evidence, "lists", MappingProxyType(lists))
        object.__setattr__(evidence, "replacement", replacement)
        return evidence

    def __reduce__(self) -> tuple[Callable[..., ListEvidence], tuple[dict[int, SparseDistribution], bool | None]]:
        """For drafts that travel to another process, which a read-only mapping does not."""
        return ListEvidence.trusted, (dict(self.lists), self.replacement)

    @property
    def with_replacement(self) -> bool:
        """``replacement``, or what a frame says where it makes no difference: True."""
        return self.replacement is not False

    def checked(self, tree: TokenTree) -> ListEvidence:
        """This evidence, with ``replacement`` said; ValueError if it does not fit ``tree`` (see ``Draft``)."""
        if tuple(self.lists) != tree.inner:
            raise ValueError(f"lists are needed for the parents {tree.inner}, got {tuple(self.lists)}")
        if self.lists:
            check_lists(list(self.lists.values()))
        for token, parent in zip(tree.tokens, tree.parents, strict=True):
            if self.lists[parent].prob_of(token) == 0:
                raise ValueError(f"token {token} was drafted after node {parent} but is not in that node's list")
        if self.replacement is None:
            siblings = next((parent for parent in tree.inner if len(tree.children(parent)) > 1), None)
            if siblings is not None:
                raise ValueError(
                    f"node {siblings} has several children: say whether siblings were sampled with replacement, "
                    "ListEvidence(lists, replacement=...); TreeSampler.evidence says it by itself"
                )
            return ListEvidence(self.lists, replacement=True)
        if not self.replacement:
            check_siblings(tree)
        return self

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

    name: ClassVar[str] = "match"

    def checked(self, tree: TokenTree) -> MatchEvidence:
        """This evidence; ValueError if siblings of ``tree`` repeat."""
        check_siblings(tree)
        return self


@dataclass(frozen=True, slots=True)
class CoupledEvidence:
    """Evidence ``coupled``: none; both ends run the same race, see ``Coupling``."""

    name: ClassVar[str] = "coupled"

    def checked(self, tree: TokenTree) -> CoupledEvidence:
        """This evidence; ValueError if siblings of ``tree`` repeat."""
        check_siblings(tree)
        return self


@dataclass(frozen=True, slots=True)
class CodedEvidence:
    """Base of ScalarEvidence and LazyEvidence: a code of the grid for each node of a chain.  ValueError for others."""

    codes: tuple[int, ...]
    """Code of each token's probability, rounded up: 0 to 4094, node by node."""
    lists: Mapping[int, SparseDistribution] | None = field(default=None, init=False, compare=False, repr=False)
    """What the tokens were drawn from, by parent (-1: the prefix): the device needs it if one of them is rejected.

    It does not travel and is not compared: None in evidence that was received, or made of codes alone.
    """

    def __post_init__(self) -> None:
        given = several("codes", "integers", self.codes)
        codes = tuple(checks.integer("codes of probabilities", code, 0, LAST) for code in given)
        object.__setattr__(self, "codes", codes)

    @classmethod
    def of(cls, tree: TokenTree, lists: Mapping[int, SparseDistribution]) -> Self:
        """The evidence for a chain whose tokens were drawn from ``lists``, one for each parent; it keeps them.

        Raises ValueError for a token that its list cannot have given or a list that is missing, TypeError for others.
        """
        check_tree(tree)
        lists = lists_by_parent(lists)
        missing = [parent for parent in tree.inner if parent not in lists]
        if missing:
            raise ValueError(f"lists are needed for the parents {tree.inner}, got none for {missing}")
        codes = []
        for token, parent in zip(tree.tokens, tree.parents, strict=True):
            prob = lists[parent].prob_of(token)
            if prob == 0:
                raise ValueError(f"token {token} was drafted after node {parent} but has probability 0 there")
            codes.append(code_above(prob))
        evidence = cls(tuple(codes))
        object.__setattr__(evidence, "lists", MappingProxyType({parent: lists[parent] for parent in tree.inner}))
        return evidence

    def checked(self, tree: TokenTree) -> Self:
        """This evidence; ValueError for a tree with branches, another number of codes, or other tokens than ``of``."""
        if tree.parents != tuple(range(-1, len(tree) - 1)):
            raise ValueError("this evidence is for chains, got a tree with branches")
        if len(self.codes) != len(tree):
            raise ValueError(f"{len(tree)} nodes need as many codes, got {len(self.codes)}")
        if self.lists is not None:
            for token, parent, code in zip(tree.tokens, tree.parents, self.codes, strict=True):
                if not gives_code(self.lists[parent], token, code):
                    raise ValueError(f"this evidence was made of another tree: its list cannot have given {token}")
        return self


@dataclass(frozen=True, slots=True)
class ScalarEvidence(CodedEvidence):
    """Evidence ``scalar``: after a rejection the edge proposes tokens of the target's, and the device takes one."""

    name: ClassVar[str] = "scalar"


@dataclass(frozen=True, slots=True)
class LazyEvidence(CodedEvidence):
    """Evidence ``lazy``: after a rejection the edge asks for the one list that it needs."""

    name: ClassVar[str] = "lazy"


Evidence = ListEvidence | MatchEvidence | CoupledEvidence | ScalarEvidence | LazyEvidence


def lists_by_parent(lists: Any) -> Mapping[int, SparseDistribution]:
    """``lists``, a distribution for each of some parents, read-only and in ascending order of the parents.

    TypeError for other types, ValueError for a number below -1.
    """
    if not isinstance(lists, Mapping):
        raise TypeError(f"lists must be a mapping from parents to SparseDistribution, got {lists!r}")
    for q in lists.values():
        if not isinstance(q, SparseDistribution):
            raise TypeError(f"lists must be of SparseDistribution, got {q!r}")
    found = {checks.integer("a parent of lists", parent, PREFIX, None): q for parent, q in lists.items()}
    return MappingProxyType(dict(sorted(found.items(), key=itemgetter(0))))


def check_siblings(tree: TokenTree) -> None:
    """Raise ValueError if two children of one node have the same token."""
    for parent in tree.inner:
        tokens = [tree.tokens[node] for node in tree.children(parent)]
        if len(set(tokens)) < len(tokens):
            raise ValueError(f"children of node {parent} repeat a token, but were not sampled with replacement")


def gives_code(q: SparseDistribution, token: int, code: int) -> bool:
    """Whether ``token`` can have been drawn from ``q`` and sent with ``code``."""
    prob = q.prob_of(token)
    return prob > 0 and code_above(prob) == code
