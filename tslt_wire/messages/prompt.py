"""PROMPT: the tokens that both ends will continue.

Spec section 7.4.
"""

from __future__ import annotations

from dataclasses import dataclass

from tslt_wire.limits import MAX_VOCAB_SIZE
from tslt_wire.messages.extensions import Extension
from tslt_wire.messages.fields import U32, check_bytes, set_ids, set_integers, set_items


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """Tokens both sides will continue, device to edge (spec section 7.4); also how a device resynchronises."""

    tokens: tuple[int, ...]
    epoch: int = 1
    """Number of this PROMPT in its session, from 1 (spec section 6.5): one that comes twice is known by it."""
    keep: int = 0
    """Tokens of the prefix so far that stay; the prefix becomes ``prefix[:keep] + tokens``."""
    transcript: bytes = bytes(8)
    """First 8 bytes of SHA-256 over the HELLO and WELCOME frames: proof that both ends saw the same handshake."""
    extensions: tuple[Extension, ...] = ()

    def __post_init__(self) -> None:
        set_ids(self, "tokens")
        if self.tokens and not (min(self.tokens) >= 0 and max(self.tokens) < MAX_VOCAB_SIZE):
            raise ValueError(f"prompt tokens must be in 0..{MAX_VOCAB_SIZE - 1}")
        set_integers(self, epoch=(1, U32), keep=(0, U32))
        check_bytes("transcript", self.transcript, 8)
        set_items(self, "extensions", Extension)
