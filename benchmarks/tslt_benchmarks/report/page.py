"""The page: one HTML file that needs nothing else, for a screen of any width, light or dark, and for paper."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from tslt_benchmarks.report.blocks import Cell, Column, Plot, Sorted, Table
from tslt_benchmarks.report.charts import svg, variables
from tslt_benchmarks.report.progress import in_words

_HERE = Path(__file__).resolve().parent
_ABOUT = (
    "A small draft model on a device proposes tokens, a large target model on an edge server checks them, and the "
    "text is the target's own. What travels between the two (the evidence) decides how many bytes that takes, and how "
    "many of the tokens are kept."
)

WORDS = (
    ("evidence", "what travels with the drafted tokens, so that the text is the target's own"),
    ("list, lazy", "the draft's likeliest tokens with their probabilities: with each draft, or where the edge asks"),
    ("full", "the draft's probabilities of all tokens"),
    ("scalar", "the probability of each drafted token, alone"),
    ("match, coupled", "nothing but the tokens: the draft's likeliest, or drawn with numbers that both ends share"),
    ("auto", "the device picks evidence and draft each round, by the clock"),
    ("chain of 4, <2,2,2>", "what is drafted at once: four tokens in a row, or a tree with two children a node"),
    (
        "acceptance",
        "part of the drafted tokens that the target keeps, .84 for 84 of 100; 1 \u2212 TV: TV is the total variation "
        "between what both models expect",
    ),
    ("verdict", "the edge's answer to a draft: how much of it the target keeps, and a token of its own"),
    ("in flight", "a draft that leaves before the one before it has its verdict"),
    ("drafted ahead", "drafted while a verdict is awaited, for the verdicts that are likely"),
    ("node, siblings", "a token of a draft's tree; those after the same token"),
    ("pass", "one run of a model, for a draft's next tokens or for all that the target checks at once"),
    ("K", "tokens of a list"),
    ("T", "temperature"),
    ("tail", "probability that a list gives to the tokens it does not name"),
    ("edge alone", "the target decodes at the edge, token by token, and streams"),
    ("edge with both", "the edge runs the draft model, too, and streams"),
    ("RTT", "round trip time: from the device to the edge and back, without any work"),
    (
        "TSLT, the paper",
        "Truncated Sparse Logits Transmission, the scheme that the format began with",
    ),
)
"""What a reader may not know."""
MANY = 7
"""Columns that fit on paper in letters of the usual size."""
BUSY = 1.5
"""Load from which on times are said to be those of a busy machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A section as it is shown."""

    name: str
    title: str
    question: str
    meaning: str
    blocks: Sequence[Table | Plot]
    seconds: float
    load: float | None
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the page says of the run."""

    models: str
    """One line: of what pair the figures are."""
    notes: Sequence[str]
    """What a reader must know before he believes a number."""
    provenance: Sequence[tuple[str, str]]
    left_out: dict[str, str]
    """Titles of sections without figures, and why."""


def page(parts: Sequence[Part], facts: Facts) -> str:
    """The whole page."""
    body = "\n".join(_part(part, first=not i) for i, part in enumerate(parts))
    links = "".join(f'<li><a href="#{part.name}">{escape(part.title)}</a></li>' for part in parts)
    notes = "".join(f"<p>{escape(note)}</p>" for note in facts.notes)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>tslt report: {escape(facts.models)}</title>
