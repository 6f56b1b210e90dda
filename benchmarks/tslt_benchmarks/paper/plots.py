"""The paper's figures 3 to 6 in one picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure as Canvas

_BY_K = ("#c0392b", "#e67e22", "#b8860b", "#5a5a5a")
"""One for each K of the paper."""
_OURS = {"tslt default": "#0b6fb8", "tslt scalar": "#2a9d4b", "tslt coupled": "#8e44ad", "tslt list, tail": "#7fb7de"}
_STYLE = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}


def plot_figures(document: Mapping[str, Any], path: Path) -> None:
    """Mass and acceptance above, speedup of chains and trees below; a PNG 1800 pixels wide."""
    with mpl.rc_context(_STYLE):
        canvas = Canvas(figsize=(12, 10), dpi=150, layout="constrained")
        (mass, acceptance), (chain, tree) = canvas.subplots(2, 2)
        _mass(mass, document)
        _acceptance(acceptance, document)
        for axes, shape, title in ((chain, "chain", "Fig. 5: chain of 3"), (tree, "tree", "Fig. 6: tree <2,2,2>")):
            _speedup(axes, document, shape)
            axes.set_title(f"{title}, speedup over the target alone", loc="left")
        canvas.savefig(path)


def _mass(axes: Any, document: Mapping[str, Any]) -> None:
    for name, label, style in (("pair", "the pair", "-"), ("sharp", "made-up sharp rows", "--")):
        rows = document[name]["mass"]
        ks, values = [row["k"] for row in rows], [row["value"] for row in rows]
        axes.errorbar(ks, values, yerr=[row["error"] for row in rows], color="#222222", linestyle=style, label=label)
    axes.plot(320, 0.85, marker="x", linestyle="", color=_BY_K[0], label="the paper: about .85")
    axes.set_xscale("log")
    axes.set_xlabel("K")
    axes.set_title("Fig. 3: probability of the K most probable tokens", loc="left")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="lower right")


def _acceptance(axes: Any, document: Mapping[str, Any]) -> None:
    for name, label, alpha in (("pair", "the pair", 1.0), ("sharp", "sharp rows", 0.45)):
        for kind, marker in (("single", "o"), ("double", "s")):
            rows = [row for row in document[name]["acceptance"] if row["name"] == "paper"]
            axes.errorbar(
                [row["k"] for row in rows],
                [row[kind]["value"] for row in rows],
                yerr=[row[kind]["error"] for row in rows],
                color="#c0392b" if kind == "single" else "#0b6fb8",
                marker=marker,
                alpha=alpha,
                label=f"{label}, {'one candidate' if kind == 'single' else 'two'}",
            )
    rows = document["pair"]["acceptance"]
    tail = [row for row in rows if row["name"] == "tslt list, tail"]
    axes.plot(
        [row["k"] for row in tail],
        [row["single"]["value"] for row in tail],
        color=_OURS["tslt list, tail"],
        linestyle="--",
        label="the pair, tslt list with a tail",
    )
    for row in rows:
        if row["name"] in ("tslt default", "tslt scalar", "tslt coupled"):
            axes.axhline(
                row["single"]["value"], color=_OURS[row["name"]], linewidth=1, linestyle=":", label=row["name"]
            )
    axes.set_xscale("log")
    axes.set_xlabel("K")
    axes.set_title("Fig. 4: acceptance against K", loc="left")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.14))


def _speedup(axes: Any, document: Mapping[str, Any], shape: str) -> None:
    uplinks = [uplink / 1e6 for uplink in document["settings"]["uplink_bit_s"]]
    rows = [row for row in document["equations"] if row["shape"] == shape]
    for row, colour in zip(rows, _BY_K, strict=False):
        axes.plot(uplinks, row["speedup"], color=colour, linestyle="--", linewidth=1.2)
    real = [row for row in document["rounds"] if row["shape"] == shape]
    for row, colour in zip([row for row in real if row["k"]], _BY_K, strict=False):
        axes.plot(uplinks, row["speedup"], color=colour, marker=".", label=row["name"])
    for row in real:
        if not row["k"]:
            axes.plot(uplinks, row["speedup"], color=_OURS[row["name"]], marker=".", label=row["name"])
    axes.axhline(1, color="#bbbbbb", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlabel("uplink, Mbit/s (dashed: the equations; dots: real rounds)")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.14))
