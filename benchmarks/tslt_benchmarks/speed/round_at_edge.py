"""What a round waits for at an edge beside its own pass of the model: the rest of the edge's work, and others' prompts.

Drafts are recorded beforehand, so that the device asks again as soon as it is answered.  Frame in to frame out:

- alone, for several sampling settings: how much of a round is not the model's pass;
- beside sessions that send one prompt after another for ever;
- beside a single prompt that is long.

    tslt bench round-at-edge --json round_at_edge.json

One process, one thread for the model; ratios are within a run.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import tslt_wire as tw
from tslt_benchmarks.options import (
    add_model_options,
    command_parser,
    output_file,
    require_models,
    whole_number,
    write_json,
)
from tslt_benchmarks.speed.capacity import tokenized
from tslt_benchmarks.speed.recorded_devices import FINGERPRINT, Recording, play, record
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.edge import edge_settings
from tslt_runtime.edge_driver import EdgeDriver
from tslt_runtime.engines.protocol import DraftEngine, TargetEngine, Work
from tslt_runtime.seeds import session_secret
from tslt_runtime.verifiers.local import LocalVerifier

SETTINGS = {
    "plain": tw.Sampling(temperature=0.7),
    "top-p": tw.Sampling(temperature=0.7, top_p=0.9),
    "top-k": tw.Sampling(temperature=0.7, top_k=50),
    "min-p": tw.Sampling(temperature=0.7, min_p=0.05),
    "penalties": tw.Sampling(temperature=0.7, repetition_penalty=1.1, presence_penalty=0.5),
}
"""Sampling settings that rounds are measured with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """Rounds of one device that nobody disturbs; medians."""

    settings: str
    rounds: int
    round_ms: float
    pass_ms: float
    """The engine's own time for the round's pass."""
    outside: float
    """What is left of the round, over the pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbed:
    """Rounds of one device beside others."""

    beside: str
    rounds: int
    p50_ms: float
    p99_ms: float
    most_ms: float
    of_alone: float
    """Median over the median without the others."""
    longest_pass_ms: float
    read: int
    """Tokens of the others' prompts that were read meanwhile."""


class TimedEngine:
    """An engine that keeps what each of its passes took."""

    def __init__(self, engine: TargetEngine) -> None:
        self._engine = engine
        self.facts = engine.facts
        self.passes_s: list[float] = []

    def open(self) -> Any:
        """See ``TargetEngine.open``."""
        return self._engine.open()

    def score(self, work: Sequence[Work]) -> Sequence[Any]:
        """See ``TargetEngine.score``."""
        started = time.perf_counter()
        found = self._engine.score(work)
        self.passes_s.append(time.perf_counter() - started)
        return found


class Flood:
    """Sessions that send prompts; each one is new, and none shares its beginning with another."""

    def __init__(self, verifier: LocalVerifier, length: int) -> None:
        """``length``: tokens of a prompt."""
        self._verifier, self._length = verifier, length
        self._rng = np.random.default_rng(0)
        self._opened = 0

    async def run(self, prompts: int | None) -> None:
        """Send ``prompts`` prompts in one session, or with None prompts for ever."""
        facts = self._verifier.facts
        self._opened += 1
        settings = edge_settings(facts, FINGERPRINT)
        driver = EdgeDriver(self._verifier, settings, secret=session_secret(self._opened, 1))
        device = tw.DeviceSession(tw.Hello(vocab_size=facts.engine.vocab_size, tokenizer=FINGERPRINT))
        try:
            for frame in await driver.step(device.data_to_send()):
                device.receive_data(frame)
            while prompts is None or prompts > 0:
                device.send_prompt(self._rng.integers(0, facts.engine.vocab_size, self._length).tolist())
                await driver.step(device.data_to_send())
                prompts = None if prompts is None else prompts - 1
        finally:
            driver.close()


def recorded(
    target: TargetEngine, draft: DraftEngine, sampling: tw.Sampling, args: argparse.Namespace
) -> list[Recording]:
    """Sessions with ``sampling``, chains of ``--chain`` tokens."""
    settings = DraftSettings(expansion=(1,) * args.chain, temperature=sampling.temperature)
    prompts = tokenized(args.target)[: args.recordings]
    return asyncio.run(record(target, draft, prompts, tokens=args.tokens, sampling=sampling, settings=settings))


def alone(engine: TimedEngine, recordings: Sequence[Recording], name: str) -> Alone:
    """One device after another."""
    verifier = LocalVerifier(engine)
    rounds, passes = [], []
    # A session at a time: its passes, but for the prompt's, are its rounds'.
    for recording in recordings:
        engine.passes_s.clear()
        played, _ = asyncio.run(play(verifier, [recording], 1, seconds=None))
        rounds += played.rounds_s
        passes += engine.passes_s[len(engine.passes_s) - len(played.rounds_s) :]
    verifier.close()
    outside = (np.array(rounds) - np.array(passes)) / np.array(passes)
    return Alone(
        settings=name,
        rounds=len(rounds),
        round_ms=1e3 * float(np.median(rounds)),
        pass_ms=1e3 * float(np.median(passes)),
        outside=float(np.median(outside)),
    )


