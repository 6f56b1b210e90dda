"""Which mistakes of a decoder the vectors let through: small changes to the reference decoder, one at a time.

Each mutant runs the vectors that reach what was changed, in a process of its own, until one tells: another value or
error, an exception, or more time or memory than it may take.  ``equivalent_mutants.json`` says of those that no vector
can tell from the decoder why that is so.  The exit status is 1 if others survive.
"""

from __future__ import annotations
import __future__

import argparse
import ast
import copy
import gc
import hashlib
import json
import mmap
import os
import random
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

from spec.mutations import CHANGED, Mutation, changed, mutations
from spec.vector_checks import CHECKS, VECTORS, Vector, vectors

SPEC = Path(__file__).resolve().parent
SOURCE = SPEC / "reference_decoder.py"
STATM = Path("/proc/self/statm")
EXPLAINED = SPEC / "equivalent_mutants.json"
SKIPPED = frozenset({"main", "answer", "decompress"})  # the command line; the zstd library, which differs by Python
NEW = "mutant"  # the flag of vectors that were made because a mutant survived
MEMORY = 1 << 30  # bytes that a mutant may take above what the decoder takes
LATE = __future__.annotations.compiler_flag
SECONDS = 0.5  # of CPU time that a vector may take, besides ten times that of the decoder
Json = dict[str, Any]


class Program:
    """The decoder: its syntax tree, and the code of each statement of the module."""

    def __init__(self, source: str) -> None:
        self.tree = ast.parse(source)
        self.codes = [compiled(node) for node in self.tree.body]

    def run(self, mutation: Mutation | None = None) -> Json:
        """The names of the module, with one change to it."""
        codes = self.codes
        if mutation is not None:
            mutation.swap()
            codes = [*codes[: mutation.root], compiled(self.tree.body[mutation.root]), *codes[mutation.root + 1 :]]
            mutation.swap()
        names: Json = {"__name__": "mutant", CHANGED: changed}
        for code in codes:
            exec(code, names)  # noqa: S102
        return names


def compiled(node: ast.stmt) -> CodeType:
    """The code of one statement of the module."""
    module = ast.fix_missing_locations(ast.Module([node], []))
    code: CodeType = compile(module, "mutant", "exec", flags=LATE, dont_inherit=True)
    return code


class Reached(ast.NodeTransformer):
    """Marks each statement of a function, before it runs, as reached."""

    def __init__(self) -> None:
        self.places: list[ast.stmt] = []

    def mark(self, original: ast.AST, marked: ast.AST) -> None:
        """Put marks into ``marked``, a copy of ``original``."""
        for field, value in ast.iter_fields(original):
            if not isinstance(value, list) or not value or not isinstance(value[0], (ast.stmt, ast.ExceptHandler)):
                continue
            body = []
            for node, twin in zip(value, getattr(marked, field), strict=True):
                self.mark(node, twin)
                if isinstance(node, ast.stmt) and not isinstance(node, ast.ImportFrom):
                    body.append(ast.parse(f"_reached.add({len(self.places)})").body[0])
                    self.places.append(node)
                body.append(twin)
            setattr(marked, field, body)


@dataclass(frozen=True, slots=True)
class Costs:
    """What the decoder does with each vector."""

    seconds: list[float]
    reached: dict[ast.stmt, frozenset[int]]
    """By statement: the vectors that reach it."""
    at_start: frozenset[ast.stmt]
    """Statements that run when the module is loaded."""


def measured(program: Program, tests: Sequence[Vector], *, all_of_them: bool) -> Costs:
    """Run the vectors once, large ones if ``all_of_them``: else these reach everything, and take a second.

    RuntimeError if the decoder fails one.
    """
    marked, marks, reached = copy.deepcopy(program.tree), Reached(), set[int]()
    for node, twin in zip(program.tree.body, marked.body, strict=True):
        marks.mark(node, twin)
    names: Json = {"__name__": "mutant", "_reached": reached}
    for node in marked.body:
        exec(compiled(node), names)  # noqa: S102
    at_start = frozenset(marks.places[place] for place in reached)
    seconds: list[float] = []
    found: dict[ast.stmt, set[int]] = {node: set() for node in marks.places}
    for i, test in enumerate(tests):
        if test.large and not all_of_them:
            seconds.append(1.0)
            for numbers in found.values():
                numbers.add(i)
            continue
        reached.clear()
        for value in names.values():  # what is cached would not be reached again
            getattr(value, "cache_clear", int)()
        start = time.process_time()
        if not test.holds(names):
            raise RuntimeError(f"the decoder itself fails {test.id}")
        seconds.append(time.process_time() - start)
        for place in reached:
            found[marks.places[place]].add(i)
    return Costs(seconds, {node: frozenset(numbers) for node, numbers in found.items()}, at_start)


