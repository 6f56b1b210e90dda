"""Rounds to measure an edge on: rows of logits as a language model has them, and drafts of a model that resembles it.

A made-up row is the sum of what a token is worth anywhere, a Zipf-like mean by its id (vocabularies are in merge
order), of normal noise, and of what fits this place: ``FITTING`` tokens, frequent ones more often than rare ones, are
lifted far above the rest, by row more or less.  Target and draft model share all that and differ by noise of their own.
At temperature 1 the entropy of such rows goes from 0 to 8 nat, its median is about 2; at temperature .7 the two
distributions have about .7 in common, which is the acceptance rate of a draft that sends all of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

import tslt_wire as tw
from tslt_runtime.evidence import KINDS
from tslt_wire.lists.sibling_sampling import sample_children

Logits = npt.NDArray[np.float32]

TEMPERATURE = 0.7
"""Of target and draft model."""
FITTING, LIFT = 64, 2.5
"""Tokens of a row that fit, and the mean of what lifts them (exponential; times .5 to 1.5, by row)."""
SPREAD, NOISE = 1.5, 0.8
"""Deviation of the noise that target and draft share, and of that of each."""
TEXT = 500
"""Tokens before a draft, the first ``PROMPT`` of them the prompt's: what penalties look at."""
PROMPT = 200

SHAPES: dict[str, tuple[int, ...]] = {
    "chain of 4": (1,) * 4,
    "chain of 8": (1,) * 8,
    "<2,2,2>": (2, 2, 2),
    "<2,3,2,1>": (2, 3, 2, 1),
}
"""Expansion configurations: chains, a tree of 14 nodes, one of 32."""
SETTINGS: dict[str, tw.Sampling] = {
    "plain": tw.Sampling(temperature=TEMPERATURE),
    "top-p": tw.Sampling(temperature=TEMPERATURE, top_p=0.9),
    "top-k": tw.Sampling(temperature=TEMPERATURE, top_k=50),
    "min-p": tw.Sampling(temperature=TEMPERATURE, min_p=0.05),
    "penalties": tw.Sampling(
        temperature=TEMPERATURE, repetition_penalty=1.1, presence_penalty=0.5, frequency_penalty=0.2
    ),
}
"""Sampling settings of the target, by what is beside the temperature."""
TAIL = "list, tail"
EVIDENCE = ("list", TAIL, "match", "coupled", "scalar", "lazy")
"""Kinds of evidence.  Lists are the ``LISTED`` largest tokens; with a tail those of ``tw.DEFAULTS``."""
LISTED, LEAST_TAIL = 32, 2
"""Tokens of a list without a tail; the least tail of one with it, in 32nds."""
COUPLING = tw.Coupling(bytes(range(8)), 1)


def evidence_for(shape: str) -> list[str]:
    """The kinds of evidence that a draft of this shape can have."""
    chain = max(SHAPES[shape]) == 1
    return [name for name in EVIDENCE if chain or name == TAIL or not KINDS[name].chains_only]


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one draft, made up or a user's own."""

    target: Logits
    """(1 + nodes, V): after the prefix and after each node."""
    draft: Logits
    """The same of the draft model."""
    text: tuple[int, ...]
    """The tokens before the draft."""
    seed: int

    @property
    def vocab_size(self) -> int:
        """Tokens V."""
        return int(self.target.shape[1])


@dataclass(frozen=True, slots=True)
class Round:
    """A draft with one kind of evidence, and the target's rows for it."""

    draft: tw.Draft
    rows: Rows
    lists: dict[int, tw.SparseDistribution]
    """What its tokens were drawn from, by parent."""

    def generator(self) -> np.random.Generator:
        """The edge's random numbers: the same each time."""
        return np.random.default_rng(self.rows.seed)

    def target_rows(self, logits: Any, sampling: tw.Sampling) -> Sequence[tw.TargetRow]:
        """Target rows of ``logits``, real (1 + nodes, V), as an edge makes them."""
        text = None
        if sampling.needs_text:
            before = self.rows.text
            text = tw.SampledText(prompt=before[:PROMPT], output=before[PROMPT:], tree=self.draft.tree)
        return tw.target_rows(logits, sampling, text=text)

    def answer(self, rows: Sequence[tw.TargetRow], rng: np.random.Generator) -> tw.Answer:
        """The edge's last answer: a verdict, where need be with the list it asks for, or proposals."""
        coupling = COUPLING if isinstance(self.draft.evidence, tw.CoupledEvidence) else None
        answer = tw.verify(self.draft, rows, rng, coupling=coupling)
        if not isinstance(answer, tw.AskList):
            return answer
        return tw.verify_list(self.draft, answer.node, rows[1 + answer.node], self.lists[answer.node], rng)


