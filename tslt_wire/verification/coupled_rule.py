"""How a draft with evidence ``coupled`` is verified: as with ``match``, but the target's tokens win shared races.

Spec sections 6.4 and 6.5.
"""

from __future__ import annotations

from tslt_wire.messages.answers import Verdict
from tslt_wire.messages.evidence import CoupledEvidence
from tslt_wire.messages.token_tree import PREFIX
from tslt_wire.verification.checked_round import CheckedRound
from tslt_wire.verification.match_rule import follow
from tslt_wire.verification.row_access import kernel_row


def verify_races(round: CheckedRound, evidence: CoupledEvidence) -> Verdict:
    """Verdict on a draft whose tokens won races; ValueError without the session's shared numbers."""
    draft, coupling = round.draft, round.coupling
    if coupling is None:
        raise ValueError("coupled evidence needs the session's coupling")

    def first(at: int) -> int:
        depth = 0 if at == PREFIX else draft.tree.depths[at]
        position, known = draft.prefix_length + depth, kernel_row(round.row(at))
        return coupling.first(position, round.dense(at)) if known is None else known.first(coupling, position)

    return follow(draft, first)
