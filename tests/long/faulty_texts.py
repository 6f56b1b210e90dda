"""Whole texts between two sessions whose links lose, repeat, reorder and break: in one process, with seeds.

``python tests/long/faulty_texts.py`` runs a million rounds: ``make faults``.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from broken_links import ALL, ANSWER, FORGOT, KEPT, OTHER, PROMPT, REQUEST, WHOLE, World
from chi_square import chi_square_p
from enumeration import Model
from session_rounds import evidence_of

import tslt_wire as tw
from tslt_wire.frames.codec import KIND_MASK
from tslt_wire.frames.kinds import Kind
from tslt_wire.lists.sibling_sampling import sample_children
from tslt_wire.verification.choices import RandomChoices

V = 4
LENGTH = 2
"""First tokens of a text: those whose law is tested."""
LISTS = Model(V, 1).lists(truncation=tw.TopK(3))
TARGET = Model(V, 2).target()
KINDS = (*ALL, "tree", "all")
"""Kinds of evidence, ``list`` with siblings, and all kinds in turn."""
WINDOWS = (1, 2, 4)
"""Drafts in flight."""
MOST_GROWTH = 0.01
"""Part by which the process may grow, from a quarter of a kind's texts on: the first thousands fill pools."""
RELIABLE = {Kind.HELLO, Kind.WELCOME, Kind.PROMPT, Kind.RESUME}
"""Frames that a transport delivers once and in order, or with them the link ends (spec section 7.7)."""


@dataclass(frozen=True)
class Faults:
    """How often what happens to an exchange, or to a frame."""

    edges: tuple[str, ...] = (KEPT,)
    """Whom the device meets after a cut."""
    cut: float = 0.0
    lost: float = 0.0
    again: float = 0.0
    late: float = 0.0
    """A frame comes with an older one of the same link before or after it."""


CALM = Faults()


class FaultyLink:
    """What becomes of frames; counts it."""

    def __init__(self, faults: Faults, rng: np.random.Generator) -> None:
        self.faults, self.rng = faults, rng
        self.lost = self.again = self.late = self.cuts = 0
        self._old: dict[int, list[bytes]] = {}

    def fate(self) -> tuple[str, str]:
        """Of an exchange."""
        if self.rng.random() >= self.faults.cut:
            return WHOLE, ""
        self.cuts += 1
        self._old.clear()
        edges = self.faults.edges
        return (REQUEST, ANSWER)[int(self.rng.integers(2))], edges[int(self.rng.integers(len(edges)))]

    def deliver(self, session: Any, frames: list[bytes]) -> list[Any]:
        """Let ``frames`` arrive, more or less; what comes of them."""
        events = []
        for frame in frames:
            coming = [frame] if frame[0] & KIND_MASK in RELIABLE else self._arriving(frame, id(session))
            for each in coming:
                events += session.receive_data(each)
        return events

    def _arriving(self, frame: bytes, way: int) -> list[bytes]:
        faults, old = self.faults, self._old.setdefault(way, [])
        if self.rng.random() < faults.lost:
            self.lost += 1
            return []
        coming = [frame]
        if self.rng.random() < faults.again:
            self.again += 1
            coming.append(frame)
        if old and self.rng.random() < faults.late:
            self.late += 1
            coming.insert(int(self.rng.integers(2)), old[int(self.rng.integers(len(old)))])
        old[:] = [*old[-7:], frame]
        return coming


