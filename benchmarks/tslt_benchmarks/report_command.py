"""The report: what a split of two models costs and gives, measured on them, on one page.

Runs the sections of ``tslt_benchmarks.sections``, keeps each one's figures in the output folder, and writes
``report.html``, ``report.json`` and plots there.  A run that was stopped goes on where it was; figures of other
settings, models, versions or machines are never mixed in.

    tslt report --quick                                     # the pair that ships with a checkout
    tslt report --draft draft.gguf --target target.gguf --prompts prompts.jsonl
    python -m tslt_benchmarks.report_command --help
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from tslt_benchmarks.drafting import Settings, make_drafts
from tslt_benchmarks.drafts import Drafts, load_drafts, save_drafts
from tslt_benchmarks.options import (
    DRAFT,
    TARGET,
    command_parser,
    input_file,
    require_models,
    whole_number,
    zero_or_more,
)
from tslt_benchmarks.pairs import Models, files_hash
from tslt_benchmarks.prompts import PROMPTS, read_prompts
from tslt_benchmarks.report.context import Context
from tslt_benchmarks.report.output import HTML, About, document, read, write
from tslt_benchmarks.report.progress import Progress
from tslt_benchmarks.report.provenance import commit, machine, versions
from tslt_benchmarks.report.runner import Outcome, run
from tslt_benchmarks.report.section import Section
from tslt_benchmarks.report.store import Store
from tslt_benchmarks.sections import SECTIONS

QUICK = Settings(lists=96, rounds=16, tokens=32)
FULL = Settings(lists=256, rounds=48, tokens=48)


def arguments(argv: Sequence[str] | None, prog: str | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(__doc__)
    if prog:
        parser.prog = prog
    parser.add_argument("--target", type=Path, default=TARGET, metavar="PATH", help="a folder, or a .gguf file")
    parser.add_argument("--draft", type=Path, default=DRAFT, metavar="PATH", help="a folder, or a .gguf file")
    parser.add_argument(
        "--target-tokenizer", type=Path, metavar="PATH", help="in place of the one that the target comes with"
    )
    parser.add_argument("--prompts", type=input_file, default=PROMPTS, metavar="FILE", help="what texts begin with")
    parser.add_argument("--temperature", type=zero_or_more, default=1.0, help="of the target (%(default)s)")
    parser.add_argument("--seed", type=whole_number(0), default=0)
    parser.add_argument("--quick", action="store_true", help="a quarter of an hour, with fewer of everything")
    parser.add_argument("--sections", nargs="+", metavar="NAME", choices=[s.name for s in SECTIONS], help="these alone")
    parser.add_argument(
        "--output", type=Path, default=Path("tslt-report"), metavar="FOLDER", help="made if need be (%(default)s)"
    )
    parser.add_argument(
        "--page-only", action="store_true", help="measure nothing: make the page anew from the output folder's JSON"
    )
    return parser.parse_args(argv)


def chosen(names: Sequence[str] | None) -> list[Section]:
    """The sections with these names, and those that they use, in the page's order; all if there are no names."""
    if not names:
        return list(SECTIONS)
    wanted = set(names)
    while more := {used for section in SECTIONS if section.name in wanted for used in section.uses} - wanted:
        wanted |= more
    return [section for section in SECTIONS if section.name in wanted]


def kept_drafts(folder: Path, key: str, make: Callable[[], Drafts]) -> Drafts:
    """Drafts that this run, stopped before, has made already; else ``make`` them, in place of other runs'."""
    path = folder / f"drafts-{key}.npz"
    if path.exists():
        return load_drafts(path)
    for old in folder.glob("drafts-*.npz"):
        old.unlink()
    drafts = make()
    part = path.with_suffix(".part")
    save_drafts(drafts, part)
    part.replace(path)
    return drafts


def main(argv: Sequence[str] | None = None, *, prog: str | None = None) -> int:
    """Measure what is not measured yet, and write the report; 1 if a section failed."""
    import torch

    args = arguments(argv, prog)
    console = Console(stderr=True)
    if args.page_only:
        write(args.output, SECTIONS, read(args.output, SECTIONS))
        print(args.output / HTML)
        return 0
    require_models(args.target, args.draft)
    prompts = read_prompts(args.prompts)
    settings = QUICK if args.quick else FULL
    key = {
        "run": "quick" if args.quick else "full",
        "seed": str(args.seed),
        "temperature": f"{args.temperature:g}",
        "target": f"{args.target.name}, SHA-256 {files_hash(args.target)}",
        "draft": f"{args.draft.name}, SHA-256 {files_hash(args.draft)}",
        "prompts": f"{len(prompts)}, SHA-256 {hashlib.sha256(args.prompts.read_bytes()).hexdigest()}",
        "commit": commit(),
        **machine(),
        "threads": str(torch.get_num_threads()),
        **versions(),
    }
    if args.target_tokenizer:
        key["target's tokenizer"] = f"{args.target_tokenizer.name}, SHA-256 {files_hash(args.target_tokenizer)}"
    of_drafts = hashlib.sha256(repr(sorted(key.items())).encode()).hexdigest()[:16]

    def load_models() -> Models:
        return Models.load(args.target, args.draft, target_tokenizer=args.target_tokenizer)

    def drafts(tell: Callable[[int, int], None]) -> Drafts:
        return kept_drafts(folder, of_drafts, lambda: make_drafts(context.models, settings, prompts, tell))

    folder = args.output
    store = Store(folder / "sections")
    context = Context(
        quick=args.quick,
        seed=args.seed,
        temperature=args.temperature,
        prompts=tuple(prompts),
        folder=folder,
        load_models=load_models,
        make_drafts=drafts,
    )
    sections = chosen(args.sections)
    with Progress(console) as progress:
        outcome: Outcome = run(sections, context, store, key, progress)
    about = About(models=f"{args.draft.name} drafts for {args.target.name}", notes=(), key=key)
    write(folder, sections, document(sections, outcome, about))
    print(folder / HTML)
    return 1 if outcome.failed else 0


if __name__ == "__main__":
    sys.exit(main())
