"""The page: one HTML file that needs nothing else, for a screen of any width, light or dark, and for paper."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from tslt_benchmarks.report.blocks import Cell, Column, Plot, Sorted, Table
from tslt_benchmarks.report.charts import svg, variables
from tslt_benchmarks.report.progress import in_words
from tslt_benchmarks.report.section import Rates

_HERE = Path(__file__).resolve().parent
_ABOUT = (
    "A small draft model on a device proposes tokens, a large target model on an edge server checks them, and the "
    "text is the target's own. What travels between the two (the evidence) decides how many bytes that takes, and how "
    "many of the tokens are kept."
)
_TRUST = (
    "Sections make tokens a second in different ways, and differ about the same link: trust those from "
    f"{Rates.EQUATIONS.value[0]} for what to choose, from {Rates.RECORDED.value[0]} for how fast a session is on this "
    f"machine, from {Rates.ROUNDS.value[0]} for one way against another (within their \u00b1), from "
    f"{Rates.SESSIONS.value[0]} for many devices at one busy edge, and from "
    f"{Rates.CLOCK.value[0]} for an edge with many users."
)
_UNITS = "[kMG]?bit/s|ms|\u00b5s|s|min|h|mJ|bytes?|bits?|tokens?|times|places|positions|users|links|rows|million"
_TOGETHER = (
    re.compile(rf"(?<=\d) (?=(?:{_UNITS})\b|%|\u00b1)"),
    re.compile(r"(?<=\bK) (?==)|(?<=\bK =) (?=\d)|(?<=\u00b1) (?=\d)|(?<=Fig\.) (?=\d)"),
    re.compile(r"(?<=\bchain of) (?=\d)|(?<=\bchains of) (?=\d)"),
)
"""Blanks at which no line is broken: between a number and its unit, and the like."""
_CAPTION = re.compile(r'(?:<p class="caption">|<figcaption>).*?</(?:p|figcaption)>', re.DOTALL)

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
        "between what both models expect. Sections take it at more or fewer places of the texts, and say at how many: "
        "by some hundredths they differ",
    ),
    ("verdict", "the edge's answer to a draft: how much of it the target keeps, and a token of its own"),
    ("in flight", "a draft that leaves before the one before it has its verdict"),
    ("drafted ahead", "drafted while a verdict is awaited, for the verdicts that are likely"),
    ("node, siblings", "a token of a draft's tree; those after the same token"),
    ("pass", "one run of a model, for a draft's next tokens or for all that the target checks at once"),
    ("K", "tokens of a list"),
    ("tail", "probability that a list gives to the tokens it does not name"),
    ("edge alone", "the target decodes at the edge, token by token, and streams"),
    (
        "both models at the edge",
        "the edge runs the draft model, too, and streams. Four ways to do so have a number each, which their names "
        "tell apart: chains of the best length, chains of 4, the best tree or chain, and a server that drafts for all "
        "of its users at once",
    ),
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
    rates: Rates | None = None
    timed: bool = False
    """Times by the clock are in it."""
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
    body = _linked("\n".join(_part(part, first=not i) for i, part in enumerate(parts)), parts)
    links = "".join(f'<li><a href="#{part.name}">{escape(part.title)}</a></li>' for part in parts)
    trust = [_TRUST] if any(part.rates for part in parts) else []
    notes = "".join(f"<p>{_text(note)}</p>" for note in (*trust, *facts.notes))
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
<p class="models">{_text(facts.models)}</p>
<p>{_text(_ABOUT)}</p>
{notes}
<details class="words"><summary>What the words mean</summary><dl>{_words()}</dl></details>
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


def together(text: str) -> str:
    """``text`` with blanks at which no line is broken between numbers and their units."""
    for pattern in _TOGETHER:
        text = pattern.sub("\u00a0", text)
    return text


def _text(text: str) -> str:
    """For people, in HTML."""
    return escape(together(text))


def _linked(body: str, parts: Sequence[Part]) -> str:
    """``body`` with links where a caption names a section by its title."""
    anchors = {_text(part.title): part.name for part in parts}
    titles = re.compile("|".join(map(re.escape, sorted(anchors, key=len, reverse=True))))

    def link(title: re.Match[str]) -> str:
        return f'<a href="#{anchors[title[0]]}">{title[0]}</a>'

    return _CAPTION.sub(lambda caption: titles.sub(link, caption[0]), body) if anchors else body


def _colours() -> str:
    pairs = variables()
    light = "".join(f"{name}:{pair[0]};" for name, pair in pairs.items())
    dark = "".join(f"{name}:{pair[1]};" for name, pair in pairs.items())
    return f":root{{{light}}}\n@media screen and (prefers-color-scheme: dark){{:root{{{dark}}}}}"


def _words() -> str:
    return "".join(f"<dt>{_text(word)}</dt><dd>{_text(meaning)}</dd>" for word, meaning in WORDS)


def _part(part: Part, *, first: bool) -> str:
    took = in_words(part.seconds) if part.seconds >= 1 else "less than a second"
    how = ["from other sections' figures" if part.rates is Rates.EQUATIONS else f"measured in {took}"]
    if part.load is not None:
        busy = ", which others were using: believe no time to the digit" if part.timed and part.load >= BUSY else ""
        how.append(f"load of the machine as it began {part.load:g}{busy}")
    if part.command:
        how.append(f"by itself: <code>tslt bench {escape(part.command)}</code>")
    blocks = "\n".join(_table(block) if isinstance(block, Table) else _plot(block) for block in part.blocks)
    return f"""<section id="{part.name}"{' class="first"' if first else ""}>
