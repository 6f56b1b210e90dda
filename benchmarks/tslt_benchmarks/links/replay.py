"""Recorded rounds on any link: what each fixed choice makes there, and what the planner makes of not knowing.

Time is virtual: a round takes what its draft and its verification take (the bank's, or given), and what its
bytes and round trips take on the link, which is exact where a device waits for each answer (``live`` checks it).  Fixed
choices and ``auto`` are both judged by the expected tokens and seconds of their choices, so that lucky rounds help
neither.  What ``auto`` sees is chance: what is accepted is drawn from the acceptance at a place of a text, bytes are
those of a recorded round that ended alike, and times jitter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tslt_benchmarks.links.recorded_rounds import Bank, Choice
from tslt_wire.throughput import Agreed, Link, Observation, Planner, streamed_tokens_per_s
from tslt_wire.throughput.model import shape_counts, widths_of

Floats = npt.NDArray[np.float64]
QUANTILE = 0.1
"""Of the measured times of a choice: what it takes when the machine has little else to do.  Medians follow its load."""
JITTER = 0.05
"""Standard deviation of ln(time) of all that ``auto`` sees; not this machine's own, which other work would change."""
OVERHEAD_OF = "match"
"""The evidence that takes nothing but the models' own passes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Model times that are given in place of measured ones; seconds."""

    draft_s: float
    """A level of the draft."""
    target_s: float
    """A pass of the target."""
    node_s: float = 0.0
    """What a pass of the target takes longer for each drafted token."""
    edge_draft_s: float | None = None
    """A level of the draft at the edge; None: as on the device."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a choice takes besides the link, and brings; means of its rounds."""

    tokens: float
    draft_s: float
    verify_s: float
    trips: float
    uplink: float
    downlink: float

    def seconds(self, link: Link) -> float:
        """A round's."""
        return self.draft_s + self.verify_s + link.seconds(self.uplink, self.downlink, self.trips)

    def rate(self, link: Link) -> float:
        """Tokens a second."""
        return self.tokens / self.seconds(link)


class World:
    """A bank with times."""

    def __init__(self, bank: Bank, times: Times | None = None) -> None:
        """``times``: None takes the measured ones; else what is measured besides the models' passes is added."""
        self.bank = bank
        self.times = times
        self.levels = {c: bank.acceptance.levels(c.mode, c.expansion) for c in bank.choices}
        """Acceptance of the levels of each choice at each place of the texts, (places, levels)."""
        self.alike = {(c, rejected): self._alike(c, rejected) for c in bank.choices for rejected in (False, True)}
        """Recorded rounds of each choice that ended with a rejection, or without."""
        self.costs = {choice: self._cost(choice) for choice in bank.choices}

    def _measured(self, choice: Choice) -> tuple[float, float]:
        rounds = self.bank.rounds[choice]
        return float(np.quantile(rounds.draft_s, QUANTILE)), float(np.quantile(rounds.verify_s, QUANTILE))

    def bare(self, expansion: tuple[int, ...]) -> tuple[float, float]:
        """Seconds of the models' own passes for a shape: (draft, target)."""
        if self.times is None:
            return self._measured(self._plain(expansion))
        nodes = float(np.cumprod(expansion).sum())
        return len(expansion) * self.times.draft_s, self.times.target_s + nodes * self.times.node_s

    def _cost(self, choice: Choice) -> Cost:
        rounds, (draft_s, verify_s) = self.bank.rounds[choice], self._measured(choice)
        if self.times is not None:
            plain = self._plain(choice.expansion)
            more = [max(0.0, a - b) for a, b in zip((draft_s, verify_s), self._measured(plain), strict=True)]
            draft_s, verify_s = (a + b for a, b in zip(self.bare(choice.expansion), more, strict=True))
        kept = np.cumprod(self.levels[choice], axis=1)
        whole = float(kept[:, -1].mean()) if kept.shape[1] else 1.0

        def mean(values: Floats) -> float:
            ends = [float(values[self.alike[choice, rejected]].mean()) for rejected in (False, True)]
            return whole * ends[0] + (1 - whole) * ends[1]

        return Cost(
            tokens=1 + float(kept.sum(axis=1).mean()),
            draft_s=draft_s,
            verify_s=verify_s,
            trips=mean(rounds.trips),
            uplink=mean(rounds.uplink),
            downlink=mean(rounds.downlink),
        )

    def _alike(self, choice: Choice, rejected: bool) -> npt.NDArray[np.int64]:
        """Recorded rounds that ended with a rejection, or without one; all of them if none did."""
        found = np.flatnonzero(self.bank.rounds[choice].rejected == rejected)
        return found if len(found) else np.arange(len(self.bank.rounds[choice].rejected))

    def _plain(self, expansion: tuple[int, ...]) -> Choice:
        return next(c for c in self.bank.choices if (c.mode.evidence, c.expansion) == (OVERHEAD_OF, expansion))

    def observe(self, choice: Choice, link: Link, rng: np.random.Generator) -> Observation:
        """What a device sees of a round at random."""
        levels = self.levels[choice]
        lost = np.flatnonzero(rng.random(levels.shape[1]) >= levels[int(rng.integers(len(levels)))])
        accepted = int(lost[0]) if len(lost) else levels.shape[1]
        row = int(rng.choice(self.alike[choice, len(lost) > 0]))
        rounds, cost = self.bank.rounds[choice], self.costs[choice]
        draft, verify, way = np.exp(rng.normal(0, JITTER, 3)).tolist()
        up, down, trips = float(rounds.uplink[row]), float(rounds.downlink[row]), int(rounds.trips[row])
        return Observation(
            mode=choice.mode,
            expansion=choice.expansion,
            accepted=accepted,
            tried=accepted + (len(lost) > 0),
            uplink_bytes=up,
            downlink_bytes=down,
            draft_s=cost.draft_s * draft,
            link_s=link.seconds(up, down, trips) * way,
            verify_s=cost.verify_s * verify,
            trips=trips,
        )

    def planner(self, link: Link, evidence: set[str]) -> Planner:
        """A planner at the start of a session on ``link``: it knows how long the handshake took."""
        planner = Planner(
            self.bank.modes,
            Agreed(evidence=evidence, max_entries=self.bank.meta["max_entries"]),
            shapes=self.bank.shapes,
        )
        planner.observe_exchange(*self.bank.handshake, link.seconds(*self.bank.handshake))
        return planner


