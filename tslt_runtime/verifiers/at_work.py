"""For which texts a target works, and for how many others it did while it worked for one of them.

These share its passes or wait for them: what a draft adds to a pass is time of theirs (spec section 6.2, ``others``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice


@dataclass(slots=True, eq=False)
class Met:
    """One answer in the making."""

    text: Hashable
    since: int
    """Answers that had been made before."""
    others: int = 0
    """For how many other texts it worked meanwhile; known at the end."""


class AtWork:
    """Counts them.  Belongs to one event loop."""

    def __init__(self) -> None:
        """For nobody yet."""
        self._now: set[Met] = set()
        self._ended: deque[Hashable] = deque()  # the last texts, as far back as one that is at work began
        self._count = 0

    @contextmanager
    def on(self, text: Hashable) -> Iterator[Met]:
        """It works on ``text`` within this block."""
        met = Met(text, self._count)
        self._now.add(met)
        try:
            yield met
        finally:
            missing = self._count - len(self._ended)
            beside = {each.text for each in self._now} | {*islice(self._ended, met.since - missing, None)}
            met.others = len(beside - {text})
            self._now.remove(met)
            self._ended.append(text)
            self._count += 1
            needed = self._count - min((each.since for each in self._now), default=self._count)
            while len(self._ended) > needed:
                self._ended.popleft()
