"""The report: what a split of two models costs and gives, measured on them, on one page.

Runs the sections of ``tslt_benchmarks.sections``, keeps each one's figures in the output folder, and writes
``report.html``, ``report.json`` and plots there.  A run that was stopped goes on where it was; figures of other
settings, models, versions or machines are never mixed in.

    tslt report --quick                                     # the pair that ships with a checkout
    tslt report --draft draft.gguf --target target.gguf --prompts prompts.jsonl
    tslt report --logits logits.npz --draft-ms 8 --target-ms 40
    python -m tslt_benchmarks.report_command --help
"""

from __future__ import annotations

import argparse
import hashlib
import shlex
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from textwrap import fill

from rich.console import Console

from tslt_benchmarks.drafts import Drafts
from tslt_benchmarks.options import above_zero, command_parser, input_file, whole_number, zero_or_more
from tslt_benchmarks.report.context import Context
from tslt_benchmarks.report.output import HTML, About, document, read, write
from tslt_benchmarks.report.progress import Progress
from tslt_benchmarks.report.provenance import commit, machine, versions
from tslt_benchmarks.report.runner import run
from tslt_benchmarks.report.section import Section
from tslt_benchmarks.report.store import Store
from tslt_benchmarks.report_inputs import Inputs, add_input_options, inputs_for, kept_drafts, wrong_inputs
from tslt_benchmarks.sections import SECTIONS
from tslt_wire.throughput import Compute

PROGRAM = "python -m tslt_benchmarks.report_command"
"""What runs this, if ``tslt report`` does not."""


def arguments(argv: Sequence[str] | None, prog: str | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(__doc__)
    if prog:
        parser.prog = prog
    add_input_options(parser, input_file)
    parser.add_argument("--temperature", type=zero_or_more, default=1.0, help="of the target (%(default)s)")
    parser.add_argument(
        "--seed", type=whole_number(0), default=0, help="of all random numbers: texts, places, rounds (%(default)s)"
    )
    parser.add_argument("--threads", type=whole_number(1), default=1, help="of each model (%(default)s)")
    times = parser.add_argument_group("model times", "in place of those of this machine")
    times.add_argument("--draft-ms", type=above_zero, help="a drafted token on the device")
    times.add_argument("--target-ms", type=above_zero, help="a pass of the target")
    times.add_argument("--node-ms", type=zero_or_more, default=0.0, help="what a pass takes longer for a drafted token")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="fewer of everything: 2.5 minutes in place of 20 with the pair that ships, on two cores",
    )
    names = [section.name for section in SECTIONS]
    parser.epilog = fill(f"names of sections: {', '.join(names)}", 79, break_on_hyphens=False)
    parser.add_argument(
        "--sections", nargs="+", metavar="NAME", choices=names, help="these, and what they need; names are below"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("tslt-report"), metavar="FOLDER", help="made if need be (%(default)s)"
    )
    parser.add_argument(
        "--page-only", action="store_true", help="measure nothing: make the page anew from the output folder's JSON"
    )
    args = parser.parse_args(argv)
    if (args.draft_ms is None) != (args.target_ms is None):
        parser.error("--draft-ms and --target-ms go together")
    if not args.page_only and (wrong := wrong_inputs(args)):
        parser.error(wrong)
    return args


def chosen(names: Sequence[str] | None) -> list[Section]:
    """The sections with these names, and those that they use, in the page's order; all if there are no names."""
    if not names:
        return list(SECTIONS)
    wanted = set(names)
    while more := {used for section in SECTIONS if section.name in wanted for used in section.uses} - wanted:
        wanted |= more
    return [section for section in SECTIONS if section.name in wanted]


def key_of(args: argparse.Namespace, inputs: Inputs) -> dict[str, str]:
    """All that figures of this run depend on."""
    key = {
        "run": "quick" if args.quick else "full",
        "seed": str(args.seed),
        "temperature": f"{args.temperature:g}",
        **inputs.key,
        "commit": commit(),
        **machine(),
        "threads": str(args.threads),
        **versions(),
    }
    if args.draft_ms is not None:
        key["times"] = f"draft {args.draft_ms:g} ms, target {args.target_ms:g} ms and {args.node_ms:g} ms a node"
    return key


def main(argv: Sequence[str] | None = None, *, prog: str | None = None) -> int:
    """Measure what is not measured yet, and write the report; 1 if a section failed."""
    args = arguments(argv, prog)
    folder: Path = args.output
    if args.page_only:
        write(folder, SECTIONS, read(folder, SECTIONS))
        print(folder / HTML)
        return 0
    if find_spec("torch"):  # else llama.cpp runs the models, or there are none
        import torch

        torch.set_num_threads(args.threads)
    inputs = inputs_for(args)
    key = key_of(args, inputs)
    of_drafts = hashlib.sha256(repr(sorted(key.items())).encode()).hexdigest()[:16]
    sections = chosen(args.sections)
    store = Store(folder / "sections")

    def drafts(tell: Callable[[int, int], None]) -> Drafts:
        make: Callable[[], Drafts] = lambda: inputs.make_drafts(lambda: context.models, tell)  # noqa: E731
        return kept_drafts(folder, of_drafts, make) if inputs.load_models else make()

    context = Context(
        quick=args.quick,
        seed=args.seed,
        temperature=args.temperature,
        prompts=inputs.prompts,
        folder=folder,
        load_models=inputs.load_models,
        make_drafts=drafts,
        times=None if args.draft_ms is None else _given(args),
    )
    with Progress(Console(stderr=True)) as progress:
        outcome = run(sections, context, store, key, progress)
    command = f"{prog or PROGRAM} {shlex.join(sys.argv[1:] if argv is None else argv)}"
    about = About(models=inputs.line, notes=inputs.notes, command=command, key=key)
    write(folder, sections, document(sections, outcome, about))
    print(folder / HTML)
    return 1 if outcome.failed else 0


def _given(args: argparse.Namespace) -> Compute:
    return Compute(draft_s=args.draft_ms / 1e3, verify_s=args.target_ms / 1e3, verify_node_s=args.node_ms / 1e3)


if __name__ == "__main__":
    sys.exit(main())
