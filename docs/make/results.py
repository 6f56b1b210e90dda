"""Writes committed results into the pages, between ``<!-- results: NAME -->`` and ``<!-- end of results -->``.

python docs/make/results.py        # tests/project/test_results_on_pages.py fails where a page says something else
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = (ROOT / "docs" / "measuring.md",)
_BLOCK = re.compile(r"<!-- results: ([a-z-]+) -->\n(.*?)<!-- end of results -->\n", re.DOTALL)
Document = dict[str, Any]

_ENCODINGS = (
    "openai_json",
    "orjson",
    "arrow_ipc",
    "safetensors",
    "cbor",
    "msgpack_zstd",
    "protobuf",
    "paper",
    "distillkit",
    "published_bound",
    "qs_720",
    "tslt_log2_1_range",
    "tslt_log2_1_range_tail",
    "dense_fp16",
    "dense_int8",
    "dense_tslt_log2_2_zstd",
    "coupled",
    "scalar",
)
_PARTS = (0.75, 0.85, 0.9, 0.98)
_LEAST_ERROR = 0.05
"""Bytes that are worth a mention."""


def _markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _number(value: float) -> str:
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def _proof(proof: str) -> str:
    """A test by its name, a reason in short."""
    if "::" in proof:
        return f"`{proof.removeprefix('tests/verification/')}`"
    return proof.split(":", maxsplit=1)[0] if proof.startswith("if") else proof


def encodings(document: Document) -> str:
    """Bytes of a drafted token at equal acceptance, first temperature."""
    first = document["curves"][0]["temperature"]
    curves = {c["format"]: c for c in document["curves"] if c["temperature"] == first}
    rows = []
    for name in _ENCODINGS:
        curve = curves[name]
        cells = []
        for level in (level for level in curve["levels"] if level["part"] in _PARTS):
            found = level["bytes"]
            error = level["bytes_se"] or 0
            more = f" ± {_number(error)}" if error >= _LEAST_ERROR else ""
            cells.append(f"{_number(found)}{more}" if found is not None else "")
        title = f"**{curve['title']}**" if "::" in curve["lossless"] else curve["title"]
        rows.append([title, *cells, _proof(curve["lossless"])])
    alphas = [level["alpha"] for level in curves["paper"]["levels"] if level["part"] in _PARTS]
    parts = [f"{part:.0%} ({alpha:.2f})" for part, alpha in zip(_PARTS, alphas, strict=True)]
    return _markdown(["encoding", *parts, "lossless"], rows)


def messages(document: Document) -> str:
    """Messages of whole systems, chains of four, first temperature."""
    first = document["messages"][0]["temperature"]
    rows = []
    for row in document["messages"]:
        if row["temperature"] == first and row["shape"].startswith("chain"):
            title = row["title"] + ("" if row["measured"] else " (accounting)")
            ours = row["system"].startswith("tslt")
            cells = [_number(row[name]) for name in ("up_per_drafted", "up_per_emitted", "down_per_emitted")]
            tokens = f"{row['tokens']:.2f} ± {row['tokens_se']:.2f}"
            rows.append([f"**{title}**" if ours else title, *cells, tokens, _proof(row["lossless"])])
    rows.sort(key=lambda cells: float(cells[2].replace(",", "")))
    head = ["system", "up a drafted token", "up a token of the text", "down", "tokens a round", "lossless"]
    return _markdown(head, rows)


def transports(document: Document) -> str:
    """What transports add to a short and to a long round."""
    rows = []
    for name in dict.fromkeys(row["transport"] for row in document["transports"]):
        mine = [row for row in document["transports"] if row["transport"] == name]
        cells = []
        for up in (30, 5_000):
            row = next(row for row in mine if row["up"] == up)
            cells += [
                f"{row['framing_up']:.0f} / {row['framing_down']:.0f}",
                f"{row['headers_up']:.0f} / {row['headers_down']:.0f}",
            ]
        opening = next(row for row in mine if row["up"] == 30)
        opened = f"{opening['opening_up'] - 30:,} / {opening['opening_down'] - 70:,}"
        rows.append([mine[0]["title"], *cells, opened])
    head = ["transport", "30 up, 70 down: framing", "headers", "5,000 up, 15 down: framing", "headers", "opening"]
    return _markdown(head, rows)


TABLES: dict[str, tuple[str, Callable[[Document], str]]] = {
    "encodings": ("encodings.json", encodings),
    "messages": ("encodings.json", messages),
    "transports": ("encodings.json", transports),
}
"""What a marker stands for: a file of results, and what is made of it."""


def written(page: Path) -> str:
    """The page as it should be; KeyError for a marker that stands for nothing."""

    def block(match: re.Match[str]) -> str:
        file, table = TABLES[match.group(1)]
        document = json.loads((RESULTS / file).read_text(encoding="utf-8"))
        return f"<!-- results: {match.group(1)} -->\n\n{table(document)}\n<!-- end of results -->\n"

    return _BLOCK.sub(block, page.read_text(encoding="utf-8"))


if __name__ == "__main__":
    for each in PAGES:
        each.write_text(written(each), encoding="utf-8")
