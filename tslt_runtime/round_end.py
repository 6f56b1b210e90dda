"""How a device's round ends, once its draft was answered: by evidence, at once or after further frames.

``list``, ``match`` and ``coupled`` end with the first answer.  After a rejection ``scalar`` takes one of the edge's
proposals, and asks for more as long as none fits; ``lazy`` sends the list that the edge asks for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import numpy as np

import tslt_wire as tw
from tslt_runtime.timing import verify_seconds

CODED = ("scalar", "lazy")
"""Evidence for chains, with a number for each token."""
Answered = tw.VerdictReceived | tw.ProposalsReceived | tw.ListAsked
"""Events that answer a draft."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a round came to."""

    node: int
    """Last accepted node of the draft."""
    tokens: tuple[int, ...]
    """What the text grew by: the accepted tokens and the one after them."""
    end: bool
    trips: int
    """Frames that were sent and answered."""
    verify_s: float
    """Seconds the edge says it took, all answers together."""
    verdict: tw.Verdict | None
    """The verdict; None if the device took a proposal."""


def evidence_of(
    name: str, tree: tw.TokenTree, lists: Mapping[int, tw.SparseDistribution], replacement: bool
) -> tw.Evidence:
    """The evidence ``name`` for a tree that was drawn from ``lists``."""
    if name == "list":
        return tw.ListEvidence(lists, replacement)
    if name == "scalar":
        return tw.ScalarEvidence.of(tree, lists)
    if name == "lazy":
        return tw.LazyEvidence.of(tree, lists)
    return tw.MatchEvidence() if name == "match" else tw.CoupledEvidence()


async def settle(
    session: tw.DeviceSession,
    rng: np.random.Generator,
    exchange: Callable[[], Awaitable[Answered]],
) -> Outcome:
    """Bring the round to its end: ``exchange`` sends what is queued, at first the draft, and returns the answer."""
    event, trips, seconds = await exchange(), 1, 0.0
    while not isinstance(event, tw.VerdictReceived):
        if isinstance(event, tw.ProposalsReceived):
            proposals, accepted = event.proposals, event.tokens
            seconds += verify_seconds(proposals)
            token = session.choose(rng)
            if token is not None:
                end = session.state is tw.State.ENDED
                return Outcome(proposals.node, (*accepted, token), end, trips, seconds, None)
        else:
            seconds += verify_seconds(event)
            session.send_list()
        event = await exchange()
        trips += 1
    verdict = event.verdict
    return Outcome(verdict.node, event.tokens, verdict.end, trips, seconds + verify_seconds(verdict), verdict)
