"""The plots that sections have: lines over axes, and rows with a name each.

Names, labels and legends may be as long and as many as they are: they are broken into lines, stand above their rows
on narrow pages, and make a plot higher where they need the room.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any

from tslt_benchmarks.report.blocks import Look, Plot
from tslt_benchmarks.report.charts import FONT, WIDTHS

LETTER = 0.6 * FONT
"""Pixels of a letter, in the mean and a bit more."""
LINE = 1.5 * FONT
"""Pixels from a line of text to the next."""
_BESIDE = 80.0
"""Pixels beside a plot that its numbers and its axis' label take."""
_HANDLE = 44.0
"""Pixels of a legend's entry besides its letters."""
_NAMES = 0.55
"""Part of a wide plot that names of its rows may take."""
_MARKERS = "osD^"
"""Of series by how often the colours were used up before."""
_HOLLOW: dict[str, Any] = {"marker": "o", "markersize": 6, "fillstyle": "none", "linestyle": "none"}
"""Points of ``Line.hollow``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A series of points."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    errors: Sequence[float] = ()
    """Standard errors of ``ys``, drawn as bars; none or one each."""
    colour: int | None = None
    """Place among the look's colours; None: the next one; -1: ink."""
    dashed: bool = False
    points: bool = True
    """Marked; without ``joined`` they are all there is."""
    joined: bool = True
    hollow: Sequence[bool] = ()
    """Points that are no evidence for what the series is about: drawn hollow, and no line goes through them."""
    wide: bool = False
    """So that a line that lies on it is seen, if it comes later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """What an axis says."""

    label: str
    log: bool = False
    ticks: Sequence[float] = ()
    """Where it has numbers; none: wherever they fit."""
    labels: Sequence[str] = ()
    """What stands there in place of the numbers."""
    limits: tuple[float, float] | None = None
    write: Callable[[float], str] | None = None
    """How its numbers are written; None: as matplotlib does it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Lines over one pair of axes."""

    lines: Sequence[Line]
    x: Axis
    y: Axis
    title: str = ""


def lines(panels: Panel | Sequence[Panel], *, hollow: str = "", **of_plot: Any) -> Plot:
    """A plot of one or several panels, side by side on wide pages and one below the other on narrow ones.

    One legend serves all: lines of one name have one colour.  ``hollow``: what it says of hollow points, if there are
    some.  ``of_plot``: fields of ``Plot`` other than ``draw``.
    """
    found = [panels] if isinstance(panels, Panel) else list(panels)

    def draw(figure: Any, look: Look) -> None:
        names = list(dict.fromkeys(line.name for panel in found for line in panel.lines))
        said = [hollow] if hollow and any(any(line.hollow) for panel in found for line in panel.lines) else []
        rows, columns = (len(found), 1) if look.narrow else (1, len(found))
        each = figure.get_figheight() * 96 * (0.9 if rows > 1 else 1)
        labels, across = _legend([*names, *said], WIDTHS[look.narrow] - 20)
        more = sum(label.count("\n") + 1 for label in labels) / across - 1
        figure.set_figheight((each * rows + LINE * more) / 96)
        every = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, panel in zip(every, found, strict=True):
            _panel(axes, panel, names, look)
            _label(axes, panel.x, panel.y, panel.title, WIDTHS[look.narrow] / columns - _BESIDE, 0.7 * each)
        handles = {
            name: handle for axes in every for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        shown = [handles[name] for name in names] + [_hollow(look.ink)] * len(said)
        if len(shown) > 1:
            figure.legend(shown, labels, loc="outside lower center", ncols=across)

    return Plot(draw=draw, **of_plot)


def rows(names: Sequence[str], x: Axis, draw: Callable[[Any, Look], None], **of_plot: Any) -> Plot:
    """A plot with a row for each of ``names``, the first on top.

    ``draw(axes, look)`` draws the first row at y = 0 and the others below it, at 1, 2 and so on, each within a quarter
    of the way to the next.  ``of_plot``: fields of ``Plot`` other than ``draw`` and ``height``.
    """

    def onto(figure: Any, look: Look) -> None:
        width = WIDTHS[look.narrow] * (1 if look.narrow else _NAMES) - 20
        broken = [fill(name, int(width / LETTER)) for name in names]
        high = max(name.count("\n") + 1 for name in broken)
        row = 2 * LINE * high if look.narrow else max(24.0, LINE * high + 6)  # half of a narrow one is the name's
        figure.set_figheight((row * len(names) + 60) / 96)
        axes = figure.subplots()
        if x.log:
            axes.set_xscale("log")
        draw(axes, look)
        _scale(x, axes.xaxis, axes.set_xlim)
        axes.set_ylim(len(names) - 0.5, -0.5)
        if look.narrow:
            axes.set_yticks([])
            axes.set_ylim(len(names) - 0.6, -0.8)
            for place, name in enumerate(broken):
                where = axes.get_yaxis_transform()
                axes.text(0.0, place - 0.25, name, transform=where, va="bottom", ha="left", linespacing=1.1)
        else:
            axes.set_yticks(range(len(names)), broken)
        axes.grid(axis="x", linewidth=0.6)
        axes.set_axisbelow(True)
        _label(axes, x, Axis(label=""), "", width, 0)

    return Plot(draw=onto, **of_plot)


def _hollow(colour: str) -> Any:
    """What stands for hollow points in a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], **_HOLLOW, color=colour)


