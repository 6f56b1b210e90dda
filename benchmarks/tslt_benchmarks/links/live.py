"""The check of the replay: real sessions of both models over an emulated link in virtual time.

The device's and the edge's loops as they are; only their clocks are virtual, and the models advance them by what the
replay says they take.  What comes out must fit the replay: round by round exactly (seconds from the round's own bytes
and trips), and in the mean up to the luck of a few hundred rounds.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tslt_transports import Network, VirtualClock, emulated_pair

import tslt_wire as tw
from tslt_benchmarks.links.recorded_rounds import EVERYTHING, Choice, PromptedModels
from tslt_benchmarks.links.replay import Replay
from tslt_runtime.autopilot import Autopilot, settings_for
from tslt_runtime.device import Device
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.edge import edge_settings, serve_link
from tslt_runtime.edge_driver import EdgeDriver
from tslt_runtime.engines.protocol import DraftText, Node, TargetEngine, Work
from tslt_runtime.rounds import Round
from tslt_runtime.seeds import device_rng, session_secret
from tslt_runtime.verifiers.local import LocalVerifier
from tslt_wire.throughput import Link

TEXT_TOKENS = 48
"""Tokens behind a prompt, as in the recorded rounds."""

READ_S = 60.0
"""Seconds that pass after a prompt: it has arrived, and the line is free, before the first round."""


class ClockedDraft:
    """A text of a draft model that lets ``seconds`` pass with the first pass of each draft."""

    def __init__(self, text: DraftText, clock: VirtualClock) -> None:
        self._text = text
        self._clock = clock
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        """All else is the text's."""
        return getattr(self._text, name)

    def expand(self, nodes: Sequence[Node]) -> Any:
        """See DraftText.expand."""
        if not nodes:
            self._clock.advance(self.seconds)
        return self._text.expand(nodes)


class ClockedTarget:
    """A target engine that lets ``seconds`` pass for each tree that it scores."""

    def __init__(self, model: TargetEngine, clock: VirtualClock) -> None:
        self._model = model
        self._clock = clock
        self.facts = model.facts
        self.open = model.open
        self.seconds = 0.0

    def score(self, work: Sequence[Work]) -> Sequence[Any]:
        """See TargetEngine.score."""
        scored = self._model.score(work)
        if any(item.tree is not None for item in work):
            self._clock.advance(self.seconds)
        return scored


class ClockedDevice(Device):
    """A device whose rounds take what the replay says."""

    replay: Replay
    draft: ClockedDraft
    target: ClockedTarget
    known: dict[DraftSettings, Choice]

    async def round(self, max_tokens: int, settings: DraftSettings) -> Round | None:
        """See Device.round."""
        cost = self.replay.costs[self.known[settings]]
        self.draft.seconds, self.target.seconds = cost.draft_s, cost.verify_s
        return await super().round(max_tokens, settings)


@dataclass(slots=True)
class LiveSessions:
    """What came of real sessions."""

    tokens: int = 0
    seconds: float = 0.0
    """Virtual ones of all rounds."""
    off: float = 0.0
    """Most seconds by which a round took another time than its bytes, trips and models say."""
    per_round: list[tuple[int, float]] = field(default_factory=list)
    """(tokens, seconds) of each round."""
    chosen: Counter[str] = field(default_factory=Counter)

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self.tokens / self.seconds

    @property
    def error(self) -> float:
        """Standard error of the rate, as a part of it."""
        rows = np.array(self.per_round)
        return float(np.std(rows[:, 0] - self.rate * rows[:, 1]) * np.sqrt(len(rows)) / self.tokens)


async def run_live(
    prompted: PromptedModels, replay: Replay, link: Link, choice: Choice | Sequence[str], *, tokens: int, seed: int = 0
) -> LiveSessions:
    """Generate ``tokens`` tokens over the link with ``choice``, or as the planner chooses among kinds of evidence."""
    fixed = choice if isinstance(choice, Choice) else None
    kinds = {choice.mode.evidence} if isinstance(choice, Choice) else set(choice)
    models, prompts = prompted.models, prompted.prompts
    clock, edge_clock = VirtualClock(), VirtualClock()
    network = Network(uplink_bit_s=link.uplink_bit_s, downlink_bit_s=link.downlink_bit_s, rtt_s=link.rtt_s)
    mine, theirs = emulated_pair(network, clocks=(clock, edge_clock))
    target = ClockedTarget(models.target.engine, edge_clock)
    draft = ClockedDraft(models.draft.engine.open(), clock)
    verifier = LocalVerifier(target)
    settings = edge_settings(verifier.facts, models.offered)
    driver = EdgeDriver(verifier, settings, secret=session_secret(seed, 0), clock=edge_clock)
    task = asyncio.create_task(serve_link(theirs, driver))
    hello = models.hello(tw.Sampling(temperature=replay.recorded.meta["temperature"]))
    text: Any = draft  # a DraftText but for what it hands on
    device = ClockedDevice(mine, text, hello, rng=device_rng(seed), clock=clock, vocabulary=models.vocabulary)
    device.replay, device.draft, device.target = replay, draft, target
    device.known = {settings_for(each.mode, each.expansion): each for each in replay.recorded.choices}
    await device.open()
    pilot = Autopilot(device, replay.planner(link, kinds))
    out, number = LiveSessions(), 0
    while out.tokens < tokens:
        await device.prompt(prompts[number % len(prompts)])
        number, made = number + 1, 0
        clock.advance(READ_S)
        if fixed is None:
            rounds = pilot.generate(EVERYTHING)
        else:
            rounds = device.generate(EVERYTHING, settings_for(fixed.mode, fixed.expansion))
        async for found in rounds:
            made += len(found.tokens)
            taken = Choice(pilot.last.mode, pilot.last.expansion) if pilot.last else fixed
            _add(out, replay, link, found, taken)
            if made >= TEXT_TOKENS or out.tokens >= tokens:
                break
    await device.close()
    await task
    verifier.close()
    return out


def _add(out: LiveSessions, replay: Replay, link: Link, found: Round, choice: Choice | None) -> None:
    if choice is None:
        raise RuntimeError("a round that nobody chose")
    cost = replay.costs[choice]
    seconds = found.draft_s + found.link_s + found.verify_s
    drafted = cost.draft_s if found.drafted else 0.0  # nothing to draft: no pass, and no time
    wanted = drafted + cost.verify_s + link.seconds(found.uplink_bytes, found.downlink_bytes, found.trips)
    out.tokens += len(found.tokens)
    out.seconds += seconds
    out.off = max(out.off, abs(seconds - wanted))
    out.per_round.append((len(found.tokens), seconds))
    out.chosen[choice.name] += 1
