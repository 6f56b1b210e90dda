"""Bounds a decoder enforces before it allocates anything.

Spec section 8.  Every limit is checked against the count in the frame, and that count against the bytes that are there.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from tslt_wire import checks

MAX_VOCAB_SIZE = 1 << 20
"""Largest vocabulary of the format (entries): four times the largest published one, 262,144."""

DEFAULT_FRAME_BYTES = 1 << 22
"""Bytes of a frame that a peer takes if nothing else is known; 4 MiB holds a tree of dense f16 distributions at
V = 128,256."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeLimits:
    """Upper bounds for one frame; exceeding one is a ``DecodeError`` with code LIMIT_EXCEEDED.

    Raises TypeError for what is no integer, ValueError below 1.
    """

    max_frame_bytes: int = DEFAULT_FRAME_BYTES
    """Bytes of a whole frame, and of what is in it if it is compressed."""
    max_nodes: int = 1024
    """Nodes of a token tree; published trees stop at 64-256 nodes."""
    max_leaves: int = 1024
    """Leaves of a token tree, its nodes without children; an engine may need a sequence for each."""
    max_depth: int = 256
    """Longest path of a token tree, in nodes."""
    max_entries: int = 1 << 21
    """Listed tokens of one frame, all lists together; 16 bytes of memory each."""
    max_prompt_tokens: int = 1 << 18
    """Tokens of one PROMPT."""
    max_control_bytes: int = 1 << 13
    """Bytes of a control map; a handshake has about 400, and a map of nothing but small items is slow to read."""
    max_extensions: int = 16
    """Extensions of one frame."""

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, checks.integer(field.name, getattr(self, field.name), 1, None))
