"""Whole messages of a round, up and down: ours from real sessions, those of others rebuilt from their layouts.

The same texts, the same shapes.  Bytes are those of frames and payloads, without a transport.  What a round brings is
expected exactly along the target's own texts, with the rule that a system verifies by; where it is lossy, with that of
what it sends, as if it were not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

import tslt_wire as tw
from tslt_benchmarks.acceptance import evidence_acceptance
from tslt_benchmarks.bytes.format_base import Floats, listed, top
from tslt_benchmarks.drafts import EXPANSION, Drafts, Round
from tslt_benchmarks.encodings.equal_acceptance import text_error
from tslt_benchmarks.encodings.lossless import proof_of
from tslt_benchmarks.encodings.peer_layouts import Drafted, Ended, PeerLayout
from tslt_benchmarks.encodings.peer_messages import peer_layouts
from tslt_benchmarks.links.recorded_rounds import PromptedModels, RecordingSettings, record
from tslt_benchmarks.links.replay import Replay
from tslt_benchmarks.links.text_acceptance import levels_along, of_positions

CHAIN = (1, 1, 1, 1)
SHAPES = {"chain of 4": CHAIN, f"tree <{','.join(map(str, EXPANSION))}>": EXPANSION}
Ints = npt.NDArray[np.int64]
HAT_HIDDEN = 4096
"""Hidden size of the 7B models that HAT (arXiv 2503.18989) cuts; float16."""


@dataclass(frozen=True, slots=True)
class Messages:
    """One system, one shape, one temperature; means over rounds."""

    system: str
    title: str
    source: str
    lossless: str
    temperature: float
    shape: str
    nodes: int
    up: float
    """Bytes a round."""
    down: float
    up_rejected: float
    """Of a round that ended with a rejection."""
    down_rejected: float
    tokens: float
    """Expected tokens of a round, the target's own included."""
    tokens_se: float
    trips: float
    measured: bool
    """False: a row of accounting."""

    @property
    def up_per_drafted(self) -> float:
        """Bytes up a node."""
        return self.up / self.nodes

    @property
    def up_per_emitted(self) -> float:
        """Bytes up a token of the text."""
        return self.up / self.tokens

    @property
    def down_per_emitted(self) -> float:
        """Bytes down a token of the text."""
        return self.down / self.tokens


def expected(text: Ints, levels: Floats) -> tuple[float, float, float]:
    """(tokens a round, standard error, probability that all is accepted) of levels (starts, depth).

    ``text``: which one each position is in; starts of one text are one observation.
    """
    kept = np.cumprod(levels, axis=1)
    tokens = 1 + kept.sum(axis=1)
    of_start = levels_along(text, text[:, None].astype(np.float64), (1,) * levels.shape[1])[:, 0]
    return float(tokens.mean()), text_error(tokens, of_start), float(kept[:, -1].mean())


# ---------------------------------------------------------------------------------------------------------------- ours


def ours(
    drafts: Drafts, prompted: PromptedModels, *, temperature: float, places: int, seed: int, say: Callable[[str], None]
) -> list[Messages]:
    """Rounds of every mode of the planner's catalogue, over a link within this process that adds no bytes."""
    settings = RecordingSettings(
        temperature=temperature, places=places, tokens=32, shapes=tuple(SHAPES.values()), seed=seed, warm_up=False
    )
    say(f"T = {temperature:g}, acceptance along texts")
    acceptance = of_positions(drafts.positions, temperature, seed)
    recorded = asyncio.run(
        record(prompted, settings, acceptance, lambda done: say(f"T = {temperature:g}, rounds at place {done}"))
    )
    replay = Replay(recorded)
    names = {shape: name for name, shape in SHAPES.items()}
    found = []
    for choice, cost in replay.costs.items():
        mode, rounds = choice.mode, recorded.rounds[choice]
        rejected = replay.alike[choice, True]
        tokens, error, _ = expected(acceptance.text, replay.levels[choice])
        found.append(
            Messages(
                system=f"tslt_{mode.name.replace(' ', '_')}",
                title=f"tslt {mode.name}",
                source="real sessions of this repository",
                lossless=proof_of(mode.evidence),
                temperature=temperature,
                shape=names[choice.expansion],
                nodes=int(np.cumprod(choice.expansion).sum()),
                up=cost.uplink,
                down=cost.downlink,
                up_rejected=float(rounds.uplink[rejected].mean()),
                down_rejected=float(rounds.downlink[rejected].mean()),
                tokens=tokens,
                tokens_se=error,
                trips=cost.trips,
                measured=True,
            )
        )
    return found


