"""Plots as SVG that follows the page's colours, and as PNG.

Matplotlib knows no CSS, so a plot is drawn in fixed colours, which are replaced by the page's variables afterwards:
one SVG serves light, dark and print.
"""

from __future__ import annotations

import io
import math
import re
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
GAP = {"x": 6.0, "y": 0.0}
"""Pixels between labels of an axis at least; another font's letters may be a bit wider."""
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
        for axes in figure.axes:
            for axis, side in ((axes.xaxis, "x"), (axes.yaxis, "y")):
                _thin(axis, side)
    return figure


def _thin(axis: Any, side: str) -> None:
    """Leave out the labels of an axis that would lie on those before them."""
    low, high = sorted(axis.get_view_interval())
    labels = [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    boxes = [(label.get_window_extent(), label) for label in labels if label.get_text()]
    ends = -math.inf
    for box, label in sorted(boxes, key=lambda pair: getattr(pair[0], f"{side}0")):
        if getattr(box, f"{side}0") < ends + GAP[side]:
            label.set_visible(False)
        else:
            ends = getattr(box, f"{side}1")