class Texts:
    """Texts of one device, one after another."""

    def __init__(self, kind: str, faults: Faults, *, seed: int = 0, window: int = 1, length: int | None = None) -> None:
        """``window``: drafts that may be unanswered; texts are then of chains of one token, so that several are.

        ``length``: tokens of a text at least; None: one more than may be in flight.
        """
        self.kind, self.window, self.length = kind, window, length or window + 1
        self.most_in_flight = 0
        self.world = World(V, TARGET, proposals=2, window=window)
        self.link = FaultyLink(faults, np.random.default_rng([seed, 2]))
        self._seed = seed

    def next(self) -> tuple[int, ...]:
        """Tokens after PROMPT, at least ``length`` of them."""
        world, device = self.world, self.world.device
        device.send_prompt(PROMPT)
        world.flight(
            self.length,
            self._draft,
            lambda round_, batch: RandomChoices(self._numbers(round_, 1 + batch)),
            self.link.fate,
            deliver=self.link.deliver,
            together=lambda: bool(self.link.rng.random() < 0.5),
        )
        what, edge = self.link.fate()
        if what != WHOLE:
            world.break_link(edge)
        return device.prefix[len(PROMPT) :]

    def _numbers(self, round_: int, use: int) -> np.random.Generator:
        """The device's, of a round: a draft that lost its ground leaves them to the one in its place."""
        return np.random.default_rng([self._seed, 1, round_, use])

    def _draft(self, text: tuple[int, ...], round_: int) -> tuple[tw.TokenTree, tw.Evidence]:
        kind = {"all": ALL[round_ % len(ALL)], "tree": "list"}.get(self.kind, self.kind)
        coupling = self.world.device.coupling
        self.most_in_flight = max(self.most_in_flight, 1 + len(self.world.device.in_flight))
        tokens: list[int] = []
        lists = {}
        rng = self._numbers(round_, 0)
        for depth in range(2 if self.window == 1 else 1):
            q = lists[depth - 1] = LISTS((*text, *tokens))
            if kind == "coupled" and coupling is not None:
                tokens += coupling.children(q, 1, len(PROMPT) + len(text) + depth)
            elif kind == "match":
                tokens += q.likeliest(1)
            else:
                tokens += sample_children(q, 1, rng, replacement=True)
        tree = tw.TokenTree.chain(tokens)
        if self.kind == "tree":  # one more after the last parent
            tokens += sample_children(lists[tree.inner[-1]], 1, rng, replacement=True)
            tree = tw.TokenTree(tokens, (*tree.parents, tree.parents[-1]))
        return tree, evidence_of(kind, tree, lists)


def p_value(counts: np.ndarray) -> float:
    """Of the first two tokens, (V, V), against the target's."""
    law = np.array([TARGET(())[token] * TARGET((token,)) for token in range(V)])
    return chi_square_p(counts.ravel(), law.ravel())


# ------------------------------------------------------------------------------------------------------- the long run


def resident_bytes() -> int:
    """Of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def long_run(kind: str, count: int, seed: int, window: int, say: Callable[[str], None]) -> int:
    """Texts of one kind over bad links; returns how many rounds they took, AssertionError for a wrong token."""
    started = time.perf_counter()
    bad = {"cut": 0.01, "lost": 0.01, "again": 0.01, "late": 0.01}
    given = {"seed": seed, "window": window}
    calm, faulty = Texts(kind, CALM, **given), Texts(kind, Faults(edges=(KEPT, FORGOT), **bad), **given)
    same = max(1, count // 10)
    for number in range(same):
        if (text := faulty.next()) != (wanted := calm.next()):
            raise AssertionError(f"{kind}, text {number} of seed {seed}: {text}, undisturbed {wanted}")
    texts = Texts(kind, Faults(edges=(KEPT, FORGOT, OTHER), **bad), **given)
    counts, before = np.zeros((V, V)), 0
    for number in range(count):
        counts[texts.next()[:LENGTH]] += 1
        if number == count // 4:
            before = resident_bytes()
    growth = resident_bytes() / before - 1  # of the texts alone: what tells their law has memory of its own
    p = p_value(counts)
    worlds, links = (faulty.world, texts.world), (faulty.link, texts.link)
    rounds = sum(world.device.round for world in worlds)
    events = [sum(world.reconnects for world in worlds), sum(world.resumed for world in worlds)]
    events += [sum(getattr(link, name) for link in links) for name in ("lost", "again", "late")]
    shown = "  ".join(f"{number:9,}" for number in (same, count, rounds, *events))
    say(f"{kind:8} {window}  {shown}  {p:.3f}  {growth:+.2%}  {time.perf_counter() - started:.0f} s")
    if p < 1e-4:
        raise AssertionError(f"{kind}: the law of the text is another one, p = {p:.2g}")
    if growth > MOST_GROWTH:
        raise AssertionError(f"{kind}: the process grew by {growth:.2%}, at most {MOST_GROWTH:.0%} is allowed")
    return rounds


def main() -> int:
    """All kinds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=120_000, help="of each kind (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--windows", nargs="+", type=int, default=WINDOWS, help="drafts in flight (%(default)s)")
    args = parser.parse_args()

    def say(line: str) -> None:
        print(line, flush=True)

    names = ("same text", "texts", "rounds", "cuts", "resumed", "lost", "repeated", "late")
    say(f"{'':8} w  " + "  ".join(f"{name:>9}" for name in names) + "  p      memory")
    texts = args.texts // len(args.windows)
    rounds = sum(long_run(kind, texts, args.seed, window, say) for window in args.windows for kind in args.kinds)
    say(f"{rounds:,} rounds, no wrong token")
    return 0


if __name__ == "__main__":
    sys.exit(main())
