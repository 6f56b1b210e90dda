"""Real rounds of a device and an edge, recorded for every choice at the same places of the same texts.

A choice is a way to make evidence and a shape.  What a round puts on the wire and what comes out of it depends neither
on the link nor on a clock, so one record serves all links.  The same seeds at a place for all choices take most of the
noise out of their differences.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tslt_transports import LinkOptions, pair

import tslt_wire as tw
from tslt_benchmarks.links.text_acceptance import Acceptance
from tslt_benchmarks.pairs import Models
from tslt_runtime.autopilot import settings_for
from tslt_runtime.device import Device
from tslt_runtime.edge import edge_settings, serve_link
from tslt_runtime.edge_driver import EdgeDriver
from tslt_runtime.rounds import Round
from tslt_runtime.seeds import device_rng, session_secret
from tslt_runtime.verifiers.local import LocalVerifier
from tslt_wire.messages.extensions import choice_extension
from tslt_wire.throughput import Mode, default_modes
from tslt_wire.throughput.model import shape_counts, widths_of
from tslt_wire.throughput.plan import shape_name

VERSION = 2
CHAINS = tuple((1,) * length for length in (0, 1, 2, 3, 4, 6, 8, 12))
TREES = ((2,), (2, 1), (2, 2), (3, 2, 1), (2, 2, 2), (2, 1, 1, 1), (2, 2, 1, 1, 1, 1))
QUICK_SHAPES = ((), (1,), (1,) * 3, (2, 2))
FIELDS = ("accepted", "tried", "uplink", "downlink", "trips", "draft_s", "verify_s")
Floats = npt.NDArray[np.float64]
EVERYTHING = 1 << 20
"""More tokens than any round makes."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing a device can do in a round."""

    mode: Mode
    expansion: tuple[int, ...]

    @property
    def name(self) -> str:
        """For people, and as a key."""
        return f"{self.mode.name}, {shape_name(self.expansion)}"


@dataclass(frozen=True, slots=True)
class ChoiceRounds:
    """One choice at every place; each float64 (N,)."""

    accepted: Floats
    tried: Floats
    uplink: Floats
    """Bytes, transport included; ``scalar``: with the bytes by which the next draft names the proposal."""
    downlink: Floats
    trips: Floats
    draft_s: Floats
    """Seconds, measured."""
    verify_s: Floats

    @property
    def rejected(self) -> npt.NDArray[np.bool_]:
        """Whether a token was rejected."""
        return self.tried > self.accepted


@dataclass(slots=True)
class RecordedRounds:
    """All that was recorded."""

    choices: list[Choice]
    rounds: dict[Choice, ChoiceRounds]
    acceptance: Acceptance
    """Of the same two models, on texts like these."""
    handshake: tuple[int, int]
    """Bytes of HELLO and WELCOME."""
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def modes(self) -> list[Mode]:
        """Each once."""
        return list(dict.fromkeys(choice.mode for choice in self.choices))

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Each once."""
        return list(dict.fromkeys(choice.expansion for choice in self.choices))

    def save(self, path: Path) -> None:
        """Write as JSON."""
        document = {
            "version": VERSION,
            "handshake": self.handshake,
            "meta": self.meta,
            "text": self.acceptance.text.tolist(),
            "alphas": {name: rows.round(5).tolist() for name, rows in self.acceptance.alphas.items()},
            "rounds": {
                choice.name: {name: getattr(found, name).tolist() for name in FIELDS}
                for choice, found in self.rounds.items()
            },
        }
        path.write_text(json.dumps(document), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> RecordedRounds:
        """Read what ``save`` wrote; ValueError for another version, or for choices that are no longer there."""
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["version"] != VERSION:
            raise ValueError(
                f"{path.name} is a file of recorded rounds of version {document['version']}, not {VERSION}"
            )
        meta = document["meta"]
        shapes = [tuple(shape) for shape in meta["shapes"]]
        known = choices_of(meta["vocab_size"], meta["temperature"], shapes, meta["max_entries"])
        by_name = {choice.name: choice for choice in known}
        if set(by_name) != set(document["rounds"]):
            raise ValueError(f"{path.name} has other choices than this version of the benchmark")
        rounds = {
            by_name[name]: ChoiceRounds(**{key: np.array(values, np.float64) for key, values in found.items()})
            for name, found in document["rounds"].items()
        }
        alphas = {name: np.array(rows, np.float64) for name, rows in document["alphas"].items()}
        acceptance = Acceptance(np.array(document["text"], np.int64), alphas)
        return cls(known, rounds, acceptance, tuple(document["handshake"]), meta)


def choices_of(
    vocab_size: int, temperature: float, shapes: Sequence[tuple[int, ...]], max_entries: int
) -> list[Choice]:
    """Every mode of the planner's catalogue with every shape that fits it and an edge with this limit."""
    parents = shape_counts(widths_of(shapes))[1]
    return [
        Choice(mode, shape)
        for mode in default_modes(vocab_size, temperature=temperature)
        for shape, lists in zip(shapes, parents, strict=True)
        if max(shape, default=1) <= len(mode.alphas) and lists * mode.entries <= max_entries
    ]


@dataclass(slots=True)
class PromptedModels:
    """Two models and the prompts to start from, as the target's tokens."""

    models: Models
    prompts: list[list[int]]

    @classmethod
    def of(cls, models: Models, prompts: Sequence[str], *, room: int = 192) -> PromptedModels:
        """Tokenize ``prompts``; ``room``: tokens of texts and drafts behind them at most."""
        return cls(models, [models.prompt_tokens(prompt, room=room) for prompt in prompts])


