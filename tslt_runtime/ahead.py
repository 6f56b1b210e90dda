"""Drafting ahead: while a device waits for a verdict, it drafts for the verdicts that are likely.

Where the guess is right, the next draft is there when the verdict comes, or has begun (as in Saguaro, arXiv 2603.03251,
for two processes of one machine).  What is sent is what would be sent without: a draft is a function of the text, the
settings and the random numbers of its round, and each guess is drawn with the numbers that the next round has anyway.
So nothing of a guess reaches the wire, and the law of the text cannot change.

For chains: after each token of one there is the case that it is the last one accepted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from tslt_runtime.drafting import Drafted, DraftSettings, Drawing, Growth
from tslt_runtime.engines.protocol import DraftText, Node
from tslt_wire import checks

MOST_AHEAD = 256
"""Nodes that a device may be told to draft ahead in a round."""
REMEMBERED = 9
"""Rounds that say how long the next wait is, and passes that say how long the next one takes."""
LEARNED = 0.05
"""Weight of a round in what is known of verdicts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a device knows when its draft has left."""

    text: DraftText
    """Which has drafted it."""
    drafted: Drafted
    """What has left."""
    settings: DraftSettings
    """Of the next draft, as far as is known."""
    drawing: Callable[[int], Drawing]
    """What the next draft is drawn with if the text grows by so many tokens; its random numbers are its own."""
    most_leaves: int | None
    """Of the nodes that ``text`` holds; None: any number."""

    @property
    def fits(self) -> bool:
        """Whether guesses can hang off this draft: a chain whose last token alone was not run.

        All that is drafted ahead must have room, or no cache would be kept.
        """
        tree, ahead = self.drafted.tree, len(self.settings.expansion)
        chains = tree.leaves == 1 and max(self.settings.expansion, default=0) == 1
        return chains and self.drafted.expanded == len(tree) - 1 and self.text.room > len(tree) + ahead


class _Guess:
    """A verdict that may come, and the draft that would follow.  Nodes have the engine's numbers here."""

    def __init__(self, held: Setting, node: int) -> None:
        """``node``: of the draft, the last one that is accepted; -1: none is."""
        tree, drawing = held.drafted.tree, held.drawing(node + 2)
        self.node = node
        self.growth = Growth(held.settings, drawing)
        self.token: int | None = None
        """The target's token after ``node``; None: not known, because the model has not seen ``node`` yet."""
        self._unseen = None if node < held.drafted.expanded else Node(tree.parents[node], tree.tokens[node])
        self._end, self._root, self._numbers = node, -1, list[int]()
        if self._unseen is None:
            drafted = {tree.tokens[child] for child in tree.children(node)}
            self.token = self._likeliest(held.drafted.lists[node], drafted)

    @property
    def has_seen_end(self) -> bool:
        """Whether the model has been run on ``node``."""
        return self._unseen is None

    def nodes(self) -> list[Node]:
        """What is to be run next; nothing where all is drafted."""
        if self._unseen is not None:
            return [self._unseen]
        if self.token is None or self.growth.is_whole:
            return []
        if self._root < 0:
            return [Node(self._end, self.token)]
        return [Node(self._root if p < 0 else self._numbers[p], token) for p, token in self.growth.level()]

    def take(self, rows: Any, numbers: Sequence[int]) -> None:
        """Go on with the rows after ``nodes``, which have these numbers now."""
        if self._unseen is not None:
            self._unseen, self._end = None, numbers[0]
            self.token = self._likeliest(self.growth.lists_of(rows)[0], set())
            return
        if self._root < 0:
            self._root = numbers[0]
        else:
            self._numbers += numbers
        self.growth.take(rows)

    def _likeliest(self, q: Any, drafted: set[int]) -> int | None:
        """The token of ``q`` that the target takes most likely, if it is none of those ``drafted``."""
        how = self.growth.drawing
        few = 1 + len(drafted)
        found = q.likeliest(few) if how.pick is None else how.pick(q, few, how.position - 1)
        return next((token for token in found if token not in drafted), None)


