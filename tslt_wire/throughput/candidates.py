"""All that a planner can choose from, as arrays: ways to make evidence, drafts, and how many are in flight.

``Candidates.view`` puts them all through the model of a round at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tslt_wire.checks import integer
from tslt_wire.throughput.acceptance import Acceptance
from tslt_wire.throughput.catalogue import Mode
from tslt_wire.throughput.estimates import Features, Times
from tslt_wire.throughput.flight import Guesses, Overlap, Parts, answer_rows, dropped, ready_in_flight, ready_part
from tslt_wire.throughput.model import Expectation, Floats, expect, shape_counts, widths_of
from tslt_wire.throughput.plan import Agreed

_LEAST_S = 1e-6
"""Seconds below which no round is expected to take."""
_GUESS = 0.4
"""How often the draft model's likeliest token is the target's, where the catalogue has no ``match`` to say it."""


@dataclass(slots=True)
class View:
    """All candidates, as they seem now; each (N,), of one answer."""

    load: Expectation
    tokens: Floats
    """What the text grows by."""
    seconds: Floats
    edge_s: Floats
    """Of these, or beside them, those of the edge."""
    grown_s: Floats
    """Of the edge's, what the draft makes them more: those of its nodes and its evidence, not those of a pass."""
    lost: Floats
    """Drafts that lose their ground, an answer."""
    uplink: Floats
    """Bytes, with those of drafts that are dropped."""
    features: Features
    ready: Floats
    """Part of a draft that is there when the verdict before it comes, where none is in flight then."""
    saved: Floats
    """Seconds that drafting ahead saves, about."""


