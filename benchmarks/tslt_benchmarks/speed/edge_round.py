"""How long an edge takes between its model's logits and the verdict, beside what a softmax of the same rows takes.

Logits are a torch tensor, float32 (1 + nodes, V).  ``tslt`` is ``target_rows`` and ``verify``, for ``scalar`` with its
20 proposals, for ``lazy`` with the answer to the list.  The others are given, in one piece, just the rows that were
looked at: ``softmax`` is ``torch.softmax``, ``transformers`` its logits processors for the same settings and a softmax
(``TopPLogitsWarper`` sorts the vocabulary; it has no presence and frequency penalties), ``copy`` a plain copy.  The
evidence ``coupled`` needs a number for each token: its race is also timed alone, on rows that are made already.

One thread; milliseconds of its CPU time, medians over rounds and repetitions, all contenders of a case in turn in each;
a ratio is the median of the ratios of the times in one turn.
What a contender is given is written anew just before, as by a model; ``transformers`` has turns of its own, behind the
others, as its sort leaves nothing in the caches for whoever comes next.  Rows and drafts are made up
(``speed.made_up_rounds`` says how); ``--logits FILE.npy`` takes rows of your own, real (N, V), and drafts on them with
noise.  Memory is the peak beside the logits, of one round (``speed.round_memory`` says how).

    python -m tslt_benchmarks.speed.edge_round --json edge_round.json
"""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from rich.console import Console
from rich.table import Table

import tslt_wire as tw
from tslt_benchmarks.options import command_parser, input_file, output_file, whole_number, write_json
from tslt_benchmarks.speed.made_up_rounds import COUPLING, SETTINGS, SHAPES, Round, evidence_for, make_round
from tslt_benchmarks.speed.round_memory import peaks, rows_for

SCHEMA_VERSION = 1
VOCAB_SIZES = (32_000, 128_256, 151_936)
HEADLINE = 128_256, "chain of 4"
QUICK_VOCAB_SIZES, QUICK_SHAPES, QUICK_SETTINGS, QUICK_ROUNDS = (
    VOCAB_SIZES[:1],
    ("chain of 4", "<2,2,2>"),
    ("plain", "top-p"),
    3,
)
OURS, RACE, THEIRS = "tslt", "race", "transformers"
YARDSTICKS = ("softmax", THEIRS, "copy")
_WIDTH = 130
"""Columns of a terminal that the tables need."""

Contender = Callable[[], int]
"""Does its work once; returns the nanoseconds that it took."""


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of evidence and one setting, on rows of one size and drafts of one shape."""

    vocab_size: int
    shape: str
    evidence: str
    setting: str
    rows: float
    """Rows that were looked at, mean over rounds; of 1 + nodes."""
    milliseconds: dict[str, float]
    """By contender; ``race`` for coupled alone."""
    ratios: dict[str, float]
    """Our time over that of each other contender; for coupled also ``softmax, without race``: less the race's time."""
    peak_bytes: int | None
    """Memory of one round beside the logits; None where it cannot be read."""


class LookedAt(Sequence[tw.TargetRow]):
    """Target rows that remember which of them were looked at."""

    def __init__(self, rows: Sequence[tw.TargetRow]) -> None:
        self._rows = rows
        self.seen: set[int] = set()
        """Their numbers."""

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._rows)

    def __getitem__(self, at: Any) -> Any:
        """Row ``at``."""
        self.seen.add(range(len(self))[at])
        return self._rows[at]


def looked_at(round_: Round, logits: Any, setting: str) -> list[int]:
    """The rows that ``round_`` looks at, ascending: those that its contenders are given."""
    rows = LookedAt(round_.target_rows(logits, SETTINGS[setting]))
    round_.answer(rows, round_.generator())
    return sorted(rows.seen)


# ---------------------------------------------------------------------------------------------------------- contenders


def ours(round_: Round, logits: Any, setting: str) -> Contender:
    """From logits to the last answer."""

    def run() -> int:
        rng = round_.generator()
        start = time.thread_time_ns()
        round_.answer(round_.target_rows(logits, SETTINGS[setting]), rng)
        return time.thread_time_ns() - start

    return run


