"""Whether a pass waits for devices that are about to ask: when they are, and what it is worth."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

LATE_S = 0.002
"""Seconds by which a device may always be late."""


@dataclass(slots=True)
class Habit:
    """What a device takes from an answer to its next request, as it was lately."""

    answered: float | None = None
    """When its last rows were there, until it asks for more."""
    mean_s: float | None = None
    strays_s: float = 0.0
    """How far from the mean it is, in the mean: one whose drafts are in flight is there at once, or after a whole
    round."""

    def asks(self, now: float) -> None:
        """Its next request is there."""
        if self.answered is None:
            return
        took, self.answered = now - self.answered, None
        if self.mean_s is None:
            self.mean_s = took
        self.strays_s += (abs(took - self.mean_s) - self.strays_s) / 2
        self.mean_s += (took - self.mean_s) / 2

    def expected_s(self, now: float) -> float | None:
        """Seconds until it is there at most times; None where it is not expected, or not any more."""
        if self.answered is None or self.mean_s is None:
            return None
        seconds = self.answered + self.mean_s + self.strays_s - now
        return max(seconds, LATE_S) if seconds > -LATE_S else None


def worth_waiting(habits: Iterable[Habit], now: float, *, pass_s: float, left_s: float) -> float | None:
    """Seconds to wait for all that would be there before a pass that begins now is over; None where it begins.

    They save a pass if they share this one, and none if they do not all come soon: the others need the next pass, in
    which there is room for them, too.  Devices that come later are in that one anyway.

    ``pass_s``: what the pass takes for what is there; ``left_s``: what is left of the time that a pass less saves.
    """
    coming = [seconds for habit in habits if (seconds := habit.expected_s(now)) is not None and seconds < pass_s]
    return max(coming) if coming and max(coming) < left_s else None
