"""A device's random numbers, a source for each round: what is drafted is a function of them and of the text.

So a draft is the same whether it is drafted ahead, in flight, or when its turn has come; and a draft that lost its
ground leaves its numbers, unused, to the one that takes its place.
"""

from __future__ import annotations

import numpy as np

import tslt_wire as tw


class RoundNumbers:
    """Seeds of rounds, drawn in their order."""

    def __init__(self, rng: np.random.Generator) -> None:
        """``rng``: the device's."""
        self._rng = rng
        self._seeds: dict[int, int] = {}

    def to_draft(self, round_: int) -> np.random.Generator:
        """Those to draft with.  Rounds are asked for in order, but for those that were asked for before."""
        return np.random.default_rng([self._seed(round_), 0])

    def to_choose(self, proposed: tw.Proposals) -> np.random.Generator:
        """Those to choose among proposals with: others for each batch."""
        return np.random.default_rng([self._seed(proposed.round), 1 + proposed.batch])

    def forget(self, round_: int) -> None:
        """A round is over, and so are all before it."""
        self._seeds = {each: seed for each, seed in self._seeds.items() if each > round_}

    def _seed(self, round_: int) -> int:
        if round_ not in self._seeds:
            self._seeds[round_] = int(self._rng.integers(1 << 62))
        return self._seeds[round_]