class Candidates:
    """Pairs of a mode and a shape, each with as many drafts in flight as a session may have."""

    def __init__(self, modes: Sequence[Mode], agreed: Agreed, shapes: Sequence[tuple[int, ...]]) -> None:
        """``modes``: the catalogue.  ValueError if nothing is left of it, or it names a mode twice."""
        self.modes = [mode for mode in modes if agreed.allows(mode)]
        if len(set(self.modes)) < len(self.modes):
            raise ValueError("the catalogue names a mode twice")
        self.shapes = [tuple(integer("each of a shape", width, 1, None) for width in shape) for shape in shapes]
        widths, wide = widths_of(self.shapes), [max(shape, default=0) for shape in self.shapes]
        _, parents, nodes = shape_counts(widths)
        found = [
            (i, j, window)
            for i, mode in enumerate(self.modes)
            for j in range(len(self.shapes))
            if wide[j] <= max(1, len(mode.alphas)) and agreed.fits(mode, parents[j], nodes[j])
            for window in ((1, *windows(agreed.window)) if wide[j] else (1,))
        ]
        if not found:
            kinds = sorted(agreed.evidence)
            raise ValueError(f"the catalogue has nothing for evidence {kinds} and {len(self.shapes)} shapes")
        self.mode_of, self.shape_of, self.window = (np.array(column, np.int64) for column in zip(*found, strict=True))
        self.widest = max(1, *wide)
        """Most siblings."""
        self.ahead = agreed.ahead
        """Nodes that may be drafted ahead, at most."""
        self.tree = np.array([wide[j] > 1 for j in self.shape_of], np.int64)
        self.chain = np.array([wide[j] == 1 for j in self.shape_of])
        self.widths = widths[self.shape_of]
        self.counts = shape_counts(self.widths)
        self.wires = np.array([self.modes[i].wire.row for i in self.mode_of])
        self.kinds = {mode.evidence: (mode.parent_s, mode.token_s) for mode in reversed(self.modes)}
        """Seconds a parent at the device and a token at the edge, by kind of evidence."""
        of_kind = [[float(mode.evidence == kind) for kind in self.kinds] for mode in self.modes]
        self.of_kind: Floats = np.array(of_kind)[self.mode_of]
        self.guesses = self._guesses(modes)

    def __len__(self) -> int:
        return len(self.mode_of)

    def place(self, mode: Mode, shape: tuple[int, ...], window: int) -> int:
        """The number of a candidate; ValueError for what is none."""
        if mode in self.modes and shape in self.shapes:
            mine = (self.mode_of == self.modes.index(mode)) & (self.shape_of == self.shapes.index(shape))
            there = np.flatnonzero(mine & (self.window == window))
            if len(there):
                return int(there[0])
        raise ValueError(f"{mode.name} with {shape} and {window} in flight is not in this session's catalogue")

    def load(self, alphas: Floats, sizes: Floats) -> Expectation:
        """Of a round alone.  ``alphas``: see ``Acceptance.alphas``; ``sizes``: bytes up over expected, (modes, 2)."""
        each = alphas[self.mode_of[:, None], self.tree[:, None], self.widths]
        load = expect(self.wires, self.widths, each, self.counts)
        load.rejected[:, 1] *= sizes[self.mode_of, self.tree]
        load.uplink[:] *= sizes[self.mode_of, self.tree]
        return load

    def whole(self, alphas: Floats) -> Floats:
        """Probability that a draft is accepted down to the leaf it goes on from, the first token of each level, (N,).

        ``alphas``: see ``Acceptance.alphas``.
        """
        found: Floats = alphas[self.mode_of, self.tree, 1] ** self.counts[0]
        return found

    def tokens(self, load: Expectation, whole: Floats) -> Floats:
        """Of an answer, (N,): one to a draft that goes on and is accepted whole has none of the target's."""
        return load.tokens - np.where(self.window > 1, whole, 0.0)

    def view(self, acceptance: Acceptance, sizes: Floats, times: Times, *, hits: float) -> View:
        """As they seem now.  ``hits``: times as often as expected that guesses were right so far."""
        alphas = acceptance.alphas()
        load, whole = self.load(alphas, sizes), self.whole(alphas)
        tokens = self.tokens(load, whole)
        wire = np.stack([load.trips, load.uplink, load.downlink], axis=1)
        features = times.features(wire, self.counts, tokens, self.of_kind)
        cost = times.cost
        parts, rejected = self._parts(load, features, len(cost))
        ready = self._ready(load, parts, cost, hits)
        flying, at = self.window > 1, features[0].shape[1]
        to = at + features[1].shape[1]
        drawn = np.where(flying, np.minimum(1.0, self.ahead / np.maximum(self.counts[0], 1.0)), 0.0)
        how = Overlap(whole, self.window, drawn, ready, self.counts[0])
        rows = answer_rows(parts, cost, how) + rejected
        verify, lost = parts.verify @ cost, dropped(parts, cost, how)
        passes = [3, to]  # the columns of a pass whatever its nodes, hidden or told
        split = (rows[:, :at], rows[:, at:to], rows[:, to:])
        part = np.where(flying, drawn * whole**self.window + ready * (1 - whole), ready)
        return View(
            load=load,
            tokens=tokens,
            seconds=np.maximum(rows @ cost, _LEAST_S),
            edge_s=verify,
            grown_s=verify - parts.verify[:, passes] @ cost[passes],
            uplink=load.uplink + (load.uplink - load.rejected[:, 1]) * lost,
            lost=lost,
            features=split,
            ready=ready,
            saved=parts.drawn @ cost * part,
        )

    def _parts(self, load: Expectation, features: Features, columns: int) -> tuple[Parts, Floats]:
        """What a draft takes and what rejections add, in the columns of all ``features`` one after the other."""
        link, draft, told = features
        zeros = np.zeros((len(self), columns))
        at, to = link.shape[1], link.shape[1] + draft.shape[1]
        drafting, uplink, back, verify, rejected = (zeros.copy() for _ in range(5))
        drafting[:, at:to] = draft
        rejected[:, :3] = load.rejected
        uplink[:, 1] = load.uplink - load.rejected[:, 1]
        back[:, 0], back[:, 2] = 1.0, load.downlink - load.rejected[:, 2]
        verify[:, 3:at], verify[:, to:] = link[:, 3:], told
        # What a draft takes however short it is, is not saved.
        drawn = drafting.copy()
        drawn[:, at] = 0.0
        return Parts(drafting, drawn, uplink, back, verify), rejected

    def _ready(self, load: Expectation, parts: Parts, cost: Floats, hits: float) -> Floats:
        """Part of a draft that is there when the verdict before it comes, (N,)."""
        if not self.ahead:
            return np.zeros(len(self))
        draft, uplink, back, verify = parts.seconds(cost)
        levels = self.counts[0]
        pass_s = np.maximum(draft, _LEAST_S) / np.maximum(levels, 1.0)
        passes = (uplink + back + verify) / pass_s
        last = np.where(np.isnan(self.guesses.last), load.kept[:, 0], self.guesses.last)
        alone = ready_part(load.kept, levels, Guesses(last, self.guesses.other), most=self.ahead, passes=passes)
        between = np.maximum(np.maximum(draft, uplink), verify) / pass_s
        flying = ready_in_flight(
            load.kept, levels, self.guesses.other, most=self.ahead, passes=passes, between=between
        )  # fmt: skip
        part = np.where(self.window == 1, alone, flying)
        return np.where(self.chain, np.minimum(1.0, hits * part), 0.0)

    def _guesses(self, modes: Sequence[Mode]) -> Guesses:
        match = next((mode.alphas for mode in modes if mode.evidence == "match"), (_GUESS,))
        pairs = np.array([guesses_of(mode, match) for mode in self.modes])[self.mode_of]
        return Guesses(pairs[:, 0], pairs[:, 1])


def guesses_of(mode: Mode, match: Sequence[float] = (_GUESS,)) -> tuple[float, float]:
    """How often guesses are right by the catalogue, (after a draft accepted whole, in the place of a rejected token).

    With ``coupled`` the guess is the winner of the device's own race, and after a rejection the runner-up; with the
    others the draft model's likeliest tokens, which is what ``match`` drafts: its acceptance is ``match``.  NaN: as
    often as a token is accepted.
    """
    is_own = mode.evidence in {"coupled", "match"}
    alphas = mode.alphas if is_own else match
    second = (alphas[1] - alphas[0]) / (1 - alphas[0]) if len(alphas) > 1 else alphas[0] / 2
    return np.nan if is_own else alphas[0], second


def windows(most: int) -> tuple[int, ...]:
    """Numbers of drafts in flight to choose from, above 1: powers of two, and the most there may be."""
    return tuple(sorted({2**power for power in range(1, most.bit_length()) if 2**power <= most} | {most} - {1}))
