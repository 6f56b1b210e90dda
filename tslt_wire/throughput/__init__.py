"""Tokens per second over a link: the model, the best draft length, and a planner that picks each round's evidence.

Paper eq. (1) to (10), extended (``model``).  Independent of the codec; times and byte counts are passed in, nothing
here reads a clock.

    agreed = Agreed(evidence=welcome.evidence, precisions=welcome.precisions)
    planner = Planner(default_modes(welcome.vocab_size), agreed)
    plan = planner.plan(Context(tokens_left=left, room=room))
    ...  # draft plan.expansion with plan.mode, send, wait
    planner.observe(Observation(mode=plan.mode, expansion=plan.expansion, accepted=..., ...))
"""

from tslt_wire.throughput.catalogue import Mode, default_modes, default_shapes
from tslt_wire.throughput.draft_length import best_length, lambert_w, optimal_length
from tslt_wire.throughput.estimates import Observation
from tslt_wire.throughput.flight import expected_in_flight
from tslt_wire.throughput.model import (
    Compute,
    ExpectedRound,
    Link,
    Wire,
    chain_tokens,
    expected_round,
    speedup,
    streamed_tokens_per_s,
    tree_tokens,
)
from tslt_wire.throughput.plan import Agreed, Context, Plan
from tslt_wire.throughput.planner import Planner

__all__ = [
    "Agreed",
    "Compute",
    "Context",
    "ExpectedRound",
    "Link",
    "Mode",
    "Observation",
    "Plan",
    "Planner",
    "Wire",
    "best_length",
    "chain_tokens",
    "default_modes",
    "default_shapes",
    "expected_in_flight",
    "expected_round",
    "lambert_w",
    "optimal_length",
    "speedup",
    "streamed_tokens_per_s",
    "tree_tokens",
]