def choice_bytes(vocab_size: int) -> int:
    """Bytes by which a DRAFT is longer if it names a proposal that was taken."""
    profile = tw.Profile(vocab_size=vocab_size)
    at: dict[str, Any] = {"round": 200, "prefix_length": 200, "prefix_hash": 0, "tree": tw.TokenTree([], [])}
    plain, naming = (
        tw.encode(tw.Draft(**at, evidence=tw.MatchEvidence(), extensions=extensions), profile)
        for extensions in ((), (choice_extension(3),))
    )
    return len(naming) - len(plain)


class Recorder:
    """A device and an edge in one process that run a round of any choice at any place."""

    def __init__(self, models: Models, *, temperature: float, seed: int) -> None:
        """Needs a running event loop; ``close`` ends it."""
        self._seed = seed
        self._device_rng = device_rng(seed)
        mine, theirs = pair(LinkOptions())
        self._verifier = LocalVerifier(models.target.engine)
        settings = edge_settings(self._verifier.facts, models.offered)
        driver = EdgeDriver(self._verifier, settings, secret=session_secret(seed, 0))
        self._task = asyncio.create_task(serve_link(theirs, driver))
        hello = models.hello(tw.Sampling(temperature=temperature))
        text, vocabulary = models.draft.engine.open(), models.vocabulary
        self.device = Device(mine, text, hello, rng=self._device_rng, vocabulary=vocabulary)
        self._choice_bytes = choice_bytes(models.vocab_size)

    async def close(self) -> None:
        """End the session."""
        await self.device.close()
        await self._task
        self._verifier.close()

    async def text(self, prompt: Sequence[int], tokens: int) -> list[int]:
        """``prompt`` and up to ``tokens`` of the target's own."""
        plain = settings_for(default_modes()[0], ())
        await self.device.prompt(prompt)
        while len(self.device.session.prefix) < len(prompt) + tokens:
            if (found := await self.device.round(EVERYTHING, plain)) is None or found.end:
                break
        return list(self.device.session.prefix)

    async def run_round(self, choice: Choice, prefix: Sequence[int], place: int) -> Round:
        """One round of ``choice`` after ``prefix``, which is place number ``place``."""
        known, keep = self.device.session.prefix, 0
        while keep < min(len(known), len(prefix)) and known[keep] == prefix[keep]:
            keep += 1
        await self.device.prompt(prefix[keep:], keep=keep)
        self._device_rng.bit_generator.state = device_rng(self._seed + place).bit_generator.state
        found = await self.device.round(EVERYTHING, settings_for(choice.mode, choice.expansion))
        if found is None:
            raise RuntimeError(f"no room for a round after {len(prefix)} tokens")
        return found

    def row(self, choice: Choice, found: Round) -> tuple[float, ...]:
        """What ``ChoiceRounds`` keeps of a round, in the order of ``FIELDS``."""
        named = self._choice_bytes * (choice.mode.evidence == "scalar" and found.tried > len(found.accepted))
        up, down = found.uplink_bytes + named, found.downlink_bytes
        return (len(found.accepted), found.tried, up, down, found.trips, found.draft_s, found.verify_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingSettings:
    """What is recorded, and where."""

    temperature: float
    """Of the target."""
    places: int
    """Places in texts at which a round of every choice is run."""
    tokens: int
    """Up to so many tokens behind a prompt."""
    shapes: tuple[tuple[int, ...], ...]
    """Expansion configurations."""
    seed: int
    warm_up: bool = True
    """Whether each choice has a round first that does not count: times are only worth something with it."""


async def record(
    prompted: PromptedModels,
    settings: RecordingSettings,
    acceptance: Acceptance,
    progress: Callable[[int], None] = lambda _: None,
) -> RecordedRounds:
    """Run a round of every choice at places of texts that the target wrote.

    ``acceptance``: what goes with the rounds.
    """
    models, prompts = prompted.models, prompted.prompts[: settings.places]
    temperature, places, seed = settings.temperature, settings.places, settings.seed
    recorder = Recorder(models, temperature=temperature, seed=seed)
    limits = (await recorder.device.open()).limits
    choices = choices_of(models.vocab_size, temperature, settings.shapes, limits.max_entries)
    shaken = recorder.device.handshake
    rows: dict[Choice, list[tuple[float, ...]]] = {choice: [] for choice in choices}
    done = 0
    for number, prompt in enumerate(prompts):
        text = await recorder.text(prompt, settings.tokens)
        mine = range(number, places, len(prompts))
        for nth, place in enumerate(mine):
            prefix = text[: len(prompt) + (len(text) - len(prompt)) * nth // max(1, len(mine))]
            if done == 0 and settings.warm_up:
                for choice in choices:
                    await recorder.run_round(choice, prefix, place)
            # Another order each time, so that a busy moment of the machine does not always hit the same choice.
            for index in np.random.default_rng([seed, place]).permutation(len(choices)).tolist():
                choice = choices[index]
                rows[choice].append(recorder.row(choice, await recorder.run_round(choice, prefix, place)))
            done += 1
            progress(done)
    await recorder.close()
    rounds = {choice: ChoiceRounds(*np.array(found, np.float64).T) for choice, found in rows.items()}
    meta = {
        "temperature": temperature,
        "places": places,
        "tokens": settings.tokens,
        "seed": seed,
        "shapes": [list(shape) for shape in settings.shapes],
        "vocab_size": models.vocab_size,
        "max_entries": limits.max_entries,
        "target": models.target.engine.facts.model,
        "draft": models.draft.engine.facts.model,
        "backend": tw.backend,
    }
    return RecordedRounds(choices, rounds, acceptance, (shaken.uplink_bytes, shaken.downlink_bytes), meta)