def made_up_rows(vocab_size: int, nodes: int, seed: int) -> Rows:
    """Rows for a draft of ``nodes`` nodes (see the top of this file)."""
    rng = np.random.default_rng(seed)
    shape = 1 + nodes, vocab_size
    shared = rng.standard_normal(shape, dtype=np.float32)
    shared *= SPREAD
    shared -= np.log(np.arange(vocab_size, dtype=np.float32) + 20)
    for row in shared:
        row[_frequent(vocab_size, FITTING, rng)] += rng.exponential(LIFT * rng.uniform(0.5, 1.5), FITTING)
    target, draft = (NOISE * rng.standard_normal(shape, dtype=np.float32) + shared for _ in range(2))
    return Rows(target, draft, _text(vocab_size, rng), seed)


def own_rows(logits: Logits, nodes: int, seed: int) -> Rows:
    """Rows of a user's own logits, real (N, V), from row ``seed * (1 + nodes)`` on, over and over.

    The draft model's are the same with noise, as much as there is between the two of ``made_up_rows``.
    """
    rng = np.random.default_rng(seed)
    at = (seed * (1 + nodes) + np.arange(1 + nodes)) % len(logits)
    target = np.ascontiguousarray(logits[at], dtype=np.float32)
    noise = rng.standard_normal(target.shape, dtype=np.float32)
    return Rows(target, target + NOISE * np.float32(2**0.5) * noise, _text(target.shape[1], rng), seed)


def _frequent(vocab_size: int, count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Token ids, small ones more often: uniform by the logarithm of id + 20, as the means of rows are."""
    found = 20 * np.exp(rng.random(count) * np.log(vocab_size / 20 + 1)) - 20
    return np.asarray(np.minimum(found.astype(np.int64), vocab_size - 1))


def _text(vocab_size: int, rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(_frequent(vocab_size, TEXT, rng).tolist())


def make_round(rows: Rows, evidence: str, shape: str) -> Round:
    """A draft that a device draws with the draft model's rows, as the runtime does by default.

    Where siblings differ, one after a row that is all but certain may be missing: there are as many rows as nodes.
    """
    rng = np.random.default_rng([rows.seed, 1])
    tokens: list[int] = []
    parents: list[int] = []
    lists: dict[int, tw.SparseDistribution] = {}
    level = [-1]
    for depth, count in enumerate(SHAPES[shape]):
        first = len(tokens)
        for node in level:
            lists[node] = q = _list_of(rows.draft[1 + node], with_tail=evidence == TAIL)
            if evidence == "match":
                children = q.likeliest(count)  # the best bet, as the edge draws a token of its own
            elif evidence == "coupled":
                children = COUPLING.children(q, count, len(rows.text) + depth)
            else:
                children = sample_children(q, count, rng, replacement=True)
            tokens += children
            parents += [node] * len(children)
        level = list(range(first, len(tokens)))
    tree = tw.TokenTree(tokens, parents)
    kind = KINDS["list" if evidence == TAIL else evidence]
    draft = tw.Draft(
        round=rows.seed,
        prefix_length=len(rows.text),
        prefix_hash=tw.prefix_hash(rows.text),
        tree=tree,
        evidence=kind.make(tree, lists, True),
    )
    profile = _profile(rows.vocab_size, with_tail=evidence == TAIL)
    received = tw.decode(tw.encode(draft, profile), profile)
    if not isinstance(received, tw.Draft):
        raise TypeError(f"a draft is a draft, got {received!r}")
    return Round(received, replace(rows, target=rows.target[: 1 + len(tree)]), lists)


def _list_of(row: Logits, *, with_tail: bool) -> tw.SparseDistribution:
    """What is drawn from; with a tail always, though most lists of sharp rows leave out too little to have one."""
    profile = _profile(len(row), with_tail=with_tail)
    if not with_tail:
        return tw.sparsify(row, temperature=TEMPERATURE, truncation=tw.TopK(LISTED), precision=profile.precision)
    q = tw.DEFAULTS.sparsify(row, profile, temperature=TEMPERATURE)
    return q if q.tail else tw.SparseDistribution(q.vocab_size, q.precision, q.ids, q.codes, LEAST_TAIL, profile.prior)


@cache
def _profile(vocab_size: int, *, with_tail: bool) -> tw.Profile:
    """What the two ends agree on."""
    if with_tail:
        return tw.DEFAULTS.profile(vocab_size)
    return tw.Profile(vocab_size=vocab_size, precision="log2/1", entropy="range")