async def beside(
    engine: TimedEngine, recordings: Sequence[Recording], flooders: int, length: int, prompts: int | None
) -> tuple[list[float], float, int]:
    """Seconds of one device's rounds beside others, of the longest pass, and tokens of the others that were read.

    ``prompts``: how many each of them sends, None for ever.
    """
    verifier = LocalVerifier(engine)
    flood = Flood(verifier, length)
    engine.passes_s.clear()
    tasks = [asyncio.create_task(flood.run(prompts)) for _ in range(flooders)]
    await asyncio.sleep(0)  # their prompts come first
    rounds: list[float] = []
    for recording in recordings:
        rounds += (await play(verifier, [recording], 1, seconds=None))[0].rounds_s
    longest, read = max(engine.passes_s), verifier.counts.prefilled
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    verifier.close()
    return rounds, longest, read


def disturbed(engine: TimedEngine, recordings: Sequence[Recording], args: argparse.Namespace) -> list[Disturbed]:
    """One device without others, beside a flood of prompts, and beside one long prompt."""
    long = min(args.long, engine.facts.context - 1)
    cases = {
        "nobody": (0, 1, None),
        f"{args.flooders} sessions, prompts of {args.prompt} tokens for ever": (args.flooders, args.prompt, None),
        f"one prompt of {long} tokens": (1, long, 1),
    }
    found: list[Disturbed] = []
    for name, (flooders, length, prompts) in cases.items():
        seconds, longest, read = asyncio.run(beside(engine, recordings, flooders, length, prompts))
        rounds = 1e3 * np.array(seconds)
        p50 = float(np.median(rounds))
        found.append(
            Disturbed(
                beside=name,
                rounds=len(rounds),
                p50_ms=p50,
                p99_ms=float(np.quantile(rounds, 0.99)),
                most_ms=float(rounds.max()),
                of_alone=p50 / (found[0].p50_ms if found else p50),
                longest_pass_ms=1e3 * longest,
                read=read,
            )
        )
    return found


def tables(found: Sequence[Alone], others: Sequence[Disturbed]) -> list[Table]:
    """Both results, for people."""
    first = Table("settings", "rounds", "round, ms", "pass, ms", "the rest, % of the pass", title="alone")
    for one in found:
        outside = f"{100 * one.outside:.1f}"
        first.add_row(one.settings, str(one.rounds), f"{one.round_ms:.2f}", f"{one.pass_ms:.2f}", outside)
    names = ("beside", "rounds", "p50, ms", "of alone", "p99, ms", "most, ms", "longest pass, ms", "tokens read")
    second = Table(*names, title="beside others")
    for other in others:
        second.add_row(
            other.beside,
            str(other.rounds),
            f"{other.p50_ms:.1f}",
            f"{other.of_alone:.2f}",
            f"{other.p99_ms:.1f}",
            f"{other.most_ms:.1f}",
            f"{other.longest_pass_ms:.1f}",
            str(other.read),
        )
    return [first, second]


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser, one = command_parser(__doc__), whole_number(1)
    add_model_options(parser)
    parser.add_argument("--recordings", type=one, default=8, metavar="N", help="sessions (%(default)s)")
    parser.add_argument("--tokens", type=one, default=128, metavar="N", help="of a session (%(default)s)")
    parser.add_argument("--chain", type=one, default=4, metavar="N", help="drafted tokens of a round (%(default)s)")
    parser.add_argument("--flooders", type=one, default=6, metavar="N", help="sessions of prompts (%(default)s)")
    parser.add_argument("--prompt", type=one, default=1000, metavar="N", help="tokens of theirs (%(default)s)")
    parser.add_argument("--long", type=one, default=8000, metavar="N", help="tokens of the long prompt (%(default)s)")
    parser.add_argument("--json", type=output_file, help="write the results here")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    args = arguments(argv)
    require_models(args.target, args.draft)
    import torch

    from tslt_runtime.engines.transformers.draft import DraftModel
    from tslt_runtime.engines.transformers.target import TargetModel

    torch.set_num_threads(1)
    engine = TimedEngine(TargetModel.load(args.target, dtype="float32"))
    draft = DraftModel.load(args.draft, dtype="float32")
    found, plain = [], None
    for name, sampling in SETTINGS.items():
        recordings = recorded(engine, draft, sampling, args)
        plain = plain or recordings
        found.append(alone(engine, recordings, name))
        print(f"{name}: {found[-1].round_ms:.2f} ms, of which the pass {found[-1].pass_ms:.2f}", flush=True)
    others = disturbed(engine, plain or [], args)
    console = Console(width=140)
    for table in tables(found, others):
        console.print(table)
    if args.json:
        write_json({"alone": [asdict(one) for one in found], "beside": [asdict(one) for one in others]}, args.json)
    most = max(one.outside for one in found)
    flooded = others[1].of_alone
    print(f"round-at-edge: outside the pass {100 * most:.1f} % at most; beside prompts {flooded:.2f} x alone")


if __name__ == "__main__":
    main()
