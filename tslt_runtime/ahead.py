"""Drafting ahead: while a device waits for a verdict, it drafts for the verdicts that are likely.

Where the guess is right, the next draft is there when the verdict comes, or has begun (as in Saguaro, arXiv 2603.03251,
for two processes of one machine).  What is sent is what would be sent without: a draft is a function of the text, the
settings and the random numbers of its round, and each guess is drawn with the numbers that the next round has anyway.
So nothing of a guess reaches the wire, and the law of the text cannot change.

For chains, one or several in flight: after each token there is the case that it is the last one accepted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from tslt_runtime.drafting import DraftSettings, Drawing
from tslt_runtime.evidence import Arrived
from tslt_runtime.held_nodes import MOST_HELD, Branch, HeldNode, HeldNodes
from tslt_runtime.open_rounds import OpenRound
from tslt_wire import checks

MOST_AHEAD = 256
"""Nodes that a device may be told to hold for what may come, at a time."""
REMEMBERED = 9
"""Rounds that say how long the next wait is, and passes that say how long the next one takes."""
LEARNED = 0.05
"""Weight of a round in what is known of verdicts."""
DrawingAt = Callable[[int, int], Drawing]
"""What the draft of a round is drawn with: (number of the round, tokens before it); random numbers are the round's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a device knows while it waits."""

    held: HeldNodes
    """What the draft model holds: the drafts in flight."""
    flight: Sequence[OpenRound]
    """Those, the oldest first."""
    settings: DraftSettings
    """Of the draft after a verdict, as far as is known."""
    drawing: DrawingAt
    """What it is drawn with."""
    most_leaves: int | None
    """Of the nodes that the model is run on; None: any number."""

    def fits(self, most: int) -> bool:
        """Whether guesses of so many nodes can hang off these drafts: chains that the text holds.

        All that is drafted ahead must have room, or no cache would be kept.
        """
        trees = [open_.drafted.tree for open_ in self.flight]
        chains = max((tree.leaves for tree in trees), default=1) <= 1 and max(self.settings.expansion, default=0) == 1
        needed = sum(map(len, trees)) + most + len(self.settings.expansion)
        room = min(self.held.text.room, MOST_HELD)
        return chains and needed < room and not any(open_.passed for open_ in self.flight)


class _Guess:
    """A verdict that may come, and the draft that would follow."""

    def __init__(self, setting: Setting, open_: OpenRound, node: int) -> None:
        """``node``: of the draft, the last one that is accepted; -1: none is."""
        self.open_, self.node = open_, node
        self.token: int | None = None
        """The target's token after ``node``; None: not known, because the model has not seen ``node`` yet."""
        self.run = 0
        """Nodes that the model was run on for it."""
        self._drawing = setting.drawing(open_.draft.round + 1, open_.draft.prefix_length + node + 2)
        self._end = open_.nodes[node] if node >= 0 else open_.root
        self.branch = Branch(setting.settings, self._drawing)
        if node in open_.drafted.lists:
            self._name(open_.drafted.lists[node], {open_.nodes[node + 1].token})

    def next(self) -> list[HeldNode]:
        """What is to be run next; nothing where all is drafted, or nothing can be."""
        if self.token is None:
            return [self._end] if self._end is not None and self._end.number is None else []
        return [] if self.branch.is_whole else self.branch.next()

    def take(self, rows: Any) -> None:
        """Go on with the rows after ``next``."""
        self.run += len(rows)
        if self.token is None:
            self._name(self.branch.sources_of(rows, self._drawing.position - 1)[0], set())
        else:
            self.branch.take(rows)

    def _name(self, q: Any, drafted: set[int]) -> None:
        """Guess the target's token: that of ``q`` which it takes most likely, if it is none of those ``drafted``."""
        few, how = 1 + len(drafted), self._drawing
        if isinstance(q, Arrived):  # whatever the next draft is drawn with
            found: Sequence[int] = q.tokens[:few]
        else:
            found = q.likeliest(few) if how.pick is None else how.pick(q, few, how.position - 1)
        self.token = next((token for token in found if token not in drafted), None)
        if self.token is not None:
            self.branch.root = HeldNode(self._end, self.token)


