"""Bytes per draft token of every format, and the acceptance that each of them leaves.

Rows are formats, columns K: the mean bytes of one list (or, for frames, of a whole frame divided by its draft tokens),
and beside them alpha, the mean of 1 - TV(target, what the receiver decodes), so that a row that is small because it is
coarse shows it.  Every row but the formula is written, read back and compared.

    python -m tslt_benchmarks.bytes.bytes_per_token --json bytes.json --png bytes.png
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import tslt_wire as tw
from tslt_benchmarks.bytes.format_base import Floats, Format
from tslt_benchmarks.bytes.formats import TsltFrame, formats
from tslt_benchmarks.drafts import Drafts, Logits, Settings, add_options, drafts_for

DEFAULTS = Settings()
KS = (8, 16, 32, 64, 320)
SCHEMA_VERSION = 1
_PACKAGES = ("numpy", "msgpack", "zstandard", "protobuf", "torch", "transformers")


@dataclass(frozen=True, slots=True)
class Figure:
    """One cell of the table."""

    format: str
    title: str
    group: str
    """``list``, ``dense``, ``formula`` or ``frame``."""
    temperature: float
    """Of the draft and of the target."""
    k: int | None
    """Entries a list may have; None for dense rows."""
    entries: float
    """Entries a list has, mean: fewer than ``k`` in a smaller vocabulary, or where weights round to 0."""
    bytes: float
    """Bytes per draft token, mean."""
    bytes_min: float
    bytes_max: float
    alpha: float
    """1 - TV between the target's distribution and what the receiver decodes, mean over lists."""
    alpha_se: float
    """Standard error of ``alpha``, with lists taken as independent."""
    samples: int
    """Lists or frames measured."""


def measure(
    row: Format[Any, Any], cases: Iterable[tuple[Any, Sequence[Floats]]], *, k: int | None, temperature: float
) -> Figure:
    """Measure ``row`` on ``cases``: what it prepares from, and the target's distribution (V,) for each of its lists.

    Raises FormatError if bytes do not read back as what was written.
    """
    sizes, overlaps, entries = [], [], []
    for source, targets in cases:
        item = row.prepare(source, k=k or 0, temperature=temperature)
        sizes.append(row.size(item) / row.tokens(item))
        for decoded, target in zip(row.lists(item), targets, strict=True):
            overlaps.append(float(np.minimum(target[decoded.ids], decoded.probs).sum()))
            entries.append(len(decoded.ids))
    return Figure(
        format=row.name,
        title=row.title,
        group=row.group,
        temperature=temperature,
        k=k,
        entries=float(np.mean(entries)),
        bytes=float(np.mean(sizes)),
        bytes_min=min(sizes),
        bytes_max=max(sizes),
        alpha=float(np.mean(overlaps)),
        alpha_se=float(np.std(overlaps) / np.sqrt(len(overlaps))),
        samples=len(sizes),
    )


def measure_all(drafts: Drafts, *, ks: Sequence[int], temperatures: Sequence[float]) -> list[Figure]:
    """Measure the whole registry on ``drafts``, for each temperature and K."""
    figures = []
    rows = formats(drafts.token_bytes)
    for temperature in temperatures:
        sampling = tw.Sampling(temperature=temperature)

        def target(logits: Logits, sampling: tw.Sampling = sampling) -> Floats:
            return tw.target_probs(logits, sampling)

        single = [(q, [p]) for q, p in zip(drafts.positions.draft, target(drafts.positions.target), strict=True)]
        framed = {
            shape: [(r, list(target(r.target))) for r in rounds]
            for shape, rounds in (("chain", drafts.chains()), ("tree", drafts.trees()))
        }
        for row in rows:
            cases: Any = framed[row.shape] if isinstance(row, TsltFrame) else single
            for k in [None] if row.group == "dense" else ks:
                figures.append(measure(row, cases, k=k, temperature=temperature))
    return figures


# -------------------------------------------------------------------------------------------------------------- output


