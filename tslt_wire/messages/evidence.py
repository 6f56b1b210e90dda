"""Evidence of one number a token: what ``scalar`` and ``lazy`` send with each token of a chain.

Spec section 6.6.  The number is the probability that the device drew the token with, rounded up to the grid; the
distribution itself stays on the device (scalar), or one of them follows when it is asked for (lazy).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from tslt_wire.lists.distribution import SparseDistribution
from tslt_wire.lists.probability_grid import LAST, code_above
from tslt_wire.messages.token_tree import TokenTree


@dataclass(frozen=True, slots=True)
class CodedEvidence:
    """Base of ScalarEvidence and LazyEvidence: a code of the grid for each node of a chain.  ValueError for others."""

    codes: tuple[int, ...]
    """Code of each token's probability, rounded up: 0 to 4094, node by node."""

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
        return cls(tuple(codes))


@dataclass(frozen=True, slots=True)
class ScalarEvidence(CodedEvidence):
    """Evidence ``scalar``: after a rejection the edge proposes tokens of the target's, and the device takes one."""


@dataclass(frozen=True, slots=True)
class LazyEvidence(CodedEvidence):
    """Evidence ``lazy``: after a rejection the edge asks for the one list that it needs."""


def gives_code(q: SparseDistribution, token: int, code: int) -> bool:
    """Whether ``token`` can have been drawn from ``q`` and sent with ``code``."""
    prob = q.prob_of(token)
    return prob > 0 and code_above(prob) == code
