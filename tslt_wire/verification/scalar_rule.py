"""How a draft with evidence ``scalar`` is verified: token by token, up to the first that is rejected.

Spec sections 6.6 and 6.7.  What a rejection brings are proposals (``proposals``).
"""

from __future__ import annotations

from tslt_wire.lists.probability_grid import code_below
from tslt_wire.messages.answers import Answer, Verdict
from tslt_wire.messages.evidence import ScalarEvidence
from tslt_wire.verification.checked_round import CheckedRound
from tslt_wire.verification.proposals import accepted_share, propose_with
from tslt_wire.verification.row_access import draw_from, prob_of


def verify_scalars(round: CheckedRound, evidence: ScalarEvidence) -> Answer:
    """Verdict on a chain with a probability for each token, or Proposals after the token that is rejected."""
    draft, choices = round.draft, round.choices
    for child, (token, code) in enumerate(zip(draft.tree.tokens, evidence.codes, strict=True)):
        at = child - 1
        row = round.row(at)
        if not choices.accept(accepted_share(code, code_below(prob_of(row, token)))):
            return propose_with(draft.round, at, row, choices, count=round.proposals)
    last = len(draft.tree) - 1
    return Verdict(round=draft.round, node=last, token=draw_from(round.row(last), choices))
