"""The answer to a draft of which the device knows already that a token was rejected.

Spec section 6.9.  No coin is thrown again: one for a token that was rejected could fall the other way, and the text
would prefer drafted tokens.  What follows a rejection is drawn as ever.
"""

from __future__ import annotations

from tslt_wire.messages.answers import Answer, AskList
from tslt_wire.messages.resume import Rejection
from tslt_wire.verification.checked_round import CheckedRound
from tslt_wire.verification.proposals import propose_with
from tslt_wire.verification.row_access import kernel_row


def verify_given(round: CheckedRound, rejection: Rejection) -> Answer:
    """Proposals of the batch that the device waits for, or AskList; ValueError for no rejection of this draft."""
    draft, node, batch = round.draft, rejection.node, rejection.batch
    if not rejection.fits(draft):
        raise ValueError(f"{rejection} is none of a draft of {len(draft.tree)} nodes with {draft.evidence.name}")
    if batch == 0:
        if kernel_row(round.row(node)) is None:
            round.dense(node)  # ``verify_list`` will need it; a row that does not know it is refused here
        return AskList(round=draft.round, node=node)
    return propose_with(draft.round, node, round.row(node), round.choices, batch=batch, count=round.proposals)
