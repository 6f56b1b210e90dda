"""Devices that cost nothing: sessions are recorded once, and their frames sent again to an edge with the same secret.

An edge's random numbers are a function of that secret, the round and the step, so that it answers a recorded frame as
it did.  Where another grouping of texts changes a sum by a rounding, and that a token, the rest of the recording is for
another text: such a session ends there, and is counted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tslt_transports import LinkOptions, pair

import tslt_wire as tw
from tslt_runtime.device import Device
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.edge import edge_settings, serve_link
from tslt_runtime.edge_driver import EdgeDriver
from tslt_runtime.engines.protocol import DraftEngine, TargetEngine
from tslt_runtime.seeds import device_rng, session_secret
from tslt_runtime.verifiers.local import LocalVerifier
from tslt_runtime.verifiers.protocol import Verifier
from tslt_wire.frames.codec import KIND_MASK
from tslt_wire.frames.kinds import Kind

FINGERPRINT = bytes(32)


@dataclass(frozen=True, slots=True)
class Step:
    """A frame of a device."""

    frame: bytes
    draft: bool
    """Whether it starts a round."""
    length: int
    """Tokens of the prefix after it."""
    hash: int
    """Of that prefix."""


@dataclass(frozen=True, slots=True)
class Recording:
    """All frames of one session."""

    seed: int
    """Its secret's."""
    steps: tuple[Step, ...]


@dataclass(slots=True)
class Played:
    """What devices were given."""

    tokens: int = 0
    rounds_s: list[float] = field(default_factory=list)
    """Frame in to frame out, for each round."""
    sessions: int = 0
    """Sessions that went to their end."""
    parted: int = 0
    """Sessions that ended early, where a rounding changed a token."""


class _RecordingDriver(EdgeDriver):
    """An edge's driver that keeps what it was sent."""

    steps: list[Step]

    async def step(self, *frames: bytes) -> list[bytes]:
        answer = await super().step(*frames)
        if not hasattr(self, "steps"):
            self.steps = []
        self.steps += [_step_of(frame, self) for frame in frames]
        return answer


def _step_of(frame: bytes, driver: EdgeDriver) -> Step:
    session = driver.session
    return Step(frame, Kind(frame[0] & KIND_MASK).name.startswith("DRAFT"), len(session.prefix), session.prefix_hash)


async def record(
    target: TargetEngine,
    draft: DraftEngine,
    prompts: Sequence[Sequence[int]],
    *,
    tokens: int,
    sampling: tw.Sampling,
    settings: DraftSettings,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Recording]:
    """Run a session of up to ``tokens`` tokens for each of ``prompts``, one after the other."""
    verifier = LocalVerifier(target)
    offered = edge_settings(verifier.facts, FINGERPRINT)
    found = []
    for seed, prompt in enumerate(prompts):
        mine, theirs = pair(LinkOptions())
        driver = _RecordingDriver(verifier, offered, secret=session_secret(seed, 0))
        task = asyncio.create_task(serve_link(theirs, driver))
        hello = tw.Hello(vocab_size=draft.facts.vocab_size, tokenizer=FINGERPRINT, sampling=sampling)
        device = Device(mine, draft.open(), hello, rng=device_rng(seed))
        await device.open()
        await device.prompt(prompt)
        async for _ in device.generate(tokens, settings):
            pass
        await device.close()
        await task
        found.append(Recording(seed, tuple(driver.steps)))
        progress(seed + 1)
    verifier.close()
    return found


async def play(
    verifier: Verifier,
    recordings: Sequence[Recording],
    count: int,
    *,
    seconds: float | None,
    warm_s: float = 0.0,
    think_s: float = 0.0,
) -> tuple[Played, float]:
    """Let ``count`` devices play recordings at once; returns also the seconds.

    Each sends its next frame ``think_s`` seconds after it was answered, 0: at once.

    ``seconds``: for so long, starting over as often as there is time, and nothing counts before ``warm_s`` seconds;
    None: one session each, to its end.
    """
    settings = edge_settings(verifier.facts, FINGERPRINT)
    played, began = Played(), time.perf_counter()
    counts_from = began + (0.0 if seconds is None else warm_s)
    until = float("inf") if seconds is None else counts_from + seconds

    async def device(number: int) -> None:
        await asyncio.sleep(think_s * number / count)  # who pauses does not begin in step with the others
        while True:
            recording = recordings[number % len(recordings)]
            await _play(verifier, settings, recording, played, counts_from, until, think_s)
            number += count
            if seconds is None or time.perf_counter() >= until:
                return

    await asyncio.gather(*(device(number) for number in range(count)))
    return played, (time.perf_counter() - began) if seconds is None else seconds


async def _play(
    verifier: Verifier,
    settings: tw.EdgeSettings,
    recording: Recording,
    played: Played,
    counts_from: float,
    until: float,
    think_s: float,
) -> None:
    driver = EdgeDriver(verifier, settings, secret=session_secret(recording.seed, 0))
    before = 0
    try:
        for step in recording.steps:
            if think_s and step.draft:
                await asyncio.sleep(think_s)
            started = time.perf_counter()
            await driver.step(step.frame)
            ended = time.perf_counter()
            if ended >= until:
                return
            if _step_of(step.frame, driver) != step:
                played.parted += 1
                return
            if step.draft and started >= counts_from:
                played.rounds_s.append(ended - started)
                played.tokens += step.length - before
            before = step.length
        played.sessions += 1
    finally:
        driver.close()
