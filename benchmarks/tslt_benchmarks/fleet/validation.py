"""The simulation against real runs: the same users at a real edge, its scheduler and its sessions, on one machine.

What passes take is learnt in runs of some numbers of users that never pause, and what comes out is predicted for other
numbers, who take their time between rounds.  Devices are recordings (``speed.recorded_devices``): they cost nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import tslt_wire as tw
from tslt_benchmarks.fleet.simulation import NEAR, Habit, Service, Use, simulate
from tslt_benchmarks.links.sleeping_models import CONTEXT, VOCAB_SIZE, SleepingDraft, SleepingTarget, made_up_tables
from tslt_benchmarks.speed.recorded_devices import Recording, play, record
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.engines.protocol import DraftEngine, EngineFacts, TargetEngine
from tslt_runtime.limits import EdgeLimits
from tslt_runtime.scheduler import Pass
from tslt_runtime.verifiers.local import LocalVerifier
from tslt_wire.throughput import chain_tokens

LEARNT, CHECKED = (1, 6, 24), ((2, 0.0), (3, 0.02), (8, 0.05), (12, 0.0), (16, 0.1), (32, 0.2))
"""Users that the times of passes are learnt with; users and the seconds they pause that are predicted."""
WARM_S = 1.0
CHAIN = 4
"""Of the drafts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One prediction."""

    users: int
    think_s: float
    tokens_s: float
    """Measured."""
    predicted_tokens_s: float
    p50_ms: float
    predicted_p50_ms: float

    @property
    def off(self) -> float:
        """By how much the worse of the two is off, as a part."""
        pairs = ((self.tokens_s, self.predicted_tokens_s), (self.p50_ms, self.predicted_p50_ms))
        return max(abs(predicted / measured - 1) for measured, predicted in pairs)


def learnt(passes: Sequence[Pass], rounds_s: float = 0.0) -> Service:
    """What passes take, of those that were seen: the middle of each size, and a straight line through these."""
    sizes = sorted({each.rows for each in passes})
    middle = {rows: float(np.median([each.seconds for each in passes if each.rows == rows])) for rows in sizes}
    often = np.array([sum(each.rows == rows for each in passes) for rows in sizes], float)
    times = np.array([middle[rows] for rows in sizes])
    # Relative errors count, as often as a size came.
    row_s, pass_s = np.polyfit(sizes, times, 1, w=np.sqrt(often) / times)
    spread = [np.log(each.seconds / (pass_s + row_s * each.rows)) for each in passes]
    jitter = float(np.subtract(*np.quantile(spread, [0.84, 0.16])) / 2)
    return Service(pass_s=max(float(pass_s), 1e-6), row_s=max(float(row_s), 1e-9), jitter=jitter, more_s=rounds_s)


async def _run(
    engine: TargetEngine, recordings: Sequence[Recording], users: int, think_s: float, seconds: float
) -> tuple[float, float, list[Pass]]:
    """Tokens a second, the median of a round in seconds, and all passes."""
    passes: list[Pass] = []
    verifier = LocalVerifier(engine, limits=EdgeLimits(share_least=0), on_pass=passes.append)
    played, took = await play(verifier, recordings, users, seconds=seconds, warm_s=WARM_S, think_s=think_s)
    verifier.close()
    return played.tokens / took, float(np.median(played.rounds_s)), passes


def check(
    engine: TargetEngine,
    recordings: Sequence[Recording],
    *,
    chain: int,
    seconds: float,
    learn: Sequence[int] = LEARNT,
    checked: Sequence[tuple[int, float]] = CHECKED,
) -> tuple[Service, list[Check]]:
    """Learn, predict and compare."""
    passes: list[Pass] = []
    rest = []
    for users in learn:
        _, p50, seen = asyncio.run(_run(engine, recordings, users, 0.0, seconds))
        passes += seen
        if users == min(learn):
            rest.append(p50 - float(np.median([each.seconds for each in seen if each.rows <= 2 + chain])))
    service = learnt(passes, max(0.0, min(rest)))
    drafts = [step for recording in recordings for step in recording.steps if step.draft]
    rounds = len(drafts) / len(recordings)
    first = [next(step.length for step in recording.steps if step.length) for recording in recordings]
    tokens = float(np.mean([recording.steps[-1].length for recording in recordings])) - float(np.mean(first))
    found = []
    for users, think_s in checked:
        tokens_s, p50, _ = asyncio.run(_run(engine, recordings, users, think_s, seconds))
        habit = Habit(
            name="recorded",
            link=NEAR,
            draft_s=think_s,
            chain=chain,
            alpha=_alpha_of(tokens / rounds, chain),
            up=0.0,
            down=0.0,
        )
        use = Use(prompt=round(float(np.mean(first))), tokens=round(tokens))
        predicted = simulate(service, [habit], use, devices=users, seconds=30.0, warm_s=WARM_S)
        found.append(
            Check(
                users=users,
                think_s=think_s,
                tokens_s=tokens_s,
                predicted_tokens_s=predicted.tokens / predicted.seconds,
                p50_ms=1e3 * p50,
                predicted_p50_ms=1e3 * predicted.quantile(0.5),
            )
        )
    return service, found


def _alpha_of(tokens: float, chain: int) -> float:
    """The acceptance at which a round of a chain brings so many tokens, 1 + a + a^2 + ... + a^chain."""
    low, high = 0.0, 1.0
    while high - low > 1e-6:
        alpha = (low + high) / 2
        low, high = (alpha, high) if chain_tokens(alpha, chain) < tokens else (low, alpha)
    return low


def check_paced(seconds: float) -> list[Check]:
    """With passes that sleep, so that it does not matter what else this machine does, as long as it wakes in time."""
    target, draft = made_up_tables(0.8, 1.0, 0)

    class Draft:
        facts = EngineFacts(model="draft", vocab_size=VOCAB_SIZE, context=CONTEXT)

        def open(self) -> SleepingDraft:
            return SleepingDraft(draft, 0.0)

    prompts = [[number, *range(8)] for number in range(16)]
    recordings = _recorded(SleepingTarget(target, 0.0), Draft(), prompts)
    return check(SleepingTarget(target, 0.03, 0.0005), recordings, chain=CHAIN, seconds=seconds)[1]


def check_pair(seconds: float) -> list[Check]:
    """With the default pair, on one thread of this machine."""
    import torch

    from tslt_benchmarks.options import DRAFT, TARGET, require_models
    from tslt_benchmarks.speed.capacity import tokenized
    from tslt_runtime.engines.transformers.draft import DraftModel
    from tslt_runtime.engines.transformers.target import TargetModel

    require_models(TARGET, DRAFT)
    torch.set_num_threads(1)
    target, draft = TargetModel.load(TARGET, dtype="float32"), DraftModel.load(DRAFT, dtype="float32")
    return check(target, _recorded(target, draft, tokenized(TARGET)[:16]), chain=CHAIN, seconds=seconds)[1]


def _recorded(target: TargetEngine, draft: DraftEngine, prompts: Sequence[Sequence[int]]) -> list[Recording]:
    settings = DraftSettings(expansion=(1,) * CHAIN, temperature=1.0)
    return asyncio.run(record(target, draft, prompts, tokens=64, sampling=tw.Sampling(), settings=settings))
