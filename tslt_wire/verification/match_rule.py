"""How a draft with evidence ``match`` is verified: the target's own token is drawn and compared.

Spec section 6.4.  The text is made of the target's own tokens, whatever was drafted.
"""

from __future__ import annotations

from collections.abc import Callable

from tslt_wire.messages.answers import Verdict
from tslt_wire.messages.draft import Draft
from tslt_wire.messages.evidence import MatchEvidence
from tslt_wire.messages.token_tree import PREFIX
from tslt_wire.verification.checked_round import CheckedRound
from tslt_wire.verification.row_access import draw_from


def verify_matches(round: CheckedRound, evidence: MatchEvidence) -> Verdict:
    """Verdict on a draft without evidence: ``follow`` with tokens that the target's rows draw."""
    return follow(round.draft, lambda at: draw_from(round.row(at), round.choices))


def follow(draft: Draft, token_after: Callable[[int], int]) -> Verdict:
    """Ask for the target's token after each node, and go on to the child that has it, as long as there is one.

    Spec section 6.4.  ``token_after(node)``: a token of the target's, -1 for the one after the prefix.
    """
    tree, at = draft.tree, PREFIX
    while True:
        token = token_after(at)
        child = next((node for node in tree.children(at) if tree.tokens[node] == token), None)
        if child is None:
            return Verdict(round=draft.round, node=at, token=token)
        at = child
