"""Bytes per token of every encoding and every system whose messages are published, at equal acceptance.

Three tables.  What an encoding takes for a drafted token, its id included, to reach a part of the acceptance that whole
distributions would get: bytes at equal K say little, as coarse lists accept less.  Whole messages of a round, up and
down, ours from real sessions, by drafted and by emitted token.  What transports add to them, counted on real sockets.
Everything but formulas and rows of accounting is written, read back and compared.

    python -m tslt_benchmarks.encodings.encodings --json encodings.json --png encodings.png --messages-png messages.png
"""

from __future__ import annotations

import argparse
import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import tslt_wire as tw
from tslt_benchmarks.bytes.library_formats import HAS_ARROW
from tslt_benchmarks.draft_options import add_draft_options, drafts_for
from tslt_benchmarks.drafting import Settings
from tslt_benchmarks.drafts import Drafts, Positions
from tslt_benchmarks.encodings.equal_acceptance import KS, Curve, measure_equal
from tslt_benchmarks.encodings.lossless import short_proof
from tslt_benchmarks.encodings.message_sizes import Messages, ours, peers
from tslt_benchmarks.encodings.plots import plot_acceptance, plot_messages
from tslt_benchmarks.encodings.transport_bytes import Added, measure_transports
from tslt_benchmarks.links.recorded_rounds import PromptedModels
from tslt_benchmarks.options import above_zero, command_parser, output_file, whole_number, write_json
from tslt_benchmarks.pairs import Models
from tslt_benchmarks.prompts import PROMPTS, read_prompts

SCHEMA_VERSION = 1
QUICK_KS = (4, 32, 320)
SIZES = ((30, 70), (70, 15), (500, 15), (5_000, 15), (64_000, 15))
"""Bytes up and down of rounds for transports: ``scalar``, ``list``, the paper's lists, a whole distribution."""
_WIDTH = 200
"""Columns that the tables need."""
_PACKAGES = ("numpy", "msgpack", "orjson", "cbor2", "protobuf", "safetensors", "zstandard", "aioquic", "pyzmq", "httpx")
Say = Callable[[str], None]


def measure(args: argparse.Namespace, drafts: Drafts, prompted: PromptedModels | None, say: Say) -> dict[str, Any]:
    """Everything: ``curves``, ``messages``, ``transports``; ``prompted``: None leaves out our own sessions."""
    curves = measure_equal(
        replace(drafts, positions=some(drafts.positions, args.positions)),
        temperatures=args.temperature,
        ks=QUICK_KS if args.quick else KS,
        seed=args.seed,
        say=say,
    )
    messages: list[Messages] = []
    for temperature in args.temperature if whole_texts(drafts.positions) else ():
        if prompted is not None:
            messages += ours(drafts, prompted, temperature=temperature, places=args.places, seed=args.seed, say=say)
        messages += peers(drafts, temperature=temperature, say=say)
    say("transports")
    return {"curves": curves, "messages": messages, "transports": measure_transports(list(SIZES))}


def some(positions: Positions, count: int) -> Positions:
    """``count`` positions, evenly spread."""
    total = len(positions.draft)
    rows = np.linspace(0, total - 1, min(count, total)).round().astype(int)
    return positions.at(rows)


def whole_texts(positions: Positions) -> bool:
    """Whether positions of a text follow each other without gaps: rounds can start at each then."""
    steps, same = np.diff(positions.index), np.diff(positions.prompt) == 0
    return bool((steps[same] == 1).all())


# -------------------------------------------------------------------------------------------------------------- output


def acceptance_table(curves: Sequence[Curve], temperature: float) -> Table:
    """Bytes of a drafted token by level of acceptance."""
    here = [curve for curve in curves if curve.temperature == temperature]
    out = Table(
        title=f"bytes up a drafted token by part of the whole distribution's acceptance, temperature {temperature:g}",
        title_justify="left",
        caption="standard error over texts; in brackets K; the drafted token's id is in all of them, framing in none",
        caption_justify="left",
    )
    out.add_column("encoding", no_wrap=True)
    for level in here[0].levels:
        out.add_column(f"{level.part:.0%} ({level.alpha:.3f})", justify="right", no_wrap=True)
    out.add_column("lossless", no_wrap=True)
    group = here[0].group
    for curve in here:
        if curve.group != group:
            out.add_section()
            group = curve.group
        out.add_row(escape(curve.title), *acceptance_cells(curve), short_proof(curve.lossless))
    return out


def acceptance_cells(curve: Curve) -> list[str]:
    """The levels of a row: ``bytes ± error (K)``; a dash where a level is not reached."""
    found = []
    for level in curve.levels:
        if level.bytes is None:
            found.append("-")
            continue
        digits = 1 if level.bytes < 1000 else 0
        error = f" ± {level.bytes_se:,.{digits}f}" if level.bytes_se is not None else ""
        found.append(f"{level.bytes:,.{digits}f}{error}" + (f" ({level.k:,.0f})" if level.k is not None else ""))
    return found


def message_table(messages: Sequence[Messages], temperature: float) -> Table:
    """Whole messages."""
    out = Table(
        title=f"messages of a round, bytes without a transport, temperature {temperature:g}", title_justify="left"
    )
    names = ("round up", "down", "after a rejection", "up / drafted", "tokens", "up / emitted", "down / emitted")
    out.add_column("system", no_wrap=True)
    out.add_column("shape")
    for name in (*names, "trips"):
        out.add_column(name, justify="right", no_wrap=True)
    out.add_column("lossless", no_wrap=True)
    for row in messages:
        if row.temperature == temperature:
            out.add_row(
                escape(row.title) + ("" if row.measured else " (accounting)"),
                row.shape,
                f"{row.up:,.1f}",
                f"{row.down:,.1f}",
                f"{row.up_rejected:,.0f} / {row.down_rejected:,.0f}",
                f"{row.up_per_drafted:,.1f}",
                f"{row.tokens:.2f} ± {row.tokens_se:.2f}",
                f"{row.up_per_emitted:,.1f}",
                f"{row.down_per_emitted:,.1f}",
                f"{row.trips:.2f}",
                short_proof(row.lossless),
            )
    return out


