"""What a planner would choose for a pair on links, once its acceptance, bytes and times are measured, not assumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tslt_wire.throughput import (
    Agreed,
    Compute,
    Link,
    Mode,
    Plan,
    Planner,
    chain_tokens,
    default_modes,
    default_shapes,
    streamed_tokens_per_s,
)
from tslt_wire.throughput.catalogue import EVIDENCE

LEAST_ALPHA = 1e-4
"""Acceptance is kept so far from 0 and 1: a mode has neither."""
STREAMED_BYTES = 15.0
"""Bytes of a frame that carries one token, transport included: a VERDICT."""
ID_BYTES = 2.0
"""Of one more token in it."""
LONGEST = 16
"""Tokens of the longest chain."""
WHOLE = ("scalar", "full")
"""Evidence that accepts as much as whole distributions do."""
MOST_RTT_S, RTT_STEP_S = 2.0, 2e-4
"""Where ``break_even_rtt`` looks, and how exactly."""


def measured_modes(
    rows: Sequence[Mapping[str, Any]], vocab_size: int, temperature: float, *, restricted: bool = False
) -> list[Mode]:
    """The catalogue with what was measured: ``rows`` of ``acceptance.evidence_acceptance`` at this temperature.

    ``restricted``: the draft has not all of the target's tokens, and whole distributions are not worth it.
    """
    found = {(row["evidence"], row["k"], row["min_prob"]): row for row in rows}
    modes = []
    for mode in default_modes(vocab_size, temperature=temperature):
        row = found.get((mode.evidence, mode.k, mode.min_prob))
        if row is None or (restricted and mode.evidence == "full"):
            continue
        alphas = tuple(sorted(min(1 - LEAST_ALPHA, max(LEAST_ALPHA, float(alpha))) for alpha in row["alphas"]))
        wire = mode.wire
        if wire.parent:
            wire = replace(wire, parent=row["bytes"])
        elif mode.evidence == "lazy":
            wire = replace(wire, rejection_up=10 + row["bytes"])
        modes.append(replace(mode, alphas=alphas[: len(mode.alphas)], wire=wire))
    return modes


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What is best on a link."""

    link: Link
    split: Plan
    """The best with a draft on the device."""
    streams: float
    """Tokens a second if the edge decodes alone and streams."""
    both: float
    """Tokens a second if the edge runs both models and streams."""
    busy_split_s: float
    """Seconds of the edge for a token of the split."""
    busy_streams_s: float

    @property
    def rate(self) -> float:
        """Tokens a second of the split."""
        return self.split.expected.tokens_per_s

    @property
    def gain(self) -> float:
        """The split's tokens a second over those of the edge alone."""
        return self.rate / self.streams

    @property
    def bytes_up(self) -> float:
        """Bytes a token of the split, uplink."""
        return self.split.expected.uplink_bytes / self.split.expected.tokens


def advise(modes: Sequence[Mode], link: Link, compute: Compute, kinds: Sequence[str] = EVIDENCE) -> Advice:
    """The best draft for ``link``, of these kinds of evidence, beside the edge alone."""
    shapes = [shape for shape in default_shapes(LONGEST) if shape]
    planner = Planner(modes, Agreed(evidence=kinds), shapes=shapes, link=link, compute=compute, budget=0)
    split = planner.ranking()[0]
    nodes = float(np.cumprod(split.expansion).sum())
    return Advice(
        link=link,
        split=split,
        streams=streamed_tokens_per_s(compute.verify_s, link, token_bytes=STREAMED_BYTES),
        both=both_at_edge(modes, link, compute),
        busy_split_s=(compute.verify_s + nodes * compute.verify_node_s) / split.expected.tokens,
        busy_streams_s=compute.verify_s,
    )


def both_at_edge(modes: Sequence[Mode], link: Link, compute: Compute) -> float:
    """Tokens a second if the edge runs the draft, too, as fast as the device does, and streams what is kept."""
    alpha = max(mode.alphas[0] for mode in modes if mode.evidence in WHOLE)
    rates = []
    for length in range(1, LONGEST + 1):
        tokens = chain_tokens(alpha, length)
        seconds = length * compute.draft_s + compute.verify_s + length * compute.verify_node_s
        size = STREAMED_BYTES + ID_BYTES * (tokens - 1)
        rates.append(tokens / max(seconds, 8 * size / link.downlink_bit_s))
    return max(rates)


def break_even_rtt(modes: Sequence[Mode], compute: Compute, uplink_bit_s: float, downlink_bit_s: float) -> float:
    """Round trip in seconds from which on the edge alone is faster than any split; 0 if it always is."""
    low, high = 0.0, MOST_RTT_S
    if advise(modes, Link(uplink_bit_s=uplink_bit_s, downlink_bit_s=downlink_bit_s, rtt_s=0.0), compute).gain < 1:
        return 0.0
    while high - low > RTT_STEP_S:
        middle = (low + high) / 2
        link = Link(uplink_bit_s=uplink_bit_s, downlink_bit_s=downlink_bit_s, rtt_s=middle)
        low, high = (middle, high) if advise(modes, link, compute).gain >= 1 else (low, middle)
    return low
