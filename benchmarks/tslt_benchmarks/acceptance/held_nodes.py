"""What it gives to verify drafts with lists from the leaves up, and what it costs the edge.

``tokens``: of a round, accepted and the target's own, by rule: token by token, with all nodes held, and as ``verify``
does it (``list_rule.LEAST_HELD``).  All rules are given the same drafts, of both models along text that the target
writes.  Of each draft the mean over the edge's random numbers is exact, and so is the mean over the last token of each
path; what is left is the choice of places and of the tokens before the last, and the standard error is of that.  The
sharp pair is the same with a draft model whose logits are moved towards the target's (``--towards``).  Rows are means
of those that the edge looks at.

``milliseconds``: of CPU, one thread, from logits to the verdict, medians; both rules in turns, on the made-up rounds of
``speed.made_up_rounds`` (lists of 32 tokens, V = 128,256).  The ratio is the median of those of a round.

    python -m tslt_benchmarks.acceptance.held_nodes --json held_nodes.json
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

import tslt_wire as tw
from tslt_benchmarks.drafts import Logits
from tslt_benchmarks.options import (
    above_zero,
    add_model_options,
    command_parser,
    output_file,
    require_models,
    whole_number,
    write_json,
)
from tslt_benchmarks.pairs import Models
from tslt_benchmarks.prompts import read_prompts
from tslt_benchmarks.speed.made_up_rounds import SETTINGS, SHAPES, made_up_rows, make_round
from tslt_runtime.engines.protocol import Node, TargetText, Work
from tslt_wire.lists.distribution import TAIL_SCALE
from tslt_wire.lists.logits import plain_logits
from tslt_wire.lists.sibling_sampling import Siblings, sample_children
from tslt_wire.messages.token_tree import PREFIX
from tslt_wire.verification.choices import RandomChoices
from tslt_wire.verification.list_rule import LEAST_HELD, TOKEN_BY_TOKEN, DenseResidual
from tslt_wire.verification.verdicts import verify_with

SCHEMA_VERSION = 1
RULES = {"token by token": TOKEN_BY_TOKEN, "all held": 0.0, "verify": LEAST_HELD}
BEFORE, AFTER = "token by token", "verify"
EXPANSIONS = {"chain of 4": (1,) * 4, "chain of 8": (1,) * 8, "<2,2,2>": (2, 2, 2)}
SIBLINGS = {True: "with replacement", False: "without"}
TIMED_SETTINGS, TIMED_VOCAB = ("plain", "top-p"), 128_256
APART = 8
"""Tokens between two places of a text."""
TEXT = 48
"""Tokens that the target adds to a prompt."""
_WIDTH = 130
Floats = npt.NDArray[np.float64]
Lists = Callable[[Logits], tw.SparseDistribution]


@dataclass(frozen=True, slots=True)
class Drafted:
    """A tree, the lists it was drawn from and the target's distributions, both by parent, and after the prefix."""

    tree: tw.TokenTree
    lists: dict[int, tw.SparseDistribution]
    rows: dict[int, Floats]
    replacement: bool


@dataclass(frozen=True, slots=True)
class Kept:
    """One shape, one kind of lists, one pair."""

    pair: str
    lists: str
    shape: str
    siblings: str
    alpha: float
    """Acceptance of the first token, mean."""
    drafts: int
    tokens: dict[str, float]
    """Of a round, by rule."""
    rows: dict[str, float]
    """Looked at, by rule."""
    gain: dict[str, float]
    """Tokens of a round over those of ``token by token``, less 1."""
    error: dict[str, float]
    """Standard error of the gain."""


@dataclass(frozen=True, slots=True)
class Timed:
    """Milliseconds of CPU of a round, by rule."""

    shape: str
    setting: str
    milliseconds: dict[str, float]
    ratio: float
    """``verify`` over ``token by token``."""


# --------------------------------------------------------------------------------------------------------------- drafts


