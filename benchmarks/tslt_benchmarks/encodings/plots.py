"""Pictures of the encodings: acceptance against bytes, and the messages of whole systems."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure as Canvas

from tslt_benchmarks.encodings.equal_acceptance import Curve
from tslt_benchmarks.encodings.message_sizes import Messages

_DRAWN = {
    "openai_json": ("#5a5a5a", ":"),
    "json": ("#8a8a8a", ":"),
    "msgpack_zstd": ("#b8860b", "--"),
    "protobuf": ("#a0522d", "--"),
    "paper": ("#c0392b", "-"),
    "distillkit": ("#8e44ad", "--"),
    "published_bound": ("#000000", (0, (5, 2))),
    "tslt_log2_2": ("#7fb7de", "-"),
    "tslt_log2_1_range": ("#0b6fb8", "-"),
    "tslt_log2_1_range_tail": ("#2a9d4b", "-"),
}
"""Curves that are drawn, with colour and style: others lie on or between them."""
_POINTS = {
    "scalar": ("#0b6fb8", "o"),
    "coupled": ("#2a9d4b", "s"),
    "match": ("#777777", "^"),
    "tslt_default": ("#d35400", "D"),
    "dense_int8": ("#8a8a8a", "v"),
    "dense_fp16": ("#5a5a5a", "<"),
    "dense_msgpack": ("#222222", ">"),
    "qs_720": ("#000000", "x"),
}
"""Encodings that are one point (the default profile: at its own threshold, that of K = 16)."""
_OURS, _THEIRS = "#0b6fb8", "#8a8a8a"
_STYLE = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}


def plot_acceptance(curves: Sequence[Curve], path: Path) -> None:
    """Acceptance against bytes at the first temperature; a PNG 1500 pixels wide."""
    here = {c.format: c for c in curves if c.temperature == curves[0].temperature}
    with mpl.rc_context(_STYLE):
        canvas = Canvas(figsize=(10, 6.2), dpi=150, layout="constrained")
        axes = canvas.subplots()
        axes.set_xscale("log")
        for name, (colour, style) in _DRAWN.items():
            if name in here:
                c = here[name]
                axes.plot(c.bytes, c.alpha, color=colour, linestyle=style, marker=".", label=c.title)
        for name, (colour, marker) in _POINTS.items():
            if name in here:
                c = here[name]
                at = c.ks.index(16) if 16 in c.ks else 0
                axes.plot(c.bytes[at], c.alpha[at], marker, color=colour, markersize=8, label=c.title)
        whole = here["dense_fp32"].alpha[0]
        axes.axhline(whole, color="#bbbbbb", linewidth=1)
        axes.text(1e3, whole, "whole distribution", va="bottom", ha="center", fontsize=9, color="#777777")
        axes.grid(alpha=0.25)
        axes.set_xlabel("bytes up a drafted token, its id included")
        axes.set_ylabel("acceptance, 1 - TV")
        axes.set_title(
            f"What acceptance costs, temperature {curves[0].temperature:g}: up and to the left is better", loc="left"
        )
        canvas.legend(loc="outside right upper", frameon=False, fontsize=9)
        canvas.savefig(path)


def plot_messages(messages: Sequence[Messages], path: Path) -> None:
    """Bytes up and down an emitted token of every system's chain at the first temperature; a PNG 1500 pixels wide."""
    here = [m for m in messages if m.temperature == messages[0].temperature and m.shape.startswith("chain")]
    here.sort(key=lambda m: -(m.up_per_emitted + m.down_per_emitted))
    with mpl.rc_context(_STYLE):
        canvas = Canvas(figsize=(10, 0.36 * len(here) + 1.6), dpi=150, layout="constrained")
        axes = canvas.subplots()
        axes.set_xscale("log")
        for row, m in enumerate(here):
            colour = _OURS if m.system.startswith("tslt") else _THEIRS
            axes.plot([m.down_per_emitted, m.up_per_emitted], [row, row], color=colour, linewidth=1, alpha=0.5)
            axes.plot(m.up_per_emitted, row, color=colour, marker=">", linestyle="")
            axes.plot(m.down_per_emitted, row, color=colour, marker="<", linestyle="", fillstyle="none")
        axes.set_yticks(range(len(here)), [m.title + ("" if m.measured else " (accounting)") for m in here])
        for label, m in zip(axes.get_yticklabels(), here, strict=True):
            label.set_color(_OURS if m.system.startswith("tslt") else "#222222")
        axes.grid(alpha=0.25, axis="x")
        axes.set_xlabel("bytes an emitted token, without a transport: filled up, hollow down")
        axes.set_title(f"Messages of whole systems, chain of 4, temperature {here[0].temperature:g}", loc="left")
        canvas.savefig(path)