def race(round_: Round, logits: Any, setting: str, seen: Sequence[int]) -> Contender:
    """The races of coupled alone: each row is made when its race starts."""
    depths = (0, *round_.draft.tree.depths)

    def no_draft(row: int) -> tw.Draft:
        tree = tw.TokenTree((), ())
        length = round_.draft.prefix_length + depths[row]
        return tw.Draft(round=0, prefix_length=length, prefix_hash=0, tree=tree, evidence=tw.CoupledEvidence())

    drafts = [(row, no_draft(row)) for row in seen]

    def run() -> int:
        rng, spent = round_.generator(), 0
        rows = round_.target_rows(logits, SETTINGS[setting])
        for row, draft in drafts:
            made = [rows[row]]
            made[0].prob(0)
            start = time.thread_time_ns()
            tw.verify(draft, made, rng, coupling=COUPLING)
            spent += time.thread_time_ns() - start
        return spent

    return run


def processors(sampling: tw.Sampling) -> transformers.LogitsProcessorList:
    """What transformers does for the same settings, in its order."""
    found: list[Any] = []
    if sampling.repetition_penalty != 1:
        found.append(transformers.RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
    found.append(transformers.TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k:
        found.append(transformers.TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        found.append(transformers.TopPLogitsWarper(sampling.top_p))
    if sampling.min_p:
        found.append(transformers.MinPLogitsWarper(sampling.min_p))
    return transformers.LogitsProcessorList(found)


def just_written(logits: Any, contender: Contender) -> Contender:
    """A contender whose ``logits`` are written right before it starts, outside its time."""

    def run() -> int:
        logits.mul_(1)
        return contender()

    return run


def timed(work: Callable[[], Any]) -> Contender:
    """A contender whose work needs nothing to be made ready."""

    def run() -> int:
        start = time.thread_time_ns()
        work()
        return time.thread_time_ns() - start

    return run


def contenders(round_: Round, logits: Any, setting: str, seen: Sequence[int]) -> dict[str, Contender]:
    """All of them, for one round."""
    rows = logits[list(seen)]
    text = torch.tensor(round_.rows.text).expand(len(seen), -1)
    theirs = processors(SETTINGS[setting])
    found = {
        OURS: ours(round_, logits, setting),
        "softmax": timed(lambda: torch.softmax(rows, dim=-1)),
        THEIRS: timed(lambda: torch.softmax(theirs(text, rows), dim=-1)),
        "copy": timed(rows.clone),
    }
    if isinstance(round_.draft.evidence, tw.CoupledEvidence):
        found[RACE] = race(round_, logits, setting, seen)
    given = {OURS: logits, RACE: logits}
    return {name: just_written(given.get(name, rows), work) for name, work in found.items()}


# ----------------------------------------------------------------------------------------------------------- measuring


def turns(found: dict[str, Contender], count: int, first: int) -> Iterator[dict[str, int]]:
    """Nanoseconds of all contenders, ``count`` times; who starts changes from turn to turn, from ``first`` on."""
    names = list(found)
    for turn in range(first, first + count):
        at = turn % len(names)
        spent = {name: found[name]() for name in names[at:] + names[:at]}
        yield {name: spent[name] for name in names}


def summed_up(taken: Sequence[dict[str, int]]) -> tuple[dict[str, float], dict[str, float]]:
    """Median milliseconds by contender, and median ratios, of the times of all turns."""
    times = {name: np.array([turn[name] for turn in taken], np.float64) for name in taken[0]}
    ratios = {name: float(np.median(times[OURS] / spent)) for name, spent in times.items() if name != OURS}
    if RACE in times:
        ratios["softmax, without race"] = float(np.median((times[OURS] - times[RACE]) / times["softmax"]))
    return {name: float(np.median(spent)) / 1e6 for name, spent in times.items()}, ratios


def measure(
    vocab_size: int,
    shape: str,
    settings: Sequence[str],
    *,
    rounds: int,
    repetitions: int,
    own: Path | None = None,
) -> Iterable[Case]:
    """All cases of one size and one shape; each round has rows of its own, which all cases share."""
    taken: dict[tuple[str, str], list[dict[str, int]]] = {}
    seen: dict[tuple[str, str], list[int]] = {}
    for seed in range(rounds):
        rows = rows_for(vocab_size, shape, seed, own)
        for evidence in evidence_for(shape):
            round_ = make_round(rows, evidence, shape)
            logits = torch.from_numpy(round_.rows.target)
            for setting in settings:
                which = looked_at(round_, logits, setting)
                found = contenders(round_, logits, setting, which)
                for work in found.values() if seed == 0 else ():
                    work()  # caches fill
                others = {name: work for name, work in found.items() if name != THEIRS}
                first = list(turns(others, repetitions, seed * repetitions))
                last = turns({THEIRS: found[THEIRS]}, repetitions, 0)
                taken.setdefault((evidence, setting), []).extend(a | b for a, b in zip(first, last, strict=True))
                seen.setdefault((evidence, setting), []).append(len(which))
    memory = peaks(vocab_size, shape, own=own, settings=settings)
    for (evidence, setting), times in taken.items():
        touched = float(np.mean(seen[evidence, setting]))
        yield Case(vocab_size, shape, evidence, setting, touched, *summed_up(times), memory.get((evidence, setting)))


# -------------------------------------------------------------------------------------------------------------- output


def table(cases: Sequence[Case], title: str) -> Table:
    """The cases of one size and one shape."""
    out = Table(title=title, title_justify="left")
    for name in ("evidence", "beside T = .7"):
        out.add_column(name)
    for name in ("rows", "tslt", "softmax", "race", *(f"x {name}" for name in YARDSTICKS), "x softmax less race", "MB"):
        out.add_column(name, justify="right")
    for case in cases:
        spent, ratios = case.milliseconds, case.ratios
        out.add_row(
            case.evidence,
            case.setting,
            f"{case.rows:.1f}",
            *(f"{spent[name]:.2f}" if name in spent else "" for name in (OURS, "softmax", RACE)),
            *(f"{ratios[name]:.2f}" for name in YARDSTICKS),
            f"{ratios['softmax, without race']:.2f}" if RACE in spent else "",
            "" if case.peak_bytes is None else f"{case.peak_bytes / 1e6:.1f}",
            end_section=case is cases[-1] or case.evidence != cases[cases.index(case) + 1].evidence,
        )
    return out


def worst(cases: Sequence[Case], vocab_size: int, shape: str, *, coupled: bool = False) -> dict[str, float]:
    """For each setting the largest ratio over softmax of any evidence, ``coupled`` apart."""
    found: dict[str, float] = {}
    for case in cases:
        if (case.vocab_size, case.shape, case.evidence == "coupled") == (vocab_size, shape, coupled):
            found[case.setting] = max(found.get(case.setting, 0), case.ratios["softmax"])
    return found


def worst_table(cases: Sequence[Case]) -> Table:
    """Largest ratios over softmax for each size and shape."""
    settings = list(dict.fromkeys(case.setting for case in cases))
    out = Table(
        title="tslt over softmax of the rows looked at: the largest of all evidence but coupled; coupled",
        title_justify="left",
    )
    for name in ("V", "draft", *settings):
        out.add_column(name, justify="right")
    for vocab_size, shape in dict.fromkeys((case.vocab_size, case.shape) for case in cases):
        most, races = worst(cases, vocab_size, shape), worst(cases, vocab_size, shape, coupled=True)
        out.add_row(f"{vocab_size:,}", shape, *(f"{most[name]:.2f}; {races[name]:.2f}" for name in settings))
    return out


def markdown(cases: Sequence[Case]) -> str:
    """What a page shows: ``worst_table``, and every kind of evidence of one size and one shape."""
    settings = list(dict.fromkeys(case.setting for case in cases))
    lines = ["| V | draft | " + " | ".join(settings) + " |", "|---|---|" + "---|" * len(settings)]
    for vocab_size, shape in dict.fromkeys((case.vocab_size, case.shape) for case in cases):
        most, races = worst(cases, vocab_size, shape), worst(cases, vocab_size, shape, coupled=True)
        cells = [f"{most[name]:.1f} ({races[name]:.1f})" for name in settings]
        lines.append(f"| {vocab_size:,} | `{shape}` | " + " | ".join(cells) + " |")
    place = headline_place(cases)
    lines += ["", "| evidence | " + " | ".join(settings) + " |", "|---|" + "---|" * len(settings)]
    here = {(case.evidence, case.setting): case for case in cases if (case.vocab_size, case.shape) == place}
    for evidence in dict.fromkeys(evidence for evidence, _ in here):
        of = [here[evidence, setting] for setting in settings]
        cells = [
            f"{case.milliseconds[OURS]:.2f} ms, {case.ratios['softmax']:.1f}, {case.ratios['transformers']:.2f}"
            for case in of
        ]
        lines.append(f"| `{evidence}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def headline_place(cases: Sequence[Case]) -> tuple[int, str]:
    """Size and shape that are spoken of."""
    places = [(case.vocab_size, case.shape) for case in cases]
    return HEADLINE if HEADLINE in places else places[0]


def headline(cases: Sequence[Case]) -> str:
    """The last line printed, for machines: the largest ratios of one size and shape."""
    vocab_size, shape = headline_place(cases)
    found = " ".join(f"{name}={value:.2f}" for name, value in worst(cases, vocab_size, shape).items())
    return f"edge_round: V={vocab_size} {shape.replace(' ', '-')}, over softmax at worst: {found}"


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(__doc__)
    parser.add_argument("--vocab-size", type=whole_number(100), nargs="+", help="tokens, of made-up rows")
    parser.add_argument(
        "--logits", type=input_file, help=".npy of rows of your own, real (N, V), in place of made-up ones"
    )
    parser.add_argument("--rounds", type=whole_number(1), help="different rows and drafts of each case (16)")
    parser.add_argument("--repetitions", type=whole_number(1), default=3, help="of each round (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="V = 32,000, two shapes, two settings, three rounds")
    parser.add_argument("--json", type=output_file, help="write all cases")
    parser.add_argument("--markdown", type=output_file, help="write the tables of benchmarks/speed.md")
    args = parser.parse_args(argv)
    args.rounds = args.rounds or (QUICK_ROUNDS if args.quick else 16)
    args.shapes, args.settings = (QUICK_SHAPES, QUICK_SETTINGS) if args.quick else (tuple(SHAPES), tuple(SETTINGS))
    if args.logits:
        own = np.load(args.logits, mmap_mode="r")
        if own.ndim != 2 or own.dtype.kind != "f" or not own.size:
            parser.error(f"--logits must be real (N, V), got {own.dtype} {own.shape}")
        args.vocab_size = [own.shape[1]]
    args.vocab_size = args.vocab_size or list(QUICK_VOCAB_SIZES if args.quick else VOCAB_SIZES)
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    args = arguments(argv)
    torch.set_num_threads(1)
    console = Console()
    cases: list[Case] = []
    for vocab_size in args.vocab_size:
        for shape in args.shapes:
            with console.status(f"V = {vocab_size:,}, {shape}"):
                counts = {"rounds": args.rounds, "repetitions": args.repetitions}
                found = list(measure(vocab_size, shape, args.settings, **counts, own=args.logits))
            title = f"V = {vocab_size:,}, {shape}; milliseconds of CPU, and tslt over others (x), medians"
            Console(width=max(console.width, _WIDTH)).print(table(found, title))
            cases += found
    Console(width=max(console.width, _WIDTH)).print(worst_table(cases))
    if args.json:
        versions = {name: importlib.metadata.version(name) for name in ("numpy", "torch", "transformers")}
        result = {
            "benchmark": "edge_round",
            "schema": SCHEMA_VERSION,
            "backend": tw.backend,
            "unit": "milliseconds of CPU time",
            "versions": {"tslt_wire": tw.__version__, "python": platform.python_version(), **versions},
            "machine": platform.processor() or platform.machine(),
            "settings": {
                "vocab_sizes": args.vocab_size,
                "shapes": {name: SHAPES[name] for name in args.shapes},
                "sampling": {name: SETTINGS[name].in_force() for name in args.settings},
                "rounds": args.rounds,
                "repetitions": args.repetitions,
                "logits": "own" if args.logits else "made up",
            },
            "cases": [asdict(case) for case in cases],
        }
        write_json(result, args.json)
    if args.markdown:
        args.markdown.write_text(markdown(cases), encoding="utf-8")
    print(headline(cases))
    if tw.backend != "native":
        raise SystemExit("this is the reference backend: there is no native kernel here to make claims about")


if __name__ == "__main__":
    main()
