"""What an edge remembers of a device's drafts in flight: answers that may be lost, and drafts that came early.

Spec sections 6.10 and 7.7.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from tslt_wire.errors import ErrorCode, RemoteProtocolError
from tslt_wire.messages.draft import Draft


@dataclass(frozen=True, slots=True)
class _Taken:
    """A draft, and the last frame of its round that was taken."""

    round: int
    prefix_length: int
    frame: bytes
    answer: bytes = b""
    """Empty: it is being made."""


class DraftsTaken:
    """The last drafts of one device, as many as may be in flight."""

    __slots__ = ("_ground", "_held", "_taken", "_window")

    def __init__(self, window: int) -> None:
        """``window``: drafts that may be unanswered at a time."""
        self._window = window
        self._taken = deque[_Taken](maxlen=window)  # whose answers the device may not have heard yet
        self._held = deque[tuple[Draft, bytes]]()
        self._ground: tuple[int, int] | None = None  # round and run of the draft that the next one may follow

    @property
    def held(self) -> tuple[Draft, ...]:
        """Drafts that wait for the answer to the one before them, oldest first; nothing of them is checked yet."""
        return tuple(draft for draft, _ in self._held)

    @property
    def oldest(self) -> tuple[int, int]:
        """Length of the prefix and round of the oldest draft whose answer the device may not have heard."""
        return self._taken[0].prefix_length, self._taken[0].round

    def answer_to(self, frame: bytes) -> bytes:
        """What a frame that came again was answered with; empty: nothing yet, or the device has heard of it."""
        return next((taken.answer for taken in self._taken if taken.frame == frame), b"")

    def take(self, draft: Draft, frame: bytes) -> None:
        """Remember a draft that is to be answered next."""
        if not draft.follows:
            self._taken.clear()  # the device has heard of all before it
        self._taken.append(_Taken(draft.round, draft.prefix_length, frame))
        if not self._held:
            self._ground = _ground_of(draft)

    def go_on(self, draft: Draft, frame: bytes) -> None:
        """Remember a later frame of the round of ``draft``: the device has heard of all before it."""
        self._taken.clear()
        self._taken.append(_Taken(draft.round, draft.prefix_length, frame))

    def answered(self, answer: bytes) -> None:
        """Remember the answer to the last frame."""
        self._taken[-1] = replace(self._taken[-1], answer=answer)

    def drop(self) -> None:
        """Nothing can follow the last draft, and what is held has lost its ground."""
        self._held.clear()
        self._ground = None

    def follows(self, draft: Draft) -> bool:
        """Whether a draft has the ground that it says it follows."""
        flight = draft.flight
        return flight is not None and self._ground == (draft.round - 1, flight.run)

    def hold(self, draft: Draft, frame: bytes) -> None:
        """Keep a draft until the one before it is answered; RemoteProtocolError if there are too many."""
        if len(self._held) + 1 >= self._window:
            raise RemoteProtocolError(
                ErrorCode.PROTOCOL_VIOLATION, f"more drafts in flight than the {self._window} of WELCOME"
            )
        self._held.append((draft, frame))
        self._ground = _ground_of(draft)

    def next(self) -> tuple[Draft, bytes]:
        """The oldest draft that is held, which is held no more."""
        return self._held.popleft()


def _ground_of(draft: Draft) -> tuple[int, int] | None:
    """What a draft that follows this one names; None if none can."""
    flight = draft.flight
    return (draft.round, flight.run) if flight is not None and flight.goes_on else None
