"""Test a decoder of tslt-wire, in any language, against vectors, random frames and damaged ones.

    python -m spec.conformance --random 10000 --mutated 50000 -- ./your-decoder ARGUMENTS

The decoder is started once and gets a line of JSON for each frame or lone list, and answers each with one (see
conformance.md).  What it should say is written in the vectors; of random frames it is what was encoded; of damaged ones
it is what the library says, because it is several times as fast as the reference decoder, which is tested in this way,
too (`make conformance`), and is asked about each disagreement.  Exit status: 0 all agreed, 1 not, 2 nothing was tested.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from spec import random_frames, reference_decoder
from spec.decoder_process import Broken, GivenUp, answers
from spec.library_decoder import decoded, digest
from spec.vectorgen.random_messages import VOCAB_SIZES
from spec.vectorgen.tools import Json, profile_from, profile_value
from tslt_wire.coding import compression
from tslt_wire.frames.codec import KIND_MASK
from tslt_wire.frames.kinds import Kind
from tslt_wire.lists.prior import PLAIN_PRIORS

VECTORS = Path(__file__).resolve().parent / "vectors"
ENTROPIES = ("none", "range", "zstd")
PARTS = ("vectors", "random", "mutated")
CHANGES = 8
"""Damaged frames that are made of one frame."""
REPORT_S = 30.0
"""Between two lines about how far it has come."""


# -------------------------------------------------------------------------------------------------------------- cases


@dataclass(frozen=True)
class Case:
    """Bytes, what is needed to read them, and what a decoder should say."""

    id: str
    part: str
    form: str
    profile: Json
    limits: dict[str, int]
    data: bytes
    wanted: Json
    """``{"value": ...}`` or ``{"error": name}``."""

    @cached_property
    def digest(self) -> str | None:
        """Of the value, if there is one."""
        return digest(self.wanted["value"]) if "value" in self.wanted else None

    def to_json(self) -> Json:
        """What is asked."""
        return {"form": self.form, "profile": self.profile, "limits": self.limits, "hex": self.data.hex()}


@dataclass(frozen=True)
class Chosen:
    """What is tested."""

    kinds: tuple[str, ...] = random_frames.FORMS
    entropies: tuple[str, ...] = ENTROPIES
    priors: tuple[str, ...] = (*PLAIN_PRIORS, "table")

    def has(self, kind: str | None, profile: Json) -> bool:
        """Whether a vector is; one without a kind is if all kinds are."""
        kind_fits = self.kinds == random_frames.FORMS if kind is None else kind in self.kinds
        return kind_fits and profile["entropy"] in self.entropies and profile["prior"].split(":")[0] in self.priors


def vectors(chosen: Chosen) -> Iterator[Case]:
    """Those of lists.json and frames.json."""
    for name, form in (("lists.json", "list"), ("frames.json", "frame")):
        file = json.loads((VECTORS / name).read_text())
        for group in file["groups"]:
            profile = group["profile"]
            if table := file["tables"].get(profile["prior"]):
                profile = {**profile, "tables": {profile["prior"]: table}}
            for test in group["tests"]:
                data = bytes.fromhex(test["hex"])
                if "lenient" in test["flags"]:
                    continue  # to take it is as right as to refuse it
                wanted = {key: test[key] for key in ("value", "error") if key in test}
                if chosen.has(kind_name(form, data), profile):
                    yield Case(test["id"], "vectors", form, profile, group["limits"], data, wanted)


def kind_name(form: str, data: bytes) -> str | None:
    """A name of ``random_frames.FORMS``; None for bytes without a kind."""
    if form == "list":
        return "list"
    if not data or data[0] & KIND_MASK not in set(Kind):
        return None
    name = Kind(data[0] & KIND_MASK).name.lower()
    return "list_reply" if name == "list" else name


def sample_of(chosen: Chosen, rng: Random) -> random_frames.Sample:
    """A random frame or lone list."""
    entropies = tuple(name for name in chosen.entropies if name in random_frames.ENTROPIES)
    priors = tuple(name for name in PLAIN_PRIORS if name in chosen.priors)
    return random_frames.valid(rng, chosen.kinds, entropies, VOCAB_SIZES, priors)


def case_of(sample: random_frames.Sample, id_: str, part: str, wanted: Json, tables: Json) -> Case:
    """A sample as it is asked."""
    form = "list" if sample.kind == "list" else "frame"
    return Case(id_, part, form, profile_value(sample.profile) | tables, sample.limits, sample.data, wanted)


def random_cases(chosen: Chosen, seed: int, count: int) -> Iterator[Case]:
    """The lines of random_frames.py, under the ids that they have there."""
    for i in range(count):
        sample = sample_of(chosen, Random(f"{seed}/{i}"))
        yield case_of(sample, f"random/{seed}/{i}", "random", {"value": sample.value}, {})


def mutated_cases(chosen: Chosen, seed: int, count: int) -> Iterator[Case]:
    """Damaged vectors, and damaged random frames; each depends on the seed, its number and what is chosen alone."""
    valid = [case for case in vectors(chosen) if "value" in case.wanted]
    tables: Json = {}
    for i in range(count):
        rng = Random(f"{seed}/mutated/{i}")
        if i % CHANGES == 0 and rng.random() < 0.5 and valid:
            case = rng.choice(valid)
            tables = {"tables": case.profile["tables"]} if "tables" in case.profile else {}
            profile = profile_from(case.profile, case.profile.get("tables"))
            base = random_frames.Sample(kind_name(case.form, case.data) or "", profile, case.data, {})
        elif i % CHANGES == 0:
            base, tables = sample_of(chosen, rng), {}
        broken = random_frames.damaged(rng, base)
        case = case_of(broken, f"mutated/{seed}/{i}", "mutated", {}, tables)
        yield replace(case, wanted=decoded(case.form, broken.data, broken.profile, broken.limits))


# ------------------------------------------------------------------------------------------------------------ judging


@dataclass(frozen=True)
class Question:
    """A case, and whether the value itself is asked for: its digest is shorter, and enough if it is the same."""

    case: Case
    whole: bool = False

    @property
    def line(self) -> bytes:
        """See decoder_process.Asked."""
        digest = {} if self.whole or self.case.digest is None else {"digest": True}
        return json.dumps(self.case.to_json() | digest, separators=(",", ":")).encode() + b"\n"


@dataclass
class Result:
    """How it went."""

    agreed: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    """Damaged bytes by the error that was agreed on; "" for those that were a message."""
    shown: list[str] = field(default_factory=list)
    stopped: str = ""
    """Why it ended early, or that the decoder did not end."""

    def all_agreed(self) -> bool:
        """Whether there was no disagreement at all."""
        return not self.stopped and self.agreed == self.asked

    def __str__(self) -> str:
        lines = []
        for part in PARTS:
            if self.asked[part]:
                line = f"{part:<8} {self.agreed[part]:>9,} of {self.asked[part]:,} agreed"
                if part == "mutated":
                    refused = {name: count for name, count in self.errors.items() if name}
                    line += f"; {sum(refused.values()):,} were refused, with {len(refused)} errors"
                lines.append(line)
        return "\n".join([*lines, self.stopped] if self.stopped else lines)


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal; a number is one however it is written, and no true or false."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def verdict(question: Question, line: bytes | Broken) -> bool | None:
    """Whether an answer is right; None if the value itself must be asked for."""
    case = question.case
    if isinstance(line, Broken):
        return False
    try:
        said = json.loads(line)
    except ValueError:
        return False
    if not isinstance(said, dict) or len(said) != 1:
        return False
    if "sha256" in said and case.digest is not None and not question.whole:
        return True if said["sha256"] == case.digest else None
    return same(said, case.wanted)


def told(case: Case, line: bytes | Broken) -> str:
    """A disagreement in full."""
    asked = json.dumps(case.to_json())
    got = f"no answer: {line}" if isinstance(line, Broken) else line.decode(errors="backslashreplace").rstrip("\n")
    reference = reference_decoder.answer(asked)
    agrees = "the same" if same(reference, case.wanted) else json.dumps(reference)
    return (
        f"{case.id}\n  asked:   {asked}\n  wanted:  {json.dumps(case.wanted)}\n  got:     {got}\n"
        f"  the reference decoder: {agrees}"
    )


def run(command: list[str], cases: Iterator[Case], *, limit_s: float, shown: int, total: int = 0) -> Result:
    """Ask the decoder all cases.  GivenUp if it cannot be started."""
    result, whole = Result(), deque[Question]()
    reported = time.monotonic()

    def following() -> Question | None:
        if whole:
            return whole.popleft()
        case = next(cases, None)
        return None if case is None else Question(case)

    asked = answers(command, following, limit_s)
    try:
        for question, line in asked:
            case, right = question.case, verdict(question, line)
            if right is None:
                whole.append(Question(case, whole=True))
                continue
            result.asked[case.part] += 1
            result.agreed[case.part] += right
            if right and case.part == "mutated":
                result.errors[case.wanted.get("error", "")] += 1
            if not right and len(result.shown) < shown:
                result.shown.append(told(case, line))
            if time.monotonic() - reported > REPORT_S:
                reported = time.monotonic()
                done, agreed = result.asked.total(), result.agreed.total()
                print(f"{done:,} of {total:,}; {done - agreed:,} disagree", file=sys.stderr, flush=True)
    except (Broken, GivenUp) as why:
        if not result.asked:
            raise
        result.stopped = str(why)
    return result


# ------------------------------------------------------------------------------------------------------- command line


def main(arguments: list[str]) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m spec.conformance", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--random", type=int, default=1000, metavar="N", help="random frames (default: %(default)s)")
    parser.add_argument("--mutated", type=int, default=5000, metavar="N", help="damaged frames (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=random_frames.FORMS, default=random_frames.FORMS, metavar="KIND")
    parser.add_argument("--entropy", nargs="+", choices=ENTROPIES, help="entropy coders (default: all)")
    parser.add_argument("--prior", nargs="+", choices=Chosen.priors, default=Chosen.priors, help="(default: all)")
    parser.add_argument("--shown", type=int, default=5, metavar="N", help="disagreements to show in full")
    parser.add_argument("--limit", type=float, default=30, metavar="S", help="seconds that an answer may take")
    parser.add_argument("command", nargs="+", help="the decoder and its arguments, after --")
    given = parser.parse_args(arguments)
    entropies = tuple(given.entropy or (ENTROPIES if compression.available() else random_frames.ENTROPIES))
    chosen = Chosen(tuple(given.kinds), entropies, tuple(given.prior))
    if "zstd" in entropies and not compression.available():
        parser.error("what zstd should give needs Python 3.14 or the package zstandard; or --entropy none range")
    if given.random + given.mutated and not (
        set(entropies) & set(random_frames.ENTROPIES) and set(given.prior) & set(PLAIN_PRIORS)
    ):
        parser.error("random frames have another entropy coder than zstd and another prior than a table")
    if "zstd" not in entropies and given.entropy is None:
        print("zstd is left out: it needs Python 3.14 or the package zstandard", file=sys.stderr)

    def cases() -> Iterator[Case]:
        yield from vectors(chosen)
        yield from random_cases(chosen, given.seed, given.random)
        yield from mutated_cases(chosen, given.seed, given.mutated)

    total = sum(1 for _ in vectors(chosen)) + given.random + given.mutated
    try:
        result = run(given.command, cases(), limit_s=given.limit, shown=given.shown, total=total)
    except (Broken, GivenUp) as why:
        print(why, file=sys.stderr)
        return 2
    for text in result.shown:
        print(text, end="\n\n")
    print(result)
    return 0 if result.all_agreed() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