class DraftAhead:
    """What one device knows of its waits and verdicts, and the guesses of what may come.

    ``step`` belongs to the thread that runs the model; between two of its calls, all else may be called.
    """

    def __init__(self, most: int) -> None:
        """``most``: nodes that may be held for guesses, 0 to ``MOST_AHEAD``; 0: none is made.  Errors for others."""
        self.most = checks.integer("ahead", most, 0, MOST_AHEAD)
        """Nodes at a time, at most; it may change between two rounds."""
        self.rounds = self.right = self.nodes = 0
        """Verdicts with guesses before them, those that were among these, and nodes that were run for guesses."""
        self._accepted, self._last, self._other = 0.7, 0.5, 0.2  # chances: of a token, of the guesses after it
        self._waits, self._passes = deque[float](maxlen=REMEMBERED), deque[float](maxlen=REMEMBERED)
        self._guesses: list[_Guess] = []

    def guess(self, setting: Setting) -> None:
        """Guess what becomes of the drafts in flight, if guesses can hang off them; guesses that are there stay."""
        if not self.most or not setting.fits(self.most):
            self._guesses = []
            return
        many = max(1, self.most // (1 + len(setting.settings.expansion)))
        if setting.most_leaves is not None:
            many = min(many, setting.most_leaves - 1)  # the drafts themselves may end in one more
        there = {(guess.open_.draft.round, guess.node) for guess in self._guesses}
        chances = {place: chance for place, chance in self._chances(setting.flight).items() if place not in there}
        chosen = sorted(chances, key=chances.__getitem__, reverse=True)[: max(0, many - len(there))]
        of_round = {open_.draft.round: open_ for open_ in setting.flight}
        self._guesses += [_Guess(setting, of_round[round_], node) for round_, node in sorted(chosen)]

    def _chances(self, flight: Sequence[OpenRound]) -> dict[tuple[int, int], float]:
        """Probability that a verdict ends there and its guess is right, by round and last accepted node."""
        found, before = dict[tuple[int, int], float](), 1.0
        for open_ in flight:
            count, rate = len(open_.drafted.tree), self._accepted
            for node in range(-1, count - 1):
                found[open_.draft.round, node] = before * rate ** (node + 1) * (1 - rate) * self._other
            before *= rate**count
            if not open_.goes_on:
                found[open_.draft.round, count - 1] = before * self._last
        return found

    def wants(self, waited_s: float) -> bool:
        """Whether a pass for guesses alone is worth it after ``waited_s`` seconds.

        One that ends after the verdict has come delays the next draft, unless it is a part of that.
        """
        if not any(len(guess.next()) in range(1, self._left + 1) for guess in self._guesses):
            return False
        if not (self._waits and self._passes):
            return True
        pass_s = median(self._passes)
        return waited_s + pass_s - median(self._waits) <= self._accepted * self._last * pass_s

    @property
    def _left(self) -> int:
        """Nodes that may still be run."""
        return self.most - sum(guess.run for guess in self._guesses)

    def step(self, held: HeldNodes, following: Branch | None) -> None:
        """One pass of the draft model, for the draft that follows those in flight and the guesses that fit."""
        first = [] if following is None else following.next()
        nodes, left, takers = list(first), self._left, list[tuple[_Guess, range]]()
        for guess in self._guesses if first or following is None else ():
            found = [node for node in guess.next() if node not in nodes]
            if found and len(found) <= left:
                takers.append((guess, range(len(nodes), len(nodes) + len(found))))
                nodes += found
                left -= len(found)
        rows = held.run(nodes)
        if following is not None:
            following.take(rows[: max(1, len(first))])
        for guess, places in takers:
            guess.take(rows[places.start : places.stop])
            self.nodes += len(places)

    def passed(self, seconds: float) -> None:
        """Remember how long a step took."""
        self._passes.append(seconds)

    def after(self, open_: OpenRound, node: int, token: int | None, *, wait_s: float) -> Branch | None:
        """The draft that follows a verdict, as far as it was drawn; None: the verdict was not guessed, or is not over.

        ``token``: the target's own; None: all of the draft was accepted, and the next one follows it.  ``wait_s``:
        seconds until it came.
        """
        mine = [guess for guess in self._guesses if guess.open_ is open_]
        if token is None:
            self._guesses = [guess for guess in self._guesses if guess.open_ is not open_]
        else:
            self._guesses = []
        last = len(open_.drafted.tree) - 1
        if self.most and open_.drafted.tree.leaves == 1:
            self._waits.append(wait_s)
            for place in range(min(node, last - 1) + 2):
                self._accepted += LEARNED * ((place <= node) - self._accepted)
        self.rounds += bool(mine)
        guess = next((guess for guess in mine if guess.node == node), None)
        if guess is None or guess.token is None or token is None:
            return None
        right = guess.token == token
        if node == last:
            self._last += LEARNED * (right - self._last)
        else:
            self._other += LEARNED * (right - self._other)
        self.right += right
        return guess.branch if right and guess.branch.depth else None

    def forget(self) -> None:
        """The text does not hold what guesses hang off any more."""
        self._guesses = []
