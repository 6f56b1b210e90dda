"""Attach to an answer how probable its tokens were, for a device that asked.

Spec section 6.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

from tslt_wire.messages.answers import Answer, AskList, Proposals, Verdict
from tslt_wire.messages.draft import Draft
from tslt_wire.messages.extensions import with_extension
from tslt_wire.messages.log_probs import log_probs_extension
from tslt_wire.verification.float_errors import quiet
from tslt_wire.verification.row_access import as_row, prob_of

A = TypeVar("A", bound=Answer)


@quiet
def with_log_probs(answer: A, draft: Draft, rows: Sequence[Any] | None, row: Any = None) -> A:
    """``answer`` with the log probabilities of its tokens: those on the path, then its own (spec section 6.2).

    ``rows``: those that ``verify`` had for ``draft``; of them only those that the answer's tokens come from are looked
    at.  None for an answer to MORE or LIST, which has no tokens on the path: ``row`` is then the one it was made with.
    TypeError or ValueError for rows that ``verify`` would refuse.
    """
    tree, probs = draft.tree, []
    if rows is not None and not (isinstance(answer, Proposals) and answer.batch):
        for node in tree.path(answer.node):
            parent = tree.parents[node]
            probs.append(prob_of(as_row(rows[1 + parent]), tree.tokens[node]))
    if not isinstance(answer, AskList):
        last = as_row(row if rows is None else rows[1 + answer.node])
        own = [answer.token] if isinstance(answer, Verdict) else [proposal.token for proposal in answer.proposals]
        probs += [prob_of(last, token) for token in own]
    if not probs:
        return answer  # the question for a list after no token
    return replace(answer, extensions=with_extension(answer.extensions, log_probs_extension(probs)))
