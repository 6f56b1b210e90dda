"""Acceptance of every mode along texts of the target, exact at each position, and the tokens that rounds expect of it.

A recorded round is one draw: a hundred of them leave 8 % of doubt about a chain of eight, more than there is between
neighbouring choices.  Here the probability that a level accepts is computed at every position of the texts
(``acceptance.evidence_acceptance``), and a round of depth L starts at each of them in turn.  What is left out: the
accepted tokens of a draft are not quite distributed as a text of the target is; ``replay`` compares the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tslt_benchmarks.acceptance import evidence_acceptance
from tslt_benchmarks.drafting import Settings, make_drafts
from tslt_benchmarks.drafts import Positions
from tslt_benchmarks.pairs import Models
from tslt_wire.throughput import Mode

Floats = npt.NDArray[np.float64]


@dataclass(slots=True)
class Acceptance:
    """Probability that one of w siblings is accepted, along texts."""

    text: npt.NDArray[np.int64]
    """Which text each position is in, int64 (N,), ascending; positions of a text follow each other."""
    alphas: dict[str, Floats]
    """By kind of evidence, K and least probability (``key``): (N, 4), for 1 to 4 siblings, or (N, 1): chains only."""

    def levels(self, mode: Mode, expansion: Sequence[int]) -> Floats:
        """Acceptance of each level of a round that starts at each position where it fits, (starts, levels)."""
        return levels_along(self.text, self.alphas[key(mode)], expansion)


def levels_along(text: npt.NDArray[np.int64], rows: Floats, expansion: Sequence[int]) -> Floats:
    """Acceptance of each level of a round that starts at each position where it fits, (starts, levels).

    ``text``: which one each position is in, (N,); ``rows``: acceptance of 1, 2, ... siblings there, (N, widths).
    """
    last = len(text) - 1
    starts = np.arange(len(text))
    ends = starts + max(len(expansion) - 1, 0)
    starts = starts[(ends <= last) & (text[np.minimum(ends, last)] == text)]
    columns = [rows[starts + level, width - 1] for level, width in enumerate(expansion)]
    return np.stack(columns, axis=1) if columns else np.zeros((len(starts), 0))


def key(mode: Mode) -> str:
    """Where ``Acceptance.alphas`` has a mode."""
    return f"{mode.evidence} {mode.k} {mode.min_prob:g}"


def measure(models: Models, *, temperature: float, prompts: Sequence[str], tokens: int, seed: int) -> Acceptance:
    """Let the target write ``tokens`` tokens behind each prompt and compute the acceptance at all positions."""
    settings = Settings(lists=len(prompts) * (tokens + 1), rounds=1, tokens=tokens, seed=seed)
    return of_positions(make_drafts(models, settings, prompts).positions, temperature, seed)


def of_positions(positions: Positions, temperature: float, seed: int) -> Acceptance:
    """Compute the acceptance at all ``positions``, which must be those of whole texts."""
    meter = evidence_acceptance.AcceptanceMeter(positions, races=evidence_acceptance.RACES, seed=seed)
    found = {
        f"{kind} {k} {least:g}": np.array([alphas for _, _, *alphas in values])
        for (kind, k, least, _), values in meter.positions(temperature).items()
    }
    return Acceptance(positions.prompt.astype(np.int64), found)
