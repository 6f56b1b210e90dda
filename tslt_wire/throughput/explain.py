"""A planner's reasons, for people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from tslt_wire.throughput.catalogue import Mode
from tslt_wire.throughput.model import Compute, Link, speedup
from tslt_wire.throughput.plan import Plan

_BOUND = {
    "draft": "the draft model is the bottleneck",
    "uplink": "the uplink is the bottleneck",
    "downlink": "the downlink is the bottleneck",
    "round trip": "latency is the bottleneck",
    "verify": "the target is the bottleneck",
}
_FEW = 0.5
"""Others below which an edge is as good as alone."""


class Known(Protocol):
    """What there is to explain: a ``Planner``."""

    @property
    def link(self) -> Link: ...  # noqa: D102

    @property
    def compute(self) -> Compute: ...  # noqa: D102

    @property
    def curiosity(self) -> float: ...  # noqa: D102

    @property
    def others(self) -> float: ...  # noqa: D102

    @property
    def tells_time(self) -> bool: ...  # noqa: D102

    def parts(self, plan: Plan) -> dict[str, float]: ...  # noqa: D102

    def alpha(self, mode: Mode, siblings: int = 1) -> float: ...  # noqa: D102


def rate_name(bit_s: float) -> str:
    """A rate with a unit: ``120 kbit/s``."""
    if math.isinf(bit_s):
        return "too fast to tell"
    for size, unit in ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s")):
        if bit_s >= size:
            return f"{bit_s / size:.3g} {unit}"
    return f"{bit_s:.3g} bit/s"


def explain(known: Known, ranking: Sequence[Plan], alone: Plan) -> str:
    """Explain the first of ``ranking`` (``Planner.ranking``), and name the best of another kind of evidence.

    ``alone``: the best one that waits for each verdict.
    """
    best, link = ranking[0], known.link
    parts = known.parts(best)
    most = max(parts, key=lambda name: parts[name])
    expected, rate = best.expected, best.expected.tokens_per_s
    lines = [
        f"{best.name}: expects {expected.tokens:.2f} tokens in {1e3 * expected.seconds:.0f} ms, {rate:.1f} tokens/s"
        + (f", {speedup(rate, known.compute.verify_s):.2f} times the target alone." if known.tells_time else "."),
        f"Link: {rate_name(link.uplink_bit_s)} up, {rate_name(link.downlink_bit_s)} down, round trip"
        f" {1e3 * link.rtt_s:.0f} ms; {_BOUND[most]}.",
        "A round: " + ", ".join(f"{name} {1e3 * seconds:.0f} ms" for name, seconds in parts.items()) + ".",
        f"Bytes: {expected.uplink_bytes:,.0f} up, {expected.downlink_bytes:,.0f} down. Acceptance "
        f"{known.alpha(best.mode):.2f} a token.",
    ]
    if best.window > 1:
        times = rate / alone.expected.tokens_per_s
        busy = (expected.edge_s / expected.tokens) / max(alone.expected.edge_s / alone.expected.tokens, 1e-12)
        lines.append(
            f"In flight: up to {best.window}, each answer {1e3 * expected.seconds:.0f} ms after the one before it. "
            f"One at a time at best {alone.name}: {times:.2f} times as many tokens a second for {busy:.2f} times the "
            "edge's time a token."
        )
    if best.ahead:
        lines.append(f"While a verdict is awaited up to {best.ahead} tokens are drafted for those that are likely.")
    if known.others >= _FEW:
        lines.append(
            f"The edge works for {known.others:.1f} others: what a draft adds to its passes takes their time, too."
        )
    # Without a draft all kinds of evidence are the same.
    others = (p for p in ranking if p.mode.evidence != best.mode.evidence and (p.expansion or best.expansion))
    second = next(others, None)
    second = second or next(iter(ranking[1:]), None)
    if second is not None:
        less = 1 - second.expected.tokens_per_s / rate
        lines.append(f"Second: {second.name}, {second.expected.tokens_per_s:.1f} tokens/s, {less:.1%} less.")
    lines.append(f"Trying other choices has cost {known.curiosity:.1%} of the time so far.")
    return "\n".join(lines)