class Drafter:
    """Drafts trees along a text, with the draft model's logits moved towards the target's."""

    def __init__(self, models: Models, temperature: float, towards: float) -> None:
        """``towards``: 0, the draft model's own, to 1, the target's."""
        self._engine, self._draft = models.target.engine, models.draft_text()
        self._sampling, self._towards = tw.Sampling(temperature=temperature), towards

    def _target_logits(self, text: TargetText, prefix: Sequence[int], tree: tw.TokenTree) -> Logits:
        """After the prefix and after each node, (1 + nodes, V); ``text`` holds a beginning of ``prefix``."""
        text.truncate(min(text.length, len(prefix) - 1))
        (rows,) = self._engine.score([Work(text, prefix[text.length :], tree)])
        found: Logits = plain_logits(rows, 2)
        return found

    def text_after(self, prompt: Sequence[int], count: int, rng: np.random.Generator) -> list[int]:
        """``prompt`` and up to ``count`` tokens of the target's at temperature 1."""
        found = list(prompt)
        with closing(self._engine.open()) as text:
            while len(found) < len(prompt) + count:
                probs = tw.target_probs(self._target_logits(text, found, tw.TokenTree([], []))[0], tw.Sampling())
                token = int(rng.choice(len(probs), p=probs))
                if token in self._engine.facts.eos_tokens:
                    break
                found.append(token)
        return found

    def draft(
        self, prefix: Sequence[int], widths: Sequence[int], make: Lists, rng: np.random.Generator, *, replacement: bool
    ) -> Drafted:
        """A tree with ``widths`` children a node, fewer where a list has no more."""
        tokens: list[int] = []
        parents: list[int] = []
        lists, rows, level = {}, {}, [PREFIX]
        self._draft.set_prefix(prefix)
        with closing(self._engine.open()) as text:
            for width in widths:
                fresh = plain_logits(self._draft.expand([Node(parents[n], tokens[n]) for n in level if n >= 0]), 2)
                logits = self._target_logits(text, prefix, tw.TokenTree(tokens, parents))
                below = []
                for node, own in zip(level, fresh, strict=True):
                    theirs = logits[1 + node]
                    rows[node] = tw.target_probs(theirs, self._sampling)
                    lists[node] = make((1 - self._towards) * own + self._towards * theirs)
                    for token in sample_children(lists[node], width, rng, replacement=replacement):
                        below.append(len(tokens))
                        tokens.append(token)
                        parents.append(node)
                level = below
        return Drafted(tw.TokenTree(tokens, parents), lists, rows, replacement)


def places(drafter: Drafter, models: Models, prompts: Iterable[str], most: int, seed: int = 0) -> list[list[int]]:
    """``most`` places to draft from, fewer where the prompts give no more: along texts that the target writes."""
    rng, found = np.random.default_rng(seed), list[list[int]]()
    for prompt in prompts:
        if len(found) < most:
            start = models.prompt_tokens(prompt, room=TEXT + 16)
            text = drafter.text_after(start, TEXT, rng)
            found += [text[:end] for end in range(len(start), len(text), APART)]
    return found[:most]


def lists_of(models: Models, temperature: float) -> dict[str, Lists]:
    """Kinds of lists: the default profile, and longer ones in half octaves."""
    # As a device does it: a tail is over all of the target's tokens, also those that this draft model has not.
    tail_scale = 0.0 if models.restricted else TAIL_SCALE
    usual = partial(tw.DEFAULTS.sparsify, profile=tw.DEFAULTS.profile(models.vocab_size), tail_scale=tail_scale)
    return {
        "default": partial(usual, temperature=temperature),
        "64, log2/1": partial(tw.sparsify, temperature=temperature, truncation=tw.TopK(64), precision="log2/1"),
    }


# --------------------------------------------------------------------------------------------------------- expectations


