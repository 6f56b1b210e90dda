"""One device's text at an edge: the tokens that both ends agree on, and an engine's cache of a first part of them."""

from __future__ import annotations

from collections.abc import Sequence

import tslt_wire as tw
from tslt_runtime.engines.protocol import TargetEngine, Work
from tslt_runtime.engines.text_rules import require_room, require_tokens, shared_length
from tslt_wire.messages.token_tree import PREFIX


class ScoredText:
    """Tokens and cache of a text; the cache can be dropped at any time, and is read again.

    A pass is in two parts: ``reading`` or ``scoring`` says what the engine has to do, ``done`` that it did it.  All
    methods but the properties and ``kept`` are for the thread that runs the engine.
    """

    def __init__(self, engine: TargetEngine) -> None:
        """Start with no tokens."""
        self._engine = engine
        self._facts = engine.facts  # an engine may make them anew each time
        self._text = engine.open()
        self._prefix: tuple[int, ...] = ()
        self._tree = tw.TokenTree([], [])
        self._scored = False  # whether the cache holds nodes of _tree behind _prefix
        self.held = 0
        """Most rows that the cache has had to hold since it was empty."""

    @property
    def prefix(self) -> tuple[int, ...]:
        """The tokens agreed on so far."""
        return self._prefix

    @property
    def length(self) -> int:
        """Tokens of the prefix that are cached."""
        return int(self._text.length)

    @property
    def unread(self) -> int:
        """Tokens of the prefix that are not cached; the last one is read with the next tree."""
        return len(self._prefix) - self.length

    def kept(self, tokens: tuple[int, ...]) -> int:
        """How many of ``tokens`` will be cached after ``set_prefix(tokens)``; nothing is changed."""
        known = self._prefix
        if self._scored and tokens[: len(known)] == known:
            return min(len(known) + len(self._path_along(tokens[len(known) :])), len(tokens) - 1)
        return self.shared(tokens)

    def shared(self, tokens: tuple[int, ...]) -> int:
        """How many of the first tokens that are cached begin ``tokens``, its last one not counted."""
        cached = self._prefix[: self.length]
        if cached == tokens[: len(cached)]:
            return min(len(cached), len(tokens) - 1)
        return shared_length(cached, tokens)

    def set_prefix(self, tokens: Sequence[int]) -> None:
        """Continue from ``tokens``; keeps what is cached of them, a path through the last tree included.

        Nothing is computed.  Raises ValueError for no tokens or tokens outside the vocabulary, ContextFull; the text is
        then unchanged.
        """
        fresh, known = tuple(tokens), self._prefix
        follows = fresh[: len(known)] == known
        if not fresh:
            raise ValueError("a prefix has at least one token (usually the beginning-of-text token)")
        require_tokens(fresh[len(known) if follows else 0 :], self._facts.vocab_size)
        require_room(len(fresh), self._facts.context)
        if self._scored and follows:
            self._text.commit(self._path_along(fresh[len(known) :]))
            self._prefix = fresh[: self._text.length]
        self._scored = False
        self._text.truncate(self.shared(fresh))
        self._prefix = fresh

    def share(self, other: ScoredText) -> int:
        """Take what ``other`` has cached of the prefix's beginning; returns how many tokens that saves."""
        shared, before = other.shared(self._prefix), self.length
        if shared <= before:
            return 0
        self._text.share(other._text, shared)
        self.held = max(self.held, self.length)
        return self.length - before

    def reading(self, most: int) -> Work:
        """Read up to ``most`` of the unread tokens, but for the last one."""
        start = self.length
        chunk = self._prefix[start : min(start + most, len(self._prefix) - 1)]
        self.held = max(self.held, start + len(chunk))
        return Work(self._text, chunk, None)

    def scoring(self, tree: tw.TokenTree) -> Work:
        """Rows after the prefix and after every node of ``tree``; scoring again replaces the tree.

        ValueError before ``set_prefix``.
        """
        if not self._prefix:
            raise ValueError("no prefix yet: call set_prefix first")
        # A pass that is made again needs the row of the last token again.
        self._text.truncate(min(self._text.length, len(self._prefix) - 1))
        self._scored = False
        self.held = max(self.held, len(self._prefix) + len(tree))
        return Work(self._text, self._prefix[self._text.length :], tree)

    def done(self, work: Work) -> None:
        """The engine did ``work``, which came from ``reading`` or ``scoring``."""
        if work.tree is not None:
            self._tree, self._scored = work.tree, True

    def drop(self) -> None:
        """Free the cache; the tokens are read again when they are needed."""
        self._text.close()
        self._text = self._engine.open()
        self._scored, self.held = False, 0

    def close(self) -> None:
        """Free the cache; the text is not used afterwards."""
        self._text.close()
        self._scored, self.held = False, 0

    def _path_along(self, tokens: Sequence[int]) -> list[int]:
        """Nodes of the last tree that ``tokens`` follow, but for the last token: its row comes with the next tree."""
        path: list[int] = []
        at, tree = PREFIX, self._tree
        # In one go, as a child comes after its parent; of children with one token the first is followed.
        for node, (token, parent) in enumerate(zip(tree.tokens, tree.parents, strict=True)):
            if len(path) + 1 >= len(tokens):
                break
            if parent == at and token == tokens[len(path)]:
                path.append(node)
                at = node
        return path
