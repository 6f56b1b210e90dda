"""Real rounds of both models over an emulated link, in virtual time: the paper's lists and ours.

A session runs once; what its rounds would take on other links follows from their own bytes and round trips, as exactly
as the link takes it: the session's own link is the check.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tslt_transports import Network, VirtualClock, emulated_pair

import tslt_wire as tw
from tslt_benchmarks.links.live import READ_S, ClockedDraft, ClockedTarget
from tslt_benchmarks.links.recorded_rounds import EVERYTHING, PromptedModels
from tslt_benchmarks.paper.equations import Times
from tslt_runtime.autopilot import Autopilot
from tslt_runtime.device import Device
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.edge import edge_settings, serve_link
from tslt_runtime.edge_driver import EdgeDriver
from tslt_runtime.engines.protocol import Work
from tslt_runtime.rounds import Round
from tslt_runtime.seeds import device_rng, session_secret
from tslt_runtime.verifiers.local import LocalVerifier
from tslt_wire.throughput import Link

TEXT_TOKENS = 32
"""Tokens behind each prompt."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to draft and to send."""

    name: str
    k: int | None
    """Of the paper's lists."""
    settings: DraftSettings
    plain: bool = False
    """Bit-packed, no prior: the paper's lists."""


@dataclass(frozen=True, slots=True)
class Spent:
    """One round."""

    tokens: int
    levels: int
    """Of the draft that was made; 0: none fitted, or none was wanted."""
    nodes: int
    up: int
    down: int
    trips: int

    def seconds(self, link: Link, times: Times) -> float:
        """What it takes there."""
        models_s = self.levels * times.draft_s + times.target_s + self.nodes * times.node_s
        return models_s + link.seconds(self.up, self.down, self.trips)


@dataclass(frozen=True, slots=True)
class Session:
    """Rounds of one way."""

    way: Way
    rounds: tuple[Spent, ...]
    off_s: float
    """Most by which a round took another time on the emulated link than ``Spent.seconds`` says."""
    prompt_bytes: float
    """Mean of the frames that prompts went up in."""

    def speedup(self, link: Link, times: Times) -> float:
        """Tokens a second there, over those of the target alone."""
        seconds = sum(spent.seconds(link, times) for spent in self.rounds)
        return sum(spent.tokens for spent in self.rounds) * times.target_s / seconds

    @property
    def up_a_round(self) -> float:
        """Bytes."""
        return sum(spent.up for spent in self.rounds) / len(self.rounds)

    @property
    def tokens_a_round(self) -> float:
        """The target's own included."""
        return sum(spent.tokens for spent in self.rounds) / len(self.rounds)


def ways(expansion: tuple[int, ...], ks: Sequence[int], vocab_size: int, temperature: float) -> list[Way]:
    """The paper's lists at each K, then ours: the default profile, and evidence that fits the shape."""
    found = []
    for k in ks:
        truncation = tw.TopK(k) if k < vocab_size else None
        settings = DraftSettings(expansion=expansion, temperature=temperature, truncation=truncation, precision="f16")
        found.append(Way(f"paper, K = {k:,}", k, settings, plain=True))
    default = DraftSettings(
        expansion=expansion,
        temperature=temperature * tw.DEFAULTS.draft_temperature,
        truncation=tw.DEFAULTS.truncation,
        precision=tw.DEFAULTS.precision.value,
    )
    found.append(Way("tslt default", None, default))
    whole = DraftSettings(expansion=expansion, temperature=temperature, truncation=None, evidence="coupled")
    found.append(Way("tslt coupled", None, whole))
    if max(expansion) == 1:
        found.append(Way("tslt scalar", None, replace(whole, evidence="scalar")))
    return found


class _TimedTarget(ClockedTarget):
    """A target whose passes take so much, and more for each drafted token."""

    times: Times

    def score(self, work: Sequence[Work]) -> Sequence[Any]:
        """See TargetEngine.score."""
        nodes = sum(len(item.tree) for item in work if item.tree is not None)
        self.seconds = self.times.target_s + nodes * self.times.node_s
        return super().score(work)


