"""Stop strings in a text that comes in pieces: what may be the start of one waits, what is after one is never shown.

The result does not depend on how the text is cut into pieces: a text ends at the stop string whose last character comes
first, the longest of those that end there.
"""

from __future__ import annotations

from collections.abc import Sequence

MOST_STOPS = 16
"""Stop strings of a text."""
MOST_CHARACTERS = 1024
"""Characters of one: so much text may wait."""


def stops_of(stop: str | Sequence[str]) -> tuple[str, ...]:
    """The stop strings that ``stop`` names, one or several.

    TypeError for what is no string, ValueError for an empty one, one that is too long, or too many of them.
    """
    found = (stop,) if isinstance(stop, str) else tuple(stop)
    if not all(isinstance(one, str) for one in found):
        raise TypeError(f"stop must be a string or several, got {stop!r}")
    if not all(1 <= len(one) <= MOST_CHARACTERS for one in found):
        raise ValueError(f"a stop string must have 1 to {MOST_CHARACTERS} characters")
    if len(found) > MOST_STOPS:
        raise ValueError(f"there may be {MOST_STOPS} stop strings, got {len(found)}")
    return found


class Stops:
    """Watches one text for its stop strings."""

    def __init__(self, stop: str | Sequence[str] = ()) -> None:
        """``stop``: see ``stops_of``."""
        self._stops = stops_of(stop)
        self._held = ""
        self.found: str | None = None
        """The stop string that ended the text."""

    def add(self, text: str) -> str:
        """What may be shown now; nothing once a stop string has come."""
        if self.found is not None:
            return ""
        text = self._held + text
        ends = [(at + len(stop), at, stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if ends:
            _, at, self.found = min(ends)
            self._held = ""
            return text[:at]
        keep = max((_start_at_the_end(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def finish(self) -> str:
        """What waited and became no stop string: no more text comes."""
        held, self._held = self._held, ""
        return held


def _start_at_the_end(text: str, stop: str) -> int:
    """Characters at the end of ``text`` that are the start of ``stop``, and not all of it."""
    for size in range(min(len(stop) - 1, len(text)), 0, -1):
        if text.endswith(stop[:size]):
            return size
    return 0
