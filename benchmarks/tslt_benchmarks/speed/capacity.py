"""How many devices one edge serves: tokens a second, times of a round, CPU and memory, for 1, 2, 4 ... devices at once.

Drafts are recorded beforehand, so that the devices cost nothing and ask again as soon as they are answered.  Beside it
the same engine that decodes for the same users alone, all of them in each pass, without speculation and with its own.

    tslt bench capacity --json capacity.json --png capacity.png
    tslt bench capacity --once --devices 32 --tokens 500 --cache-memory 64 --recordings 4 --alone

One process, one thread for the model; ratios are within a run.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import tslt_wire as tw
from tslt_benchmarks.options import (
    above_zero,
    add_model_options,
    command_parser,
    output_file,
    require_models,
    whole_number,
    write_json,
    zero_or_more,
)
from tslt_benchmarks.prompts import read_prompts
from tslt_benchmarks.speed.decoding_alone import Users
from tslt_benchmarks.speed.recorded_devices import Recording, play, record
from tslt_runtime.commands.convert import convert
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.engines.protocol import DraftEngine, TargetEngine
from tslt_runtime.limits import EdgeLimits
from tslt_runtime.verifiers.local import LocalVerifier

ENGINES = ("transformers", "llama.cpp")
DEVICES = (1, 2, 4, 8, 16, 32, 64)
ENOUGH = 10.0
"""Tokens a second that a user wants: faster than most people read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """Of one engine, one way of decoding, and a number of users."""

    engine: str
    way: str
    """"split" with devices, "alone" without speculation, "own drafts" with the engine's own."""
    users: int
    tokens_s: float
    """Tokens a second, of all together."""
    cpu_ms: float
    """CPU milliseconds of the process for a token."""
    p50_ms: float
    """Median of a round, or of a step; NaN if none was over."""
    p99_ms: float
    cache_mb: float
    """Memory for keys and values, for each user; NaN where it is not counted."""
    texts: float
    """Texts in a pass, the mean."""
    evictions: int = 0
    waits: int = 0
    sessions: int = 0
    """Sessions that went to their end."""
    parted: int = 0
    """Sessions that ended where a rounding changed a token."""


@dataclass(frozen=True, slots=True)
class Engines:
    """A pair in one engine."""

    name: str
    target: TargetEngine
    draft: DraftEngine


def load(name: str, target: Path, draft: Path, folder: Path, cache_bytes: int) -> Engines:
    """The pair in engine ``name``, in float32; ``folder``: for converted files; ``cache_bytes``: of all texts."""
    if name == "transformers":
        import torch

        from tslt_runtime.engines.transformers.draft import DraftModel
        from tslt_runtime.engines.transformers.target import TargetModel

        torch.set_num_threads(1)
        return Engines(name, TargetModel.load(target, dtype="float32"), DraftModel.load(draft, dtype="float32"))
    from tslt_runtime.engines.llamacpp.draft import LlamaDraft
    from tslt_runtime.engines.llamacpp.target import LlamaTarget

    files = {source: folder / f"{source.name}-{number}.gguf" for number, source in enumerate((target, draft))}
    for source, file in files.items():
        convert(source, file, dtype="float32")
    return Engines(name, LlamaTarget(files[target], cache_bytes=cache_bytes), LlamaDraft(files[draft]))


async def split(engines: Engines, recordings: Sequence[Recording], users: int, args: argparse.Namespace) -> Capacity:
    """The edge with ``users`` devices."""
    limits = EdgeLimits(cache_bytes=args.cache_memory << 20, rows=args.max_rows, share_least=0)
    verifier = LocalVerifier(engines.target, limits=limits)
    cpu = time.process_time()
    seconds = None if args.once else args.seconds
    warm_s = 0.0 if args.once else args.warm_up
    played, took = await play(verifier, recordings, users, seconds=seconds, warm_s=warm_s)
    cpu = (time.process_time() - cpu) * took / (took + warm_s)
    counts = verifier.counts
    verifier.close()
    rounds = [1e3 * round_s for round_s in played.rounds_s]
    return Capacity(
        engine=engines.name,
        way="split",
        users=users,
        tokens_s=played.tokens / took,
        cpu_ms=1e3 * cpu / max(1, played.tokens),
        p50_ms=_quantile(rounds, 0.5),
        p99_ms=_quantile(rounds, 0.99),
        cache_mb=counts.most_cache_bytes / users / 2**20,
        texts=counts.texts / max(1, counts.passes),
        evictions=counts.evictions,
        waits=counts.waits,
        sessions=played.sessions,
        parted=played.parted,
    )


