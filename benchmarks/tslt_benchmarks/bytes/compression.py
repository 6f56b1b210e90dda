"""What ``entropy="zstd"`` compresses: bytes of prompts and lists in several forms, at several levels.

A form is how the numbers of a prompt or list are laid out before zstd sees them.  The last one of each table is the
codec's (specification, 3.5); what these bytes need around them (a dozen bytes a frame) is not counted.

    python -m tslt_benchmarks.bytes.bytes_per_token --drafts drafts.npz
    python -m tslt_benchmarks.bytes.compression --drafts drafts.npz
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard
from rich.console import Console
from rich.table import Table
from transformers import AutoTokenizer

import tslt_wire as tw
from tslt_benchmarks.drafts import load_drafts
from tslt_benchmarks.options import TARGET, command_parser, input_file, whole_number
from tslt_benchmarks.prompts import PROMPTS
from tslt_wire.coding.bits import BitWriter
from tslt_wire.coding.wide_fields import WideWriter
from tslt_wire.lists.list_codec import write_list

LEVELS = (1, 3, 5, 9, 19)
"""Of zstd."""
TEXTS = (PROMPTS,)
"""Prompts that are there in any installation."""
PRECISIONS = (tw.Precision.F32, tw.Precision.F16, tw.Precision.BF16, tw.Precision.LOG2_1, tw.Precision.LOG2_4)
_WIDTH = 110
"""Columns that the tables need."""
Numbers = npt.NDArray[np.int64]
Item = Any
Form = Callable[[Item], bytes]


class ByteWriter(WideWriter):
    """Whole bytes without planes or gaps."""

    def ids(self, values: npt.NDArray[Any], width: int) -> None:
        """One after another."""
        self.tokens(values, width)

    def codes(self, values: npt.NDArray[Any], width: int) -> None:
        """One after another."""
        self.tokens(values, width)


class PlaneWriter(WideWriter):
    """Planes without gaps, also for tokens."""

    def ids(self, values: npt.NDArray[Any], width: int) -> None:
        """In planes, as they are."""
        self.codes(values, width)

    def tokens(self, values: npt.NDArray[Any], width: int) -> None:
        """In planes."""
        self.codes(values, width)


def prompt_form(writer: type[BitWriter], width: int) -> Form:
    """A form of prompts."""

    def form(tokens: Numbers) -> bytes:
        out = writer()
        out.tokens(tokens, width)
        return out.finish()

    return form


def list_form(writer: type[BitWriter]) -> Form:
    """A form of lists."""

    def form(q: tw.SparseDistribution) -> bytes:
        out = writer()
        write_list(out, q, tw.Profile(vocab_size=q.vocab_size))
        return out.finish()

    return form


def measure(table: Table, name: str, items: Sequence[Item], forms: dict[str, Form]) -> None:
    """Add a row a form: mean bytes as they are, and at each level."""
    for form_name, form in forms.items():
        contents = [form(item) for item in items]
        sizes = [np.mean([len(content) for content in contents])]
        for level in LEVELS:
            compressor = zstandard.ZstdCompressor(level=level)
            sizes.append(np.mean([len(compressor.compress(content)) for content in contents]))
        table.add_row(name, form_name, *(f"{size:,.0f}" for size in sizes))


def new_table(title: str) -> Table:
    """An empty table."""
    table = Table("what", "form", "bytes", *(f"zstd -{level}" for level in LEVELS), title=title)
    for column in table.columns[2:]:
        column.justify = "right"
    return table


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = command_parser(__doc__)
    parser.add_argument("--drafts", type=input_file, required=True, help="what bytes_per_token --drafts wrote")
    parser.add_argument("--tokenizer", type=Path, default=TARGET, metavar="FOLDER", help="of the tokenizer")
    parser.add_argument("--text", type=input_file, nargs="+", default=TEXTS, help="prompts: a file each")
    parser.add_argument("--lists", type=whole_number(1), default=16, help="lists (%(default)s)")
    args = parser.parse_args(argv)
    if not args.tokenizer.is_dir():
        parser.error(f"argument --tokenizer: expected a folder that exists, got {str(args.tokenizer)!r}")
    console = Console(width=_WIDTH)
    tokenizer, drafts = AutoTokenizer.from_pretrained(args.tokenizer), load_drafts(args.drafts)
    width = (drafts.vocab_size - 1).bit_length()
    writers = {"packed": BitWriter, "bytes": ByteWriter, "planes": PlaneWriter}
    table = new_table("Prompts: bytes of the token ids")
    for path in args.text:
        tokens = np.array(tokenizer(path.read_text(encoding="utf-8"))["input_ids"], np.int64)
        forms = {name: prompt_form(writer, width) for name, writer in writers.items() if writer is not ByteWriter}
        measure(
            table, f"{path.name}, {len(tokens):,} tokens", [tokens], {**forms, "bytes*": prompt_form(WideWriter, width)}
        )
    console.print(table)
    rows = drafts.positions.draft[:: max(1, len(drafts.positions.draft) // args.lists)][: args.lists]
    table = new_table(f"Lists: mean bytes of {len(rows)}, temperature 1")
    forms = {**{name: list_form(writer) for name, writer in writers.items()}, "planes, gaps*": list_form(WideWriter)}
    for k in (None, 3200, 320, 32):
        for precision in PRECISIONS:
            truncation = tw.TopK(k) if k else None
            lists = [tw.sparsify(row, precision=precision, truncation=truncation) for row in rows]
            measure(table, f"{precision.value}, K = {k or drafts.vocab_size:,}", lists, forms)
    console.print(table)
    print("* what the codec does")


if __name__ == "__main__":
    main()
