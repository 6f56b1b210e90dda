"""Exact enumeration of drafts and verdicts for small vocabularies.

The code under test is run once for every sequence of random decisions it can meet, and each run comes with its
probability; nothing is sampled, so equality of two distributions is a matter of rounding alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np

from tslt_wire import (
    Draft,
    ListEvidence,
    Precision,
    Prior,
    Sampling,
    SparseDistribution,
    TokenTree,
    sparsify,
    target_probs,
)
from tslt_wire.lists.truncation import Truncation
from tslt_wire.verification.choices import Choices, Masses
from tslt_wire.verification.verdicts import verify_with

Context = tuple[int, ...]
Lists = Callable[[Context], SparseDistribution]
Target = Callable[[Context], np.ndarray]
Shape = tuple[Any, ...]
"""A tree as nested tuples: one tuple a child, holding that child's children; () is a leaf."""


class Branches:
    """A ``Choices`` that replays a script of decisions, then takes the first branch that has a probability."""

    def __init__(self, script: Sequence[int]) -> None:
        self._script = script
        self.taken: list[tuple[int, int]] = []
        self.probability = 1.0

    def _choose(self, options: list[tuple[Any, float]]) -> Any:
        at = len(self.taken)
        i = self._script[at] if at < len(self._script) else 0
        self.taken.append((i, len(options)))
        value, probability = options[i]
        self.probability *= probability
        return value

    def accept(self, probability: float) -> bool:
        """Take both answers in turn."""
        assert 0 <= probability <= 1
        answer: bool = self._choose(
            [(answer, p) for answer, p in ((True, probability), (False, 1 - probability)) if p > 0]
        )
        return answer

    def draw(self, weights: np.ndarray, cumulative: np.ndarray | None = None) -> int:
        """Take every index of positive weight in turn."""
        assert np.isfinite(weights).all()
        assert (weights >= 0).all()
        total = float(weights.sum())
        assert total > 0
        index: int = self._choose([(i, float(w) / total) for i, w in enumerate(weights) if w > 0])
        return index

    def pick(self, masses: Masses) -> int:
        """Take every token of positive mass in turn."""
        return self.draw(masses.dense())

    def uniform(self) -> float:
        """Refuse: it has no branches."""
        raise NotImplementedError("a uniform number cannot be enumerated")


def outcomes(run: Callable[[Choices], Any]) -> Iterator[tuple[Any, float]]:
    """Every result of ``run(choices)`` with its probability (results may repeat)."""
    script: list[int] = []
    while True:
        branches = Branches(script)
        result = run(branches)
        yield result, branches.probability
        script = [i for i, _ in branches.taken]
        while script and script[-1] + 1 == branches.taken[len(script) - 1][1]:
            script.pop()
        if not script:
            return
        script[-1] += 1


class Model:
    """A table from every context to its own random logits, so that the wrong context's row is a wrong row."""

    def __init__(self, vocab_size: int, seed: int, *, spread: float = 1.5) -> None:
        self.vocab_size, self._seed, self._spread = vocab_size, seed, spread
        self.logits = cache(self._logits)

    def _logits(self, context: Context) -> np.ndarray:
        rng = np.random.default_rng([self._seed, len(context), *context])
        return rng.normal(size=self.vocab_size) * self._spread

    def lists(
        self,
        *,
        truncation: Truncation | None = None,
        precision: str = "log2/2",
        temperature: float = 1.0,
        prior: Prior | None = None,
    ) -> Lists:
        """The truncated distributions this model drafts from; with a ``prior`` each list has a tail of its own."""

        def q(context: Context) -> SparseDistribution:
            found = sparsify(
                self.logits(context), temperature=temperature, truncation=truncation, precision=Precision(precision)
            )
            if prior is None or len(found) == found.vocab_size:
                return found
            tail = 1 + (sum(context) * 7 + len(context) * 11) % 31
            return SparseDistribution(found.vocab_size, found.precision, found.ids, found.codes, tail, prior)

        return cache(q)

    def target(self, sampling: Sampling | None = None) -> Target:
        """The distributions this model has as a target."""
        settings = sampling or Sampling()

        def p(context: Context) -> np.ndarray:
            return target_probs(self.logits(context), settings)

        return cache(p)


def expansion(*widths: int) -> Shape:
    """The shape ``<k1..kL>``."""
    shape: Shape = ()
    for width in reversed(widths):
        shape = (shape,) * width
    return shape


def depth_of(shape: Shape) -> int:
    """Nodes on the longest path."""
    return 1 + max(map(depth_of, shape)) if shape else 0


