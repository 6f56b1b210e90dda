"""Whether the tokens of two ends fit, and which of them a device may draft.

Spec section 7.9.  Token ids are all that drafts carry: whatever is not known to mean the same at both ends is never
drafted.  What the edge answers is the target's own for any draft, so this is about speed, and about texts that both
ends read alike.
"""

from __future__ import annotations

from enum import Enum

from tslt_wire.errors import ErrorCode, RemoteProtocolError
from tslt_wire.messages.handshake import Hello, Welcome
from tslt_wire.session.negotiation import EdgeSettings


class Fit(Enum):
    """How the vocabularies of a device and an edge go together."""

    SAME = "same"
    """Size and tokenizer are equal: every token may be drafted."""
    PADDED = "padded"
    """One tokenizer, and outputs of different sizes: ids below the smaller one may be drafted."""
    RENAMED = "renamed"
    """The ordinary tokens are the same; special and reserved ones differ: the ordinary ones alone may be drafted."""


def fit_of(hello: Hello, edge: Welcome | EdgeSettings) -> Fit:
    """How the device's vocabulary goes with that of the edge; RemoteProtocolError that names both if it does not."""
    if hello.tokenizer == edge.tokenizer:
        return Fit.SAME if hello.vocab_size == edge.vocab_size else Fit.PADDED
    if hello.ordinary and hello.ordinary == edge.ordinary:
        return Fit.RENAMED
    raise RemoteProtocolError(
        ErrorCode.TOKENIZER_MISMATCH if hello.vocab_size == edge.vocab_size else ErrorCode.VOCABULARY_MISMATCH,
        f"the device ({hello.model or 'unnamed model'}) has {hello.vocab_size} tokens, fingerprint "
        f"{hello.tokenizer[:8].hex()}; the edge ({edge.model or 'unnamed model'}) has {edge.vocab_size} tokens, "
        f"fingerprint {edge.tokenizer[:8].hex()}: give the device the target's tokenizer, or a draft model with the "
        "target's ordinary tokens",
    )


def check_same_target(before: Welcome, now: Welcome) -> None:
    """Refuse an edge that is to take over from another one and has another vocabulary; RemoteProtocolError."""
    same = ("vocab_size", "tokenizer", "ordinary")
    if any(getattr(before, name) != getattr(now, name) for name in same):
        raise RemoteProtocolError(
            ErrorCode.UNSUPPORTED,
            f"the session was agreed on with {before.vocab_size} tokens, fingerprint {before.tokenizer[:8].hex()}; "
            f"this edge has {now.vocab_size}, fingerprint {now.tokenizer[:8].hex()}",
        )
