"""What a pass of each model takes here: the draft's by levels and nodes, the target's by drafted tokens.

Measured on the engines themselves, in turns, behind a prefix of some length; of each the tenth fastest in a hundred,
since other work of the machine makes passes slower and never faster.  Straight lines are fitted to that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

import tslt_wire as tw
from tslt_benchmarks.pairs import Models
from tslt_runtime.engines.protocol import Node, Work
from tslt_wire.throughput import Compute

QUANTILE = 0.1
"""Of the times of a pass."""
TREE_NODES = (0, 1, 2, 4, 8, 12)
"""Drafted tokens of the target's passes."""
LEVELS = 8
"""Of a drafted chain."""
WIDTH = 4
"""Nodes of a wide level of the draft."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassTimes:
    """Of both models; seconds."""

    prefix: int
    """Tokens before."""
    draft_level_s: float
    """A level of a chain: one token."""
    draft_parent_s: float
    """What a level takes longer for each node more than one."""
    draft_start_s: float
    """The first row of a draft, where two tokens of a verdict are read, less what a level takes; at least 0."""
    target_s: dict[int, float]
    """A pass by its drafted tokens."""

    @property
    def compute(self) -> Compute:
        """As a planner takes it."""
        nodes = np.array(list(self.target_s), float)
        seconds = np.array(list(self.target_s.values()))
        slope, start = np.polyfit(nodes, seconds, 1) if len(nodes) > 1 else (0.0, seconds[0])
        return Compute(
            draft_s=self.draft_level_s,
            draft_parent_s=self.draft_parent_s,
            draft_start_s=self.draft_start_s,
            verify_s=max(float(start), 1e-6),
            verify_node_s=max(float(slope), 0.0),
        )

    def as_json(self) -> dict[str, Any]:
        """What ``of_json`` reads."""
        return asdict(self)

    @classmethod
    def of_json(cls, figures: dict[str, Any]) -> PassTimes:
        """What ``as_json`` wrote, be it through JSON, whose keys are texts."""
        target = {int(nodes): seconds for nodes, seconds in figures["target_s"].items()}
        return cls(**{**figures, "target_s": target})


def measure(
    models: Models, prompt: Sequence[int], *, passes: int, tell: Callable[[int, int], None] = lambda done, of: None
) -> PassTimes:
    """Time ``passes`` passes of each sort behind ``prompt``."""
    token = int(prompt[-1])
    drafts: dict[str, list[float]] = {"level": [], "wide": [], "start": []}
    engine, text = models.target.engine, models.draft.engine.open()
    target: dict[int, list[float]] = {nodes: [] for nodes in TREE_NODES if nodes <= engine.facts.most_nodes}
    own = models.draft.tokenizer.tokens_of("The old house stood")[-1]  # the draft's own, whatever the target's are
    cached = engine.open()
    engine.score([Work(cached, list(prompt), None)])
    for done in range(passes + 1):  # the first does not count: caches fill
        text.set_prefix([own] * len(prompt))
        text.expand([])
        text.commit([], own)
        spent = {"start": [_seconds(text.expand, [])]}
        spent["level"] = [_seconds(text.expand, [Node(level - 1, own)]) for level in range(LEVELS)]
        spent["wide"] = [_seconds(text.expand, [Node(LEVELS - 1, own)] * WIDTH)]
        took = {}
        for nodes in target:
            cached.truncate(len(prompt))
            took[nodes] = _seconds(engine.score, [Work(cached, [token], tw.TokenTree.chain([token] * nodes))])
        if done:
            for name, seconds in spent.items():
                drafts[name] += seconds
            for nodes, one in took.items():
                target[nodes].append(one)
        tell(done, passes)
    text.close()
    cached.close()
    level, wide, first = (float(np.quantile(drafts[name], QUANTILE)) for name in ("level", "wide", "start"))
    return PassTimes(
        prefix=len(prompt),
        draft_level_s=level,
        draft_parent_s=max(0.0, (wide - level) / (WIDTH - 1)),
        draft_start_s=max(0.0, first - level),
        target_s={nodes: float(np.quantile(each, QUANTILE)) for nodes, each in target.items()},
    )


def _seconds(work: Callable[[Any], Any], argument: Any) -> float:
    begun = time.perf_counter()
    work(argument)
    return time.perf_counter() - begun
