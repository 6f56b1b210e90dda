"""Bytes per draft token of every format, and the acceptance that each of them leaves.

Rows are formats, columns K: the mean bytes of one list (or, for frames, of a whole frame divided by its draft tokens),
and beside them alpha, the mean of 1 - TV(target, what the receiver decodes), so that a row that is small because it is
coarse shows it.  Every row but the formula is written, read back and compared.

    python -m tslt_benchmarks.bytes.bytes_per_token --json bytes.json --png bytes.png
"""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

import tslt_wire as tw
from tslt_benchmarks.bytes.bytes_plot import plot_bytes
from tslt_benchmarks.bytes.measurement import Measured, measure_all
from tslt_benchmarks.draft_options import add_draft_options, drafts_for
from tslt_benchmarks.drafting import Settings
from tslt_benchmarks.drafts import Drafts
from tslt_benchmarks.options import above_zero, command_parser, input_file, output_file, whole_number, write_json
from tslt_benchmarks.prompts import PROMPTS

DEFAULTS = Settings()
KS = (8, 16, 32, 64, 320)
SCHEMA_VERSION = 1
_PACKAGES = ("numpy", "msgpack", "zstandard", "protobuf", "torch", "transformers")


# -------------------------------------------------------------------------------------------------------------- output


def tables(figures: Sequence[Measured]) -> list[Table]:
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
            by_k = {f.k: f for f in here if f.format == name}
            one = next(iter(by_k.values()))
            if one.group != group:
                table.add_section()
                group = one.group
            table.add_row(escape(one.title), *(_cell(by_k.get(k, by_k.get(None))) for k in ks))
        found.append(table)
    return found


def _cell(figure: Measured | None) -> str:
    if figure is None:
        return ""
    size = f"{figure.bytes:.1f}" if figure.bytes < 10_000 else f"{figure.bytes:,.0f}"
    return f"{size} ({figure.alpha:.3f})"


def report(
    drafts: Drafts, figures: Sequence[Measured], *, ks: Sequence[int], temperatures: Sequence[float]
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


def summary(figures: Sequence[Measured]) -> str:
    """The last line printed, for machines: bytes of every format at K = 32 (else the first K), first temperature."""
    here = [f for f in figures if f.temperature == figures[0].temperature]
    ks = [f.k for f in here if f.k is not None]
    k = 32 if 32 in ks else ks[0]
    cells = " ".join(f"{f.format}={f.bytes:.2f}" for f in here if f.k in {k, None})
    return f"bytes_per_token: T={here[0].temperature:g} K={k} {cells}"


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(__doc__)
    add_draft_options(parser)
    parser.add_argument("--prompts", type=input_file, default=PROMPTS, help="text file, one prompt a line")
    parser.add_argument("--temperature", type=above_zero, nargs="+", default=[1.0], help="of draft and target")
    parser.add_argument("--k", type=whole_number(1), nargs="+", default=list(KS), help="entries of a list")
    parser.add_argument("--lists", type=whole_number(1), default=DEFAULTS.lists, help="positions for single lists")
    parser.add_argument("--rounds", type=whole_number(1), default=DEFAULTS.rounds, help="positions for frames")
    parser.add_argument(
        "--tokens", type=whole_number(1), default=DEFAULTS.tokens, help="tokens the target adds to each prompt"
    )
    parser.add_argument("--dtype", choices=["float32", "float16"], default=DEFAULTS.dtype, help="of the kept logits")
    parser.add_argument("--seed", type=whole_number(0), default=DEFAULTS.seed)
    parser.add_argument("--json", type=output_file, help="write all figures, settings and versions")
    parser.add_argument("--png", type=output_file, help="draw bytes against K")
    return parser.parse_args(argv)


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
    drafts = drafts_for(args, settings, console=console, prompts=args.prompts)
    figures = measure_all(drafts, ks=args.k, temperatures=args.temperature)
    for table in tables(figures):
        # A table that is cut to a narrow terminal or a pipe says nothing.
        Console(width=max(console.width, 40 + 18 * len(args.k))).print(table)
    if args.json:
        result = report(drafts, figures, ks=args.k, temperatures=args.temperature)
        write_json(result, args.json)
    if args.png:
        plot_bytes(figures, args.png)
    print(summary(figures))


if __name__ == "__main__":
    main()
