"""What a device sends keeps to what the edge said in WELCOME, and drafts in flight over another link.

Spec sections 6.10, 7.3 and 7.8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tslt_wire.errors import LocalProtocolError
from tslt_wire.lists.distribution import SparseDistribution
from tslt_wire.messages.draft import Draft, check_whole
from tslt_wire.messages.evidence import LazyEvidence
from tslt_wire.messages.flight import window_of
from tslt_wire.messages.handshake import Welcome
from tslt_wire.messages.prompt import Prompt
from tslt_wire.session.negotiation import context_of, not_agreed


def check_prompt(prompt: Prompt, welcome: Welcome) -> None:
    """Refuse a PROMPT that the edge would refuse; ValueError."""
    size, vocab_size = prompt.keep + len(prompt.tokens), welcome.vocab_size
    if size == 0:
        raise ValueError("the prefix must have at least one token")
    if any(token >= vocab_size for token in prompt.tokens):
        raise ValueError(f"prompt tokens must be below the vocabulary size {vocab_size}, got {max(prompt.tokens)}")
    if len(prompt.tokens) > welcome.limits.max_prompt_tokens:
        raise ValueError(
            f"the edge takes prompts of {welcome.limits.max_prompt_tokens} tokens, got {len(prompt.tokens)}"
        )
    if size > context_of(welcome):
        raise ValueError(f"the target holds {context_of(welcome)} tokens, the prompt makes {size}")


def check_draft(draft: Draft, welcome: Welcome) -> None:
    """Refuse a draft that the edge would refuse: ValueError, LocalProtocolError for a text that is full."""
    limits, depth = welcome.limits, max(draft.tree.depths, default=0)
    if draft.evidence.name not in welcome.evidence:
        raise ValueError(not_agreed("evidence", draft.evidence.name, welcome.evidence))
    nodes, leaves = len(draft.tree), draft.tree.leaves
    if nodes > limits.max_nodes or leaves > limits.max_leaves or depth > limits.max_depth:
        raise ValueError(
            f"the edge takes trees of {limits.max_nodes} nodes, {limits.max_leaves} leaves and depth "
            f"{limits.max_depth}, got {nodes}, {leaves} and {depth}"
        )
    if draft.flight is not None and window_of(welcome) == 1:
        raise ValueError("the edge takes one draft at a time: none goes on")
    check_whole(draft)
    _check_lists(list(draft.lists.values()), welcome)
    if isinstance(draft.evidence, LazyEvidence):  # the edge may ask for one of them
        for q in (draft.evidence.lists or {}).values():
            _check_lists([q], welcome)
    if draft.prefix_length + depth > context_of(welcome):
        raise LocalProtocolError(
            f"the target holds {context_of(welcome)} tokens; the prefix has {draft.prefix_length}, the draft {depth}"
        )


def _check_lists(lists: Sequence[SparseDistribution], welcome: Welcome) -> None:
    for q in lists[:1]:  # all lists of a draft have one precision
        if q.precision not in welcome.precisions:
            raise ValueError(not_agreed("precision", q.precision, welcome.precisions))
    if sum(map(len, lists)) > welcome.limits.max_entries:
        raise ValueError(f"the edge takes {welcome.limits.max_entries} listed tokens a frame")


def resumed_flight(drafts: Sequence[Draft], window: int) -> tuple[Draft, ...]:
    """The drafts in flight as they are sent over another link, to an edge that takes ``window`` at a time.

    The first one follows none any more, and has nothing to choose.  Those that are too many are dropped, and the one
    before them does not go on.
    """
    sent = list(drafts[:window])
    for i, draft in enumerate(sent):
        flight = draft.flight
        follows = i > 0
        goes_on = draft.goes_on and window > 1 and (i + 1 < len(sent) or len(sent) == len(drafts))
        kept = (
            (replace(flight, follows=follows, goes_on=goes_on, leaf=flight.leaf if goes_on else None).extension,)
            if flight and (follows or goes_on)
            else ()
        )
        sent[i] = replace(draft, extensions=kept)
    return tuple(sent)