<h2>{_text(part.title)}</h2>
<p class="question">{_text(part.question)}</p>
<p class="meaning">{_text(part.meaning)}</p>
{_rates(part.rates)}{blocks}
<p class="how">{"; ".join(how)}.</p>
</section>"""


def _rates(rates: Rates | None) -> str:
    if rates is None:
        return ""
    name, explained = rates.value
    return f'<p class="rates">Tokens a second from <b>{_text(name)}</b>: {_text(explained)}.</p>\n'


def _table(table: Table) -> str:
    head = "".join(_head(column) for column in table.columns)
    rows = "\n".join(
        "<tr>"
        + "".join(_cell(cell, column, label=table.stacked) for cell, column in zip(row, table.columns, strict=True))
        + "</tr>"
        for row in table.rows
    )
    title = f"<caption>{_text(table.title)}</caption>" if table.title else ""
    more = " many" * (len(table.columns) > MANY) + " stacked" * table.stacked
    wrapped = f"""<p class="hint"></p><div class="wide{more}" tabindex="0"><table>{title}
<thead><tr>{head}</tr></thead>
<tbody>
{rows}
</tbody></table></div>{_notes(table)}"""
    if table.folded:
        name = _text(table.title or "all figures")
        wrapped = f"<details><summary>{name}, {len(table.rows)} rows</summary>{wrapped}</details>"
    return wrapped + (f'\n<p class="caption">{_text(table.caption)}</p>' if table.caption else "")


def _notes(table: Table) -> str:
    """What columns mean, and the numbered notes."""
    hints = dict.fromkeys((column.name, column.hint) for column in table.columns if column.hint)
    said = "; ".join(f"<b>{_text(name)}</b>: {_text(hint)}" for name, hint in hints)
    numbered = "".join(f"<li>{_text(note)}</li>" for note in table.notes)
    return (f'\n<p class="notes">{said}.</p>' if said else "") + (
        f'\n<ol class="notes">{numbered}</ol>' if numbered else ""
    )


def _head(column: Column) -> str:
    return f'<th scope="col"><button type="button">{_text(column.name)}</button></th>'


def _cell(cell: Cell, column: Column, *, label: bool) -> str:
    """``label``: the cell tells its column, for pages that show it without its head."""
    value, text, number = "", "", column.right
    if isinstance(cell, str):
        text = cell
    elif isinstance(cell, Sorted):
        value = f' data-v="{"" if cell.by is None else repr(cell.by)}"'
        text = cell.text
    elif cell is None:
        value = ' data-v=""'
    else:
        value, number = f' data-v="{cell!r}"', True
        text = column.format(cell) if callable(column.format) else format(cell, column.format)
    kinds = [name for name, holds in (("n", number), ("whole", column.whole)) if holds]
    kind = f' class="{" ".join(kinds)}"' if kinds else ""
    told = f' data-of="{_text(column.name)}"' if label else ""
    return f"<td{kind}{value}{told}>{_text(text)}</td>"


def _plot(plot: Plot) -> str:
    title = f"<h3>{_text(plot.title)}</h3>" if plot.title else ""
    wide, narrow = svg(plot, narrow=False), svg(plot, narrow=True)
    return f"""<figure id="plot-{plot.name}">{title}
<div class="on-wide">{wide}</div>
<div class="on-narrow">{narrow}</div>
<figcaption>{_text(plot.caption)}</figcaption></figure>"""


def _left_out(left_out: dict[str, str]) -> str:
    if not left_out:
        return ""
    items = "".join(f"<li><b>{_text(title)}</b>: {_text(why)}</li>" for title, why in left_out.items())
    return f'<section id="left-out"><h2>What is not here</h2><ul>{items}</ul></section>'


def _provenance(rows: Iterable[tuple[str, str]]) -> str:
    cells = "".join(f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in rows)
    return f"""<section id="provenance"><h2>Where these figures come from</h2>
<div class="wide" tabindex="0"><table class="facts"><tbody>{cells}</tbody></table></div></section>"""
