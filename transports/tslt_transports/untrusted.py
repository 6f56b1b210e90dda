"""Text from a peer, made fit for a terminal or a log.

Spec section 11: a peer shall not be able to forge lines, move the cursor or change colours where its text is shown.
"""

from __future__ import annotations


def printable(text: str) -> str:
    """``text`` with everything that moves a cursor, starts a line or changes a colour replaced by ``?``."""
    return "".join(character if character.isprintable() else "?" for character in text)
