"""Tokens in a line of a log."""

from __future__ import annotations

from collections.abc import Iterable

from tslt_transports.untrusted import printable

NAMED = 10
"""Tokens that a line names."""
MOST_CHARACTERS = 40
"""Of a token's text."""


def named(token: int, text: str = "") -> str:
    """A token, with its text if that is known."""
    short = text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + "…"
    return f"{token} {printable(short)!r}" if text else str(token)


def in_words(tokens: Iterable[tuple[int, str]], count: int) -> str:
    """The first of ``count`` tokens, each with its text ("": not known)."""
    found = [named(token, text) for _, (token, text) in zip(range(NAMED), tokens, strict=False)]
    return f"{', '.join(found)}{', ...' if count > len(found) else ''}"
