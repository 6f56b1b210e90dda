"""Bytes and acceptance of one format, and of all of them, on drafts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import tslt_wire as tw
from tslt_benchmarks.bytes.format_base import Floats, Format
from tslt_benchmarks.bytes.formats import TsltFrame, formats
from tslt_benchmarks.drafts import Drafts, Logits


@dataclass(frozen=True, slots=True)
class Measured:
    """One format at one K and temperature."""

    format: str
    title: str
    group: str
    """``list``, ``dense``, ``formula`` or ``frame``."""
    temperature: float
    """Of the draft and of the target."""
    k: int | None
    """Entries a list may have; None for dense rows."""
    entries: float
    """Entries a list has, mean: fewer than ``k`` in a smaller vocabulary, or where weights round to 0."""
    bytes: float
    """Bytes per draft token, mean."""
    bytes_min: float
    bytes_max: float
    alpha: float
    """1 - TV between the target's distribution and what the receiver decodes, mean over lists."""
    alpha_se: float
    """Standard error of ``alpha``, with lists taken as independent."""
    samples: int
    """Lists or frames measured."""


def measure(
    row: Format[Any, Any], cases: Iterable[tuple[Any, Sequence[Floats]]], *, k: int | None, temperature: float
) -> Measured:
    """Measure ``row`` on ``cases``: what it prepares from, and the target's distribution (V,) for each of its lists.

    Raises FormatError if bytes do not read back as what was written.
    """
    sizes, overlaps, entries = [], [], []
    for source, targets in cases:
        item = row.prepare(source, k=k or 0, temperature=temperature)
        sizes.append(row.size(item) / row.tokens(item))
        for decoded, target in zip(row.lists(item), targets, strict=True):
            overlaps.append(float(np.minimum(target[decoded.ids], decoded.probs).sum()))
            entries.append(len(decoded.ids))
    return Measured(
        format=row.name,
        title=row.title,
        group=row.group,
        temperature=temperature,
        k=k,
        entries=float(np.mean(entries)),
        bytes=float(np.mean(sizes)),
        bytes_min=min(sizes),
        bytes_max=max(sizes),
        alpha=float(np.mean(overlaps)),
        alpha_se=float(np.std(overlaps) / np.sqrt(len(overlaps))),
        samples=len(sizes),
    )


def measure_all(drafts: Drafts, *, ks: Sequence[int], temperatures: Sequence[float]) -> list[Measured]:
    """Measure the whole registry on ``drafts``, for each temperature and K."""
    found = []
    rows = formats(drafts.token_bytes)
    for temperature in temperatures:
        sampling = tw.Sampling(temperature=temperature)

        def target(logits: Logits, sampling: tw.Sampling = sampling) -> Floats:
            return tw.target_probs(logits, sampling)

        single = [(q, [p]) for q, p in zip(drafts.positions.draft, target(drafts.positions.target), strict=True)]
        framed = {
            shape: [(r, list(target(r.target))) for r in rounds]
            for shape, rounds in (("chain", drafts.chains()), ("tree", drafts.trees()))
        }
        for row in rows:
            cases: Any = framed[row.shape] if isinstance(row, TsltFrame) else single
            if not cases:
                continue  # recorded logits have no rounds
            for k in [None] if row.group == "dense" else ks:
                found.append(measure(row, cases, k=k, temperature=temperature))
    return found
