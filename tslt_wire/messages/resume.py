"""RESUME: a text goes on over a new link, with the round that was open.

Spec section 7.8.
"""

from __future__ import annotations

from dataclasses import dataclass

from tslt_wire import checks
from tslt_wire.limits import MAX_VOCAB_SIZE
from tslt_wire.messages.draft import Draft
from tslt_wire.messages.evidence import LazyEvidence, ScalarEvidence
from tslt_wire.messages.extensions import Extension
from tslt_wire.messages.fields import U32, check_bytes, set_ids, set_integers, set_items


@dataclass(frozen=True, slots=True)
class Rejection:
    """What a device has heard of its open round: a token of the draft was rejected (spec section 6.9).

    An edge that answers the draft again must answer given this: to decide anew would prefer what is not rejected.
    """

    node: int
    """Last accepted node, -1 if none was: the token after it was rejected."""
    batch: int = 0
    """Evidence ``scalar``: the batch of proposals that the device waits for, 1 or more, having taken none of those
    before.  Evidence ``lazy``: 0."""

    def __post_init__(self) -> None:
        set_integers(self, node=(-1, U32 - 2), batch=(0, U32))

    def fits(self, draft: Draft) -> bool:
        """Whether it can be a rejection of a token of ``draft``."""
        kind = ScalarEvidence if self.batch else LazyEvidence
        return isinstance(draft.evidence, kind) and self.node + 1 < len(draft.tree)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """The text and the round that a device goes on with, after a new handshake (spec section 7.8)."""

    tokens: tuple[int, ...]
    prefix_crc: int
    """CRC-32 of the whole prefix, ``prefix[:keep] + tokens``."""
    round: int
    """Number of the next draft: that of the open round, if one is open."""
    prompt_length: int
    """Tokens of the prefix that are the prompt's, at least 1."""
    epoch: int = 1
    """Number of the last PROMPT of the text's session."""
    keep: int = 0
    """Tokens that the edge holds, as its WELCOME says, and that stay."""
    rejection: Rejection | None = None
    """What the device has heard of its open round; None: nothing, or no round is open."""
    ended: bool = False
    """Whether the text has ended."""
    transcript: bytes = bytes(8)
    """First 8 bytes of SHA-256 over the new HELLO and WELCOME frames."""
    extensions: tuple[Extension, ...] = ()

    def __post_init__(self) -> None:
        set_ids(self, "tokens")
        if self.tokens and not (min(self.tokens) >= 0 and max(self.tokens) < MAX_VOCAB_SIZE):
            raise ValueError(f"tokens must be in 0..{MAX_VOCAB_SIZE - 1}")
        bounds = dict.fromkeys(("prefix_crc", "round", "prompt_length", "keep"), (0, U32))
        set_integers(self, epoch=(1, U32), **bounds)
        if self.rejection is not None and not isinstance(self.rejection, Rejection):
            raise TypeError(f"rejection must be a Rejection or None, got {self.rejection!r}")
        object.__setattr__(self, "ended", checks.flag("ended", self.ended))
        check_bytes("transcript", self.transcript, 8)
        set_items(self, "extensions", Extension)
