"""How to make and write lists if nothing is known of the two models.

Chosen by ``tslt_benchmarks.acceptance.default_profile`` over four pairs; ``benchmarks/defaults.md`` has the figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tslt_wire import checks
from tslt_wire.lists.distribution import TAIL_SCALE, SparseDistribution
from tslt_wire.lists.precision import Precision, precision_of
from tslt_wire.lists.prior import PLAIN_PRIORS, plain_prior
from tslt_wire.lists.profile import ENTROPY_IDS, Profile, check_profile
from tslt_wire.lists.sparsify import sparsify
from tslt_wire.lists.truncation import MinProb, Truncation, check_truncation


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """One way to make lists and to write them.  TypeError or ValueError for fields that are not what they say."""

    truncation: Truncation
    precision: Precision
    entropy: str
    prior: str
    """A plain prior's name (spec section 4.4)."""
    draft_temperature: float
    """The draft model's temperature, as a multiple of the target's."""

    def __post_init__(self) -> None:
        check_truncation(self.truncation)
        precision_of(self.precision)
        checks.one_of("entropy", self.entropy, ENTROPY_IDS)
        checks.one_of("prior", self.prior, PLAIN_PRIORS)
        checks.number("draft_temperature", self.draft_temperature, 0, None)

    def profile(self, vocab_size: int) -> Profile:
        """Return what two ends that both use this agree on.  TypeError or ValueError for another vocabulary size."""
        prior = plain_prior(self.prior, vocab_size)
        return Profile(vocab_size=vocab_size, precision=self.precision, entropy=self.entropy, prior=prior)

    def sparsify(
        self, logits: Any, profile: Profile, *, temperature: float = 1.0, tail_scale: float = TAIL_SCALE
    ) -> SparseDistribution:
        """Truncate and quantise a draft model's logits, real (V,), for a target at ``temperature``.

        ``profile``: the session's; its prior is used, whatever it is.  ``tail_scale`` and errors: see
        ``tslt_wire.sparsify``; ValueError for logits of another vocabulary than the profile's.
        """
        check_profile(profile)
        q = sparsify(
            logits,
            temperature=checks.number("temperature", temperature, 0, None) * self.draft_temperature,
            truncation=self.truncation,
            precision=self.precision,
            prior=profile.prior,
            tail_scale=tail_scale,
        )
        profile.check(q)
        return q


DEFAULTS = Defaults(
    truncation=MinProb(0.015),
    precision=Precision.LOG2_0,
    entropy="range",
    prior="density",
    draft_temperature=0.9,
)
"""The tokens of at least 1.5 % (so 66 at most), in octaves, with a tail; 10 to 15 bytes a list, range-coded.

Means of 128 or 200 positions of four pairs (``benchmarks/defaults.md``), target temperatures 1 / 0.7; acceptance is
1 - TV, in brackets that of the whole distribution at the target's temperature:

- V = 4,096, target sharper than the draft by half: .395 (.394) in 11.8 B / .395 (.387) in 9.9 B; at the positions
  where it is sharper by half or more .502 (.447) / .483 (.449);
- the default pair, V = 32,000, target as flat as the draft: .574 (.798) in 11.9 B / .682 (.781) in 10.8 B;
- V = 512: .589 (.768) in 15.0 B / .610 (.718) in 13.1 B;
- V = 32,000, another tokenizer: .551 (.757) in 14.3 B / .616 (.723) in 12.3 B.

Made by ``python -m tslt_benchmarks.acceptance.default_profile --drafts a.npz b.npz c.npz d.npz --positions 200``.
"""