<style>
{_colours()}
{(_HERE / "page.css").read_text(encoding="utf-8")}</style>
</head>
<body>
<header>
<h1>What a split of these two models costs, and gives</h1>
<p class="models">{escape(facts.models)}</p>
<p>{escape(_ABOUT)}</p>
<details><summary>What the words mean</summary><dl>{_words()}</dl></details>
{notes}
</header>
<main>
{body}
{_left_out(facts.left_out)}
{_provenance(facts.provenance)}
</main>
<nav aria-label="contents"><details><summary>Contents</summary><ol>{links}</ol></details></nav>
<script>
{(_HERE / "page.js").read_text(encoding="utf-8")}</script>
</body>
</html>
"""


def _colours() -> str:
    pairs = variables()
    light = "".join(f"{name}:{pair[0]};" for name, pair in pairs.items())
    dark = "".join(f"{name}:{pair[1]};" for name, pair in pairs.items())
    return f":root{{{light}}}\n@media screen and (prefers-color-scheme: dark){{:root{{{dark}}}}}"


def _words() -> str:
    return "".join(f"<dt>{escape(word)}</dt><dd>{escape(meaning)}</dd>" for word, meaning in WORDS)


def _part(part: Part, *, first: bool) -> str:
    how = [f"measured in {in_words(part.seconds)}" if part.seconds >= 1 else "reckoned from other sections' figures"]
    if part.load is not None:
        busy = ", which others were using: believe no time to the digit" if part.load >= BUSY else ""
        how.append(f"load of the machine as it began {part.load:g}{busy}")
    if part.command:
        how.append(f"by itself: <code>tslt bench {escape(part.command)}</code>")
    blocks = "\n".join(_table(block) if isinstance(block, Table) else _plot(block) for block in part.blocks)
    return f"""<section id="{part.name}"{' class="first"' if first else ""}>
<h2>{escape(part.title)}</h2>
<p class="question">{escape(part.question)}</p>
<p class="meaning">{escape(part.meaning)}</p>
{blocks}
<p class="how">{"; ".join(how)}.</p>
</section>"""


def _table(table: Table) -> str:
    head = "".join(_head(column) for column in table.columns)
    rows = "\n".join(
        "<tr>" + "".join(_cell(cell, column) for cell, column in zip(row, table.columns, strict=True)) + "</tr>"
        for row in table.rows
    )
    title = f"<caption>{escape(table.title)}</caption>" if table.title else ""
    many = " many" if len(table.columns) > MANY else ""
    wrapped = f"""<p class="hint"></p><div class="wide{many}" tabindex="0"><table>{title}
<thead><tr>{head}</tr></thead>
<tbody>
{rows}
</tbody></table></div>"""
    if table.folded:
        name = escape(table.title or "all figures")
        wrapped = f"<details><summary>{name}, {len(table.rows)} rows</summary>{wrapped}</details>"
    return wrapped + (f'\n<p class="caption">{escape(table.caption)}</p>' if table.caption else "")


def _head(column: Column) -> str:
    hint = f' title="{escape(column.hint)}"' if column.hint else ""
    return f'<th scope="col"><button type="button"{hint}>{escape(column.name)}</button></th>'


def _cell(cell: Cell, column: Column) -> str:
    if cell is None:
        return '<td data-v=""></td>'
    kind = ' class="whole"' if column.whole else ""
    if isinstance(cell, Sorted):
        return f'<td{kind} data-v="{cell.by!r}">{escape(cell.text)}</td>'
    if isinstance(cell, str):
        return f"<td{kind}>{escape(cell)}</td>"
    text = column.format(cell) if callable(column.format) else format(cell, column.format)
    return f'<td class="n" data-v="{cell!r}">{escape(text)}</td>'


def _plot(plot: Plot) -> str:
    title = f"<h3>{escape(plot.title)}</h3>" if plot.title else ""
    wide, narrow = svg(plot, narrow=False), svg(plot, narrow=True)
    return f"""<figure id="plot-{plot.name}">{title}
<div class="on-wide">{wide}</div>
<div class="on-narrow">{narrow}</div>
<figcaption>{escape(plot.caption)}</figcaption></figure>"""


def _left_out(left_out: dict[str, str]) -> str:
    if not left_out:
        return ""
    items = "".join(f"<li><b>{escape(title)}</b>: {escape(why)}</li>" for title, why in left_out.items())
    return f'<section id="left-out"><h2>What is not here</h2><ul>{items}</ul></section>'


def _provenance(rows: Iterable[tuple[str, str]]) -> str:
    cells = "".join(f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in rows)
    return f"""<section id="provenance"><h2>Where these figures come from</h2>
<div class="wide" tabindex="0"><table class="facts"><tbody>{cells}</tbody></table></div></section>"""
