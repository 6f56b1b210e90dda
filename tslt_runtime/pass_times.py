"""What a pass of a model takes for its rows, learnt from the passes that were made."""

from __future__ import annotations

import math

FORGET = 0.95
"""What each pass leaves of the weight of those before: some tens of passes count."""


class PassTimes:
    """A straight line through seconds against rows: ``fixed + each * rows``, least squares with forgetting."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._weight = self._rows = self._seconds = self._squares = self._products = 0.0
        self._each: float | None = None

    def add(self, rows: int, seconds: float) -> None:
        """A pass of so many rows took so long."""
        self._weight = FORGET * self._weight + 1
        self._rows = FORGET * self._rows + rows
        self._seconds = FORGET * self._seconds + seconds
        self._squares = FORGET * self._squares + rows * rows
        self._products = FORGET * self._products + rows * seconds
        mean = self._rows / self._weight
        spread = self._squares / self._weight - mean * mean
        if spread >= 1:  # passes of one size say nothing of what a row takes: what was known stays
            self._each = max(0.0, (self._products - mean * self._seconds) / self._weight / spread)

    @property
    def line(self) -> tuple[float, float] | None:
        """(seconds of a pass, seconds more for each row), neither negative; None until two sizes were seen."""
        if self._each is None:
            return None
        return max(0.0, (self._seconds - self._each * self._rows) / self._weight), self._each

    @property
    def saved_s(self) -> float:
        """Seconds that two passes take more than one with the rows of both; 0 if that is not known."""
        return 0.0 if self.line is None else self.line[0]

    @property
    def row_s(self) -> float:
        """Seconds that a row more adds to a pass; 0 if that is not known."""
        return 0.0 if self.line is None else self.line[1]

    def seconds(self, rows: int) -> float:
        """Of a pass of so many rows; 0 if that is not known."""
        return self.saved_s + self.row_s * rows

    def rows_within(self, factor: float, rows: int) -> int | None:
        """How many rows more make a pass of ``rows`` take ``factor`` times as long; None if that is not known."""
        line = self.line
        if line is None:
            return None
        fixed, each = line
        return None if each == 0 else math.floor((factor - 1) * (fixed + each * rows) / each)
