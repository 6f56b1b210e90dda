"""What every verifier does once it has rows of the target, wherever these come from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import tslt_wire as tw
from tslt_runtime.verifiers.protocol import Request


def answer_draft(request: Request, asked: tw.DraftReceived, rows: Any, *, proposals: int) -> tw.Answer:
    """The answer to a draft, with log probabilities if the device wants them.

    ``rows``: what ``tw.verify`` takes; ``proposals``: of one frame.
    """
    answer = tw.verify(
        asked.draft,
        rows,
        request.generator,
        coupling=request.coupling,
        proposals=proposals,
        rejection=asked.rejection,
    )
    return tw.with_log_probs(answer, asked.draft, rows) if request.log_probs else answer


def answer_follow_up(
    request: Request, asked: tw.MoreAsked | tw.ListReceived, row: Any, *, proposals: int
) -> tw.Proposals | tw.Verdict:
    """The answer to MORE or to a list; ``row``: the target's where a token was rejected."""
    answer: tw.Proposals | tw.Verdict
    if isinstance(asked, tw.MoreAsked):
        last = asked.proposals
        answer = tw.propose(last.round, last.node, row, request.generator, batch=last.batch + 1, count=proposals)
    else:
        answer = tw.verify_list(asked.draft, asked.node, row, asked.q, request.generator)
    return tw.with_log_probs(answer, asked.draft, None, row) if request.log_probs else answer


def at_rejection(request: Request, asked: tw.MoreAsked | tw.ListReceived) -> Request:
    """``request`` with the prefix that the row of ``answer_follow_up`` comes after."""
    # Once proposals were sent the prefix has what was accepted; where a list was asked for it has not.
    return after(request, asked.draft.tree, asked.node) if isinstance(asked, tw.ListReceived) else request


def after(request: Request, tree: tw.TokenTree, node: int) -> Request:
    """``request`` with a prefix that goes on to ``node`` of its draft."""
    return replace(request, prefix=(*request.prefix, *(tree.tokens[i] for i in tree.path(node))))
