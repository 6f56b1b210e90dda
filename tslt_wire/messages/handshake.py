"""HELLO and WELCOME: what the two ends have, want and will use.

Spec sections 7.2 and 7.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tslt_wire import checks
from tslt_wire.coding.philox import KEY_BYTES
from tslt_wire.limits import MAX_VOCAB_SIZE, DecodeLimits
from tslt_wire.lists.precision import Precision
from tslt_wire.messages.extensions import MOST_PADDING, Extension
from tslt_wire.messages.fields import U32, check_bytes, check_extra, set_integers, set_items, set_names, set_tokens
from tslt_wire.messages.sampling import Sampling, SamplingRequest, tokens_named

NONCE_BYTES = 16
"""Bytes of HELLO's nonce."""
FINGERPRINT_BYTES = 32
"""Bytes of a fingerprint."""
MOST_TOKEN_BYTES = 64
"""Bytes of a resume token."""
SPEC_VERSION = 1
"""The version of spec/tslt-wire.md this package implements."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """First frame, device to edge: what the device has, wants and can (spec section 7.2).

    Names may be of another version than this one: a peer can have said them.  ``DeviceSession`` refuses a caller's.
    """

    vocab_size: int
    tokenizer: bytes
    """Fingerprint of the tokenizer, 32 bytes."""
    ordinary: bytes = b""
    """Fingerprint of its ordinary tokens, 32 bytes (spec section 7.9); empty: not said."""
    token_map: bytes = b""
    """Fingerprint of the map by which the device drafts for another tokenizer than its model's, which ``tokenizer`` is
    then; 32 bytes; empty: there is none."""
    model: str = ""
    """Name of the draft model, for people."""
    sampling: SamplingRequest | Sampling = field(default_factory=SamplingRequest)
    """What the device asks for, in the target's tokens; what it does not name is the target's own.  A ``Sampling``
    becomes a request for all of its settings."""
    evidence: tuple[str, ...] = ("list",)
    precisions: tuple[str, ...] = tuple(p.value for p in Precision)
    entropy: tuple[str, ...] = ("none",)
    priors: tuple[str, ...] = ("none",)
    """Names of priors, best first: ``none``, ``uniform``, ``density``, or those of tables."""
    limits: DecodeLimits = field(default_factory=DecodeLimits)
    """What the device accepts."""
    resume: bytes = b""
    """Token of the session that goes on, as its WELCOME had it; empty for a new one."""
    nonce: bytes = bytes(NONCE_BYTES)
    """16 bytes by which the HELLOs of devices differ that agree in all else."""
    min_version: int = SPEC_VERSION
    max_version: int = SPEC_VERSION
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Fields this version does not know; carried along."""
    extensions: tuple[Extension, ...] = ()

    def __post_init__(self) -> None:
        check_identity(self)
        set_names(self, "evidence", "precisions", "entropy", "priors")
        check_extra(self)
        set_items(self, "extensions", Extension)
        if isinstance(self.sampling, Sampling):
            object.__setattr__(self, "sampling", SamplingRequest(**self.sampling.named()))
        if not isinstance(self.sampling, SamplingRequest):
            raise TypeError(f"sampling must be a SamplingRequest or Sampling, got {self.sampling!r}")
        check_token(self.resume)
        check_bytes("token_map", self.token_map, 0, FINGERPRINT_BYTES)
        check_bytes("nonce", self.nonce, NONCE_BYTES)
        set_integers(self, min_version=(1, 255), max_version=(1, 255))
        if self.min_version > self.max_version:
            raise ValueError(
                f"versions must satisfy 1 <= min <= max <= 255, got {self.min_version}, {self.max_version}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """The edge's answer to HELLO: what this session will use (spec section 7.3)."""

    version: int
    vocab_size: int
    tokenizer: bytes
    ordinary: bytes = b""
    """Fingerprint of the target's ordinary tokens, 32 bytes (spec section 7.9); empty: not said."""
    begins: tuple[int, ...] | None = None
    """Tokens that the target's tokenizer puts before a text; None: not said."""
    transcript: bytes
    """First 16 bytes of SHA-256 over the HELLO frame as the edge received it."""
    model: str = ""
    sampling: Sampling = field(default_factory=Sampling)
    """The settings in force: what the device asked for, and of the target's own what it did not name."""
    evidence: tuple[str, ...] = ("list",)
    precisions: tuple[str, ...] = tuple(p.value for p in Precision)
    entropy: str = "none"
    prior: str = "none"
    limits: DecodeLimits = field(default_factory=DecodeLimits)
    """What the edge accepts."""
    context: int = 0
    """Most tokens the target can hold, prompt included; 0: not said."""
    eos_tokens: tuple[int, ...] = ()
    """Tokens that end a text."""
    coupling: bytes = b""
    """The secret of evidence ``coupled``, 8 bytes; empty without it."""
    resume: bytes = b""
    """Token with which the session goes on over another link, at most 64 bytes; empty: it does not."""
    resumed: bool = False
    """Whether the session whose token HELLO brought goes on, with its random numbers."""
    held: int = 0
    """Tokens of that session's text that the edge holds."""
    held_hash: int = 0
    """CRC-32 of these."""
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)
    extensions: tuple[Extension, ...] = ()

    def __post_init__(self) -> None:
        check_identity(self)
        set_names(self, "evidence", "precisions")
        check_extra(self)
        set_items(self, "extensions", Extension)
        set_tokens(self, "eos_tokens", self.vocab_size)
        if self.begins is not None:
            set_tokens(self, "begins", self.vocab_size)
        check_own(self.sampling, self.vocab_size)
        set_integers(self, version=(1, 255), context=(0, U32), held=(0, U32), held_hash=(0, U32))
        check_token(self.resume)
        object.__setattr__(self, "resumed", checks.flag("resumed", self.resumed))
        for name in ("entropy", "prior"):
            if not isinstance(getattr(self, name), str):
                raise TypeError(f"{name} must be a name, got {getattr(self, name)!r}")
        check_bytes("transcript", self.transcript, 16)
        check_bytes("coupling", self.coupling, 0, KEY_BYTES)