def child_law(q: SparseDistribution, gone: Sequence[int]) -> np.ndarray:
    """Probabilities of a node's next child when its siblings ``gone`` cannot come again: [PRIOR-1], [PRIOR-2]."""
    listed, others = np.zeros(q.vocab_size), np.zeros(q.vocab_size)
    listed[q.ids] = q.weights
    if q.prior is not None:
        others[:] = q.prior.weights
        others[q.ids] = 0
    listed[list(gone)] = others[list(gone)] = 0
    share = q.tail / 32
    if not others.any():
        share = 0.0
    elif not listed.any():
        share = 1.0
    found: np.ndarray = listed / max(listed.sum(), 1) * (1 - share) + others / max(others.sum(), 1) * share
    return found


def sample_draft(
    shape: Shape,
    lists: Lists,
    choices: Choices,
    *,
    replacement: bool = True,
    depth_first: bool = False,
    sampled: Lists | None = None,
    sent: Callable[[SparseDistribution, list[int]], SparseDistribution] | None = None,
) -> Draft:
    """One draft: the children of every parent drawn from its list, by the law of ``sample_children``.

    ``sampled`` and ``sent`` break it on purpose: another distribution is sampled than the one that is sent.
    """
    tokens: list[int] = []
    parents: list[int] = []
    evidence: dict[int, SparseDistribution] = {}
    waiting: deque[tuple[int, Context, Shape]] = deque([(-1, (), shape)])
    while waiting:
        node, context, below = waiting.pop() if depth_first else waiting.popleft()
        if not below:
            continue
        q = (sampled or lists)(context)
        drawn: list[int] = []
        for child_shape in below:
            law = child_law(q, () if replacement else drawn)
            if not law.any():
                break
            token = choices.draw(law)
            waiting.append((len(tokens), (*context, token), child_shape))
            drawn.append(token)
            tokens.append(token)
            parents.append(node)
        evidence[node] = sent(lists(context), drawn) if sent else lists(context)
    return Draft(
        round=0,
        prefix_length=0,
        prefix_hash=0,
        tree=TokenTree(tokens, parents),
        evidence=ListEvidence(evidence, replacement),
    )


def drafts(shape: Shape, lists: Lists, **options: Any) -> Iterator[tuple[Draft, float]]:
    """Every draft with its probability."""
    return outcomes(lambda choices: sample_draft(shape, lists, choices, **options))


def target_rows(tree: TokenTree, target: Target) -> np.ndarray:
    """The rows a target's one pass over the tree gives: float64 (1 + nodes, V)."""
    contexts = [()] + [tuple(tree.tokens[i] for i in tree.path(node)) for node in range(len(tree))]
    return np.array([target(context) for context in contexts])


def target_joint(target: Target, length: int, context: Context = ()) -> np.ndarray:
    """The target's own joint distribution of the next ``length`` tokens; float64 (V,) * length."""
    if length == 0:
        return np.ones(())
    row = target(context)
    below = [target_joint(target, length - 1, (*context, token)) for token in range(len(row))]
    return np.array([p * rest for p, rest in zip(row, below, strict=True)])


Verification = Callable[[Draft, np.ndarray, Choices], Any]


def output_joint(
    shape: Shape,
    lists: Lists,
    target: Target,
    *,
    verification: Verification = verify_with,
    through: Callable[[Draft], Draft] = lambda draft: draft,
    **options: Any,
) -> tuple[np.ndarray, int]:
    """Joint distribution of the first L + 1 tokens one round puts out, and how many outcomes were enumerated.

    A round that puts out fewer tokens is continued by the target's own conditionals.
    """
    length = depth_of(shape) + 1
    rest = cache(lambda tokens: target_joint(target, length - len(tokens), tokens))
    joint = np.zeros_like(target_joint(target, length))
    count = 0
    for draft, p_draft in drafts(shape, lists, **options):
        received = through(draft)
        rows = target_rows(draft.tree, target)
        for verdict, p_verdict in outcomes(lambda choices: verification(received, rows, choices)):  # noqa: B023
            tokens = verdict.tokens(draft.tree)
            joint[tokens] += p_draft * p_verdict * rest(tokens)
            count += 1
    return joint, count


def deviation(shape: Shape, lists: Lists, target: Target, **options: Any) -> float:
    """Largest difference between a round's output and the target's own, over all sequences of L + 1 tokens."""
    joint, _ = output_joint(shape, lists, target, **options)
    return float(np.abs(joint - target_joint(target, depth_of(shape) + 1)).max())


EXACT = 1e-12
"""What rounding explains."""
NOTICED = 1e-3
"""What a planted fault must exceed."""
SAMPLINGS = {
    "greedy": Sampling(temperature=0),
    "top-p": Sampling(temperature=0.8, top_p=0.7),
    "top-k": Sampling(top_k=2),
    "top-k top-p": Sampling(temperature=1.3, top_k=3, top_p=0.9),
    "sharp": Sampling(temperature=0.1),
}