# --------------------------------------------------------------------------------------------------------------- peers


def rule_rows(layout: PeerLayout, pairs: Sequence[tuple[Floats, Floats]]) -> Floats:
    """Acceptance of 1 to 4 siblings at each position, (N, 4), of (target, draft) distributions."""
    if layout.rule == "match":
        return np.array([evidence_acceptance.match(p, q) for p, q in pairs])
    k = getattr(layout, "k", 0)
    cut = [(p, listed(q, top(q, k)) if layout.rule == "listed" else q) for p, q in pairs]
    return np.array([evidence_acceptance.verified(p, q) for p, q in cut])


def peers(drafts: Drafts, *, temperature: float, say: Callable[[str], None]) -> list[Messages]:
    """Every layout on the drafted rounds, and what its rule accepts along the texts; HAT as a row of accounting."""
    sampling = tw.Sampling(temperature=temperature)

    def probs(row: Any) -> Floats:
        return tw.target_probs(row, sampling)

    def drafted(round_: Round) -> Drafted:
        return Drafted(
            round_.prefix,
            round_.tree,
            np.array([probs(row) for row in round_.draft]),
            np.array([probs(row) for row in round_.target]),
        )

    positions = drafts.positions
    text = positions.prompt.astype(np.int64)
    pairs = [(probs(p), probs(q)) for p, q in zip(positions.target, positions.draft, strict=True)]
    rounds = {CHAIN: [drafted(r) for r in drafts.chains()], EXPANSION: [drafted(r) for r in drafts.trees()]}
    found, full = [], np.zeros((0, 0))
    for layout in peer_layouts(drafts.vocab_size):
        say(f"T = {temperature:g}, {layout.title}")
        rows = rule_rows(layout, pairs)
        full = rows if layout.name == "vanilla_dsd" else full
        for name, shape in SHAPES.items():
            if shape == CHAIN or layout.trees:
                tokens, error, whole = expected(text, levels_along(text, rows, shape))
                ends = [
                    np.mean([layout.sizes(said, Ended(accepted, rejected, 5)) for said in rounds[shape]], axis=0)
                    for accepted, rejected in ((len(shape), False), (1, True))
                ]
                up, down = whole * ends[0] + (1 - whole) * ends[1]
                trips = 1 + (1 - whole) * bool(layout.after_rejection(rounds[shape][0], Ended(1, True, 5))[0])
                found.append(
                    Messages(
                        system=layout.name,
                        title=layout.title,
                        source=layout.source,
                        lossless=layout.lossless,
                        temperature=temperature,
                        shape=name,
                        nodes=int(np.cumprod(shape).sum()),
                        up=float(up),
                        down=float(down),
                        up_rejected=float(ends[1][0]),
                        down_rejected=float(ends[1][1]),
                        tokens=tokens,
                        tokens_se=error,
                        trips=float(trips),
                        measured=True,
                    )
                )
    return [*found, hat(full, text, temperature)]


def hat(full: Floats, text: Ints, temperature: float) -> Messages:
    """HAT: hidden states of every drafted token up, and down again: a row of accounting, nothing is encoded."""
    tokens, error, _ = expected(text, levels_along(text, full, CHAIN))
    size = float(2 * HAT_HIDDEN * len(CHAIN))
    return Messages(
        system="hat",
        title=f"HAT, hidden states of {HAT_HIDDEN}",
        source="Xie et al., arXiv 2503.18989: the model is cut in three, states of its ends travel both ways",
        lossless="yes: all layers are the target's own; nothing here tests it",
        temperature=temperature,
        shape="chain of 4",
        nodes=len(CHAIN),
        up=size,
        down=size,
        up_rejected=size,
        down_rejected=size,
        tokens=tokens,
        tokens_se=error,
        trips=1.0,
        measured=False,
    )
