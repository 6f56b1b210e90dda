"""Drafting with lists: children are sampled from what will be sent, in the way that is said once.

Paper Algorithm 4; spec sections 4.4 and 6.1.
"""

from __future__ import annotations

import numpy as np

from tslt_wire import checks
from tslt_wire.lists.distribution import SparseDistribution, check_lists
from tslt_wire.lists.sibling_sampling import sample_children
from tslt_wire.messages.evidence import ListEvidence
from tslt_wire.messages.token_tree import PREFIX, TokenTree


class TreeSampler:
    """Grows a token tree and its evidence ``list``, one node's children at a time.  Not for two threads at once.

    Usage::

        sampler = TreeSampler(replacement=False)
        for node in sampler.sample(-1, q_after_prefix, 2, rng):
            sampler.sample(node, q_after(node), 1, rng)
        session.send_draft(sampler.tree, sampler.evidence)
    """

    def __init__(self, *, replacement: bool) -> None:
        """``replacement``: whether siblings are sampled with replacement; then they may be equal.  TypeError."""
        self._replacement = checks.flag("replacement", replacement)
        self._tokens: list[int] = []
        self._parents: list[int] = []
        self._lists: dict[int, SparseDistribution] = {}

    def sample(self, parent: int, q: SparseDistribution, count: int, rng: np.random.Generator) -> tuple[int, ...]:
        """Sample ``count`` children of ``parent`` (-1: the prefix) from ``q`` and return their node numbers.

        They are fewer if ``q`` has fewer tokens and they are sampled without replacement.  TypeError or ValueError for
        a node that is not there, one that has children already, a count below 1, or a list that differs from the others
        in vocabulary, precision or prior.
        """
        parent = checks.integer("parent", parent, PREFIX, len(self._tokens) - 1)
        count = checks.integer("count", count, 1, None)
        if parent in self._lists:
            raise ValueError(f"node {parent} has its children already: all of them are sampled at once")
        check_lists([*self._lists.values(), q])
        children = sample_children(q, count, rng, replacement=self._replacement)
        first = len(self._tokens)
        self._tokens += children
        self._parents += [parent] * len(children)
        self._lists[parent] = q
        return tuple(range(first, len(self._tokens)))

    @property
    def tree(self) -> TokenTree:
        """The tree so far."""
        return TokenTree(self._tokens, self._parents)

    @property
    def evidence(self) -> ListEvidence:
        """The lists so far, and how siblings were sampled from them."""
        return ListEvidence(self._lists, self._replacement)
