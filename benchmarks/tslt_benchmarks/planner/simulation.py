"""Known conditions to plan in: a link, two models and acceptances, and rounds drawn from them.

Numpy and the core alone.  A planner is judged by the expected tokens and seconds of what it chose, so that lucky
verdicts neither help nor hurt it; what it sees is random, with jitter and outliers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tslt_wire.throughput import (
    Compute,
    ExpectedRound,
    Link,
    Mode,
    Observation,
    Plan,
    Planner,
    expected_in_flight,
    expected_round,
)
from tslt_wire.throughput.candidates import guesses_of
from tslt_wire.throughput.model import shape_counts, widths_of

COMPUTE = Compute(draft_s=0.008, verify_s=0.04, draft_parent_s=0.0005, verify_node_s=0.0004)
"""A small model on a phone, a 7B model on an edge GPU that serves others too."""

OUTLIER_TIMES = 5.0
"""A packet that was lost and sent again after a timeout."""
HANDSHAKE = (180.0, 220.0)
"""Bytes of HELLO and WELCOME."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What is true for some time."""

    link: Link
    compute: Compute = COMPUTE
    odds: dict[str, float] = field(default_factory=dict)
    """Log-odds by which each evidence kind accepts more (or less) than the catalogue says; ``""``: all kinds."""
    jitter: float = 0.05
    """Standard deviation of ln(time) of everything that takes time."""
    outliers: float = 0.01
    """Probability that a round's time on the link is ``OUTLIER_TIMES`` as long."""
    extra: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Seconds that an evidence kind takes more: for each parent at the device, for each token at the edge."""
    tells_time: bool = True
    """Whether the edge says how long it takes."""
    cold: float = 1.0
    """Times that the models take as long in the first round of a session: caches are cold, kernels are loaded."""

    def alphas(self, mode: Mode, expansion: Sequence[int]) -> list[float]:
        """True acceptance of each level."""
        shift = self.odds.get("", 0.0) + self.odds.get(mode.evidence, 0.0)
        base = (mode.alphas[min(k, len(mode.alphas)) - 1] for k in expansion)
        return [float(1 / (1 + (1 / a - 1) * np.exp(-shift))) for a in base]

    def expected(self, mode: Mode, expansion: Sequence[int]) -> ExpectedRound:
        """What a round brings and takes in the mean."""
        plain = expected_round(mode.wire, expansion, self.alphas(mode, expansion), self.link, self.compute)
        parent_s, token_s = self.extra.get(mode.evidence, (0.0, 0.0))
        more = parent_s * shape_counts(widths_of([expansion]))[1][0] + token_s * plain.tokens
        return replace(plain, seconds=plain.seconds + float(more))

    def expected_of(self, plan: Plan) -> ExpectedRound:
        """The same for what was planned, drafts in flight included."""
        if plan.window == 1:
            return self.expected(plan.mode, plan.expansion)
        mode, length = plan.mode, len(plan.expansion)
        parent_s, token_s = self.extra.get(mode.evidence, (0.0, 0.0))
        c = self.compute
        compute = replace(
            c, draft_parent_s=c.draft_parent_s + parent_s, verify_s=c.verify_s + token_s * plan.expected.tokens
        )
        alpha = self.alphas(mode, (1,))[0]
        right = guesses_of(mode)[1]
        return expected_in_flight(
            mode.wire, length, alpha, self.link, compute, window=plan.window, ahead=plan.ahead, right=right
        )

    def simulate_round(
        self, plan: Plan, rng: np.random.Generator, *, first: bool = False, follows: bool = False
    ) -> Observation:
        """One round at random; ``first``: of a session; ``follows``: in flight, behind one that was accepted whole."""
        mode, expansion, wire = plan.mode, plan.expansion, plan.mode.wire
        accepted = 0
        for alpha in self.alphas(mode, expansion):
            if rng.random() >= alpha:
                break
            accepted += 1
        rejected = accepted < len(expansion)
        sizes = np.cumprod(expansion) if expansion else np.zeros(0, np.int64)
        nodes, parents = int(sizes.sum()), int(sizes[:-1].sum()) + bool(expansion)
        up, down, trips = wire.frame + wire.node * nodes + wire.parent * parents, wire.verdict, 1
        if rejected:
            up, down, trips = up + wire.rejection_up, down + wire.rejection_down, trips + round(wire.rejection_trips)
            while wire.proposals and rng.random() < self.alphas(mode, expansion)[0] ** wire.proposals:
                up, down, trips = up + wire.request, down + wire.rejection_down, trips + 1
        c, (parent_s, token_s) = self.compute, self.extra.get(mode.evidence, (0.0, 0.0))
        seconds = np.array([
            len(expansion) * c.draft_s + parents * (c.draft_parent_s + parent_s),
            self.link.seconds(up, down, trips),
            c.verify_s + nodes * c.verify_node_s + (accepted + 1) * token_s,
        ]) * np.exp(rng.normal(0, self.jitter, 3))  # fmt: skip
        draft, link, verify = (seconds * ([self.cold, 1, self.cold] if first else 1)).tolist()
        if rng.random() < self.outliers:
            link *= OUTLIER_TIMES
        return Observation(
            mode=mode,
            expansion=expansion,
            accepted=accepted,
            tried=accepted + rejected,
            uplink_bytes=up,
            downlink_bytes=down,
            draft_s=draft,
            link_s=link if self.tells_time else link + verify,
            verify_s=verify if self.tells_time else None,
            trips=trips,
            follows=follows,
        )


def best_fixed(
    phases: Sequence[Conditions], tokens: float, modes: Sequence[Mode], shapes: Sequence[tuple[int, ...]]
) -> tuple[float, Mode, tuple[int, ...]]:
    """(seconds, mode, shape) of the one choice that is fastest for ``tokens`` tokens in each of ``phases`` in turn."""
    found: list[tuple[float, int, Mode, tuple[int, ...]]] = []
    for mode in modes:
        for shape in shapes:
            if max(shape, default=1) <= max(1, len(mode.alphas)):
                seconds = sum(tokens / conditions.expected(mode, shape).tokens_per_s for conditions in phases)
                found.append((seconds, len(found), mode, shape))
    seconds, _, mode, shape = min(found)
    return seconds, mode, shape


@dataclass(slots=True)
class SimulatedSession:
    """How a planner did."""

    seconds: float = 0.0
    """Expected seconds of all it chose."""
    explored_s: float = 0.0
    """Of these, what tries took."""
    rounds: int = 0
    chosen: dict[str, int] = field(default_factory=dict)
    """Rounds by evidence kind."""
    edge_s: float = 0.0
    """Expected seconds of the target."""
    trace: list[Plan] = field(default_factory=list)


def simulate_session(
    planner: Planner, phases: Sequence[Conditions], tokens: float, rng: np.random.Generator
) -> SimulatedSession:
    """Let ``planner`` make ``tokens`` tokens (in expectation) in each of ``phases`` in turn."""
    out, follows = SimulatedSession(), False
    planner.observe_exchange(*HANDSHAKE, phases[0].link.seconds(*HANDSHAKE))
    for conditions in phases:
        made = 0.0
        while made < tokens:
            plan = planner.plan()
            expected = conditions.expected_of(plan)
            part = min(1.0, (tokens - made) / expected.tokens)
            made += expected.tokens
            out.seconds += part * expected.seconds
            out.explored_s += part * expected.seconds * plan.exploring
            out.edge_s += part * expected.edge_s
            out.rounds += 1
            out.chosen[plan.mode.evidence] = out.chosen.get(plan.mode.evidence, 0) + 1
            out.trace.append(plan)
            seen = conditions.simulate_round(plan, rng, first=out.rounds == 1, follows=follows)
            follows = plan.window > 1 and seen.accepted == len(seen.expansion)
            planner.observe(seen)
    return out
