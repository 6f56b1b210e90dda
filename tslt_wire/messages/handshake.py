"""HELLO and WELCOME: what the two ends have, want and will use.

Spec sections 7.2 and 7.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tslt_wire.coding.philox import KEY_BYTES
from tslt_wire.limits import MAX_VOCAB_SIZE, DecodeLimits
from tslt_wire.lists.precision import Precision
from tslt_wire.messages.extensions import Extension, check_range
from tslt_wire.messages.sampling import Sampling

SPEC_VERSION = 1
"""The version of spec/tslt-wire.md this package implements."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """First frame, device to edge: what the device has, wants and can (spec section 7.2)."""

    vocab_size: int
    tokenizer: bytes
    """Fingerprint of the tokenizer, 32 bytes."""
    model: str = ""
    """Name of the draft model, for people."""
    sampling: Sampling = field(default_factory=Sampling)
    evidence: tuple[str, ...] = ("list",)
    precisions: tuple[str, ...] = tuple(p.value for p in Precision)
    entropy: tuple[str, ...] = ("none",)
    priors: tuple[str, ...] = ("none",)
    """Names of priors, best first: ``none``, ``uniform``, ``density``, or those of tables."""
    limits: DecodeLimits = field(default_factory=DecodeLimits)
    """What the device accepts."""
    resume: bytes = b""
    """Token of a session to take up again; empty for a new one."""
    min_version: int = SPEC_VERSION
    max_version: int = SPEC_VERSION
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Fields this version does not know; carried along."""
    extensions: tuple[Extension, ...] = ()

    def __post_init__(self) -> None:
        _check_identity(self.vocab_size, self.tokenizer)
        for name in ("evidence", "precisions", "entropy", "priors"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not 1 <= self.min_version <= self.max_version <= 255:
            raise ValueError(
                f"versions must satisfy 1 <= min <= max <= 255, got {self.min_version}, {self.max_version}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """The edge's answer to HELLO: what this session will use (spec section 7.3)."""

    version: int
    vocab_size: int
    tokenizer: bytes
    transcript: bytes
    """First 16 bytes of SHA-256 over the HELLO frame as the edge received it."""
    model: str = ""
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
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)
    extensions: tuple[Extension, ...] = ()

    def __post_init__(self) -> None:
        _check_identity(self.vocab_size, self.tokenizer)
        for name in ("evidence", "precisions", "eos_tokens"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not 1 <= self.version <= 255:
            raise ValueError(f"version must be in 1..255, got {self.version}")
        if len(self.transcript) != 16:
            raise ValueError(f"transcript must have 16 bytes, got {len(self.transcript)}")
        if any(not 0 <= token < self.vocab_size for token in self.eos_tokens):
            raise ValueError(f"eos_tokens must be below the vocabulary size, got {self.eos_tokens}")
        check_range("context", self.context, 1 << 32)
        if len(self.coupling) not in (0, KEY_BYTES):
            raise ValueError(f"coupling must have {KEY_BYTES} bytes or none, got {len(self.coupling)}")


def _check_identity(vocab_size: int, tokenizer: bytes) -> None:
    if not 1 <= vocab_size <= MAX_VOCAB_SIZE:
        raise ValueError(f"vocab_size must be in 1..{MAX_VOCAB_SIZE}, got {vocab_size}")
    if len(tokenizer) != 32:
        raise ValueError(f"tokenizer fingerprint must have 32 bytes, got {len(tokenizer)}")
