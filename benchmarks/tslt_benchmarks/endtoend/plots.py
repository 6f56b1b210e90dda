"""Tokens a second of every way, a panel a link."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure as Canvas

from tslt_wire.throughput.explain import rate_name

_OURS, _THEIRS, _EDGE = "#0b6fb8", "#9aa5ab", "#b8860b"
_STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}


def plot_rates(document: Mapping[str, Any], path: Path) -> None:
    """Bars, the same order on every link; a PNG 1950 pixels wide."""
    rows = document["rows"]
    links = list(dict.fromkeys((row["uplink_bit_s"], row["rtt_s"]) for row in rows))
    names = list(dict.fromkeys(row["way"] for row in rows))[::-1]
    with mpl.rc_context(_STYLE):
        canvas = Canvas(figsize=(13, 0.3 * len(names) + 1.6), dpi=150, layout="constrained")
        panels = canvas.subplots(1, len(links), sharey=True, squeeze=False)[0]
        for axes, link in zip(panels, links, strict=True):
            here = {row["way"]: row["tokens_s"] for row in rows if (row["uplink_bit_s"], row["rtt_s"]) == link}
            colours = [
                _OURS if name.startswith("tslt") else _EDGE if name.startswith(("edge", "transformers")) else _THEIRS
                for name in names
            ]
            axes.barh(range(len(names)), [here[name] for name in names], color=colours)
            for place, name in enumerate(names):
                axes.text(here[name], place, f" {here[name]:.2g}", va="center", fontsize=8)
            axes.set_yticks(range(len(names)), names)
            axes.set_title(f"{rate_name(link[0])} up, {1e3 * link[1]:g} ms", loc="left", fontsize=10)
            axes.set_xlim(0, 1.2 * max(here.values()))
        times = document["model_times"]
        canvas.supxlabel(
            f"tokens a second; blue: ours, gold: both models at the edge; draft {1e3 * times['draft_s']:.0f} ms, "
            f"target {1e3 * times['target_s']:.0f} ms a pass, {document['tokens_a_round']:.1f} tokens a round at best",
            fontsize=9,
        )
        canvas.savefig(path)