def alone(
    engines: Engines, prompts: Sequence[Sequence[int]], users: int, args: argparse.Namespace, own: bool
) -> Capacity:
    """The engine that decodes for ``users`` users itself; ``own``: with its own drafts."""
    them = Users(
        engines.target,
        engines.draft if own else None,
        [prompts[user % len(prompts)] for user in range(users)],
        tokens=args.tokens,
        sampling=sampling_of(args),
        settings=settings_of(args),
    )
    them.run(args.warm_up)
    steps = []
    tokens, took, cpu = 0, 0.0, 0.0
    while took < args.seconds:
        more, seconds, spent = them.run(0.0001)  # one step
        steps.append(seconds * 1e3)
        tokens, took, cpu = tokens + more, took + seconds, cpu + spent
    them.close()
    return Capacity(
        engine=engines.name,
        way="own drafts" if own else "alone",
        users=users,
        tokens_s=tokens / took,
        cpu_ms=1e3 * cpu / tokens,
        p50_ms=_quantile(steps, 0.5),
        p99_ms=_quantile(steps, 0.99),
        cache_mb=float("nan"),
        texts=float(users),
    )


def _quantile(values: Sequence[float], part: float) -> float:
    return float(np.quantile(values, part)) if values else math.nan


def sampling_of(args: argparse.Namespace) -> tw.Sampling:
    """The target's settings."""
    return tw.Sampling(temperature=args.temperature, top_p=args.top_p)


def settings_of(args: argparse.Namespace) -> DraftSettings:
    """The draft's: a chain."""
    return DraftSettings(expansion=(1,) * args.chain, temperature=args.temperature)


def recorded(
    engines: Engines,
    prompts: Sequence[Sequence[int]],
    args: argparse.Namespace,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Recording]:
    """A session behind each of ``prompts``, as the command line has it."""
    return asyncio.run(
        record(
            engines.target,
            engines.draft,
            prompts,
            tokens=args.tokens,
            sampling=sampling_of(args),
            settings=settings_of(args),
            progress=progress,
        )
    )


def measure(args: argparse.Namespace, say: Any) -> list[Capacity]:
    """All that was asked for, in turn."""
    found = []
    for name in args.engine:
        with tempfile.TemporaryDirectory() as folder:
            engines = load(name, args.target, args.draft, Path(folder), args.cache_memory << 20)
            prompts = tokenized(args.target)[: min(args.recordings, max(args.devices))]
            say(f"{name}: recording {len(prompts)} sessions of {args.tokens} tokens")
            recordings = recorded(engines, prompts, args)
            for users in args.devices:
                found.append(asyncio.run(split(engines, recordings, users, args)))
                say(line(found[-1]))
                for way in args.alone:
                    found.append(alone(engines, prompts, users, args, own=way == "own"))
                    say(line(found[-1]))
    return found


def tokenized(target: Path) -> list[list[int]]:
    """The benchmarks' prompts."""
    from tslt_runtime.engines.transformers.checkpoint import load_tokenizer

    tokenizer = load_tokenizer(str(target))
    return [[int(token) for token in tokenizer(prompt)["input_ids"]] for prompt in read_prompts()]


# -------------------------------------------------------------------------------------------------------------- output


def line(one: Capacity) -> str:
    """One measurement, while others are made."""
    return f"{one.engine} {one.way}, {one.users}: {one.tokens_s:.0f} tokens/s, p50 {one.p50_ms:.0f} ms"


def rates(found: Sequence[Capacity], engine: str, way: str) -> dict[int, float]:
    """Tokens a second of all users together, by their number."""
    return {one.users: one.tokens_s for one in found if (one.engine, one.way) == (engine, way)}


def served(rate: dict[int, float], each: float = ENOUGH) -> float:
    """How many users get ``each`` tokens a second: where the straight line between two numbers of users crosses it.

    Where all of them get more, as many as the last rate would serve: more than were tried.  0 if not even one does.
    """
    users = sorted(rate)
    last = 0.0
    for low, high in zip([0, *users], users, strict=False):
        if rate[high] >= each * high:
            last = float(high)
            continue
        if low == 0:
            return 0.0
        # rate(n) = a + b n between the two, and rate(n) = each n.
        slope = (rate[high] - rate[low]) / (high - low)
        return (rate[low] - slope * low) / (each - slope)
    return max(last, rate[users[-1]] / each) if users else 0.0


