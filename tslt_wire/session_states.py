"""The session's state machine, as one table.

Spec section 7.7.  Device and edge run the same machine: every message has one direction, and sending it moves the
sender as receiving it moves the receiver.
"""

from __future__ import annotations

import enum

from tslt_wire.codec import DRAFT_KINDS, Kind


class Role(enum.StrEnum):
    """The two ends of a session."""

    DEVICE = "device"
    EDGE = "edge"


class State(enum.StrEnum):
    """What has been said so far."""

    START = "start"  # nothing
    GREETED = "greeted"  # HELLO; the edge decides whether the two fit
    READY = "ready"  # WELCOME; there is no prefix yet
    IDLE = "idle"  # there is a prefix, and no draft is open
    OPEN = "open"  # a draft waits for its verdict
    ENDED = "ended"  # the text has ended; a new PROMPT may follow
    CLOSED = "closed"  # one side said BYE
    FAILED = "failed"  # one side said ERROR, or broke the protocol


TRANSITIONS: dict[State, dict[Kind, State]] = {
    State.START: {Kind.HELLO: State.GREETED},
    State.GREETED: {Kind.WELCOME: State.READY},
    State.READY: {Kind.PROMPT: State.IDLE},
    State.IDLE: {Kind.PROMPT: State.IDLE, **dict.fromkeys(DRAFT_KINDS.values(), State.OPEN)},
    State.OPEN: {Kind.VERDICT: State.IDLE},  # or ENDED, if the verdict says so
    State.ENDED: {Kind.PROMPT: State.IDLE},
    State.CLOSED: {},
    State.FAILED: {},
}
"""Where each message leads.  BYE leads to CLOSED and ERROR to FAILED from every state but these two."""

for _state in set(State) - {State.CLOSED, State.FAILED}:
    TRANSITIONS[_state] |= {Kind.BYE: State.CLOSED, Kind.ERROR: State.FAILED}

SENDERS: dict[Kind, frozenset[Role]] = {
    Kind.HELLO: frozenset({Role.DEVICE}),
    Kind.PROMPT: frozenset({Role.DEVICE}),
    **dict.fromkeys(DRAFT_KINDS.values(), frozenset({Role.DEVICE})),
    Kind.WELCOME: frozenset({Role.EDGE}),
    Kind.VERDICT: frozenset({Role.EDGE}),
    Kind.ERROR: frozenset(Role),
    Kind.BYE: frozenset(Role),
}
"""Who may send what."""


def next_state(state: State, kind: Kind, sender: Role) -> State | None:
    """State after ``sender`` sent ``kind``; None if the protocol does not allow it."""
    if sender not in SENDERS[kind]:
        return None
    return TRANSITIONS[state].get(kind)