def tables(figures: Sequence[Figure]) -> list[Table]:
    """One table a temperature."""
    found = []
    for temperature in dict.fromkeys(f.temperature for f in figures):
        here = [f for f in figures if f.temperature == temperature]
        ks = list(dict.fromkeys(f.k for f in here if f.k is not None))
        lists = next(f.samples for f in here if f.group == "list")
        table = Table(
            title=f"Bytes per draft token (alpha) by entries K, temperature {temperature:g}, {lists} lists",
            title_justify="left",
            caption="Frames are measured on drafted rounds, lists along the text: compare alpha within a section only.",
            caption_justify="left",
        )
        table.add_column("format", no_wrap=True)
        for k in ks:
            table.add_column(f"K = {k}", justify="right", no_wrap=True)
        group = here[0].group
        for name in dict.fromkeys(f.format for f in here):
            cells = {f.k: f for f in here if f.format == name}
            one = next(iter(cells.values()))
            if one.group != group:
                table.add_section()
                group = one.group
            table.add_row(escape(one.title), *(_cell(cells.get(k, cells.get(None))) for k in ks))
        found.append(table)
    return found


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return ""
    size = f"{figure.bytes:.1f}" if figure.bytes < 10_000 else f"{figure.bytes:,.0f}"
    return f"{size} ({figure.alpha:.3f})"


def report(
    drafts: Drafts, figures: Sequence[Figure], *, ks: Sequence[int], temperatures: Sequence[float]
) -> dict[str, Any]:
    """Everything ``--json`` writes: figures in bytes per draft token, how the drafts were made, versions."""
    return {
        "benchmark": "bytes_per_token",
        "schema": SCHEMA_VERSION,
        "unit": "bytes per draft token",
        "settings": {"k": list(ks), "temperatures": list(temperatures)},
        "drafts": drafts.meta,
        "versions": {
            "tslt_wire": tw.__version__,
            "spec": tw.SPEC_VERSION,
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _PACKAGES},
        },
        "figures": [asdict(f) for f in figures],
    }


def summary(figures: Sequence[Figure]) -> str:
    """The last line printed, for machines: bytes of every format at K = 32 (else the first K), first temperature."""
    here = [f for f in figures if f.temperature == figures[0].temperature]
    ks = [f.k for f in here if f.k is not None]
    k = 32 if 32 in ks else ks[0]
    cells = " ".join(f"{f.format}={f.bytes:.2f}" for f in here if f.k in {k, None})
    return f"bytes_per_token: T={here[0].temperature:g} K={k} {cells}"


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument(
        "--prompts", type=Path, help="text file, one prompt a line (default: the one in benchmarks/data)"
    )
    parser.add_argument("--temperature", type=float, nargs="+", default=[1.0], help="of draft and target, above 0")
    parser.add_argument("--k", type=int, nargs="+", default=list(KS), help="entries of a list")
    parser.add_argument("--lists", type=int, default=DEFAULTS.lists, help="positions for single lists")
    parser.add_argument("--rounds", type=int, default=DEFAULTS.rounds, help="positions for frames")
    parser.add_argument("--tokens", type=int, default=DEFAULTS.tokens, help="tokens the target adds to each prompt")
    parser.add_argument("--dtype", choices=["float32", "float16"], default=DEFAULTS.dtype, help="of the kept logits")
    parser.add_argument("--seed", type=int, default=DEFAULTS.seed)
    parser.add_argument("--json", type=Path, help="write all figures, settings and versions")
    parser.add_argument("--png", type=Path, help="draw bytes against K")
    args = parser.parse_args(argv)
    for name in ("k", "temperature"):
        if min(getattr(args, name)) <= 0:
            parser.error(f"--{name} must be above 0")
    for name in ("lists", "rounds", "tokens"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} must be at least 1")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Make or load drafts, measure, print, write."""
    args = arguments(argv)
    console = Console()
    settings = Settings(
        lists=args.lists,
        rounds=args.rounds,
        tokens=args.tokens,
        children_top_k=min(DEFAULTS.children_top_k, *args.k),
        dtype=args.dtype,
        seed=args.seed,
    )
    drafts = drafts_for(args.drafts, args.target, args.draft, settings, console=console, prompts=args.prompts)
    figures = measure_all(drafts, ks=args.k, temperatures=args.temperature)
    for table in tables(figures):
        # A table that is cut to a narrow terminal or a pipe says nothing.
        Console(width=max(console.width, 40 + 18 * len(args.k))).print(table)
    if args.json:
        result = report(drafts, figures, ks=args.k, temperatures=args.temperature)
        args.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if args.png:
        from tslt_benchmarks.bytes.plot import plot_bytes

        plot_bytes(figures, args.png)
    print(summary(figures))


if __name__ == "__main__":
    main()