@dataclass(slots=True)
class Session:
    """What ``auto`` did."""

    seconds: float = 0.0
    """Expected ones of all its choices."""
    tokens: float = 0.0
    chosen: Counter[str] = field(default_factory=Counter)
    """Rounds by choice."""

    @property
    def rate(self) -> float:
        """Tokens a second, start and tries included."""
        return self.tokens / self.seconds


def play_auto(world: World, link: Link, evidence: set[str], *, tokens: int, seed: int) -> Session:
    """Let a planner make ``tokens`` tokens (in expectation) on a link that it does not know."""
    rng, out = np.random.default_rng(seed), Session()
    planner = world.planner(link, evidence)
    while out.tokens < tokens:
        plan = planner.plan()
        choice = Choice(plan.mode, plan.expansion)
        cost = world.costs[choice]
        part = min(1.0, (tokens - out.tokens) / cost.tokens)
        out.tokens += part * cost.tokens
        out.seconds += part * cost.seconds(link)
        out.chosen[choice.name] += 1
        planner.observe(world.observe(choice, link, rng))
    return out


@dataclass(frozen=True, slots=True)
class Cell:
    """One link: every fixed choice's best, ``auto``, and the edge alone."""

    uplink_bit_s: float
    rtt_s: float
    best: str
    """Name of the best fixed choice."""
    evidence: str
    rate: float
    """Tokens a second of the best fixed choice."""
    by_evidence: dict[str, tuple[str, float]]
    """Best choice of each kind of evidence, and its tokens a second."""
    auto: float
    """Tokens a second of ``auto``, mean over seeds."""
    shortfall: float
    """Part of the best fixed rate that ``auto`` misses, mean over seeds; below 0: it is faster."""
    shortfall_worst: float
    """Of the worst seed."""
    chosen: dict[str, int]
    """Rounds by choice in the first seed's session."""
    edge_streams: float
    """Tokens a second if the edge decodes alone, one token a pass, and streams."""
    edge_speculates: float
    """Tokens a second if the edge has both models and streams."""
    edge_shape: str
    edge_s_per_token: dict[str, float]
    """Seconds of the edge a token: of the best fixed choice, of streaming, of edge-hosted speculation."""


