"""How a round comes to its end, at a device: a verdict, proposals to choose from, or a list to send."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

import tslt_wire as tw
from tslt_runtime.connection import Connection, EdgeError
from tslt_runtime.drafting import Drafted
from tslt_runtime.timing import others_of, row_seconds, verify_seconds


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a draft came to."""

    node: int
    """Last accepted node."""
    tokens: tuple[int, ...]
    """What the text grew by."""
    verdict: tw.Verdict | tw.Whole | None
    """None if the device took a proposal."""
    trips: int
    verify_s: float
    others: int
    """For how many others the edge worked meanwhile, at most."""
    row_s: float
    """What a row adds to a pass of the target, as far as it says."""
    log_probs: tuple[float, ...]


async def settle(
    edge: Connection, session: tw.DeviceSession, numbers: Callable[[tw.Proposals], np.random.Generator]
) -> Outcome:
    """Bring the round that is open to its end: at once, or after proposals (``scalar``) or a list (``lazy``).

    ``numbers``: the device's random numbers, for its choice among these proposals.  EdgeError as for
    ``Connection.exchange``.
    """
    trips, seconds, others, row_s = 0, 0.0, 0, 0.0
    path: tuple[float, ...] = ()  # log probabilities of the accepted tokens, if they came before the last one's
    while True:
        event = await edge.exchange()
        extensions = _extensions_of(event)
        trips += 1
        seconds += verify_seconds(extensions)
        others, row_s = max(others, others_of(extensions)), row_seconds(extensions) or row_s
        told = tw.log_probs_of(extensions)
        if isinstance(event, tw.VerdictReceived):
            verdict = event.verdict
            return Outcome(verdict.node, event.tokens, verdict, trips, seconds, others, row_s, (*path, *told))
        if isinstance(event, tw.WholeReceived):
            return Outcome(event.draft.whole[-1], event.tokens, event.verdict, trips, seconds, others, row_s, told)
        if isinstance(event, tw.ProposalsReceived):
            proposed = event.proposals
            if proposed.batch == 0 and told:
                path, told = told[: len(event.tokens)], told[len(event.tokens) :]
            token = session.choose(numbers(proposed))
            if token is not None:
                # Equal tokens have equal probabilities, so the first of them says it.
                index = next(i for i, proposal in enumerate(proposed.proposals) if proposal.token == token)
                log_probs = (*path, *told[index : index + 1])
                return Outcome(proposed.node, (*event.tokens, token), None, trips, seconds, others, row_s, log_probs)
        elif isinstance(event, tw.ListAsked):
            path = told
            session.send_list()
        else:
            raise EdgeError(f"the edge at {edge.peer} answered a draft with {type(event).__name__}")


def _extensions_of(event: tw.Event) -> Sequence[tw.Extension]:
    match event:
        case tw.VerdictReceived(verdict=answer) | tw.WholeReceived(verdict=answer):
            return answer.extensions
        case tw.ProposalsReceived(proposals=proposed):
            return proposed.extensions
        case tw.ListAsked(extensions=extensions):
            return extensions
        case _:
            return ()


def rejected(drafted: Drafted, done: Outcome, *, end: bool) -> bool:
    """Whether a drafted token was rejected.

    A verdict that was cut at an end token accepted that token: it counts as the target's, not as a rejection.
    """
    return bool(drafted.tree.children(done.node)) and not (done.verdict is not None and end)
