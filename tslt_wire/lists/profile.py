"""What two ends agreed on before the first draft.

Spec sections 3.1 and 7.3.  A frame is read with nothing but its bytes and this.
"""

from __future__ import annotations

from dataclasses import dataclass

from tslt_wire.limits import MAX_VOCAB_SIZE
from tslt_wire.lists.distribution import SparseDistribution
from tslt_wire.lists.precision import Precision
from tslt_wire.lists.prior import Prior

ENTROPY_IDS = {"none": 0, "range": 1, "zstd": 2}
"""Entropy coders this version has, and their number in a draft's format byte (spec/registry.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Negotiated facts that fix how lists and tokens are written."""

    vocab_size: int
    """Tokens in the vocabulary, 1 to 2**20; ids take ceil(log2 of it) bits."""
    precision: Precision | str = Precision.LOG2_2
    """Precision of ``encode_list`` / ``decode_list``.  A draft frame names the precision of its lists itself."""
    entropy: str = "none"
    """Entropy coder: ``"none"`` packs bits, ``"range"`` is arithmetic coding of lists and drafted tokens, ``"zstd"``
    packs bits and compresses those prompts and drafts that get shorter (needs the package zstandard)."""
    prior: Prior | None = None
    """What lists may have tails of, and, if it is a table, what ``"range"`` expects their ids to be; None: neither."""

    def __post_init__(self) -> None:
        if not isinstance(self.vocab_size, int) or isinstance(self.vocab_size, bool):
            raise ValueError(f"vocab_size must be an integer, got {self.vocab_size!r}")
        if not 1 <= self.vocab_size <= MAX_VOCAB_SIZE:
            raise ValueError(f"vocab_size must be in 1..{MAX_VOCAB_SIZE}, got {self.vocab_size}")
        object.__setattr__(self, "precision", Precision(self.precision))
        if self.entropy not in ENTROPY_IDS:
            raise ValueError(f"entropy must be one of {sorted(ENTROPY_IDS)}, got {self.entropy!r}")
        if self.prior is not None and self.prior.vocab_size != self.vocab_size:
            raise ValueError(f"the prior is for V = {self.prior.vocab_size}, the profile for V = {self.vocab_size}")

    def check(self, q: SparseDistribution) -> None:
        """Raise ValueError for a list that cannot travel under this profile: another vocabulary or another prior."""
        if q.vocab_size != self.vocab_size:
            raise ValueError(f"the profile is for V = {self.vocab_size}, the list has V = {q.vocab_size}")
        if q.prior is not None and q.prior != self.prior:
            ours = self.prior.name if self.prior else "none"
            raise ValueError(f"the profile's prior is {ours}, the list's tail follows {q.prior.name}")

    def check_token(self, token: int) -> None:
        """Raise ValueError for a token outside the vocabulary."""
        if token >= self.vocab_size:
            raise ValueError(f"the profile is for V = {self.vocab_size}, the message has token {token}")
