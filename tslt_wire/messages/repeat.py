"""Sessions that can be had again: a HELLO that asks for the random numbers that it was given before.

Spec section 7.2: field ``repeat`` of HELLO, and of WELCOME where the edge does it; carried in ``extra``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tslt_wire.messages.handshake import Hello, Welcome

WANTED: Mapping[str, Any] = {"repeat": True}
"""What a device adds to its HELLO to ask, and an edge to its WELCOME to say so."""


def wants_repeat(hello: Hello) -> bool:
    """Whether a device asked for it."""
    return hello.extra.get("repeat") is True


def repeats(welcome: Welcome) -> bool:
    """Whether the edge gives the same HELLO the same random numbers."""
    return welcome.extra.get("repeat") is True
