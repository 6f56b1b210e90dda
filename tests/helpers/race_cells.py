"""Exact enumeration of races between three tokens.

Which tokens arrive first depends on the ratios of their exponential times alone, and times over their sum are uniform
on the triangle.  Comparisons of times at some rates cut it along lines; within a cell all outcomes are the same, and
the cell's area is its probability.  So the real code is run once for each cell, and nothing is sampled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from enumeration import Context, Lists, Shape, Target, depth_of, outcomes, target_joint, target_rows

from tslt_wire import CoupledEvidence, Coupling, Draft, TokenTree
from tslt_wire.verification.choices import Choices
from tslt_wire.verification.verdicts import verify_with

Polygon = list[tuple[float, float]]
TRIANGLE: Polygon = [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)]
"""Times of tokens 0 and 1 as part of the sum of all three."""
START = 5
"""Length of the prefix."""


def times_at(point: tuple[float, float]) -> np.ndarray:
    """Times of the three tokens at a point of the triangle."""
    return np.array([point[0], point[1], 1 - point[0] - point[1]])


def area(polygon: Polygon) -> float:
    """Area of a polygon."""
    turned = [*polygon[1:], polygon[0]]
    return abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(polygon, turned, strict=True))) / 2


def half(polygon: Polygon, side: Callable[[tuple[float, float]], float]) -> Polygon:
    """The part of a convex polygon where the linear function ``side`` is not negative."""
    found: Polygon = []
    for a, b in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
        at_a, at_b = side(a), side(b)
        if at_a >= 0:
            found.append(a)
        if at_a * at_b < 0:
            t = at_a / (at_a - at_b)
            found.append((a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])))
    return found


def cells(rates: Sequence[np.ndarray]) -> list[tuple[float, np.ndarray]]:
    """Probability and times of each cell in which the races at all ``rates`` (each (3,)) have one outcome."""
    pieces = [TRIANGLE]
    for row in rates:
        for x, y in combinations(range(3), 2):

            def side(point: tuple[float, float], x: int = x, y: int = y, row: np.ndarray = row) -> float:
                times = times_at(point)
                return float(row[y] * times[x] - row[x] * times[y])

            cut = [half(piece, sign) for piece in pieces for sign in (side, lambda point: -side(point))]
            pieces = [piece for piece in cut if len(piece) > 2 and area(piece) > 1e-17]
    middles = [np.mean([times_at(point) for point in piece], axis=0) for piece in pieces]
    return [(2 * area(piece), middle) for piece, middle in zip(pieces, middles, strict=True)]


class Cells(Coupling):
    """Shared numbers that take each cell in turn; everything but where they come from is the real code."""

    def __init__(self, choices: Choices, advance: int = 1) -> None:
        super().__init__(bytes(8), 1)
        times: dict[int, np.ndarray] = {}
        for name, value in (("choices", choices), ("advance", advance), ("times", times)):
            object.__setattr__(self, name, value)  # a Coupling is frozen

    def place(self, position: int) -> int:
        return START + (position - START) * self.advance

    def cut(self, position: int, rates: Sequence[np.ndarray]) -> None:
        """Choose a cell of a position that races at these rates, if none was chosen."""
        if self.place(position) not in self.times:
            found = cells(rates)
            self.times[self.place(position)] = found[self.choices.draw(np.array([p for p, _ in found]))][1]

    def uniforms(self, position: int, ids: Any) -> np.ndarray:
        return np.exp(-self.times[self.place(position)][ids])

    def first(self, position: int, probs: np.ndarray) -> int:
        self.cut(position, [probs])
        return super().first(position, probs)


def race_round(
    shape: Shape, lists: Lists, target: Target, choices: Choices, advance: int, choose: Any
) -> tuple[int, ...]:
    """One round: the device drafts a tree with the shared numbers, the edge verifies; the tokens that come out."""
    coupling = Cells(choices, advance)
    tokens: list[int] = []
    parents: list[int] = []
    level: list[tuple[int, Context, Shape]] = [(-1, (), shape)]
    position = START
    while level:
        known = [row for _, context, _ in level for row in (lists(context).dense(), target(context))]
        waiting: deque[tuple[int, Context, Shape]] = deque()
        for node, context, below in level:
            if below:
                coupling.cut(position, known)
                drawn = choose(coupling, lists(context), len(below), position)
                for token, child_shape in zip(drawn, below, strict=False):
                    waiting.append((len(tokens), (*context, token), child_shape))
                    tokens.append(token)
                    parents.append(node)
        level, position = list(waiting), position + 1
    tree = TokenTree(tokens, parents)
    draft = Draft(round=0, prefix_length=START, prefix_hash=0, tree=tree, evidence=CoupledEvidence())
    return verify_with(draft, target_rows(tree, target), choices, coupling=coupling).tokens(tree)


def race_deviation(
    shape: Shape,
    lists: Lists,
    target: Target,
    *,
    advance: int = 1,
    choose: Any = lambda coupling, q, count, position: coupling.children(q, count, position),
) -> float:
    """Largest difference between a round's output and the target's own, over all sequences of L + 1 tokens.

    ``advance`` 0 breaks it: all positions have the same numbers.  ``choose`` is what the device drafts.
    """
    length = depth_of(shape) + 1
    joint = np.zeros_like(target_joint(target, length))
    for tokens, probability in outcomes(lambda choices: race_round(shape, lists, target, choices, advance, choose)):
        joint[tokens] += probability * target_joint(target, length - len(tokens), tokens)
    return float(np.abs(joint - target_joint(target, length)).max())