class Expected:
    """What a rule keeps of a draft and how many rows it looks at, in the mean."""

    def __init__(self, drafted: Drafted, least_held: float) -> None:
        self._drafted, self._least_held = drafted, least_held
        self.rows = 0.0
        self.kept = self._below(PREFIX, 1.0, 1.0)

    def _below(self, node: int, owed: float, reached: float) -> float:
        """Nodes kept below one that is given back with probability ``owed``; it is come to with ``reached``."""
        of, children = self._drafted, self._drafted.tree.children(node)
        if not children or not owed:
            self.rows += reached * owed  # the row after a leaf, where it is kept
            return 0.0
        coin = 1.0
        if owed <= self._least_held and node != PREFIX:
            coin, owed = owed, 1.0
        self.rows += reached * coin
        siblings = Siblings(of.lists[node], replacement=of.replacement)
        left = DenseResidual(of.rows[node], siblings, owed)
        open_, found = 1.0, 0.0
        for child in children:
            token, law = of.tree.tokens[child], siblings.dense()
            share = left.share(token)
            deeper = self._below(child, share, reached * coin * open_)
            mean = float(np.minimum(left.rest, law).sum())
            found += open_ * (mean + deeper)
            # Behind siblings that may come again nothing depends on the token, so that its mean can be taken.
            open_ *= 1 - (mean if of.replacement else share)
            if open_ <= 0:
                break
            left.reject(token)
        return coin * found


def measure(drafts: Sequence[Drafted]) -> tuple[float, dict[str, Floats], dict[str, float]]:
    """Acceptance of the first token; tokens of a round, (drafts,), and mean rows looked at, by rule."""
    alphas = [float(np.minimum(each.rows[PREFIX], each.lists[PREFIX].dense()).sum()) for each in drafts]
    tokens: dict[str, list[float]] = {rule: [] for rule in RULES}
    rows = dict.fromkeys(RULES, 0.0)
    for drafted in drafts:
        for rule, least_held in RULES.items():
            expected = Expected(drafted, least_held)
            tokens[rule].append(1 + expected.kept)
            rows[rule] += expected.rows / len(drafts)
    return float(np.mean(alphas)), {rule: np.array(found) for rule, found in tokens.items()}, rows


def kept_of(drafts: Sequence[Drafted], *, pair: str, lists: str, shape: str, siblings: str = "") -> Kept:
    """What all rules keep of some drafts of one sort."""
    alpha, tokens, rows = measure(drafts)
    base = tokens[BEFORE]
    gains = {rule: float(found.mean() / base.mean()) - 1 for rule, found in tokens.items()}
    # Of a ratio of means, by its linear part.
    errors = {
        rule: float((found - (1 + gains[rule]) * base).std() / base.mean() / len(base) ** 0.5)
        for rule, found in tokens.items()
    }
    means = {rule: float(found.mean()) for rule, found in tokens.items()}
    return Kept(pair, lists, shape, siblings, alpha, len(base), means, rows, gains, errors)


def kept(
    drafters: dict[str, Drafter], prefixes: Sequence[Sequence[int]], lists: dict[str, Lists], widths_of: dict[str, Any]
) -> Iterator[Kept]:
    """All pairs, kinds of lists and shapes."""
    for pair, drafter in drafters.items():
        for kind, make in lists.items():
            for shape, widths in widths_of.items():
                for replacement, siblings in SIBLINGS.items() if max(widths) > 1 else ((True, ""),):
                    rng = np.random.default_rng(1)
                    drafts = [drafter.draft(each, widths, make, rng, replacement=replacement) for each in prefixes]
                    yield kept_of(drafts, pair=pair, lists=kind, shape=shape, siblings=siblings)


# ----------------------------------------------------------------------------------------------------------------- time


def timed(shape: str, setting: str, *, vocab_size: int, rounds: int, repetitions: int) -> Timed:
    """Both rules in turns."""
    nodes = int(np.cumprod(SHAPES[shape]).sum())
    taken: dict[str, list[float]] = {BEFORE: [], AFTER: []}
    for seed in range(rounds):
        round_ = make_round(made_up_rows(vocab_size, nodes, seed), "list", shape)
        logits = round_.rows.target
        for turn in range(repetitions + 1):
            for rule in (BEFORE, AFTER) if turn % 2 else (AFTER, BEFORE):
                choices = RandomChoices(np.random.default_rng([seed, turn]))
                logits *= 1  # written just before, as by a model
                start = time.thread_time_ns()
                rows = round_.target_rows(logits, SETTINGS[setting])
                verify_with(round_.draft, rows, choices, least_held=RULES[rule])
                if turn:  # the first fills caches
                    taken[rule].append((time.thread_time_ns() - start) / 1e6)
    # A turn's verdicts differ: means of a round's repetitions are compared.
    means = {rule: np.reshape(found, (rounds, repetitions)).mean(axis=1) for rule, found in taken.items()}
    medians = {rule: float(np.median(found)) for rule, found in means.items()}
    return Timed(shape, setting, medians, float(np.median(means[AFTER] / means[BEFORE])))


