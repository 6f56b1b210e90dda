"""``verify``: which drafted tokens the edge keeps, and the token that follows them.

Spec sections 6.3 to 6.8; paper Algorithms 3, 5 and 8 as corrected.  Each kind of evidence has a rule in a module of its
own, and this one a table of them.  The output is distributed exactly as the target's, whatever was drafted
(tests/verification/test_lossless.py, test_evidence.py and test_scalar.py beside it).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tslt_wire._native import backend
from tslt_wire.messages.answers import Answer
from tslt_wire.messages.draft import Draft
from tslt_wire.messages.evidence import CoupledEvidence, LazyEvidence, ListEvidence, MatchEvidence, ScalarEvidence
from tslt_wire.messages.resume import Rejection
from tslt_wire.verification.checked_round import checked_round
from tslt_wire.verification.choices import Choices, RandomChoices
from tslt_wire.verification.coupled_rule import verify_races
from tslt_wire.verification.coupling import Coupling
from tslt_wire.verification.float_errors import quiet
from tslt_wire.verification.known_rejection import verify_given
from tslt_wire.verification.lazy_rule import verify_lazily
from tslt_wire.verification.list_rule import LEAST_HELD, verify_lists
from tslt_wire.verification.logits_rows import LogitsRows
from tslt_wire.verification.match_rule import verify_matches
from tslt_wire.verification.proposals import PROPOSALS
from tslt_wire.verification.scalar_rule import verify_scalars

# Of (CheckedRound, evidence of the class); a type that depends on the key has no name in Python.
_RULES: dict[type, Callable[..., Answer]] = {
    ListEvidence: verify_lists,
    MatchEvidence: verify_matches,
    CoupledEvidence: verify_races,
    ScalarEvidence: verify_scalars,
    LazyEvidence: verify_lazily,
}
"""How a draft with each class of evidence is verified."""


def verify(
    draft: Draft,
    target_probs: Any,
    rng: np.random.Generator,
    *,
    coupling: Coupling | None = None,
    proposals: int = PROPOSALS,
    rejection: Rejection | None = None,
) -> Answer:
    """Verify a chain or a tree against the target's distributions (spec sections 6.3 to 6.8).

    Returns a Verdict; or, where a token of a scalar draft is rejected, Proposals (``proposals`` of them, 1 to 256), and
    where one of a lazy draft is, AskList, which ``verify_list`` follows.

    ``target_probs``: 1 + nodes rows for one V, row 0 the target's distribution after the prefix, row 1 + i the one
    after node i, with the target's own temperature, top-k and top-p applied.  Either what ``target_rows`` makes of
    logits or any other sequence of TargetRow, of which only the rows that decide are looked at; or probabilities, real
    (1 + nodes, V), each row with the sum 1 but for rounding (``sum_tolerance``), by which it is then divided.

    ``coupling``: the session's shared numbers (``EdgeSession.coupling``), for evidence ``coupled`` and no other.

    ``rejection``: what the device has heard of this round on another link (``DraftReceived.rejection``): the answer is
    then given this, and nothing that was decided is decided anew (spec section 6.9).

    Raises ValueError for another shape or V, rows that are no distributions, coupled evidence without a coupling,
    ``proposals`` out of range, or a rejection that is none of this draft; TypeError for rows without ``dense`` where
    the evidence needs it, and for other types.
    """
    return verify_with(
        draft, target_probs, RandomChoices(rng), coupling=coupling, proposals=proposals, rejection=rejection
    )


def verify_with(
    draft: Draft,
    target_probs: Any,
    choices: Choices,
    *,
    coupling: Coupling | None = None,
    proposals: int = PROPOSALS,
    rejection: Rejection | None = None,
    least_held: float = LEAST_HELD,
) -> Answer:
    """``verify`` with any source of randomness, and any ``list_rule.LEAST_HELD``: the law of the text is the same."""
    # Of rows in the kernel numpy computes nothing, and to tell it to be quiet takes half as long as the verdict.
    verified = _verified if type(target_probs) is LogitsRows and backend == "native" else _verified_quietly
    return verified(draft, target_probs, choices, coupling, proposals, rejection, least_held)


def _verified(
    draft: Draft,
    target_probs: Any,
    choices: Choices,
    coupling: Coupling | None,
    proposals: int,
    rejection: Rejection | None,
    least_held: float,
) -> Answer:
    round = checked_round(draft, target_probs, choices, coupling, proposals, least_held)
    if rejection is not None:
        return verify_given(round, rejection)
    return _RULES[type(draft.evidence)](round, draft.evidence)


_verified_quietly = quiet(_verified)
