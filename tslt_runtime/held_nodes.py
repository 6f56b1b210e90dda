"""The nodes that a draft model's text holds, and the drafts that hang off each other or off what may be accepted.

An engine numbers its nodes anew when its text grows (``DraftText.commit``).  Here a node is an object, which keeps its
place: so drafts in flight, the next one and those for verdicts that may come can share one tree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tslt_runtime.drafting import Drafted, DraftSettings, Drawing, Growth
from tslt_runtime.engines.protocol import DraftText, Node
from tslt_runtime.evidence import Source

MOST_HELD = 448
"""Nodes that a text is asked to hold at a time: llama.cpp takes 511."""
_PREFIX = -1


class HeldNode:
    """A drafted token with its place in a text."""

    __slots__ = ("number", "parent", "token")

    def __init__(self, parent: HeldNode | None, token: int) -> None:
        """``parent``: None for the prefix."""
        self.parent = parent
        self.token = token
        self.number: int | None = None
        """The engine's; -1: it is of the prefix by now; None: the model does not hold it."""

    @property
    def is_prefix(self) -> bool:
        """Whether the text has grown by it."""
        return self.number == _PREFIX


class HeldNodes:
    """One text of a draft model, and what it holds behind its prefix.  It belongs to the thread that runs the model."""

    def __init__(self, text: DraftText) -> None:
        """``text``: holds no node yet."""
        self.text = text
        self._nodes = list[HeldNode]()

    def __len__(self) -> int:
        return len(self._nodes)

    def run(self, nodes: Sequence[HeldNode]) -> Any:
        """Append ``nodes`` and return their rows, see ``DraftText.expand``; without nodes all are forgotten."""
        if not nodes:
            self.forget()
        rows = self.text.expand([Node(_number(node.parent), node.token) for node in nodes])
        for node in nodes:
            node.number = len(self._nodes)
            self._nodes.append(node)
        return rows

    def commit(self, path: Sequence[HeldNode], token: int | None = None) -> None:
        """The text grows by ``path``, from the prefix down, and ``token``, if there is one.

        What hangs off the last of them stays, if the model holds that.
        """
        tokens = [node.token for node in path] + ([] if token is None else [token])
        held = [node for node in path if node.number is not None]
        # A leaf that the model has not seen is a token like the one after it: both wait for the next pass.
        above = held[:-1] if len(held) == len(tokens) else held
        for place in range(len(above), len(tokens)):
            self._commit(above, tokens[place])
            above = []
        for node in path:
            node.number = _PREFIX

    def forget(self) -> None:
        """The text has been set anew, or is about to be: it holds no node."""
        for node in self._nodes:
            node.number = None
        self._nodes = []

    def _commit(self, path: Sequence[HeldNode], token: int) -> None:
        self.text.commit([_number(node) for node in path], token)
        end = path[-1] if path else None
        child = next((node for node in self._nodes if _above(node) is end and node.token == token), None)
        inside, kept = {child} - {None}, list[HeldNode]()
        for node in self._nodes:
            if node.parent in inside:
                inside.add(node)
                kept.append(node)
            node.number = None
        for number, node in enumerate(kept):
            node.number = number
        for node in (*path, *([child] if child else ())):
            node.number = _PREFIX
        self._nodes = kept


def _number(node: HeldNode | None) -> int:
    if node is None:
        return _PREFIX
    if node.number is None:
        raise ValueError("a node hangs off one that the model does not hold")
    return node.number


def _above(node: HeldNode) -> HeldNode | None:
    """The node that it hangs off; None: the prefix."""
    return None if node.parent is None or node.parent.is_prefix else node.parent


class Branch:
    """A draft that is drawn where the draft model has not been told that the text goes on there."""

    def __init__(self, settings: DraftSettings, drawing: Drawing, root: HeldNode | None = None) -> None:
        """Start with no node.  ``root``: what the draft comes after; None: the prefix."""
        self.root = root
        self.nodes = list[HeldNode]()
        """Of the draft, in its order."""
        self._growth = Growth(settings, drawing)

    @property
    def settings(self) -> DraftSettings:
        """How it is drawn."""
        return self._growth.settings

    @property
    def depth(self) -> int:
        """Levels that are drawn."""
        return self._growth.depth

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left to draw."""
        return self._growth.is_whole

    @property
    def may_go_on(self) -> bool:
        """Whether nothing is left to draw, or the rows that it takes are still to come: no row is kept."""
        return self.is_whole or all(node.number is None for node in self.next())

    def next(self) -> list[HeldNode]:
        """What the model is to be run on; nothing where a draft behind the prefix begins."""
        if not self.nodes:
            return [] if self.root is None or self.root.is_prefix else [self.root]
        return self.nodes[-len(self._growth.level()) :]

    def take(self, rows: Any) -> None:
        """Draw the next level from the rows after ``next``."""
        self._growth.take(rows)
        for parent, token in self._growth.level():
            self.nodes.append(HeldNode(self.nodes[parent] if parent >= 0 else self.root, token))

    def sources_of(self, rows: Any, position: int) -> Sequence[Source]:
        """See ``Growth.sources_of``."""
        return self._growth.sources_of(rows, position)

    def cut_to(self, settings: DraftSettings) -> bool:
        """See ``Growth.goes_on``; False, too, where rows are wanted again that are gone."""
        found = self._growth.goes_on(settings)
        del self.nodes[self._growth.count :]
        return found and self.may_go_on

    def drafted(self) -> Drafted:
        """The tree, which is whole."""
        return self._growth.drafted()
