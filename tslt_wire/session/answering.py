"""What an edge sends in place of what was decided: a verdict that stops where the text ends, one without a token.

Spec sections 6.2 and 6.10.
"""

from __future__ import annotations

from dataclasses import replace

from tslt_wire.messages.answers import Answer, Verdict, Whole
from tslt_wire.messages.draft import Draft
from tslt_wire.messages.log_probs import cut


def without_token(verdict: Answer, draft: Draft) -> Whole | None:
    """What is sent in place of a verdict that accepts a draft that goes on whole; None if it is not that."""
    if not draft.goes_on or not isinstance(verdict, Verdict) or verdict.node != draft.whole[-1]:
        return None
    return Whole(round=verdict.round, extensions=cut(verdict.extensions, len(draft.whole)))


def stop_at_end(verdict: Answer, draft: Draft, eos_tokens: tuple[int, ...]) -> Answer:
    """``verdict``, or one cut after the first token in ``eos_tokens`` and marked as the end."""
    at = -1
    for node in draft.tree.path(verdict.node):
        token = draft.tree.tokens[node]
        if token in eos_tokens:
            extensions = cut(verdict.extensions, draft.tree.depths[node])
            return Verdict(round=verdict.round, node=at, token=token, end=True, extensions=extensions)
        at = node
    return replace(verdict, end=True) if isinstance(verdict, Verdict) and verdict.token in eos_tokens else verdict
