"""Lists as GitHub reads them, for Python-Markdown: what is in a list stands four columns in, after an empty line.

Pages are written for CommonMark, where two columns are enough and a list may follow a line of text.  Python-Markdown
would take such a list for text, or for one of the level above.
"""

from __future__ import annotations

import re

from markdown_it import MarkdownIt

INDENT = 4
_MARKER = re.compile(r"[ ]*(?:[-*+]|\d+[.)])[ ]+")


def indented(text: str) -> str:
    """``text`` with its lists, but for those in quotes, as Python-Markdown wants them."""
    lines = text.split("\n")
    depth, column = [0] * len(lines), [0] * len(lines)
    starts_item, apart = set[int](), set[int]()
    quotes = 0
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        quotes += {"blockquote_open": 1, "blockquote_close": -1}.get(token.type, 0)
        if quotes or not token.map:
            continue
        first, end = token.map
        if token.type in ("bullet_list_open", "ordered_list_open"):
            apart.add(first)
        elif token.type == "list_item_open" and (marker := _MARKER.match(lines[first])):
            starts_item.add(first)
            if any(not line.strip() or _MARKER.match(line) for line in lines[first + 1 : end]):
                apart.add(end)  # or the next item would be one of the list, or words of the paragraph, before it
            for line in range(first, end):
                depth[line] += 1
                column[line] = marker.end()
    found: list[str] = []
    for number, written in enumerate(lines):
        words = written.lstrip(" ")
        if number in apart and found and found[-1].strip():
            found.append("")
        if not depth[number] or not words:
            found.append(written)
        elif number in starts_item:
            found.append(" " * (INDENT * (depth[number] - 1)) + words)
        else:
            inside = max(0, len(written) - len(words) - column[number])
            found.append(" " * (INDENT * depth[number] + inside) + words)
    return "\n".join(found)
