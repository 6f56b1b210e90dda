"""Text from a peer, made fit for a terminal or a log (spec section 11)."""

from __future__ import annotations


def printable(text: str) -> str:
    """``text`` with everything that moves a cursor, starts a line or changes a colour replaced by ``?``."""
    return "".join(character if character.isprintable() else "?" for character in text)
