"""Pictures of measurements: one line a format, labelled at its end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure as Canvas

from tslt_benchmarks.bytes.measurement import Measured

_SAME = 0.07
"""Lines that differ by less than this part everywhere are drawn as one with both names."""
_SKIPPED = (
    "bf16",
    "log2_1",
    "log2_3",
    "chain_f16",
    "chain_log2_0",
    "tree_f16",
    "tree_log2_0",
    "f16_zstd",
    "dense_tslt_log2_2",
    "cbor",
    "safetensors",
    "qs_240",
    "ideal_log2_0",
    "ideal_log2_2",
    "tslt_log2_4",
    "chain_log2_0_range",
    "chain_log2_2_range",
)
"""Rows that lie between two that are drawn, or right on one."""
_LABELS_AT = 1.09
"""Left edge of the labels, as a fraction of the axes' width."""
_LABEL_GAP = 0.034
"""Distance of two labels, as a fraction of the axes' height."""
_COLOURS = {"list": "#707070", "dense": "#a8841a", "formula": "#000000", "tslt": "#0b6fb8", "frame": "#2a9d4b"}
_STYLES = {"dense": (0, (1, 1)), "formula": (0, (5, 2))}
_LEGEND = {
    "list": "formats in use",
    "dense": "whole distribution",
    "formula": "formula, no bitstream",
    "tslt": "tslt, one list",
    "frame": "tslt, whole frame per draft token",
}


def _lines(figures: Sequence[Measured]) -> list[tuple[list[str], str, dict[int, float]]]:
    """(names, kind, bytes by K) of each line to draw."""
    ks = sorted({f.k for f in figures if f.k is not None})
    found: list[tuple[list[str], str, dict[int, float]]] = []
    for name in dict.fromkeys(f.format for f in figures):
        if name.endswith(_SKIPPED):
            continue
        by_k = {f.k: f for f in figures if f.format == name}
        one = next(iter(by_k.values()))
        kind = "tslt" if name.startswith("tslt") else one.group
        points = {k: (by_k[k] if k in by_k else by_k[None]).bytes for k in ks}
        for names, other_kind, other in found:
            if kind == other_kind and all(abs(points[k] / other[k] - 1) < _SAME for k in ks):
                names.append(one.title)
                break
        else:
            found.append(([one.title], kind, points))
    return found


def _spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Move ascending positions as little as possible so that neighbours are at least ``gap`` apart (isotonic means)."""
    blocks: list[tuple[float, int]] = []
    for i, value in enumerate(wanted):
        total, count = value - i * gap, 1
        while blocks and blocks[-1][0] / blocks[-1][1] >= total / count:
            before = blocks.pop()
            total, count = total + before[0], count + before[1]
        blocks.append((total, count))
    means = [total / count for total, count in blocks for _ in range(count)]
    return [mean + i * gap for i, mean in enumerate(means)]


def plot_bytes(figures: Sequence[Measured], path: Path) -> None:
    """Bytes per draft token against K at the first temperature, both axes logarithmic; a PNG 1500 pixels wide."""
    here = [f for f in figures if f.temperature == figures[0].temperature]
    ks = sorted({f.k for f in here if f.k is not None})
    lines = sorted(_lines(here), key=lambda line: line[2][ks[-1]])
    with mpl.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        canvas = Canvas(figsize=(10, 7.33), dpi=150)
        axes = canvas.add_axes((0.08, 0.09, 0.55, 0.85))
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        seen: set[str] = set()
        for _, kind, points in lines:
            axes.plot(
                ks,
                [points[k] for k in ks],
                color=_COLOURS[kind],
                linestyle=_STYLES.get(kind, "-"),
                linewidth=2 if kind == "tslt" else 1.3,
                marker="o",
                markersize=3,
                label=None if kind in seen else _LEGEND[kind],
            )
            seen.add(kind)
        axes.set_xticks(ks, [str(k) for k in ks])
        axes.minorticks_off()
        axes.set_xlim(ks[0] * 0.9, ks[-1] * 1.05)
        axes.grid(alpha=0.25)
        axes.set_xlabel("entries K of a list")
        axes.set_ylabel("bytes per draft token")
        title = f"One draft token on the wire, temperature {here[0].temperature:g}"
        axes.set_title(f"{title}; at the right: bytes at K = {ks[-1]}", loc="left")
        axes.legend(loc="lower right", frameon=False, fontsize=9)
        ends = [
            axes.transAxes.inverted().transform(axes.transData.transform((ks[-1], p[ks[-1]])))[1] for _, _, p in lines
        ]
        right = axes.transAxes.inverted().transform(axes.transData.transform((ks[-1], 1)))[0]
        for (names, kind, points), end, at in zip(lines, ends, _spread(ends, _LABEL_GAP), strict=True):
            colour = _COLOURS[kind]
            axes.plot(
                [right + 0.008, _LABELS_AT - 0.008],
                [end, at],
                color=colour,
                linewidth=0.6,
                transform=axes.transAxes,
                clip_on=False,
            )
            label = f"{' / '.join(names)}   {points[ks[-1]]:,.0f}"
            axes.text(_LABELS_AT, at, label, va="center", fontsize=9, color=colour, transform=axes.transAxes)
        canvas.savefig(path, bbox_inches="tight", pad_inches=0.2)
