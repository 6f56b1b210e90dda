"""A part of the report: what it asks, how it is measured, and what is shown of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from tslt_benchmarks.report.blocks import Plot, Table
from tslt_benchmarks.report.context import Context

Figures = dict[str, Any]
"""What a section measured: nothing that JSON cannot hold."""


class Needs(Enum):
    """What there must be for a section to run."""

    NOTHING = "nothing"
    LOGITS = "logits"
    """Of both models along texts: recorded ones, or the models."""
    MODELS = "models"
    """Both, to run."""


class Rates(Enum):
    """How a section's tokens a second were made; (what they are from, what that means), as the page says it."""

    EQUATIONS = (
        "equations",
        "acceptance, bytes and times of passes, each measured by itself, put together by the planner's formulas; "
        "no luck is in them, and nothing of what a session does around its passes",
    )
    ROUNDS = (
        "real rounds on an emulated link",
        "both models run and real messages travel; passes and bytes take their set time, and how much is accepted is "
        "luck (\u00b1: its standard error, where it is given)",
    )
    RECORDED = (
        "recorded rounds",
        "bytes, and what a session does around its passes, are those of real rounds; passes and bytes take their set "
        "time, and what is accepted is the mean along texts",
    )
    SESSIONS = (
        "real sessions on emulated links",
        "real messages travel between real ends; models are stand-ins that take their set time and agree as often as "
        "these, so that what is accepted, and who meets whom at the edge, is luck",
    )
    CLOCK = ("the clock", "a running edge with all that it does, and no link")


class Seconds(NamedTuple):
    """What a section takes with the default pair on two cores; the rest of a run is estimated by it."""

    quick: float
    full: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One question, and its answer."""

    name: str
    """Of its file and its anchor: words with hyphens."""
    title: str
    question: str
    """What a reader wants to know, as he would ask it."""
    needs: Needs
    seconds: Seconds
    run: Callable[[Context], Figures]
    show: Callable[[Figures], Sequence[Table | Plot]]
    meaning: Callable[[Figures], str]
    """One sentence for people, with the numbers in it."""
    uses: tuple[str, ...] = ()
    """Sections whose figures ``run`` asks for."""
    version: int = 1
    """Of the figures."""
    rates: Rates | None = None
    """How its tokens a second were made; None: it has none."""
    timed: bool = False
    """Its figures have times by the clock in them, which other work on the machine makes longer."""
    command: str = ""
    """What measures the same by itself, with more options: a name of ``tslt bench``."""
