"""What two ends agreed on before the first draft.

Spec sections 3.1 and 7.3.  A frame is read with nothing but its bytes and this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tslt_wire import checks
from tslt_wire.limits import MAX_VOCAB_SIZE
from tslt_wire.lists.distribution import SparseDistribution
from tslt_wire.lists.precision import Precision, precision_of
from tslt_wire.lists.prior import Prior, check_prior

ENTROPY_IDS = {"none": 0, "range": 1, "zstd": 2}
"""Entropy coders this version has, and their number in a draft's format byte (spec/registry.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Negotiated facts that fix how lists and tokens are written.

    Raises TypeError for a field of another type, ValueError for a value that there is not or a prior of another V.
    """

    vocab_size: int
    """Tokens in the vocabulary, 1 to 2**20; ids take ceil(log2 of it) bits."""
    precision: Precision | str = Precision.LOG2_2
    """Precision of ``encode_list`` / ``decode_list``.  A draft frame names the precision of its lists itself."""
    entropy: str = "none"
    """Entropy coder: ``"none"`` packs bits, ``"range"`` is arithmetic coding of lists and drafted tokens, ``"zstd"``
    packs bits and compresses those prompts and drafts that get shorter (needs the package zstandard).  The kernel has
    the first two; under ``"zstd"`` lists and frames are always the work of the reference in Python."""
    prior: Prior | None = None
    """What lists may have tails of, and, if it is a table, what ``"range"`` expects their ids to be; None: neither."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "vocab_size", checks.integer("vocab_size", self.vocab_size, 1, MAX_VOCAB_SIZE))
        object.__setattr__(self, "precision", precision_of(self.precision))
        checks.one_of("entropy", self.entropy, ENTROPY_IDS)
        if (prior := check_prior(self.prior)) is not None and prior.vocab_size != self.vocab_size:
            raise ValueError(f"the prior is for V = {prior.vocab_size}, the profile for V = {self.vocab_size}")

    def check(self, q: SparseDistribution) -> None:
        """Raise ValueError for a list that cannot travel under this profile: another vocabulary or another prior.

        TypeError for what is no SparseDistribution.
        """
        if not isinstance(q, SparseDistribution):
            raise TypeError(f"a list is a SparseDistribution, got {q!r}")
        if q.vocab_size != self.vocab_size:
            raise ValueError(f"the profile is for V = {self.vocab_size}, the list has V = {q.vocab_size}")
        if q.prior is not None and q.prior != self.prior:
            ours = self.prior.name if self.prior else "none"
            raise ValueError(
                f"the profile's prior is {ours}, the list's tail follows {q.prior.name}: make lists with "
                "prior=profile.prior; two sessions agree on what Hello.priors offers"
            )

    def check_token(self, token: int) -> None:
        """Raise ValueError for a token outside the vocabulary."""
        if token >= self.vocab_size:
            raise ValueError(f"the profile is for V = {self.vocab_size}, the message has token {token}")


def check_profile(profile: Any) -> None:
    """Raise TypeError for what is no Profile."""
    if not isinstance(profile, Profile):
        raise TypeError(f"a profile is a Profile, got {profile!r}")
