"""How long a draft and a pass of the target take in llama.cpp, beside transformers with packed layers.

Medians of the thread's CPU time over interleaved rounds, one thread each, in milliseconds; and what a process that only
drafts takes until its first row: memory and CPU seconds, a process each.  What is drawn and sent is not counted.

    python -m tslt_benchmarks.speed.engines --json engines.json

GGUF files are made of the folders by ``tslt convert``, with matrices and cache in float32 or in float16.  Absolute
numbers are this machine's; ratios are within this run.
"""

from __future__ import annotations

import argparse
import functools
import json
import subprocess
import sys
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
    add_model_options,
    command_parser,
    output_file,
    require_models,
    whole_number,
    write_json,
)
from tslt_runtime.commands.convert import convert
from tslt_runtime.engines.protocol import Node, Work
from tslt_wire.messages.token_tree import expansion_parents

BASELINE = "transformers"
DTYPES = {"llama.cpp float32": "float32", "llama.cpp float16": "float16"}
"""Of matrices and cache, by contender."""
CONTENDERS = (BASELINE, *DTYPES)
DRAFTS = ((1,), (1,) * 4, (2, 2, 2))
TREES = ((), (1,) * 4, (2, 2, 2), (2,) * 5)
HEADLINE = "draft", (1,) * 4
PROMPT = 64
"""Tokens before the first round."""
ROUNDS_OF_A_TEXT = 50
"""Rounds before the text starts over: each adds a token and a path."""
WARM_UP = 3


@dataclass(frozen=True, slots=True)
class Timing:
    """Of one contender at one work."""

    work: str
    """``draft`` or ``target``."""
    expansion: tuple[int, ...]
    contender: str
    milliseconds: float
    """Median CPU time of a round."""


@dataclass(frozen=True, slots=True)
class Start:
    """What a process takes that loads a draft model and computes one row."""

    contender: str
    megabytes: float
    """Most memory that was resident."""
    cpu_s: float


def load(contender: str, kind: str, path: Path) -> Any:
    """The engine of a contender; ``kind``: "draft" or "target"."""
    if contender == BASELINE:
        import torch

        from tslt_runtime.engines.transformers.draft import DraftModel
        from tslt_runtime.engines.transformers.target import TargetModel

        torch.set_num_threads(1)
        return (DraftModel if kind == "draft" else TargetModel).load(path)
    from tslt_runtime.engines.llamacpp.draft import LlamaDraft
    from tslt_runtime.engines.llamacpp.target import LlamaTarget

    return (LlamaDraft if kind == "draft" else LlamaTarget)(path, kv=DTYPES[contender])


def drafting(engine: Any, expansion: Sequence[int]) -> Callable[[int], None]:
    """A round on a device: all nodes but the leaves through the model, then the first path is accepted."""
    parents = expansion_parents(expansion)
    leaves = len(parents) - int(np.prod(expansion))
    starts = np.cumsum([0, *np.cumprod(expansion)])
    levels = [range(starts[d], starts[d + 1]) for d in range(len(expansion) - 1)]
    path = [int(start) for start in starts[:-1] if start < leaves]
    text, rng = engine.open(), np.random.default_rng(0)
    prompt = rng.integers(0, engine.facts.vocab_size, PROMPT).tolist()

    def one(round_: int) -> None:
        if round_ % ROUNDS_OF_A_TEXT == 0:
            text.set_prefix(prompt)
        text.expand(())
        for level in levels:
            text.expand([Node(parents[node], 5 + node) for node in level])
        text.commit(path, 100 + round_ % ROUNDS_OF_A_TEXT)

    return one


def scoring(engine: Any, expansion: Sequence[int]) -> Callable[[int], None]:
    """A round at an edge: a token and a tree in one pass, then the first path is accepted."""
    parents = expansion_parents(expansion)
    tree = tw.TokenTree([5 + node for node in range(len(parents))], parents)
    path = tree.path(len(tree) - 1) if len(tree) else ()
    text, rng = engine.open(), np.random.default_rng(0)
    engine.score([Work(text, rng.integers(0, engine.facts.vocab_size, PROMPT).tolist(), None)])

    def one(round_: int) -> None:
        if round_ % ROUNDS_OF_A_TEXT == 0:
            text.truncate(PROMPT)
        engine.score([Work(text, [100 + round_ % ROUNDS_OF_A_TEXT], tree)])
        text.commit(path)

    return one


def measure(works: dict[str, Callable[[int], None]], rounds: int) -> dict[str, float]:
    """Median CPU milliseconds of each, interleaved: what slows the machine for a while slows all of them."""
    times: dict[str, list[int]] = {name: [] for name in works}
    for round_ in range(WARM_UP + rounds):
        for name, work in works.items():
            start = time.thread_time_ns()
            work(round_)
            times[name].append(time.thread_time_ns() - start)
    return {name: float(np.median(spent[WARM_UP:])) / 1e6 for name, spent in times.items()}


