"""An engine against itself, once at load: trees, kept caches and shared passes must give the rows of plain text.

A model can do something that its configuration does not say: attend to near tokens alone, or take positions from where
a token lies in the cache.  Its text is then another one, in silence.  So a text of random tokens is scored in every way
that a session uses, beside plain steps.  What differs is not used: trees give way to chains, a pass for all texts to a
pass for each, and a model that does not even score chains rightly is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import tslt_wire as tw
from tslt_runtime.engines.protocol import DraftEngine, EngineError, Node, TargetEngine, Work

Rows = NDArray[np.float64]
PlainRows = Callable[[Sequence[int], int], Any]
"""``(tokens, keep)`` -> the last ``keep`` rows of raw logits of plain text, real (keep, V), by the model's own code."""

TOLERANCE = {"float32": 1e-3, "float16": 0.05}
"""How far a row of a chain may be off, as a part of the spread of its logits, by what the model computes in."""
COARSE = 0.1
"""The same for all other types: bfloat16 and quantised weights."""
CLOSE, AS_CHAINS = 0.1, 8.0
"""The part of it that trees and shared passes may be off, or so many times what chains are, whichever is more: what
rounds is alike in all of them."""
SAME = 1e-5
"""How far a row may move, in any type, where a later token is another one: not at all, but for a sum's order."""


class Shape(NamedTuple):
    """A draft that is tried, and what is accepted of it."""

    parents: tuple[int, ...]
    """Of its nodes, breadth first."""
    path: tuple[int, ...]
    """The nodes that are accepted."""