def hosted(world: World, link: Link) -> tuple[float, tuple[int, ...], float]:
    """(tokens a second, shape, edge seconds a token) of speculation at the edge: whole distributions, nothing sent.

    Tokens are streamed: the downlink bounds the rate, the round trip does not.
    """
    found = []
    for choice in world.bank.choices:
        if choice.mode.evidence == "full":
            cost = world.costs[choice]
            draft_s, verify_s = world.bare(choice.expansion)
            if world.times is not None and world.times.edge_draft_s is not None:
                draft_s = len(choice.expansion) * world.times.edge_draft_s
            size = streamed_bytes(world) + ID_BYTES * (cost.tokens - 1)
            compute = draft_s + verify_s if choice.expansion else verify_s
            found.append(
                (cost.tokens / max(compute, 8 * size / link.downlink_bit_s), choice.expansion, compute / cost.tokens)
            )
    return max(found)


ID_BYTES = 2.0
"""Of one more token in a streamed frame."""


def streamed_bytes(world: World) -> float:
    """Bytes of a frame that carries one token: a real VERDICT."""
    plain = next(c for c in world.bank.choices if not c.expansion)
    return world.costs[plain].downlink


def measure(world: World, link: Link, kinds: Sequence[str], *, tokens: int, seeds: int) -> Cell:
    """One cell, for sessions that agreed on these kinds of evidence."""
    rates = {choice: cost.rate(link) for choice, cost in world.costs.items() if choice.mode.evidence in kinds}
    winners = {kind: max((c for c in rates if c.mode.evidence == kind), key=lambda c: rates[c]) for kind in kinds}
    best = max(winners.values(), key=lambda c: rates[c])
    played = [play_auto(world, link, set(kinds), tokens=tokens, seed=seed) for seed in range(seeds)]
    missed = [1 - each.rate / rates[best] for each in played]
    _, target_s = world.bare(())
    edge_rate, edge_shape, edge_s = hosted(world, link)
    cost = world.costs[best]
    return Cell(
        uplink_bit_s=link.uplink_bit_s,
        rtt_s=link.rtt_s,
        best=best.name,
        evidence=best.mode.evidence,
        rate=rates[best],
        by_evidence={kind: (choice.name, rates[choice]) for kind, choice in winners.items()},
        auto=float(np.mean([each.rate for each in played])),
        shortfall=float(np.mean(missed)),
        shortfall_worst=max(missed),
        chosen=dict(played[0].chosen.most_common()),
        edge_streams=streamed_tokens_per_s(target_s, link, token_bytes=streamed_bytes(world)),
        edge_speculates=edge_rate,
        edge_shape=",".join(map(str, edge_shape)),
        edge_s_per_token={"split": cost.verify_s / cost.tokens, "streams": target_s, "speculates": edge_s},
    )


def wire_fit(bank: Bank) -> dict[str, tuple[float, float, float]]:
    """Uplink bytes of each mode as frame + node * nodes + parent * parents, least squares over its shapes.

    Without what a rejection costs.  This is where the constants of ``tslt_wire.throughput.catalogue`` are from.
    """
    found = {}
    for mode in bank.modes:
        mine = [c for c in bank.choices if c.mode is mode]
        _, parents, nodes = shape_counts(widths_of([c.expansion for c in mine]))
        rows, sizes = [], []
        for choice, each_parents, each_nodes in zip(mine, parents, nodes, strict=True):
            rounds = bank.rounds[choice]
            accepted = rounds.uplink[~rounds.rejected] if mode.wire.rejection_down else rounds.uplink
            if len(accepted):
                rows.append((1.0, each_nodes, each_parents))
                sizes.append(float(accepted.mean()))
        x = np.array(rows) if mode.wire.parent else np.array(rows)[:, :2]
        fit = np.linalg.lstsq(x / np.array(sizes)[:, None], np.ones(len(sizes)), rcond=None)[0]
        found[mode.name] = tuple([*fit.tolist(), 0.0][:3])
    return found


def compare(world: World) -> dict[str, tuple[float, float]]:
    """Recorded tokens a round over expected ones, by kind of evidence: (ratio, its standard error)."""
    found = {}
    for kind in dict.fromkeys(c.mode.evidence for c in world.bank.choices):
        mine = [c for c in world.bank.choices if c.mode.evidence == kind and c.expansion]
        # Rounds at one place have one cause: its mean is one observation.
        ratios = np.mean([(1 + world.bank.rounds[c].accepted) / world.costs[c].tokens for c in mine], axis=0)
        found[kind] = (float(ratios.mean()), float(ratios.std() / np.sqrt(len(ratios))))
    return found