def resident_megabytes() -> float:
    """Most memory of this process that was resident so far; NaN where there is no ``/proc``.

    (``getrusage`` counts what the parent had before this program was started.)
    """
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="ascii").splitlines() if status.is_file() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), float("nan"))


def start_of(contender: str, path: Path) -> Start:
    """Load a draft model in a process of its own."""
    code = (
        "import json, sys, time\nfrom pathlib import Path\n"
        "from tslt_benchmarks.speed.engines import load, resident_megabytes\n"
        f"text = load({contender!r}, 'draft', Path({str(path)!r})).open()\ntext.set_prefix([1, 2])\ntext.expand(())\n"
        "print(json.dumps([resident_megabytes(), time.process_time()]))"
    )
    # The folders of this process, which need not be installed.
    command = [sys.executable, "-c", f"import sys\nsys.path[:] = {sys.path!r}\n{code}"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    megabytes, cpu_s = json.loads(done.stdout.splitlines()[-1])
    return Start(contender, megabytes, cpu_s)


def run(target: Path, draft: Path, rounds: int) -> tuple[list[Timing], list[Start]]:
    """Convert, load and measure."""
    with tempfile.TemporaryDirectory() as folder:

        @functools.cache
        def file_of(contender: str, source: Path) -> Path:
            if contender == BASELINE:
                return source
            path = Path(folder) / f"{source.name}-{DTYPES[contender]}.gguf"
            convert(source, path, dtype=DTYPES[contender])
            return path

        timings = []
        for kind, source, expansions, work in (
            ("draft", draft, DRAFTS, drafting),
            ("target", target, TREES, scoring),
        ):
            engines = {name: load(name, kind, file_of(name, source)) for name in CONTENDERS}
            for expansion in expansions:
                found = measure({name: work(engine, expansion) for name, engine in engines.items()}, rounds)
                timings += [Timing(kind, expansion, name, spent) for name, spent in found.items()]
        return timings, [start_of(name, file_of(name, draft)) for name in CONTENDERS]


# -------------------------------------------------------------------------------------------------------------- output


def tables(timings: Sequence[Timing], starts: Sequence[Start]) -> list[Table]:
    """Times of rounds; memory and time until the first row."""
    rounds = Table(title="a round; milliseconds of CPU, medians, and of transformers' time", title_justify="left")
    for name in ("", "expansion", *CONTENDERS):
        rounds.add_column(name, justify="right")
    for work, expansion in dict.fromkeys((t.work, t.expansion) for t in timings):
        cells = [f"{spent:.1f} ({ratio:.2f})" for spent, ratio in ratios(timings, work, expansion).values()]
        rounds.add_row(work, f"<{','.join(map(str, expansion))}>", *cells)
    ready = Table(title="a draft model's process until its first row", title_justify="left")
    for name in ("", "MB resident", "CPU s"):
        ready.add_column(name, justify="right")
    for start in starts:
        ready.add_row(start.contender, f"{start.megabytes:.0f}", f"{start.cpu_s:.1f}")
    return [rounds, ready]


def ratios(timings: Sequence[Timing], work: str, expansion: Sequence[int]) -> dict[str, tuple[float, float]]:
    """Milliseconds of each contender at one work, and the part of transformers' that they are."""
    found = {t.contender: t.milliseconds for t in timings if (t.work, t.expansion) == (work, tuple(expansion))}
    return {name: (spent, spent / found[BASELINE]) for name, spent in found.items()}


def headline(timings: Sequence[Timing], starts: Sequence[Start]) -> str:
    """A chain of four, in a line."""
    found = ratios(timings, *HEADLINE)
    memory = {start.contender: start.megabytes for start in starts}
    parts = [f"{name} {found[name][1]:.2f} x, {memory[name]:.0f} MB" for name in CONTENDERS]
    return f"engines: draft, chain of four: {'; '.join(parts)}"


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(__doc__)
    add_model_options(parser)
    parser.add_argument("--rounds", type=whole_number(1), default=100, help="of each contender (%(default)s)")
    parser.add_argument("--json", type=output_file, help="write the results here")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    args = arguments(argv)
    require_models(args.target, args.draft)
    timings, starts = run(args.target, args.draft, args.rounds)
    console = Console(width=110)
    for table in tables(timings, starts):
        console.print(table)
    if args.json:
        write_json(
            {"timings": [asdict(t) for t in timings], "starts": [asdict(s) for s in starts], "rounds": args.rounds},
            args.json,
        )
    print(headline(timings, starts))


if __name__ == "__main__":
    main()
