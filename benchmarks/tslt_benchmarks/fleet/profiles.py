"""What the simulation is fed with: times of models, links, days.  What was measured is read from committed results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tslt_benchmarks.fleet.simulation import NEAR, Habit, Service
from tslt_benchmarks.planner.expected import modes_at
from tslt_benchmarks.planner.simulation import Conditions, best_fixed
from tslt_wire.throughput import Compute, Link, streamed_tokens_per_s

RESULTS = Path(__file__).resolve().parents[2] / "results"
"""Where the measured times are: in a checkout alone."""
CHAIN = 4
"""Of the drafts that were measured, and of an edge that drafts itself."""
CHAINS = tuple((1,) * length for length in range(1, 9))
STREAMED = 12.0
"""Bytes of a token that an edge streams."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One pair, on one sort of machine."""

    name: str
    source: str
    """Where its times are from."""
    service: Service
    draft_s: float
    """A level of the draft on a device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One link, for devices of one share."""

    name: str
    link: Link
    share: float


LINKS = (
    Way(name="Wi-Fi", link=Link(uplink_bit_s=20e6, downlink_bit_s=80e6, rtt_s=0.02), share=0.5),
    Way(name="cellular", link=Link(uplink_bit_s=5e6, downlink_bit_s=20e6, rtt_s=0.05), share=0.35),
    Way(name="poor cellular", link=Link(uplink_bit_s=2e5, downlink_bit_s=8e5, rtt_s=0.12), share=0.15),
)
"""An assumption."""
_NIGHT, _MORNING = (0.35, 0.2, 0.15, 0.1, 0.1, 0.2), (0.5, 0.9, 1.2, 1.3, 1.35, 1.35)
_AFTERNOON, _EVENING = (1.3, 1.3, 1.3, 1.3, 1.35, 1.4), (1.55, 1.75, 1.9, 1.5, 0.95, 0.7)
DAY = (*_NIGHT, *_MORNING, *_AFTERNOON, *_EVENING)
"""Texts in each hour of a day, over the mean: an assumption, of one time zone."""


def measured(results: Path = RESULTS) -> Profile:
    """The default pair on one core of the machine that benchmarks/results/capacity_transformers.json is of."""
    rows: list[dict[str, Any]] = json.loads((results / "capacity_transformers.json").read_text())["capacity"]
    split = [row for row in rows if row["way"] == "split"]
    size = np.array([(1 + CHAIN) * row["texts"] for row in split])
    seconds = np.array([row["p50_ms"] for row in split]) / 1e3
    row_s, pass_s = np.polyfit(size, seconds, 1, w=1 / seconds)
    own = [row for row in rows if row["way"] == "own drafts"]
    users = np.array([row["users"] for row in own], float)
    drafting = np.array([row["p50_ms"] for row in own]) / 1e3 - (pass_s + row_s * (1 + CHAIN) * users)
    each, fixed = np.polyfit(users, drafting, 1, w=1 / drafting)
    times = json.loads((results / "best_evidence.json").read_text())["model_times"]["draft_ms"]
    service = Service(
        pass_s=float(pass_s),
        row_s=float(row_s),
        jitter=0.1,
        own_draft_s=max(0.0, float(fixed)) / CHAIN,
        own_draft_row_s=float(each) / CHAIN,
    )
    return Profile(
        name="default pair, one core",
        source="measured: capacity_transformers.json, best_evidence.json",
        service=service,
        draft_s=times[str(CHAIN)] / CHAIN / 1e3,
    )


RECKONED = Profile(
    name="8B on a GPU",
    source="reckoned: 16 GB of weights at 2 TB/s and 4 ms more; 16 GFLOP a row at 160 TFLOP/s; a draft of 1B likewise",
    service=Service(pass_s=0.012, row_s=0.0001, jitter=0.1, own_draft_s=0.003, own_draft_row_s=0.00002),
    draft_s=0.02,
)
"""Nobody measured it: what it says is as good as these numbers."""


def habits(
    profile: Profile, alpha: float, links: Sequence[Way] = LINKS, chains: Sequence[tuple[int, ...]] = CHAINS
) -> list[Habit]:
    """What devices do: on each link the evidence, and the one of ``chains``, that ``auto``'s model finds best for one
    user at an edge that is idle."""
    found = []
    service = profile.service
    compute = Compute(draft_s=profile.draft_s, verify_s=service.pass_s + service.row_s, verify_node_s=service.row_s)
    for way in links:
        modes = modes_at(alpha, vocab_size=32_000, temperature=1.0)
        _, mode, shape = best_fixed([Conditions(way.link, compute)], 1000, modes, chains)
        wire, chain = mode.wire, len(shape)
        found.append(
            Habit(
                name=f"{way.name}: {mode.name}, chain of {chain}",
                link=way.link,
                draft_s=chain * profile.draft_s,
                chain=chain,
                alpha=mode.alphas[0],
                up=wire.frame + (wire.node + wire.parent) * chain,
                down=wire.verdict,
                rejected_up=wire.rejection_up if wire.rejection_trips else 0.0,
                rejected_down=wire.rejection_down,
                share=way.share,
            )
        )
    return found


def alone(profile: Profile, alpha: float, *, own: bool) -> tuple[Service, list[Habit]]:
    """An edge that decodes for its users, with its own drafts or without any; tokens are streamed."""
    service = profile.service
    chain = CHAIN if own else 0
    if own:
        service = replace(
            service,
            pass_s=service.pass_s + chain * service.own_draft_s,
            row_s=service.row_s + chain * service.own_draft_row_s / (1 + chain),
        )
    whole = next(mode for mode in modes_at(alpha, vocab_size=32_000, temperature=1.0) if mode.evidence == "full")
    name = "own drafts" if own else "alone"
    kind = Habit(name=name, link=NEAR, draft_s=0.0, chain=chain, alpha=whole.alphas[0], up=0.0, down=STREAMED)
    return service, [kind]


def streamed(profile: Profile, link: Link) -> float:
    """Tokens a second of one user of an edge that decodes alone."""
    return float(streamed_tokens_per_s(profile.service.pass_s + profile.service.row_s, link))
