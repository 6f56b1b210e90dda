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


def worth_waiting(habits: Iterable[Habit], now: float, *, waiting: int, saved_s: float) -> float | None:
    """Seconds after which some more are there, if a pass with them does more rounds a second; None if it does not.

    k rounds wait, a pass takes F and c for each of them.  With m more in w seconds it does
    (k + m) / (F + (k + m) c + w) a second, which is more than k / (F + k c) where w < m F / k.

    ``waiting``: k; ``saved_s``: F.
    """
    coming = sorted(seconds for habit in habits if (seconds := habit.expected_s(now)) is not None)
    return next((each for many, each in enumerate(coming, 1) if each * waiting < many * saved_s), None)