class _TimedDevice(Device):
    """A device whose drafts take so much a level."""

    clocked: ClockedDraft
    times: Times

    async def round(self, max_tokens: int, settings: DraftSettings) -> Round | None:
        """See Device.round."""
        self.clocked.seconds = len(settings.expansion) * self.times.draft_s
        return await super().round(max_tokens, settings)


async def _session(
    prompted: PromptedModels, way: Way | None, link: Link, times: Times, *, temperature: float, tokens: int, seed: int
) -> Session:
    """``way``: None for ``auto``."""
    models = prompted.models
    clock, edge_clock = VirtualClock(), VirtualClock()
    network = Network(uplink_bit_s=link.uplink_bit_s, downlink_bit_s=link.downlink_bit_s, rtt_s=link.rtt_s)
    mine, theirs = emulated_pair(network, clocks=(clock, edge_clock))
    target, draft = _TimedTarget(models.target.engine, edge_clock), ClockedDraft(models.draft.engine.open(), clock)
    target.times = times
    verifier = LocalVerifier(target)
    driver = EdgeDriver(
        verifier, edge_settings(verifier.facts, models.offered), secret=session_secret(seed, 0), clock=edge_clock
    )
    task = asyncio.create_task(serve_link(theirs, driver))
    hello = models.hello(tw.Sampling(temperature=temperature))
    if way is not None and way.plain:
        hello = replace(hello, entropy=("none",), priors=("none",))
    text: Any = draft  # a DraftText but for what it hands on
    device = _TimedDevice(mine, text, hello, rng=device_rng(seed), clock=clock, vocabulary=models.vocabulary)
    device.clocked, device.times = draft, times
    await device.open()
    pilot = Autopilot(device)
    found: list[Spent] = []
    prompt_bytes: list[int] = []
    off, made = 0.0, 0
    while made < tokens:
        before, behind = device.bytes_sent, 0
        await device.prompt(prompted.prompts[len(prompt_bytes) % len(prompted.prompts)])
        prompt_bytes.append(device.bytes_sent - before)
        clock.advance(READ_S)
        async for round_ in pilot.generate(EVERYTHING) if way is None else device.generate(EVERYTHING, way.settings):
            sizes = round_.uplink_bytes, round_.downlink_bytes
            spent = Spent(len(round_.tokens), round_.drafted, round_.nodes, *sizes, round_.trips)
            found.append(spent)
            took = round_.draft_s + round_.link_s + round_.verify_s
            off = max(off, abs(took - spent.seconds(link, times)))
            made, behind = made + len(round_.tokens), behind + len(round_.tokens)
            if behind >= TEXT_TOKENS or made >= tokens:
                break
    await device.close()
    await task
    verifier.close()
    known = way or Way("tslt auto", None, DraftSettings())
    return Session(known, tuple(found), off, sum(prompt_bytes) / len(prompt_bytes))


def run_auto(
    prompted: PromptedModels, link: Link, times: Times, *, temperature: float, tokens: int, seed: int
) -> Session:
    """A session on ``link`` with the planner at the wheel."""
    return asyncio.run(_session(prompted, None, link, times, temperature=temperature, tokens=tokens, seed=seed))


def run_sessions(
    prompted: PromptedModels,
    found: Sequence[Way],
    link: Link,
    times: Times,
    *,
    temperature: float,
    tokens: int,
    seed: int,
    say: Callable[[str], None],
) -> list[Session]:
    """A session of about ``tokens`` tokens for each way."""
    sessions = []
    for way in found:
        say(f"rounds of {way.name}, {way.settings.expansion}")
        run = _session(prompted, way, link, times, temperature=temperature, tokens=tokens, seed=seed)
        sessions.append(asyncio.run(run))
    return sessions
