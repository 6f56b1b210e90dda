"""What a section shows: tables and plots, without a word of how a page or a file is made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Sorted(NamedTuple):
    """A text that sorts by a number."""

    text: str
    by: float | None
    """None: behind all others, either way."""


Cell = str | float | int | Sorted | None
"""A number is written by its column's format and sorts as one; None is an empty cell."""


def acceptance(value: float, digits: int = 2, *, sign: str = "") -> str:
    """As the page writes acceptance, what differs from it and parts of probability everywhere: ``.84``, ``1.00``.

    ``sign``: "+" for differences.
    """
    return f"{value:{sign}.{digits}f}".replace("0.", ".", 1)


def places(count: int) -> str:
    """Of how many places of the texts acceptance is the mean, and why another section's may differ."""
    return (
        f"Mean over {count} places of the texts; another section's acceptance of the same may differ by some "
        "hundredths, as it takes other places, or another number of them."
    )


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    name: str
    format: str | Callable[[float], str] = ""
    """Of its numbers, as ``format`` takes it: ``",.1f"``; or what writes them: ``acceptance``."""
    hint: str = ""
    """What the column means, said below the table."""
    whole: bool = False
    """Texts that are not broken into lines."""
    right: bool = False
    """Texts with numbers in them stand at the right, as numbers do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows that sort by any column."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    """As many cells as there are columns."""
    title: str = ""
    caption: str = ""
    """What is to be seen in it, a sentence or two."""
    folded: bool = False
    """Long: opened by who wants it."""
    stacked: bool = False
    """On a phone each row is a block of lines, a cell each, so that all can be compared; for a few rows."""
    notes: Sequence[str] = ()
    """Numbered from 1, below the table: what cells refer to as ``[1]``."""

    def __post_init__(self) -> None:
        """Raise ValueError for a row of another length."""
        wrong = next((row for row in self.rows if len(row) != len(self.columns)), None)
        if wrong is not None:
            raise ValueError(f"a row of {len(self.columns)} cells is needed, got {wrong!r}")


@dataclass(frozen=True, slots=True)
class Look:
    """Colours and size of one rendering of a plot; only these colours change between light and dark."""

    colours: tuple[str, ...]
    """Of series, told apart by those who see fewer colours, too."""
    ink: str
    """Of text and of what is to be compared with."""
    faint: str
    """Of grids and axes."""
    narrow: bool
    """Drawn for a phone: about half as wide, letters of the same size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A picture that is drawn for wide and for narrow pages."""

    name: str
    """Of its file, unique in a report: words with hyphens."""
    draw: Callable[[Figure, Look], None]
    """Draws on an empty figure, with colours of the look alone."""
    alt: str
    """What it shows, for those who do not see it."""
    caption: str
    """What is to be seen in it, a sentence or two."""
    title: str = ""
    height: float = 340.0
    """Pixels of a panel; what draws it may add to it."""