def padding_wanted(hello: Hello) -> int:
    """Bytes of which a device wants the lengths of frames to be multiples (HELLO's ``padding``); 0: any will do."""
    asked = hello.extra.get("padding")
    return asked if type(asked) is int and 2 <= asked <= MOST_PADDING else 0


def check_token(token: Any) -> None:
    """Check a resume token; TypeError for what is not bytes, ValueError for too many."""
    if not isinstance(token, bytes):
        raise TypeError(f"resume must be bytes, got {token!r}")
    if len(token) > MOST_TOKEN_BYTES:
        raise ValueError(f"resume must have {MOST_TOKEN_BYTES} bytes at most, got {len(token)}")


def check_identity(ours: Any) -> None:
    """Check what HELLO, WELCOME and an edge's settings have in common: vocabulary, tokenizer, model and limits.

    TypeError or ValueError that names the field.
    """
    set_integers(ours, vocab_size=(1, MAX_VOCAB_SIZE))
    check_bytes("tokenizer", ours.tokenizer, FINGERPRINT_BYTES)
    check_bytes("ordinary", ours.ordinary, 0, FINGERPRINT_BYTES)
    if not isinstance(ours.model, str):
        raise TypeError(f"model must be a string, got {ours.model!r}")
    if not isinstance(ours.limits, DecodeLimits):
        raise TypeError(f"limits must be DecodeLimits, got {ours.limits!r}")


def check_own(sampling: Any, vocab_size: int) -> None:
    """Check settings that are in force, or a target's own; TypeError, or ValueError for tokens of no vocabulary."""
    if not isinstance(sampling, Sampling):
        raise TypeError(f"sampling must be Sampling, got {sampling!r}")
    if (largest := max(tokens_named(sampling), default=-1)) >= vocab_size:
        raise ValueError(f"sampling names token {largest} of a vocabulary of {vocab_size}")