def transport_table(transports: Sequence[Added]) -> Table:
    """What travels beside the messages."""
    out = Table(title="what transports add to a round, bytes, counted on sockets", title_justify="left")
    out.add_column("transport", no_wrap=True)
    for name in ("message up / down", "framing", "packets", "headers", "all a round", "opening, first round included"):
        out.add_column(name, justify="right", no_wrap=True)
    for row in transports:
        out.add_row(
            row.title,
            f"{row.up:,} / {row.down:,}",
            f"{row.framing_up:,.0f} / {row.framing_down:,.0f}",
            f"{row.packets_up:.1f} / {row.packets_down:.1f}",
            f"{row.headers_up:,.0f} / {row.headers_down:,.0f}",
            f"{row.up + row.framing_up + row.headers_up:,.0f} / {row.down + row.framing_down + row.headers_down:,.0f}",
            f"{row.opening_up:,} / {row.opening_down:,}",
        )
    return out


def report(args: argparse.Namespace, drafts: Drafts, found: dict[str, Any]) -> dict[str, Any]:
    """Everything ``--json`` writes."""
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {
        "benchmark": "encodings",
        "schema": SCHEMA_VERSION,
        "unit": "bytes",
        "settings": {"quick": args.quick, "positions": args.positions, "places": args.places, "seed": args.seed},
        "drafts": drafts.meta,
        "versions": {"tslt_wire": tw.__version__, "spec": tw.SPEC_VERSION, **versions},
        "left_out": [] if HAS_ARROW else ["Arrow IPC: pyarrow is not installed"],
        "curves": [asdict(curve) for curve in found["curves"]],
        "messages": [
            asdict(row)
            | {name: getattr(row, name) for name in ("up_per_drafted", "up_per_emitted", "down_per_emitted")}
            for row in found["messages"]
        ],
        "transports": [asdict(row) for row in found["transports"]],
    }


def summary(curves: Sequence[Curve]) -> str:
    """The last line printed, for machines: bytes at 90 % of the whole acceptance, first temperature."""
    cells = []
    for curve in curves:
        level = next(level for level in curve.levels if level.part == 0.9)
        if curve.temperature == curves[0].temperature and level.bytes is not None:
            cells.append(f"{curve.format}={level.bytes:.1f}")
    return f"encodings: T={curves[0].temperature:g} at=90% {' '.join(cells)}"


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(__doc__)
    add_draft_options(parser)
    parser.add_argument("--temperature", type=above_zero, nargs="+", default=[1.0, 0.7], help="of draft and target")
    parser.add_argument("--texts", type=whole_number(1), default=12, help="that the target writes (%(default)s)")
    parser.add_argument("--tokens", type=whole_number(4), default=48, help="of each (%(default)s)")
    parser.add_argument("--positions", type=whole_number(1), default=144, help="for lists (%(default)s)")
    parser.add_argument("--rounds", type=whole_number(1), default=24, help="that are drafted for peers (%(default)s)")
    parser.add_argument("--places", type=whole_number(1), default=48, help="for our own sessions (%(default)s)")
    parser.add_argument("--seed", type=whole_number(0), default=0)
    parser.add_argument("--quick", action="store_true", help="few positions, texts and K: for tests and a first look")
    parser.add_argument("--json", type=output_file, help="write everything")
    parser.add_argument("--png", type=output_file, help="draw acceptance against bytes")
    parser.add_argument("--messages-png", type=output_file, help="draw the messages")
    args = parser.parse_args(argv)
    if args.quick:
        args.texts, args.tokens, args.positions, args.rounds, args.places = 4, 12, 24, 4, 4
        args.temperature = args.temperature[:1]
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Make or load drafts, measure, print, write."""
    args = arguments(argv)
    console = Console()
    settings = Settings(lists=args.texts * (args.tokens + 1), rounds=args.rounds, tokens=args.tokens, seed=args.seed)
    drafts = drafts_for(args, settings, console=console, texts=args.texts)
    prompted = None
    if all(path.exists() for path in (args.target, args.draft)):
        models = Models.load(args.target, args.draft, dtype="float32", self_check=False)
        prompted = PromptedModels.of(models, read_prompts(PROMPTS)[: args.texts])
    with console.status("measuring") as status:
        found = measure(args, drafts, prompted, status.update)
    wide = Console(width=max(console.width, _WIDTH))
    for temperature in args.temperature:
        wide.print(acceptance_table(found["curves"], temperature))
        wide.print(message_table(found["messages"], temperature))
    wide.print(transport_table(found["transports"]))
    if not found["messages"]:
        console.print("no messages: they need the positions of whole texts, one after the other")
    if not HAS_ARROW:
        console.print("no row of Arrow IPC: its wheel of 50 MB is in no extra (pip install pyarrow)")
    if args.json:
        write_json(report(args, drafts, found), args.json)
    if args.png:
        plot_acceptance(found["curves"], args.png)
    if args.messages_png and found["messages"]:
        plot_messages(found["messages"], args.messages_png)
    print(summary(found["curves"]))


if __name__ == "__main__":
    main()