class Candidates:
    """Which vectors may tell a mutant, and in which order."""

    def __init__(self, program: Program, tests: Sequence[Vector], costs: Costs, *, new_last: bool) -> None:
        self.program, self.costs = program, costs
        self.is_late = [new_last and NEW in test.flags for test in tests]
        self.everything = frozenset(range(len(tests)))
        self.killers: dict[str, Counter[int]] = {}

    def reaching(self, mutation: Mutation) -> frozenset[int]:
        """The vectors that can run into the change."""
        if mutation.statement is not None:
            here = mutation.statement
            return self.everything if here in self.costs.at_start else self.costs.reached.get(here, frozenset())
        return self.using(self.program.tree.body[mutation.root])

    def using(self, definition: ast.stmt) -> frozenset[int]:
        """The vectors that reach a statement which uses a name that the module's statement defines."""
        names = {n.id for n in ast.walk(definition) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        found: set[int] = set()
        for node in self.program.tree.body:
            if node is definition or not uses(node, names):
                continue
            if not isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                return self.everything
            for part in ast.walk(node):
                if part in self.costs.at_start and uses(part, names):
                    return self.everything
                if isinstance(part, ast.stmt) and part is not node and uses(part, names):
                    found |= self.costs.reached.get(part, frozenset())
        return frozenset(found)

    def ordered(self, mutation: Mutation) -> list[int]:
        """Those that told others here first, then the cheap ones; new vectors last, to see what they are worth."""
        killed = self.killers.get(mutation.scope, Counter())
        cost = self.costs.seconds
        return sorted(self.reaching(mutation), key=lambda i: (self.is_late[i], cost[i] / (1 + 4 * killed[i]), i))

    def remember(self, mutation: Mutation, killer: int) -> None:
        """The vector told a mutant."""
        self.killers.setdefault(mutation.scope, Counter())[killer] += 1


def uses(node: ast.AST, names: set[str]) -> bool:
    """Whether one of the names is in the node."""
    return any(isinstance(part, ast.Name) and part.id in names for part in ast.walk(node))


def judge(
    program: Program, tests: Sequence[Vector], costs: Costs, mutation: Mutation, order: Sequence[int], at: Any
) -> bool:
    """In a process of its own: whether a vector tells the mutant.  ``at`` holds the number of the one that runs."""
    if STATM.exists():  # elsewhere the limit of time has to do
        most = int(STATM.read_text().split()[0]) * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        names = program.run(mutation)
        for number in order:
            at[:4] = number.to_bytes(4, "little")
            signal.setitimer(signal.ITIMER_PROF, SECONDS + 10 * costs.seconds[number])
            if not tests[number].holds(names):
                return True
    except Exception:  # noqa: BLE001
        return True
    return False


def outcomes(
    program: Program, tests: Sequence[Vector], costs: Costs, chosen: Sequence[Mutation], *, jobs: int, new_last: bool
) -> Iterable[tuple[Mutation, int | None]]:
    """Each mutant and the number of the vector that told it (-1: none ran), or None if it survived."""
    candidates, waiting = Candidates(program, tests, costs, new_last=new_last), list(chosen)[::-1]
    running: dict[int, tuple[Mutation, mmap.mmap]] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            mutation, at = waiting.pop(), mmap.mmap(-1, 4)
            at[:4] = b"\xff" * 4
            order = candidates.ordered(mutation)
            process = os.fork()
            if process == 0:
                told = judge(program, tests, costs, mutation, order, at)
                os._exit(1 if told else 0)
            running[process] = mutation, at
        process, status = os.wait()
        mutation, at = running.pop(process)
        killer = int.from_bytes(at[:4], "little", signed=True)
        if status != 0 and killer >= 0:
            candidates.remember(mutation, killer)
        yield mutation, killer if status != 0 else None


# ------------------------------------------------------------------------------------------------------------ the list


@dataclass(frozen=True, slots=True)
class Reason:
    """Why no vector tells a mutant."""

    kind: str
    why: str


def explained() -> dict[tuple[str, str, str, int], Reason]:
    """``equivalent_mutants.json``: mutants to reasons."""
    found = {}
    for entry in json.loads(EXPLAINED.read_text()):
        for mutant in entry["mutants"]:
            key = mutant["in"], mutant["before"], mutant["after"], mutant.get("nth", 0)
            found[key] = Reason(entry["kind"], entry["why"])
    return found


@dataclass(frozen=True, slots=True)
class Result:
    """What became of the mutants that ran."""

    tests: Sequence[Vector]
    found: Sequence[tuple[Mutation, int | None]]
    known: dict[tuple[str, str, str, int], Reason]

    def survivors(self) -> list[Mutation]:
        """Those that no vector told."""
        return [mutation for mutation, killer in self.found if killer is None]

    def unexplained(self) -> list[Mutation]:
        """Survivors without a reason."""
        return [mutation for mutation in self.survivors() if mutation.key() not in self.known]

    def stale(self) -> list[tuple[str, str, str, int]]:
        """Mutants with a reason that a vector told after all."""
        return [
            mutation.key() for mutation, killer in self.found if killer is not None and mutation.key() in self.known
        ]

    def late(self) -> int:
        """How many only new vectors told."""
        return sum(killer is not None and killer >= 0 and NEW in self.tests[killer].flags for _, killer in self.found)

    def summary(self) -> str:
        """The numbers."""
        survived, unexplained = len(self.survivors()), len(self.unexplained())
        told = len(self.found) - survived
        return (
            f"{len(self.found)} mutants, {told} told by a vector, {survived} not; of these {survived - unexplained}"
            f" are explained, {unexplained} not"
        )

    def page(self) -> str:
        """The result of a full run, as Markdown."""
        count, survived = len(self.found), len(self.survivors())
        before = count - survived - self.late()
        reasons = Counter(self.known[key] for m in self.survivors() if (key := m.key()) in self.known)
        kinds = Counter(reason.kind for reason in reasons.elements())
        lines = [
            "# Mistakes that the vectors tell",
            "",
            "Written by `make mutants`, which makes one small change at a time to the",
            "[reference decoder](reference_decoder.py) and runs the [vectors](vectors/README.md) against it.",
            f"It is one run over {len(self.tests)} vectors, whose files, one after the other by name, have the SHA-256",
            f"`{digest_of_vectors()}`.",
            "",
            f"| {count} mutants | told by a vector | |",
            "|---|---|---|",
            f"| by vectors without the flag `{NEW}` | {before} | {share(before, count)} |",
            f"| by all | {count - survived} | {share(count - survived, count)} |",
            "",
            f"Of the {survived} survivors {len(self.unexplained())} are not explained. The others are in",
            "`equivalent_mutants.json`: " + ", ".join(f"{number} {kind}" for kind, number in kinds.most_common()) + ".",
            "",
            "| mutants | kind | why no vector tells them |",
            "|---|---|---|",
        ]
        return "\n".join(lines + [f"| {n} | {r.kind} | {r.why} |" for r, n in reasons.most_common()]) + "\n"


def digest_of_vectors() -> str:
    """The SHA-256 of the files of vectors that mutants run."""
    return hashlib.sha256(b"".join((VECTORS / f"{name}.json").read_bytes() for name in sorted(CHECKS))).hexdigest()


def share(part: int, whole: int) -> str:
    """A part in per cent, rounded down."""
    return f"{1000 * part // whole / 10} %"


# -------------------------------------------------------------------------------------------------------- command line


def shown(mutation: Mutation) -> str:
    """A mutant as lines of text."""
    mark = {"-": mutation.before, "+": mutation.after}
    lines = [f"{sign} {line}" for sign, text in mark.items() for line in text.splitlines()]
    return "\n".join([f"{mutation.scope}, line {mutation.line}:", *lines])


def main(arguments: Sequence[str]) -> int:
    """Run the command line; 0 if all survivors are explained."""
    parser = argparse.ArgumentParser(prog="python -m spec.mutants", description=__doc__)
    parser.add_argument("--sample", type=int, metavar="N", help="only so many of those without a reason, by --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--within", metavar="NAME", help="only mutants of this function, class or name")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all mutants and what told them")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the result as a page")
    options = parser.parse_args(arguments)
    program, tests, known = Program(SOURCE.read_text()), vectors(), explained()
    everything = mutations(program.tree, SKIPPED)
    chosen = [m for m in everything if not options.within or f"{m.scope}.".startswith(f"{options.within}.")]
    if options.sample is not None:
        chosen = [mutation for mutation in chosen if mutation.key() not in known]
        chosen = random.Random(options.seed).sample(chosen, min(options.sample, len(chosen)))
    full = options.sample is None
    costs, found = measured(program, tests, all_of_them=full), []
    gc.freeze()
    for mutation, killer in outcomes(program, tests, costs, chosen, jobs=options.jobs, new_last=full):
        found.append((mutation, killer))
        if killer is None and mutation.key() not in known:
            print(shown(mutation), "", sep="\n", flush=True)
    result = Result(tests, found, known)
    gone = [key for key in known if key not in {mutation.key() for mutation in everything}]
    for title, keys in (("explained, but told by a vector:", result.stale()), ("explained, but not there:", gone)):
        for key in keys:
            print(title, *key, sep="\n  ")
    print(result.summary())
    if options.json:
        options.json.write_text(json.dumps([as_json(m, killer, tests) for m, killer in found], indent=1) + "\n")
    if options.report:
        options.report.write_text(result.page())
    return 1 if result.unexplained() or result.stale() or gone else 0


def as_json(mutation: Mutation, killer: int | None, tests: Sequence[Vector]) -> Json:
    """A mutant and what told it."""
    told = None if killer is None else tests[killer].id if killer >= 0 else "loading"
    return {
        "in": mutation.scope,
        "line": mutation.line,
        "before": mutation.before,
        "after": mutation.after,
        "nth": mutation.nth,
        "told_by": told,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