def _legend(names: Sequence[str], width: float) -> tuple[list[str], int]:
    """Names in lines that fit, and how many of them stand side by side."""
    labels = [fill(name, int((width - _HANDLE) / LETTER)) for name in names]
    longest = max(len(line) for label in labels for line in label.split("\n"))
    return labels, min(len(names), max(1, int(width // (LETTER * longest + _HANDLE))))


def _label(axes: Any, x: Axis, y: Axis, title: str, width: float, height: float) -> None:
    axes.set_xlabel(fill(x.label, max(1, int(width / LETTER))))
    axes.set_ylabel(fill(y.label, max(1, int(height / LETTER))) if y.label else "")
    if title:
        axes.set_title(fill(title, int((width + _BESIDE / 2) / LETTER)), loc="left")


def _panel(axes: Any, panel: Panel, names: Sequence[str], look: Look) -> None:
    for axis, set_scale in ((panel.x, axes.set_xscale), (panel.y, axes.set_yscale)):
        if axis.log:
            set_scale("log")
    for line in panel.lines:
        used, place = divmod(names.index(line.name), len(look.colours))
        place = place if line.colour is None else line.colour
        colour = look.ink if place < 0 else look.colours[place]
        style = ("--" if line.dashed else "-") if line.joined else "none"
        marker = {"marker": _MARKERS[used % len(_MARKERS)], "markersize": 3.5} if line.points else {}
        hollow = list(line.hollow) or [False] * len(line.xs)
        axes.errorbar(
            list(line.xs), [math.nan if empty else y for y, empty in zip(line.ys, hollow, strict=True)],
            yerr=list(line.errors) or None, color=colour, linestyle=style, linewidth=6 if line.wide else 1.6,
            elinewidth=0.8, label=line.name, **marker,
        )  # fmt: skip
        empty = [(x, y) for x, y, one in zip(line.xs, line.ys, hollow, strict=True) if one]
        if empty:
            axes.plot(*zip(*empty, strict=True), **_HOLLOW, color=colour)
    axes.grid(linewidth=0.6)
    axes.set_axisbelow(True)
    _scale(panel.x, axes.xaxis, axes.set_xlim)
    _scale(panel.y, axes.yaxis, axes.set_ylim)


def _scale(axis: Axis, which: Any, set_limits: Callable[[float, float], Any]) -> None:
    from matplotlib.ticker import NullFormatter

    write = axis.write or (_number if axis.log else None)
    if write:
        which.set_major_formatter(lambda value, _: write(value))
    if axis.log:
        which.set_minor_formatter(NullFormatter())
    if axis.ticks:
        which.set_ticks(list(axis.ticks), list(axis.labels) or [(write or _short)(tick) for tick in axis.ticks])
        which.set_ticks([], minor=True)
    if axis.limits:
        set_limits(*axis.limits)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def _short(value: float) -> str:
    return f"{value:g}"