def table(found: Sequence[Capacity], engine: str) -> Table:
    """Everything about one engine."""
    out = Table(title=f"{engine}: one edge, one thread for the model", title_justify="left")
    names = ("way", "users", "tokens/s", "of one", "p50 ms", "p99 ms", "CPU ms/token", "texts/pass", "cache MB/user")
    for name in (*names, "evicted", "ended", "parted"):
        out.add_column(name, justify="right")
    for one in found:
        if one.engine != engine:
            continue
        first = min(rates(found, engine, one.way).items())[1]
        out.add_row(
            one.way,
            str(one.users),
            f"{one.tokens_s:.0f}",
            f"{one.tokens_s / first:.2f}",
            f"{one.p50_ms:.0f}",
            f"{one.p99_ms:.0f}",
            f"{one.cpu_ms:.2f}",
            f"{one.texts:.1f}",
            "" if np.isnan(one.cache_mb) else f"{one.cache_mb:.1f}",
            *(map(str, (one.evictions, one.sessions, one.parted)) if one.way == "split" else ("", "", "")),
        )
    return out


def headline(found: Sequence[Capacity]) -> str:
    """What the split brings, in a line an engine."""
    said = []
    for engine in dict.fromkeys(one.engine for one in found):
        ways = {one.way: served(rates(found, engine, one.way)) for one in found if one.engine == engine}
        parts = ", ".join(f"{way} {users:.0f}" for way, users in ways.items())
        said.append(f"capacity: {engine}: users at {ENOUGH:g} tokens/s each: {parts}")
    return "\n".join(said)


def draw(found: Sequence[Capacity], path: Path) -> None:
    """Tokens a second against users, a picture an engine."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    engines = list(dict.fromkeys(one.engine for one in found))
    with mpl.rc_context({"font.size": 9}):
        figure = Figure(figsize=(5 * len(engines), 3.6), layout="constrained")
        for axes, engine in zip(figure.subplots(1, len(engines), squeeze=False)[0], engines, strict=True):
            users = sorted({one.users for one in found if one.engine == engine})
            for way in dict.fromkeys(one.way for one in found if one.engine == engine):
                rate = rates(found, engine, way)
                axes.plot(list(rate), list(rate.values()), marker="o", label=way)
            axes.plot(users, [ENOUGH * n for n in users], color="#707070", linestyle=(0, (5, 2)), linewidth=1)
            axes.annotate(f"{ENOUGH:g} tokens/s each", (users[0], ENOUGH * users[0]), color="#707070")
            axes.set(xscale="log", xticks=users, xlabel="users at once", ylabel="tokens a second", title=engine)
            axes.set_xticklabels([str(n) for n in users])
            axes.set_ylim(bottom=0)
            axes.legend(frameon=False)
        figure.savefig(path, dpi=140)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(__doc__)
    add_model_options(parser)
    one, above = whole_number(1), above_zero
    parser.add_argument("--engine", nargs="+", choices=ENGINES, default=list(ENGINES), help="(both)")
    parser.add_argument("--devices", nargs="+", type=one, default=list(DEVICES), metavar="N", help="(1 2 4 ... 64)")
    parser.add_argument("--alone", nargs="*", choices=["plain", "own"], default=["plain", "own"], help="(both)")
    parser.add_argument("--seconds", type=above, default=8.0, metavar="S", help="for each number (%(default)s)")
    parser.add_argument("--warm-up", type=zero_or_more, default=2.0, metavar="S", help="before (%(default)s)")
    once = "a session for each device to its end, or to where a rounding changed a token (parted)"
    parser.add_argument("--once", action="store_true", help=once)
    several = "sessions; more devices play some of them twice, and share nothing all the same (%(default)s)"
    parser.add_argument("--recordings", type=one, default=16, metavar="N", help=several)
    parser.add_argument("--tokens", type=one, default=64, metavar="N", help="of a session (%(default)s)")
    parser.add_argument("--chain", type=one, default=4, metavar="N", help="drafted tokens of a round (%(default)s)")
    parser.add_argument("--temperature", type=zero_or_more, default=1.0, help="of both models (%(default)s)")
    parser.add_argument("--top-p", type=above, default=1.0, help="of the target (%(default)s)")
    limits = EdgeLimits()
    parser.add_argument(
        "--cache-memory", type=one, default=limits.cache_bytes >> 20, metavar="MB", help="(%(default)s)"
    )
    parser.add_argument("--max-rows", type=one, default=limits.rows, metavar="N", help="of a pass (%(default)s)")
    parser.add_argument("--json", type=output_file, help="write the results here")
    parser.add_argument("--png", type=output_file, help="draw them here")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    args = arguments(argv)
    require_models(args.target, args.draft)
    console = Console(width=120)
    found = measure(args, lambda said: print(said, flush=True))
    for engine in args.engine:
        console.print(table(found, engine))
    if args.json:
        settings = {
            name: getattr(args, name) for name in ("seconds", "once", "tokens", "chain", "temperature", "top_p")
        }
        settings |= {"cache_memory": args.cache_memory, "max_rows": args.max_rows}
        write_json({"settings": settings, "capacity": [asdict(one) for one in found]}, args.json)
    if args.png:
        draw(found, args.png)
    print(headline(found))


if __name__ == "__main__":
    main()
