"""The session's state machine, as one table.

Spec section 7.7.  Device and edge run the same machine: every message has one direction, and sending it moves the
sender as receiving it moves the receiver.
"""

from __future__ import annotations

import enum

from tslt_wire.frames.codec import DRAFT_KINDS, Kind


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
    OPEN = "open"  # a draft, or what the device sent after it, waits for its answer
    PROPOSED = "proposed"  # the edge proposed tokens, and does not know yet which one the device takes
    ASKED = "asked"  # the edge asked for a list
    ENDED = "ended"  # the text has ended; a new PROMPT may follow
    CLOSED = "closed"  # one side said BYE
    FAILED = "failed"  # one side said ERROR, or broke the protocol


TRANSITIONS: dict[State, dict[Kind, State]] = {
    State.START: {Kind.HELLO: State.GREETED},
    State.GREETED: {Kind.WELCOME: State.READY},
    State.READY: {Kind.PROMPT: State.IDLE},
    State.IDLE: {Kind.PROMPT: State.IDLE, **dict.fromkeys(DRAFT_KINDS.values(), State.OPEN)},
    # A verdict leads to ENDED if it says so.  ANSWERS says which of the three may come.
    State.OPEN: {Kind.VERDICT: State.IDLE, Kind.VERDICT_PROPOSALS: State.PROPOSED, Kind.ASK_LIST: State.ASKED},
    State.PROPOSED: {
        Kind.PROMPT: State.IDLE,
        Kind.MORE: State.OPEN,
        **dict.fromkeys(DRAFT_KINDS.values(), State.OPEN),
    },
    State.ASKED: {Kind.LIST: State.OPEN},
    State.ENDED: {Kind.PROMPT: State.IDLE},
    State.CLOSED: {},
    State.FAILED: {},
}
"""Where each message leads.  BYE leads to CLOSED and ERROR to FAILED from every state but these two.

A device that takes a proposal goes from PROPOSED to IDLE by itself, or to ENDED if the text ends there: the edge hears
of it with the next draft.
"""

for _state in set(State) - {State.CLOSED, State.FAILED}:
    TRANSITIONS[_state] |= {Kind.BYE: State.CLOSED, Kind.ERROR: State.FAILED}

ANSWERS: dict[Kind, frozenset[Kind]] = {
    **dict.fromkeys(DRAFT_KINDS.values(), frozenset({Kind.VERDICT})),
    Kind.DRAFT_SCALAR: frozenset({Kind.VERDICT, Kind.VERDICT_PROPOSALS}),
    Kind.DRAFT_LAZY: frozenset({Kind.VERDICT, Kind.ASK_LIST}),
    Kind.MORE: frozenset({Kind.VERDICT_PROPOSALS}),
    Kind.LIST: frozenset({Kind.VERDICT}),
}
"""What the edge may answer each frame of the device with, in OPEN."""

SENDERS: dict[Kind, frozenset[Role]] = {
    Kind.HELLO: frozenset({Role.DEVICE}),
    Kind.PROMPT: frozenset({Role.DEVICE}),
    **dict.fromkeys(DRAFT_KINDS.values(), frozenset({Role.DEVICE})),
    **dict.fromkeys((Kind.MORE, Kind.LIST), frozenset({Role.DEVICE})),
    **dict.fromkeys((Kind.WELCOME, Kind.VERDICT, Kind.VERDICT_PROPOSALS, Kind.ASK_LIST), frozenset({Role.EDGE})),
    Kind.ERROR: frozenset(Role),
    Kind.BYE: frozenset(Role),
}
"""Who may send what."""


def next_state(state: State, kind: Kind, sender: Role, request: Kind) -> State | None:
    """State after ``sender`` sent ``kind``; None if the protocol does not allow it.

    ``request``: the last draft, MORE or LIST of the device; it matters in OPEN.
    """
    if sender not in SENDERS[kind]:
        return None
    after = TRANSITIONS[state].get(kind)
    if state is State.OPEN and kind in _ANSWER_KINDS and kind not in ANSWERS[request]:
        return None
    return after


_ANSWER_KINDS = frozenset().union(*ANSWERS.values())
