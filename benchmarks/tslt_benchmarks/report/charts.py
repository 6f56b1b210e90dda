"""Plots as SVG that follows the page's colours, and as PNG; and the commonest plot, lines.

Matplotlib knows no CSS, so a plot is drawn in fixed colours, which are replaced by the page's variables afterwards:
one SVG serves light, dark and print.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tslt_benchmarks.report.blocks import Look, Plot

LIGHT = ("#0b6fb9", "#c8641b", "#2a8a4b", "#8a4fb1", "#8f6d01", "#118a8b", "#c23b4c", "#6b7281")
DARK = ("#62b5f2", "#f2a05d", "#5fce87", "#c79be9", "#e0c051", "#4fd0cd", "#ff8a96", "#a3acb9")
INK, FAINT = ("#1d2127", "#e6e9ef"), ("#d3d8e1", "#39414d")
"""Light and dark."""
FONT = 12.0
"""Pixels of a plot's letters."""
WIDTHS = {False: 760.0, True: 360.0}
"""Pixels, wide and narrow."""
MOST_TICK_LETTERS = 22
"""Of all labels below a narrow plot; where there are more every second one is left out."""
_POINTS = 72 / 96
"""Points a pixel, in which matplotlib measures."""


def variables() -> dict[str, tuple[str, str]]:
    """CSS variables of the colours, each with its light and its dark value."""
    pairs = dict(zip((f"--c{i}" for i in range(len(LIGHT))), zip(LIGHT, DARK, strict=True), strict=True))
    return {**pairs, "--ink": INK, "--faint": FAINT}


def svg(plot: Plot, *, narrow: bool) -> str:
    """An ``<svg>`` element; its colours are CSS variables, its ids are no other plot's."""
    out = io.StringIO()
    _figure(plot, narrow=narrow).savefig(out, format="svg", transparent=True, metadata={"Date": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    prefix = f"{plot.name}-{'narrow' if narrow else 'wide'}-"
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}\1"', text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{prefix}\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}\1)", text)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    for name, (light, _) in variables().items():
        text = text.replace(light, f"var({name})")
    role = f'<svg role="img" aria-label="{_attribute(plot.alt)}"'
    return text.replace("<svg", role, 1)


def png(plot: Plot, path: Path) -> None:
    """Write the wide plot on white, at twice the size of the page."""
    _figure(plot, narrow=False).savefig(path, dpi=2 * 96, facecolor="white")


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")


def _figure(plot: Plot, *, narrow: bool) -> Any:
    import matplotlib as mpl
    from cycler import cycler
    from matplotlib.figure import Figure

    size = FONT * _POINTS
    settings = {
        "font.size": size,
        "font.family": ["DejaVu Sans", "sans-serif"],
        "axes.titlesize": size,
        "axes.labelsize": size,
        "legend.fontsize": size,
        "xtick.labelsize": size,
        "ytick.labelsize": size,
        "text.color": INK[0],
        "axes.labelcolor": INK[0],
        "xtick.labelcolor": INK[0],
        "ytick.labelcolor": INK[0],
        "axes.edgecolor": FAINT[0],
        "xtick.color": FAINT[0],
        "ytick.color": FAINT[0],
        "grid.color": FAINT[0],
        "axes.prop_cycle": cycler(color=LIGHT),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
        "svg.fonttype": "none",
        "svg.hashsalt": plot.name,
    }
    look = Look(colours=LIGHT, ink=INK[0], faint=FAINT[0], narrow=narrow)
    with mpl.rc_context(settings):
        figure = Figure(figsize=(WIDTHS[narrow] / 96, plot.height / 96), dpi=96, layout="constrained")
        plot.draw(figure, look)
        figure.draw_without_rendering()  # while the settings hold
    return figure


# ---------------------------------------------------------------------------------------------------------------- lines


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Lines over one pair of axes."""

    lines: Sequence[Line]
    x: Axis
    y: Axis
    title: str = ""


def lines(panels: Panel | Sequence[Panel], **of_plot: Any) -> Plot:
    """A plot of one or several panels, side by side on wide pages and one below the other on narrow ones.

    One legend serves all: lines of one name have one colour.  ``of_plot``: fields of ``Plot`` other than ``draw``.
    """
    found = [panels] if isinstance(panels, Panel) else list(panels)

    def draw(figure: Any, look: Look) -> None:
        names = list(dict.fromkeys(line.name for panel in found for line in panel.lines))
        rows, columns = (len(found), 1) if look.narrow else (1, len(found))
        if look.narrow:
            figure.set_figheight(figure.get_figheight() * (1 + 0.8 * (len(found) - 1)) + 0.2 * (len(names) // 2))
        every = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, panel in zip(every, found, strict=True):
            _panel(axes, panel, names, look)
        handles = {
            name: handle for axes in every for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        if len(names) > 1:
            longest = max(map(len, names))
            fit = max(1, int((WIDTHS[look.narrow] - 20) // (7.0 * longest + 44)))
            figure.legend(
                [handles[name] for name in names], names, loc="outside lower center", ncols=min(len(names), fit)
            )

    return Plot(draw=draw, **of_plot)


def _panel(axes: Any, panel: Panel, names: Sequence[str], look: Look) -> None:
    from matplotlib.ticker import NullFormatter

    for axis, which, set_scale in (
        (panel.x, axes.xaxis, axes.set_xscale),
        (panel.y, axes.yaxis, axes.set_yscale),
    ):
        if axis.log:
            set_scale("log")
            which.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
            which.set_minor_formatter(NullFormatter())
    for line in panel.lines:
        place = names.index(line.name) % len(look.colours) if line.colour is None else line.colour
        colour = look.ink if place < 0 else look.colours[place]
        style = ("--" if line.dashed else "-") if line.joined else "none"
        marker = {"marker": "o", "markersize": 3.5} if line.points else {}
        axes.errorbar(
            list(line.xs), list(line.ys), yerr=list(line.errors) or None, color=colour, linestyle=style, linewidth=1.6,
            elinewidth=0.8, label=line.name, **marker,
        )  # fmt: skip
    axes.grid(linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel(panel.x.label)
    axes.set_ylabel(panel.y.label)
    if panel.title:
        axes.set_title(panel.title, loc="left")
    for axis, which, limits in ((panel.x, axes.xaxis, axes.set_xlim), (panel.y, axes.yaxis, axes.set_ylim)):
        if axis.ticks:
            labels = list(axis.labels) or [f"{tick:g}" for tick in axis.ticks]
            if look.narrow and which is axes.xaxis and sum(map(len, labels)) > MOST_TICK_LETTERS:
                labels = ["" if at % 2 else label for at, label in enumerate(labels)]
            which.set_ticks(list(axis.ticks), labels)
            which.set_ticks([], minor=True)
        if axis.limits:
            limits(*axis.limits)
