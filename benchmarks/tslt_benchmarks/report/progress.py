"""What a run says while it goes on: a bar in a terminal, a line a section elsewhere; and the time that is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bars

from tslt_benchmarks.report.section import Section

_PRIOR_S = 20.0
"""Seconds of expected work by which the first section's own speed is not yet believed alone."""


def in_words(seconds: float) -> str:
    """A time for people: ``40 s``, ``12 min``, ``1 h 50 min``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


class Estimate:
    """How long the rest takes: what was expected of it, times how this machine has kept to such expectations."""

    def __init__(self, expected: Sequence[float]) -> None:
        """``expected``: seconds of each piece of work, in order."""
        self._ahead = list(expected)
        self._done = self._taken = 0.0

    def finish(self, seconds: float) -> None:
        """The next piece took so long."""
        self._done += self._ahead.pop(0)
        self._taken += seconds

    def skip(self) -> None:
        """The next piece was not to be done."""
        self._ahead.pop(0)

    def left(self, part: float = 0.0, spent: float = 0.0) -> float:
        """Seconds left; ``part`` of the next piece is done, which has taken ``spent``."""
        now = self._ahead[0] if self._ahead else 0.0
        pace = (self._taken + spent + _PRIOR_S) / (self._done + part * now + _PRIOR_S)
        return max(0.0, pace * (sum(self._ahead) - part * now))


class Progress:
    """Says what a run is at.  A context manager: the bar is gone behind it."""

    def __init__(self, console: Console) -> None:
        """``console``: a terminal gets a bar."""
        self._console = console
        self._bars = Bars(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[left]}"),
            console=console, transient=True, disable=not console.is_terminal,
        )  # fmt: skip
        self._task: TaskID | None = None
        self._estimate = Estimate(())
        self._count = self._number = 0
        self._begun = 0.0

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def kept(self, section: Section) -> None:
        """A section has figures of this very run."""
        self.say(f"{section.name}: measured before")

    def mismatch(self, section: Section, apart: Sequence[str]) -> None:
        """A section has figures of another run."""
        self.say(f"{section.name}: measured otherwise before ({'; '.join(apart)}); run again")

    def plan(self, todo: Sequence[Section], *, quick: bool) -> None:
        """What is to be run."""
        self._estimate = Estimate([section.seconds.quick if quick else section.seconds.full for section in todo])
        self._count, self._number = len(todo), 0
        if todo:
            self.say(f"{len(todo)} sections, about {in_words(self._estimate.left())} on two cores")
            self._task = self._bars.add_task("", total=1.0, left="")

    def begin(self, section: Section) -> Callable[[int, int], None]:
        """A section begins; returns what it tells its progress by."""
        self._number += 1
        self._begun = time.monotonic()
        left = in_words(self._estimate.left())
        if self._task is None or not self._console.is_terminal:
            self.say(f"[{self._number}/{self._count}] {section.name} ... ({left} left)")

        def tell(done: int, of: int) -> None:
            if self._task is not None:
                part, spent = min(1.0, done / max(1, of)), time.monotonic() - self._begun
                left = in_words(self._estimate.left(part, spent))
                text = f"[{self._number}/{self._count}] {section.name}"
                self._bars.update(self._task, completed=part, description=text, left=f"{left} left")

        tell(0, 1)
        return tell

    def end(self, section: Section, how: str) -> None:
        """A section is over."""
        taken = time.monotonic() - self._begun
        if how == "done":
            self._estimate.finish(taken)
            self.say(f"{section.name}: {in_words(taken)}")
        else:
            self._estimate.skip()
            self.say(f"{section.name}: {how}")