TREE = Shape((-1, -1, 0, 1, 1, 2, 4, 4, 6, 7, 7, 9), (1, 4, 7, 10))
"""A dozen nodes, five leaves, five levels; the rows of the path do not follow each other in the cache."""
CHAIN = Shape((-1, 0, 1, 2, 3), (0, 1, 2))
LEAVES = 5
"""Of the tree."""
BEHIND = 4
"""Tokens that come after what was accepted."""
FAILS = (EngineError, ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What models raise for rows and masks that they were not made for."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What an engine scores as plain text does."""

    trees: bool = True
    """Whether trees, and caches whose rows were gathered; chains are always right, or there was an error."""
    together: bool = True
    """Whether several texts in one pass."""
    remarks: tuple[str, ...] = ()
    """What is not used, and by how much it was off, for people."""


def check_target(engine: TargetEngine, plain: PlainRows | None = None, *, length: int = 64) -> Findings:
    """Score a text of ``length`` random tokens (fewer, if the context is shorter) in the ways of an edge.

    ``plain``: rows to compare with; None takes the engine's own, of single tokens one after the other.  Raises
    EngineError for an engine whose chains are not those of plain text, or that fails.
    """
    case = _Case.of(engine, plain or _steps_of(engine), length)
    if case is None:
        return Findings()

    def attempt(shape: Shape, texts: int) -> _Off:
        return _worst(lambda: _target_rounds(engine, case, shape, texts))

    case.require_chain(attempt(CHAIN, 1))
    branches = engine.facts.most_leaves >= LEAVES
    shared = attempt(TREE if branches else CHAIN, 2)
    if case.fits(shared):  # all at once, as with nearly all models
        return Findings()
    remarks, tree = [], attempt(TREE, 1) if branches else None
    trees = tree is None or case.fits(tree)
    if tree is not None and not trees:
        remarks.append(f"it drafts and verifies chains alone: a token tree {tree.said}")
        shared = attempt(CHAIN, 2)
    together = case.fits(shared)
    if not together:
        remarks.append(f"each text has a pass of its own: a pass over several {shared.said}")
    return Findings(trees, together, tuple(remarks))


def check_draft(engine: DraftEngine, plain: PlainRows | None = None, *, length: int = 64) -> Findings:
    """``check_target`` for the ways of a device; ``plain`` None takes the engine's own rows after ever longer texts."""
    case = _Case.of(engine, plain or _rows_of_prefixes(engine), length)
    if case is None:
        return Findings()
    case.require_chain(_worst(lambda: _draft_rounds(engine, case, CHAIN)))
    if engine.facts.most_leaves < LEAVES:
        return Findings()
    tree = _worst(lambda: _draft_rounds(engine, case, TREE))
    if case.fits(tree):
        return Findings()
    return Findings(trees=False, remarks=(f"it drafts chains alone: a token tree {tree.said}",))


@dataclass(frozen=True, slots=True)
class _Off:
    """How far rows were off."""

    part: float
    """Of the spread of a row's logits; infinity where the engine failed."""
    error: Exception | None = None

    @property
    def said(self) -> str:
        if self.error is not None:
            return f"fails ({type(self.error).__name__}: {str(self.error).partition(chr(10))[0]})"
        return f"differs by {self.part:.2g} of the spread of a row's logits"


def _worst(compare: Callable[[], float]) -> _Off:
    try:
        return _Off(compare())
    except FAILS as error:
        return _Off(np.inf, error)


class _Case:
    """A text of random tokens, and what the rows after its paths must be."""

    def __init__(self, engine: DraftEngine | TargetEngine, plain: PlainRows, length: int) -> None:
        rng = np.random.default_rng(0)
        facts = engine.facts
        self.name = facts.model
        self.vocab_size = facts.vocab_size
        self.tolerance = TOLERANCE.get(facts.dtype, COARSE)
        self.prefix: list[int] = rng.integers(0, facts.vocab_size, length).tolist()
        self.nodes: list[int] = rng.integers(0, facts.vocab_size, len(TREE.parents)).tolist()
        self.behind: list[int] = rng.integers(0, facts.vocab_size, BEHIND).tolist()
        self._plain = plain
        self._known: dict[tuple[int, ...], Rows] = {}

    @classmethod
    def of(cls, engine: DraftEngine | TargetEngine, plain: PlainRows, length: int) -> _Case | None:
        """None for a context that is too short for any of it."""
        length = min(length, engine.facts.context - len(TREE.parents) - BEHIND - 1)
        return cls(engine, plain, length) if length > 1 else None

    def after(self, tokens: Sequence[int]) -> Rows:
        """The row after the text and ``tokens``."""
        key = tuple(tokens)
        if key not in self._known:
            rows = np.asarray(self._plain([*self.prefix, *key], len(key) + 1), dtype=np.float64)
            self._known |= {key[:count]: row for count, row in enumerate(rows)}
        return self._known[key]

    def off(self, found: Any, tokens: Sequence[int]) -> float:
        """How far the row ``found`` after the text and ``tokens`` is off."""
        expected = self.after(tokens)
        row = _numbers(found).astype(np.float64)
        spread = float(np.std(expected)) or 1.0
        off = float(np.sqrt(np.mean((row - expected) ** 2))) / spread
        return off if np.isfinite(off) else np.inf

    def fits(self, off: _Off) -> bool:
        return off.part <= self.tolerance

    def require_chain(self, chain: _Off) -> None:
        """Raise EngineError unless chains are plain text; what they are off is what rounding is from then on."""
        if not self.fits(chain):
            if chain.error is not None:
                why = f"a chain of tokens {chain.said}, where plain text does not"
            else:
                why = (
                    f"a chain of tokens {chain.said} from the same plain text, where {self.tolerance:g} would be "
                    "rounding: it attends or counts positions in a way that its configuration does not say"
                )
            raise EngineError(f"{self.name} is not served: {why}") from chain.error
        self._require_causal()
        self.tolerance = min(self.tolerance, max(CLOSE * self.tolerance, AS_CHAINS * chain.part))

    def _require_causal(self) -> None:
        """Raise EngineError if a row of plain text has to do with a token that comes after it."""
        other = [*self.prefix[:-1], (self.prefix[-1] + 1) % self.vocab_size]
        before, after = (_numbers(self._plain(tokens, 2)[0]) for tokens in (self.prefix, other))
        moved = float(np.abs(before - after).max()) / (float(np.std(before)) or 1.0)
        if not moved <= SAME:
            raise EngineError(
                f"{self.name} is not served: a token changes the rows before it, by {moved:.2g} of the spread of their "
                "logits: it is no causal model, which goes on with a text"
            )

    def draft(self, shape: Shape) -> tuple[tw.TokenTree, list[list[int]]]:
        """The draft of this shape, and the tokens of each node's path, whose rows are then known."""
        tree = tw.TokenTree(self.nodes[: len(shape.parents)], shape.parents)
        paths = [self.tokens(tree.path(node)) for node in range(len(tree))]
        for path in sorted(paths, key=len, reverse=True):  # a row of a longer one has those of its beginnings
            self.after(path)
        return tree, paths

    def tokens(self, path: Sequence[int]) -> list[int]:
        """The tokens of nodes."""
        return [self.nodes[node] for node in path]


def _target_rounds(engine: TargetEngine, case: _Case, shape: Shape, texts: int) -> float:
    """Two rounds of ``texts`` texts that share their passes; how far the worst row of the first one is off."""
    tree, paths = case.draft(shape)
    accepted = case.tokens(shape.path)
    opened = [engine.open() for _ in range(texts)]
    try:
        half = len(case.prefix) // 2
        # Others are shorter, so that rows of texts of several lengths lie side by side.
        prefixes = [case.prefix, *([case.prefix[:half]] * (texts - 1))]
        engine.score([Work(text, own[:half], None) for text, own in zip(opened, prefixes, strict=True)])
        works = [Work(opened[0], case.prefix[half:], tree)]
        works += [Work(text, case.behind[:1], tree) for text in opened[1:]]
        rows = engine.score(works)[0]
        off = [case.off(rows[0], ()), *(case.off(rows[1 + node], own) for node, own in enumerate(paths))]
        opened[0].commit(shape.path)
        ahead = tw.TokenTree.chain(case.behind[1:])
        works = [Work(opened[0], case.behind[:1], ahead)]
        works += [Work(text, case.behind[1:2], ahead) for text in opened[1:]]
        rows = engine.score(works)[0]
        after = [[*accepted, *case.behind[: count + 1]] for count in range(BEHIND)]
        case.after(after[-1])
        return max(off + [case.off(row, tokens) for row, tokens in zip(rows, after, strict=True)])
    finally:
        for text in opened:
            text.close()


def _draft_rounds(engine: DraftEngine, case: _Case, shape: Shape) -> float:
    """A draft, level by level, what is kept of it, and the next one; how far the worst row is off."""
    tree, paths = case.draft(shape)
    text = engine.open()
    try:
        text.set_prefix(case.prefix)
        off = [case.off(text.expand(())[0], ())]
        for _, level in groupby(range(len(tree)), key=tree.depths.__getitem__):
            nodes = list(level)
            rows = text.expand([Node(tree.parents[node], tree.tokens[node]) for node in nodes])
            off += [case.off(row, paths[node]) for node, row in zip(nodes, rows, strict=True)]
        text.commit(shape.path, case.behind[0])
        tokens = [*case.tokens(shape.path), case.behind[0]]
        case.after([*tokens, *case.behind[1:]])
        off.append(case.off(text.expand(())[0], tokens))
        for count, token in enumerate(case.behind[1:]):
            tokens.append(token)
            off.append(case.off(text.expand([Node(count - 1, token)])[0], tokens))
        return max(off)
    finally:
        text.close()


def _steps_of(engine: TargetEngine) -> PlainRows:
    """Rows of single tokens, one after the other, behind a text that was read in one go."""

    def rows(tokens: Sequence[int], keep: int) -> list[Any]:
        text = engine.open()
        try:
            first, empty = len(tokens) - keep, tw.TokenTree([], [])
            if first:
                engine.score([Work(text, tokens[:first], None)])
            return [_numbers(engine.score([Work(text, (token,), empty)])[0][0]) for token in tokens[first:]]
        finally:
            text.close()

    return rows


def _rows_of_prefixes(engine: DraftEngine) -> PlainRows:
    """Rows after ever longer prefixes: no node is ever appended."""

    def rows(tokens: Sequence[int], keep: int) -> list[Any]:
        text = engine.open()
        try:
            found = []
            for length in range(len(tokens) - keep + 1, len(tokens) + 1):
                text.set_prefix(tokens[:length])
                found.append(_numbers(text.expand(())[0]))
            return found
        finally:
            text.close()

    return rows


def _numbers(row: Any) -> NDArray[np.float32]:
    """A row, of an array or a tensor of any type and place, as float32."""
    if hasattr(row, "float"):  # torch's, which is not imported here: bfloat16 has no equal in numpy
        row = row.float().cpu().numpy()
    return np.array(row, dtype=np.float32)