class DraftAhead:
    """What one device knows of its waits and verdicts, and the guesses for the round that is open.

    ``step`` belongs to the thread that runs the model; between two of its calls, all else may be called.
    """

    def __init__(self, most: int) -> None:
        """``most``: nodes that may be run ahead in a round, 0 to ``MOST_AHEAD``; 0: none is.  Errors for others."""
        self.most = checks.integer("ahead", most, 0, MOST_AHEAD)
        """Nodes a round, at most; it may change between two rounds."""
        self.rounds = self.right = self.nodes = 0
        """Rounds with guesses, those whose verdict was among them, and nodes that were run for guesses."""
        self._accepted, self._last, self._other = 0.7, 0.5, 0.2  # chances: of a token, of the guesses after it
        self._waits, self._passes = deque[float](maxlen=REMEMBERED), deque[float](maxlen=REMEMBERED)
        self._held: Setting | None = None
        self._guesses: list[_Guess] = []
        self._left = self._count = 0  # nodes that may still be run, and that the engine holds

    def begin(self, held: Setting) -> None:
        """Guess what becomes of the draft that has left, if guesses can hang off it."""
        self._held, self._guesses = None, []
        if not self.most or not held.fits:
            return
        self._held, self._left, self._count = held, self.most, held.drafted.expanded
        last, rate = len(held.drafted.tree) - 1, self._accepted
        chances = {node: rate ** (node + 1) * (1 - rate) * self._other for node in range(-1, last)}
        chances[last] = rate ** (last + 1) * self._last
        many = max(1, self.most // (1 + len(held.settings.expansion)))
        if held.most_leaves is not None:
            many = min(many, held.most_leaves - 1)  # the draft itself may end in one more
        chosen = sorted(chances, key=chances.__getitem__, reverse=True)[:many] or [last]
        # The draft's last token is the next node that the engine gets: its number is then the one that it has.
        self._guesses = [_Guess(held, node) for node in sorted(chosen, reverse=True)]
        self.rounds += 1

    def wants(self, waited_s: float) -> bool:
        """Whether another pass is worth it after ``waited_s`` seconds.

        One that ends after the verdict has come delays the next draft, unless it is a part of that.
        """
        if not any(len(guess.nodes()) in range(1, self._left + 1) for guess in self._guesses):
            return False
        if not (self._waits and self._passes):
            return True
        pass_s = median(self._passes)
        return waited_s + pass_s - median(self._waits) <= self._accepted * self._last * pass_s

    def step(self) -> None:
        """One pass of the draft model for all guesses that the budget allows."""
        held, nodes, takers = self._held, list[Node](), list[tuple[_Guess, range]]()
        for guess in self._guesses:
            found = guess.nodes()
            if found and len(nodes) + len(found) <= self._left:
                takers.append((guess, range(len(nodes), len(nodes) + len(found))))
                nodes += found
        if held is None or not nodes:
            return
        rows = held.text.expand(nodes)
        for guess, places in takers:
            guess.take(rows[places.start : places.stop], [self._count + place for place in places])
        self._left -= len(nodes)
        self._count += len(nodes)
        self.nodes += len(nodes)

    def passed(self, seconds: float) -> None:
        """Remember how long a step took."""
        self._passes.append(seconds)

    def after(self, drafted: Drafted, node: int, token: int, *, wait_s: float) -> tuple[Drafted, Growth | None]:
        """The draft that got a verdict, with what was run of it, and the one that follows, as far as it has come.

        None in its place: the verdict was not guessed.  ``wait_s``: seconds until it came.
        """
        held, self._held = self._held, None
        if held is None or held.drafted is not drafted:
            return drafted, None
        self._waits.append(wait_s)
        last = len(drafted.tree) - 1
        for place in range(min(node, last - 1) + 2):
            self._accepted += LEARNED * ((place <= node) - self._accepted)
        guess = next((guess for guess in self._guesses if guess.node == node), None)
        if any(guess.node == last and guess.has_seen_end for guess in self._guesses):
            drafted = replace(drafted, expanded=last + 1)
        if guess is None or guess.token is None:
            return drafted, None
        right = guess.token == token
        if node == last:
            self._last += LEARNED * (right - self._last)
        else:
            self._other += LEARNED * (right - self._other)
        self.right += right
        return drafted, guess.growth if right and guess.growth.depth else None
