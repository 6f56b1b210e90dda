"""An engine against itself, once at load: trees, kept caches and shared passes must give the rows of plain text.

A model can do something that its configuration does not say: attend to near tokens alone, or take positions from where
a token lies in the cache.  Its text is then another one, in silence.  So a text of random tokens is scored in every way
that a session uses, beside plain steps.  What differs is not used: trees give way to chains, a pass for all texts to a
pass for each, and a model that does not even score chains rightly is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tslt_wire as tw
from tslt_runtime.engines.protocol import DraftEngine, EngineError, Node, TargetEngine, Work

Rows = NDArray[np.float64]
PlainRows = Callable[[Sequence[int], int], Any]
"""``(tokens, keep)`` -> the last ``keep`` rows of raw logits of plain text, real (keep, V), by the model's own code."""

TOLERANCE = {"float32": 1e-3, "float16": 0.05}
"""How far a row of a chain may be off, as a part of the spread of its logits, by what the model computes in."""
CLOSE, AS_CHAINS = 0.1, 8.0
"""The part of it that trees and shared passes may be off, or so many times what chains are, whichever is more: what
rounds is alike in all of them."""
SAME = 1e-5
"""How far a row may move, in any type, where a later token is another one: not at all, but for a sum's order."""
COARSE = 0.1
"""The same for all other types: bfloat16 and quantised weights."""
TREE = (-1, -1, 0, 1, 1, 2, 4, 4, 6, 7, 7, 9)
"""Parents of the nodes that are tried: a dozen, five leaves, five levels deep, no child where an earlier one's is."""
GOES_ON = (1, 4, 7, 10)
"""The path of it that is accepted: its rows do not follow each other in the cache."""
CHAIN = (-1, 0, 1, 2, 3)
BEHIND = 4
"""Tokens that come after what was accepted."""
LEAVES = 5
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

    def attempt(parents: Sequence[int], path: Sequence[int], texts: int) -> _Off:
        return _worst(lambda: _target_rounds(engine, case, parents, path, texts))

    findings = []
    chain = attempt(CHAIN, (0, 1, 2), 1)
    case.require(chain, "a chain of tokens")
    case.require_causal()
    case.expect(chain)
    branches = engine.facts.most_leaves >= LEAVES
    tree = attempt(TREE, GOES_ON, 1) if branches else chain
    trees = case.fits(tree)
    if not trees:
        findings.append(f"it drafts and verifies chains alone: a token tree {tree.said}")
    shared = attempt(TREE, GOES_ON, 2) if branches and trees else attempt(CHAIN, (0, 1, 2), 2)
    together = case.fits(shared)
    if not together:
        findings.append(f"each text has a pass of its own: a pass over several {shared.said}")
    return Findings(trees, together, tuple(findings))


