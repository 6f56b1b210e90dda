"""The default profile: short lists that both ends read, the committed choice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tslt_wire as tw
from tslt_wire.lists.prior import plain_prior

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("vocab_size", [2, 512, 4096, 32000, 262144])
def test_lists_of_the_default_profile_travel(vocab_size):
    profile = tw.DEFAULTS.profile(vocab_size)
    rng = np.random.default_rng(0)
    for scale in (0.0, 1.0, 3.0, 30.0):
        q = tw.DEFAULTS.sparsify(rng.normal(0, scale, vocab_size), profile, temperature=0.7)
        data = tw.encode_list(q, profile)
        assert tw.decode_list(data, profile) == q
        # No list has more than 1 / tau entries, so even a flat draft costs little.
        assert len(data) < 160


def test_it_is_sparsify_with_its_settings():
    logits = np.random.default_rng(1).normal(0, 2, 5000)
    own = tw.DEFAULTS
    wanted = tw.sparsify(
        logits,
        temperature=0.8 * own.draft_temperature,
        truncation=own.truncation,
        precision=own.precision,
        prior=plain_prior(own.prior, 5000),
        tail_scale=0.5,
    )
    assert wanted.tail > 0
    assert own.sparsify(logits, own.profile(5000), temperature=0.8, tail_scale=0.5) == wanted
    # The session's prior counts, whatever the two ends agreed on.
    assert own.sparsify(logits, tw.Profile(vocab_size=5000, entropy="range")).prior is None
    assert len(own.sparsify(logits, own.profile(5000), temperature=0)) == 1


def test_the_committed_choice_is_the_default():
    text = (ROOT / "benchmarks" / "defaults.md").read_text(encoding="utf-8")
    (first, *_) = [line for line in text.splitlines() if line.startswith("| 0.") or line.startswith("| 1")]
    own = tw.DEFAULTS
    rule = f"{type(own.truncation).__name__}({getattr(own.truncation, 'tau', 0):g})"
    parts = f"{own.draft_temperature:g} T", rule, own.precision.value, own.entropy, own.prior
    assert first.startswith(f"| {', '.join(parts)} |")