# --------------------------------------------------------------------------------------------------------------- output


def kept_table(found: Sequence[Kept]) -> Table:
    """Tokens and rows of all cases."""
    out = Table(title="tokens of a round, and rows looked at", title_justify="left")
    for name in ("pair", "lists", "draft", "siblings"):
        out.add_column(name)
    for name in ("alpha", *RULES, "gain, all held", "gain, verify", "rows, token by token", "all held", "verify"):
        out.add_column(name, justify="right")
    for each in found:
        gains = (f"{each.gain[rule]:+.1%} ({each.error[rule]:.1%})" for rule in list(RULES)[1:])
        out.add_row(
            each.pair,
            each.lists,
            each.shape,
            each.siblings,
            f"{each.alpha:.2f}",
            *(f"{each.tokens[rule]:.2f}" for rule in RULES),
            *gains,
            *(f"{each.rows[rule]:.1f}" for rule in RULES),
        )
    return out


def timed_table(found: Sequence[Timed], vocab_size: int) -> Table:
    """Times of all cases."""
    out = Table(title=f"milliseconds of CPU from logits to the verdict, V = {vocab_size:,}", title_justify="left")
    for name in ("draft", "beside T = .7", BEFORE, AFTER, "ratio"):
        out.add_column(name, justify="left" if name in ("draft", "beside T = .7") else "right")
    for each in found:
        spent = each.milliseconds
        out.add_row(each.shape, each.setting, f"{spent[BEFORE]:.2f}", f"{spent[AFTER]:.2f}", f"{each.ratio:.2f}")
    return out


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(__doc__)
    add_model_options(parser)
    parser.add_argument("--places", type=whole_number(1), default=60, help="drafts of each case (%(default)s)")
    parser.add_argument("--temperature", type=above_zero, default=0.7, help="of both models (%(default)s)")
    parser.add_argument("--towards", type=above_zero, default=0.75, help="how far the sharp pair's is (%(default)s)")
    parser.add_argument("--rounds", type=whole_number(1), default=12, help="that are timed (%(default)s)")
    parser.add_argument("--repetitions", type=whole_number(1), default=3, help="of each of them (%(default)s)")
    parser.add_argument("--timed-vocab", type=whole_number(100), default=TIMED_VOCAB, help="tokens (%(default)s)")
    parser.add_argument("--shapes", nargs="+", choices=EXPANSIONS, default=list(EXPANSIONS))
    parser.add_argument("--json", type=output_file, help="write all rows")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, write JSON."""
    args = arguments(argv)
    require_models(args.target, args.draft)
    console = Console(width=_WIDTH)
    models = Models.load(args.target, args.draft, dtype="float32", self_check=False)
    plain = Drafter(models, args.temperature, 0.0)
    drafters = {"as it is": plain, "sharp": Drafter(models, args.temperature, args.towards)}
    prefixes = places(plain, models, read_prompts(), args.places)
    lists = lists_of(models, args.temperature)
    found = list(kept(drafters, prefixes, lists, {shape: EXPANSIONS[shape] for shape in args.shapes}))
    console.print(kept_table(found))
    options = {"vocab_size": args.timed_vocab, "rounds": args.rounds, "repetitions": args.repetitions}
    times = [timed(shape, setting, **options) for shape in args.shapes for setting in TIMED_SETTINGS]
    console.print(timed_table(times, args.timed_vocab))
    if args.json is not None:
        document: dict[str, Any] = {
            "benchmark": "held_nodes",
            "schema": SCHEMA_VERSION,
            "backend": tw.backend,
            "settings": {
                "temperature": args.temperature,
                "towards": args.towards,
                "least_held": LEAST_HELD,
                **options,
            },
            "kept": [asdict(each) for each in found],
            "times": [asdict(each) for each in times],
        }
        write_json(document, args.json)


if __name__ == "__main__":
    main()