def check_draft(engine: DraftEngine, plain: PlainRows | None = None, *, length: int = 64) -> Findings:
    """``check_target`` for the ways of a device; ``plain`` is needed, or the engine's own first rows are taken."""
    case = _Case.of(engine, plain or _rows_of_prefixes(engine), length)
    if case is None:
        return Findings()
    chain = _worst(lambda: _draft_rounds(engine, case, CHAIN, (0, 1, 2)))
    case.require(chain, "a chain of tokens")
    case.require_causal()
    case.expect(chain)
    if engine.facts.most_leaves < LEAVES or case.fits(
        tree := _worst(lambda: _draft_rounds(engine, case, TREE, GOES_ON))
    ):
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
        self.nodes: list[int] = rng.integers(0, facts.vocab_size, len(TREE)).tolist()
        self.behind: list[int] = rng.integers(0, facts.vocab_size, BEHIND).tolist()
        self._plain = plain
        self._known: dict[tuple[int, ...], Rows] = {}

    @classmethod
    def of(cls, engine: DraftEngine | TargetEngine, plain: PlainRows, length: int) -> _Case | None:
        """None for a context that is too short for any of it."""
        length = min(length, engine.facts.context - len(TREE) - BEHIND - 1)
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
        row = np.asarray(_numbers(found), dtype=np.float64)
        spread = float(np.std(expected)) or 1.0
        off = float(np.sqrt(np.mean((row - expected) ** 2))) / spread
        return off if np.isfinite(off) else np.inf

    def fits(self, off: _Off) -> bool:
        return off.part <= self.tolerance

    def expect(self, chain: _Off) -> None:
        """Take what chains are off for rounding: all else is as far off at most, about."""
        self.tolerance = min(self.tolerance, max(CLOSE * self.tolerance, AS_CHAINS * chain.part))

    def require_causal(self) -> None:
        """Raise EngineError if a row of plain text has to do with a token that comes after it."""
        other = [*self.prefix[:-1], (self.prefix[-1] + 1) % self.vocab_size]
        before, after = (_numbers(self._plain(tokens, 2)[0]) for tokens in (self.prefix, other))
        moved = float(np.abs(before - after).max()) / (float(np.std(before)) or 1.0)
        if not moved <= SAME:
            raise EngineError(
                f"{self.name} is not served: a token changes the rows before it, by {moved:.2g} of the spread of their "
                "logits: it is no causal model, which goes on with a text"
            )

    def require(self, off: _Off, what: str) -> None:
        if self.fits(off):
            return
        if off.error is not None:
            why = f"{what} {off.said}, where plain text does not"
        else:
            why = (
                f"{what} {off.said} from the same plain text, where {self.tolerance:g} would be "
                "rounding: it attends or counts positions in a way that its configuration does not say"
            )
        raise EngineError(f"{self.name} is not served: {why}") from off.error

    def longest_first(self, parents: Sequence[int]) -> list[list[int]]:
        """The tokens of each node's path, those of the deepest ones worked out first."""
        paths: list[list[int]] = []
        for node, parent in enumerate(parents):
            paths.append([*(paths[parent] if parent >= 0 else ()), self.nodes[node]])
        for path in sorted(paths, key=len, reverse=True):
            self.after(path)
        return paths


def _target_rounds(engine: TargetEngine, case: _Case, parents: Sequence[int], path: Sequence[int], texts: int) -> float:
    """Two rounds of ``texts`` texts that share their passes; how far the worst row of the first one is off."""
    paths = case.longest_first(parents)
    tree = tw.TokenTree(case.nodes[: len(parents)], parents)
    accepted = [case.nodes[node] for node in path]
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
        opened[0].commit(path)
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


def _draft_rounds(engine: DraftEngine, case: _Case, parents: Sequence[int], path: Sequence[int]) -> float:
    """A draft, level by level, what is kept of it, and the next one; how far the worst row is off."""
    paths = case.longest_first(parents)
    text = engine.open()
    try:
        text.set_prefix(case.prefix)
        off = [case.off(text.expand(())[0], ())]
        for first, last in pairwise(_levels(parents)):
            rows = text.expand([Node(parents[node], case.nodes[node]) for node in range(first, last)])
            off += [case.off(row, paths[first + at]) for at, row in enumerate(rows)]
        text.commit(path, case.behind[0])
        tokens = [*(case.nodes[node] for node in path), case.behind[0]]
        case.after([*tokens, *case.behind[1:]])
        off.append(case.off(text.expand(())[0], tokens))
        for count, token in enumerate(case.behind[1:]):
            tokens.append(token)
            off.append(case.off(text.expand([Node(count - 1, token)])[0], tokens))
        return max(off)
    finally:
        text.close()


def _levels(parents: Sequence[int]) -> list[int]:
    """Where each level of a tree in breadth-first order begins, and its end."""
    starts: list[int] = [0]
    depths: list[int] = []
    for node, parent in enumerate(parents):
        depths.append(1 if parent < 0 else depths[parent] + 1)
        if node and depths[node] > depths[node - 1]:
            starts.append(node)
    return [*starts, len(parents)]


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
