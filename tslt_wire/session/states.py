"""The session's state machine, as one table: every change of state is in it.

Spec section 7.7.  Device and edge run the same machine: every message has one direction, and sending it moves the
sender as receiving it moves the receiver.  What an end does by itself is an ``Act``.
"""

from __future__ import annotations

import enum

from tslt_wire.frames.kinds import DRAFT_KINDS, FRAME_KINDS, Kind, Role


class State(enum.StrEnum):
    """What has been said so far."""

    START = "start"  # nothing
    GREETED = "greeted"  # HELLO; the edge decides whether the two fit
    READY = "ready"  # WELCOME; there is no prefix yet
    IDLE = "idle"  # there is a prefix, and no draft is open
    OPEN = "open"  # a draft, or what the device sent after it, waits for its answer
    PROPOSED = "proposed"  # the edge proposed tokens, and does not know yet which one the device takes
    ASKED = "asked"  # the edge asked for a list
    ENDED = "ended"  # the text has ended; a new PROMPT may follow
    CLOSED = "closed"  # one side said BYE
    FAILED = "failed"  # one side said ERROR, or broke the protocol


class Act(enum.StrEnum):
    """What changes the state and is no frame kind of its own."""

    VERDICT_END = "a verdict that ends the text"
    TAKE = "the device takes a proposal"  # the edge hears of it with the next draft
    TAKE_END = "the device takes a proposal that ends the text"
    RESUME_END = "RESUME of a text that has ended"
    FOLLOW = "a draft that follows the open one"  # the edge holds it, or takes it later: nothing moves there
    NEXT = "the next draft in flight is the open one"
    RECONNECT = "the device begins anew on another link"
    FAIL = "this end gives up"  # it says so by ERROR, if that fits the peer's limit


OVER = frozenset({State.CLOSED, State.FAILED})
"""States that nothing leads out of on the link they were reached on."""
TALKING = frozenset({State.IDLE, State.OPEN, State.PROPOSED, State.ASKED, State.ENDED})
"""States of a text."""

TRANSITIONS: dict[tuple[State, Kind | Act], State] = {
    (State.START, Kind.HELLO): State.GREETED,
    (State.GREETED, Kind.WELCOME): State.READY,
    (State.READY, Kind.RESUME): State.IDLE,
    (State.READY, Act.RESUME_END): State.ENDED,
    **{(state, Kind.PROMPT): State.IDLE for state in (State.READY, State.IDLE, State.PROPOSED, State.ENDED)},
    **{(state, draft): State.OPEN for state in (State.IDLE, State.PROPOSED) for draft in DRAFT_KINDS.values()},
    # Which of these may come depends on what was sent: see ANSWERS.
    (State.OPEN, Kind.VERDICT): State.IDLE,
    (State.OPEN, Act.VERDICT_END): State.ENDED,
    (State.OPEN, Kind.VERDICT_WHOLE): State.IDLE,
    (State.OPEN, Act.FOLLOW): State.OPEN,
    (State.IDLE, Act.NEXT): State.OPEN,
    (State.OPEN, Kind.VERDICT_PROPOSALS): State.PROPOSED,
    (State.OPEN, Kind.ASK_LIST): State.ASKED,
    (State.PROPOSED, Kind.MORE): State.OPEN,
    (State.PROPOSED, Act.TAKE): State.IDLE,
    (State.PROPOSED, Act.TAKE_END): State.ENDED,
    (State.ASKED, Kind.LIST): State.OPEN,
    # A proposal is taken, or others are asked for, before that: both are the device's own to do.
    **{(state, Act.RECONNECT): State.START for state in State if state not in (State.START, State.PROPOSED)},
    **{(state, Kind.BYE): State.CLOSED for state in State if state not in OVER},
    **{(state, failure): State.FAILED for state in State if state not in OVER for failure in (Kind.ERROR, Act.FAIL)},
}
"""Where each frame and each act leads, from each state; what is not here is not allowed."""

ANSWERS: dict[Kind, frozenset[Kind]] = {row.kind: row.answers for row in FRAME_KINDS if row.answers}
"""What the edge may answer each frame of the device with."""
SENDERS: dict[Kind, frozenset[Role]] = {row.kind: row.senders for row in FRAME_KINDS}
"""Who may send what."""
NEED_PROFILE = frozenset(row.kind for row in FRAME_KINDS if row.needs_profile)
"""Frames that cannot be read before WELCOME has said the profile."""

_ANSWER_KINDS = frozenset().union(*ANSWERS.values())


def may_send(state: State, kind: Kind, sender: Role, request: Kind) -> bool:
    """Whether ``sender`` may send ``kind`` in ``state``.

    ``request``: the last frame of the device that is answered; it says which answers may come.
    """
    if sender not in SENDERS[kind] or (kind in _ANSWER_KINDS and kind not in ANSWERS[request]):
        return False
    return (state, kind) in TRANSITIONS


def state_after(state: State, what: Kind | Act) -> State:
    """Where ``what`` leads from ``state``; KeyError if it is not allowed there."""
    return TRANSITIONS[state, what]
